"""How a tile's pixels are numbered, so that loops over those within a Gaussian's reach are loops over whole vectors."""

from typing import NamedTuple

import numpy as np

from moegs.kernels import inlined
from moegs.rasterize import TILE

ONE = np.float32(1)
PIXELS = TILE * TILE
STRIP = 8
"""Columns of a strip. A tile's pixels are numbered row by row in its first strip, then in the next: what a Gaussian
reaches of a strip is one run of whole vectors."""
LINE = 16
"""Numbers in a cache line."""
ROWS = LINE // STRIP
"""Rows of a strip in a vector."""
STRIPS, RUN = TILE // STRIP, STRIP * TILE
PIXEL_X = np.tile(np.arange(STRIP, dtype=np.float32), PIXELS // STRIP) + np.repeat(
    np.arange(0, TILE, STRIP, dtype=np.float32), RUN
)
PIXEL_Y = np.tile(np.repeat(np.arange(TILE, dtype=np.float32), STRIP), STRIPS)


class Tile(NamedTuple):
    """Where a tile lies."""

    layer: int
    top: int
    left: int
    rows: int
    """Fewer than TILE at the picture's lower edge."""
    columns: int


@inlined
def tile_at(number, shape):
    """The tile of that number in pictures of `shape` (E, H, W, ...): across, then down, then through the layers."""
    down, across = (shape[1] + TILE - 1) // TILE, (shape[2] + TILE - 1) // TILE
    top, left = number // across % down * TILE, number % across * TILE
    return Tile(number // (down * across), top, left, min(TILE, shape[1] - top), min(TILE, shape[2] - left))


@inlined
def blank(count):
    """So many numbers, the first at the start of a cache line: a vector of pixels then never lies across two."""
    whole = np.empty(count + LINE, np.float32)
    skipped = (LINE - whole.ctypes.data // 4 % LINE) % LINE
    return whole[skipped : skipped + count]


@inlined
def place(row, column):
    """The number of a tile's pixel."""
    return column // STRIP * RUN + row * STRIP + column % STRIP


@inlined
def unseen(transmittance, tile):
    """Sets every pixel of `tile` to all light, and those outside of the picture to finished from the start."""
    transmittance[:] = -ONE
    for i in range(tile.rows):
        for j in range(tile.columns):
            transmittance[place(i, j)] = ONE
