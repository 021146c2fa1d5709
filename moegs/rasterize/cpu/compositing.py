"""Blending each tile's Gaussians front to back into the pictures of all layers.

The inner loops run over the rows that a Gaussian reaches in a strip of a tile as over one long line of pixels, without
a branch, so that the compiler makes vector instructions of them. For the same reason their indices are unsigned (a
signed one brings a wrap-around check), all that they write is one array (of two it would have to ask whether they
overlap), channels are taken four at a time, and the sign of a pixel's transmittance T tells whether it is finished:
T > 0 goes on, T < 0 has ended at |T|.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import ALPHA_MAX, TRANSMITTANCE_MIN
from moegs.rasterize.cpu.reach import rows_between
from moegs.rasterize.cpu.strips import (
    LINE,
    PIXEL_X,
    PIXEL_Y,
    PIXELS,
    ROWS,
    RUN,
    STRIP,
    STRIPS,
    blank,
    place,
    tile_at,
    unseen,
)

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
CAP, STOP = np.float32(ALPHA_MAX), np.float32(TRANSMITTANCE_MIN)
SHARE, SUMS = np.uintp(PIXELS), np.uintp(2 * PIXELS)
ONE_ON, TWO_ON, THREE_ON = np.uintp(PIXELS), np.uintp(2 * PIXELS), np.uintp(3 * PIXELS)
BATCH = 16
"""Gaussians fetched at once into a small table: their cache misses then overlap. Between batches a tile may stop."""
GEOMETRY = 11
"""Columns of the table of splats before their channels: u, v, conic a, b, c, opacity, largest exponent, and the
ellipse's half width, apex, lean and aspect."""


class Pictures(NamedTuple):
    """What all layers look like."""

    images: Float32[ndarray, "E H W 3"]
    features: Float32[ndarray, "E H W C"]
    alphas: Float32[ndarray, "E H W 1"]
    depths: Float32[ndarray, "E H W 1"]


class Splat(NamedTuple):
    """A Gaussian as one strip of a tile sees it, in pixels from the centre of the tile's first pixel."""

    x: np.float32
    y: np.float32
    a: np.float32
    b: np.float32
    c: np.float32
    """The conic: exponent = a dx^2 / 2 + b dx dy + c dy^2 / 2."""
    opacity: np.float32
    limit: np.float32
    """The exponent at which alpha falls below the least that is drawn."""
    first: int
    last: int
    """The first of the strip's pixels within reach, and one after the last; equal if there is none."""


@inlined
def fetch(batch, splats, rows, start, end):
    """Copies the table's rows[start:end], at most BATCH, into `batch`."""
    for i in range(start, end):
        for k in range(splats.shape[1]):
            batch[i - start, k] = splats[rows[i], k]


@inlined
def reach(batch, count, tile, runs):
    """The run of pixels that each of the batch's first `count` splats may reach in each strip of `tile`: its first, and
    one after its last, in `runs`; equal if there is none."""
    for i in range(count):
        x = batch[i, 0] - np.float32(tile.left) - HALF
        y = batch[i, 1] - np.float32(tile.top) - HALF
        ellipse = (batch[i, 7], batch[i, 8], batch[i, 9], batch[i, 10])
        for strip in range(STRIPS):
            left = np.float32(strip * STRIP) - x
            first, end = rows_between(y, ellipse, left, left + np.float32(STRIP - 1), tile.rows)
            runs[i, strip, 0] = strip * RUN + first // ROWS * LINE
            runs[i, strip, 1] = strip * RUN + (end + ROWS - 1) // ROWS * LINE


@inlined
def splat_at(batch, runs, i, tile, strip):
    """The splat in row `i` of the batch, as that strip of `tile` sees it."""
    x = batch[i, 0] - np.float32(tile.left) - HALF
    y = batch[i, 1] - np.float32(tile.top) - HALF
    first, last = runs[i, strip, 0], runs[i, strip, 1]
    return Splat(x, y, batch[i, 2], batch[i, 3], batch[i, 4], batch[i, 5], batch[i, 6], first, last)


@inlined
def offset(splat, p):
    """From the splat's centre to pixel `p`: dx, dy, and the exponent there."""
    dx, dy = PIXEL_X[p] - splat.x, PIXEL_Y[p] - splat.y
    return dx, dy, (HALF * splat.a * dx + splat.b * dy) * dx + HALF * splat.c * dy * dy


@inlined
def decay(exponent):
    """exp(-exponent) for 0 <= exponent <= 6, to about 1e-6: a Taylor polynomial at an eighth, to the eighth power.

    The exponent of what is drawn is at most ln(255) = 5.5. Without a vector library, exp would be one call per pixel.
    """
    x = exponent * np.float32(-1 / 8)
    p = np.float32(1 / 24) + x * (np.float32(1 / 120) + x * np.float32(1 / 720))
    p = ONE + x * (ONE + x * (HALF + x * (np.float32(1 / 6) + x * p)))
    p *= p
    p *= p
    return p * p


@inlined
def _any_unfinished(transmittance):
    largest = ZERO
    for i in range(PIXELS):
        largest = max(largest, transmittance[np.uintp(i)])
    return largest > ZERO


@inlined
def step(splat, p, before):
    """A pixel's step past the splat from transmittance `before`: its share, alpha T, and the transmittance after."""
    _, _, exponent = offset(splat, p)
    reached = (exponent >= ZERO) & (exponent <= splat.limit) & (before > ZERO)
    alpha = min(CAP, splat.opacity * decay(exponent)) if reached else ZERO
    after = before * (ONE - alpha)
    finished = reached & (after <= STOP)
    return ZERO if finished else alpha * before, -before if finished else after


