"""Which Gaussians each tile of each layer holds, nearest first: one sort by depth, then stable counting."""

import math

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel, serial
from moegs.rasterize import TILE
from moegs.rasterize.cpu.reach import SLACK_PIXELS, rows_between

ZERO, HALF = np.float32(0), np.float32(0.5)
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
def _columns_under(u, half_width, width):
    """The first column of tiles with a pixel centre within the ellipse's width, and the one after the last."""
    half_width += SLACK_PIXELS
    first = math.ceil(max(u - half_width - HALF, ZERO))
    last = math.floor(min(u + half_width - HALF, np.float32(width - 1)))
    return first // TILE, last // TILE + 1


@inlined
def _count_columns(order, means2d, bounds, width):
    """How many columns of tiles the Gaussians of `order` reach, all in all."""
    total = 0
    for row in order:
        x0, x1 = _columns_under(means2d[row, 0], bounds[row, 1], width)
        total += max(0, x1 - x0)
    return total


@inlined
def _find_spans(order, means2d, bounds, layer_of, shape, spans, counts):
    """Fills `spans` for the Gaussians of `order`, and adds each one's tiles to `counts`."""
    _, height, width = shape
    down, across = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    n = 0
    for row in order:
        u, v = means2d[row, 0], means2d[row, 1]
        ellipse = (bounds[row, 1], bounds[row, 2], bounds[row, 3], bounds[row, 4])
        x0, x1 = _columns_under(u, ellipse[0], width)
        for x in range(x0, x1):
            left = np.float32(x * TILE) + HALF - u
            first, end = rows_between(v - HALF, ellipse, left, left + np.float32(TILE - 1), height)
            first, end = first // TILE, (end + TILE - 1) // TILE
            start = (layer_of[row] * down + first) * across + x
            spans[n, 0], spans[n, 1], spans[n, 2] = row, start, start + (end - first) * across
            n += 1
    for i in range(n):  # a loop of its own: the processor need not wait for an ellipse to guess its end
        for tile in range(spans[i, 1], spans[i, 2], across):
            counts[tile] += 1


@parallel
def bin_by_tile(
    order: Int32[ndarray, " M"],
    means2d: Float32[ndarray, "N 2"],
    bounds: Float32[ndarray, "N 5"],
    layer_of: Int32[ndarray, " N"],
    shape: tuple[int, int, int],
    chunks: int,
):
    """(starts, rows): tile i holds the Gaussians rows[starts[i]:starts[i + 1]], in `order`.

    A tile holds those whose ellipse reaches its pixel centres' square. Tiles count through the picture's rows, then
    through the layers; `shape` is that of the pictures, (E, H, W). The order is cut into `chunks`, each counted by one
    thread and written behind the one before it, so that it survives. A span is what a Gaussian reaches of a column of
    tiles: its row, the first tile and one after the last.
    """
    across = (shape[2] + TILE - 1) // TILE
    n, tiles = order.shape[0], shape[0] * ((shape[1] + TILE - 1) // TILE) * across
    cuts = np.array([n * chunk // chunks for chunk in range(chunks + 1)])
    ends = np.zeros(chunks + 1, np.int64)
    for chunk in prange(chunks):
        ends[chunk + 1] = _count_columns(order[cuts[chunk] : cuts[chunk + 1]], means2d, bounds, shape[2])
    for chunk in range(chunks):
        ends[chunk + 1] += ends[chunk]

    spans = np.empty((ends[chunks], 3), np.int32)
    place = np.zeros((chunks, tiles), np.int64)
    for chunk in prange(chunks):
        part, found = order[cuts[chunk] : cuts[chunk + 1]], spans[ends[chunk] : ends[chunk + 1]]
        _find_spans(part, means2d, bounds, layer_of, shape, found, place[chunk])
    starts = np.empty(tiles + 1, np.int64)
    total = 0
    for tile in range(tiles):
        starts[tile] = total
        for chunk in range(chunks):
            total, place[chunk, tile] = total + place[chunk, tile], total
    starts[tiles] = total

    rows = np.empty(total, np.int32)
    for chunk in prange(chunks):
        for i in range(ends[chunk], ends[chunk + 1]):
            for tile in range(spans[i, 1], spans[i, 2], across):
                rows[place[chunk, tile]] = spans[i, 0]
                place[chunk, tile] += 1
    return starts, rows
