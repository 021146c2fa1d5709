"""Which Gaussians each tile of each layer holds, nearest first: one sort by depth, then stable counting."""

import math

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel, serial
from moegs.rasterize import TILE

HALF = np.float32(0.5)
DIGIT_BITS = 11
"""Three digits of 11 bits sort a float32."""


@serial
def depth_order(depths: Float32[ndarray, " N"], radii: Int32[ndarray, "N 2"]):
    """The rows of the Gaussians that are drawn, nearest first, equals in their order (radix sort)."""
    n = 0
    rows = np.empty(depths.shape[0], np.int32)
    for i in range(depths.shape[0]):
        if radii[i, 0] > 0:
            rows[n] = i
            n += 1
    rows, next_rows = rows[:n], np.empty(n, np.int32)
    keys, next_keys = np.empty(n, np.uint32), np.empty(n, np.uint32)
    bits = depths.view(np.uint32)  # positive floats sort as their bits do
    for i in range(n):
        keys[i] = bits[rows[i]]

    mask = np.uint32((1 << DIGIT_BITS) - 1)
    for digit in range(3):
        shift = np.uint32(DIGIT_BITS * digit)
        place = np.zeros((1 << DIGIT_BITS) + 1, np.int64)
        for i in range(n):
            place[((keys[i] >> shift) & mask) + 1] += 1
        for value in range(1 << DIGIT_BITS):
            place[value + 1] += place[value]
        for i in range(n):
            value = (keys[i] >> shift) & mask
            next_keys[place[value]], next_rows[place[value]] = keys[i], rows[i]
            place[value] += 1
        keys, next_keys = next_keys, keys
        rows, next_rows = next_rows, rows
    return rows


@inlined
def _tiles_under(center, reach, pixels):
    """Along an axis of `pixels`: the first tile with a pixel centre within `reach`, and the one after the last."""
    first = math.ceil(max(center - reach - HALF, np.float32(0)))
    last = math.floor(min(center + reach - HALF, np.float32(pixels - 1)))
    return first // TILE, last // TILE + 1


@parallel
def bin_by_tile(
    order: Int32[ndarray, " M"],
    means2d: Float32[ndarray, "N 2"],
    bounds: Float32[ndarray, "N 3"],
    layer_of: Int32[ndarray, " N"],
    shape: tuple[int, int, int],
    chunks: int,
):
    """(starts, rows): tile i holds the Gaussians rows[starts[i]:starts[i + 1]], in `order`.

    Tiles count through the picture's rows, then through the layers; `shape` is that of the pictures, (E, H, W). The
    order is cut into `chunks`, each counted by one thread and written behind the one before it, so that it survives.
    """
    layers, height, width = shape
    tiles_down, tiles_across = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    n, tiles = order.shape[0], layers * tiles_down * tiles_across
    place = np.zeros((chunks, tiles), np.int64)
    for chunk in prange(chunks):
        for i in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            row = order[i]
            x0, x1 = _tiles_under(means2d[row, 0], bounds[row, 1], width)
            y0, y1 = _tiles_under(means2d[row, 1], bounds[row, 2], height)
            for y in range(y0, y1):
                first = (layer_of[row] * tiles_down + y) * tiles_across
                for tile in range(first + x0, first + x1):
                    place[chunk, tile] += 1

    starts = np.empty(tiles + 1, np.int64)
    total = 0
    for tile in range(tiles):
        starts[tile] = total
        for chunk in range(chunks):
            total, place[chunk, tile] = total + place[chunk, tile], total
    starts[tiles] = total

    rows = np.empty(total, np.int32)
    for chunk in prange(chunks):
        for i in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            row = order[i]
            x0, x1 = _tiles_under(means2d[row, 0], bounds[row, 1], width)
            y0, y1 = _tiles_under(means2d[row, 1], bounds[row, 2], height)
            for y in range(y0, y1):
                first = (layer_of[row] * tiles_down + y) * tiles_across
                for tile in range(first + x0, first + x1):
                    rows[place[chunk, tile]] = row
                    place[chunk, tile] += 1
    return starts, rows