@inlined
def four(batch, i, k):
    """Channels `k` to `k` + 3 of the batch's splat `i`."""
    return batch[i, GEOMETRY + k], batch[i, GEOMETRY + k + 1], batch[i, GEOMETRY + k + 2], batch[i, GEOMETRY + k + 3]


@inlined
def _blend(splat, batch, i, sheet):
    """Lowers the transmittance of every pixel, writes the splat's share and adds its first four channels."""
    c0, c1, c2, c3 = four(batch, i, 0)
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        weight, after = step(splat, p, sheet[p])
        sheet[p] = after
        sheet[SHARE + p] = weight
        sheet[SUMS + p] += weight * c0
        sheet[SUMS + ONE_ON + p] += weight * c1
        sheet[SUMS + TWO_ON + p] += weight * c2
        sheet[SUMS + THREE_ON + p] += weight * c3


@inlined
def _add_four(splat, batch, i, k, sheet):
    """Adds channels `k` to `k` + 3."""
    c0, c1, c2, c3 = four(batch, i, k)
    sums = SUMS + np.uintp(k * PIXELS)
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        weight = sheet[SHARE + p]
        sheet[sums + p] += weight * c0
        sheet[sums + ONE_ON + p] += weight * c1
        sheet[sums + TWO_ON + p] += weight * c2
        sheet[sums + THREE_ON + p] += weight * c3


@inlined
def _write(tile, transmittance, sums, backgrounds, pictures):
    """Colour and features over their background; depth as the mean z of what is seen."""
    extra = pictures.features.shape[3]
    for i in range(tile.rows):
        for j in range(tile.columns):
            p, row, column = place(i, j), tile.top + i, tile.left + j
            left_over = abs(transmittance[p])
            alpha = ONE - left_over
            for k in range(3):
                pictures.images[tile.layer, row, column, k] = (
                    sums[k * PIXELS + p] + left_over * backgrounds[tile.layer, k]
                )
            for k in range(extra):
                pictures.features[tile.layer, row, column, k] = (
                    sums[(3 + k) * PIXELS + p] + left_over * backgrounds[tile.layer, 3 + k]
                )
            z = sums[(3 + extra) * PIXELS + p]
            pictures.alphas[tile.layer, row, column, 0] = alpha
            pictures.depths[tile.layer, row, column, 0] = z / alpha if alpha > ZERO else ZERO


@inlined
def _composite_lane(lane, lanes, starts, ends, rows, splats, backgrounds, live, pictures):
    """Every `lanes`-th tile from number `lane` on."""
    channels = splats.shape[1] - GEOMETRY
    sheet = blank((2 + channels) * PIXELS)
    transmittance, sums = sheet[:PIXELS], sheet[2 * PIXELS :]
    batch, runs = np.empty((BATCH, splats.shape[1]), np.float32), np.empty((BATCH, STRIPS, 2), np.int64)
    for number in range(lane, starts.shape[0] - 1, lanes):
        tile = tile_at(number, pictures.images.shape)
        sums[:] = ZERO
        unseen(transmittance, tile)
        position, stop = starts[number], starts[number + 1] if live[number] else starts[number]
        while position < stop and _any_unfinished(transmittance):
            count = min(BATCH, stop - position)
            fetch(batch, splats, rows, position, position + count)
            reach(batch, count, tile, runs)
            for i in range(count):
                for strip in range(STRIPS):
                    splat = splat_at(batch, runs, i, tile, strip)
                    if splat.first == splat.last:
                        continue
                    _blend(splat, batch, i, sheet)
                    for k in range(4, channels, 4):
                        _add_four(splat, batch, i, k, sheet)
            position += count
        ends[number] = position
        _write(tile, transmittance, sums, backgrounds, pictures)


@parallel
def composite(
    starts: Int64[ndarray, " S+1"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 11+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    live: Bool[ndarray, " S"],
    pictures: Pictures,
    lanes: int,
):
    """Fills the pictures, in tiles that are not `live` with the background; how far into `rows` each tile went comes
    back.

    Tiles are dealt out to `lanes` threads in turn. A splat's D channels are its colour, its features and its z.
    """
    ends = np.empty(starts.shape[0] - 1, np.int64)
    for lane in prange(lanes):
        _composite_lane(lane, lanes, starts, ends, rows, splats, backgrounds, live, pictures)
    return ends


@parallel
def pack(
    means2d: Float32[ndarray, "N 2"],
    footprints: Float32[ndarray, "N 4"],
    bounds: Float32[ndarray, "N 5"],
    colors: Float32[ndarray, "N 3"],
    features: Float32[ndarray, "N C"],
    depths: Float32[ndarray, " N"],
):
    """The table of splats: all that a tile needs of a Gaussian side by side, so that it is fetched from one place."""
    n, extra = features.shape
    splats = np.zeros((n, GEOMETRY + (4 + extra + 3) // 4 * 4), np.float32)
    for i in prange(n):
        splats[i, 0], splats[i, 1] = means2d[i, 0], means2d[i, 1]
        for k in range(4):
            splats[i, 2 + k] = footprints[i, k]
        for k in range(5):
            splats[i, 6 + k] = bounds[i, k]
        for k in range(3):
            splats[i, GEOMETRY + k] = colors[i, k]
        for k in range(extra):
            splats[i, GEOMETRY + 3 + k] = features[i, k]
        splats[i, GEOMETRY + 3 + extra] = depths[i]
    return splats
