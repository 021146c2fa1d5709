"""Blending each tile's Gaussians front to back, and the gradients of that.

The inner loops run over the rows of a tile that a Gaussian reaches as over one long line of pixels, without a branch:
conditions are factors 0 and 1, so that the compiler makes vector instructions of them. For the same reason their
indices are unsigned (a signed one brings a wrap-around check), and the sign of a pixel's transmittance tells whether it
is finished: T > 0 goes on, T < 0 has ended at |T|.
"""

import math

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numba import prange
from numpy import ndarray

from moegs.rasterize import ALPHA_MAX, TRANSMITTANCE_MIN
from moegs.rasterize.cpu.kernels import inlined, parallel
from moegs.rasterize.cpu.tiles import TILE

ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)
CAP, STOP = np.float32(ALPHA_MAX), np.float32(TRANSMITTANCE_MIN)
MAX_EXPONENT = np.float32(6)
"""More than ln(1 / ALPHA_MIN): what is drawn stays below it."""
PIXELS = TILE * TILE
PIXEL_X = np.tile(np.arange(TILE, dtype=np.float32), TILE)
PIXEL_Y = np.repeat(np.arange(TILE, dtype=np.float32), TILE)
CHECK_EVERY = 16
"""Gaussians between two looks at whether every pixel of the tile is finished."""
GEOMETRY = 8
"""Columns of a splat before its channels: u, v, conic a, b, c, opacity, largest exponent, half height."""
V_GEOMETRY = 6
"""Columns of a splat's gradient before its channels: u, v, conic a, b, c, opacity."""


@inlined
def _decay(exponent):
    """exp(-exponent) for 0 <= exponent <= 6, to about 1e-6: a Taylor polynomial at an eighth, to the eighth power."""
    x = exponent * np.float32(-1 / 8)
    p = np.float32(1 / 24) + x * (np.float32(1 / 120) + x * np.float32(1 / 720))
    p = ONE + x * (ONE + x * (HALF + x * (np.float32(1 / 6) + x * p)))
    p *= p
    p *= p
    return p * p


@inlined
def _tile_corner(tile, grid):
    """Layer of a tile, and its first pixel's row and column."""
    _, tiles_down, tiles_across = grid
    layer = tile // (tiles_down * tiles_across)
    within = tile - layer * tiles_down * tiles_across
    return layer, within // tiles_across * TILE, within % tiles_across * TILE


@inlined
def _pixel_span(center_y, half_height, rows):
    """The pixels of the tile's `rows` within reach of a Gaussian: first, and one after the last (empty if equal)."""
    first = max(0, math.ceil(max(center_y - half_height, ZERO)))
    last = math.floor(min(center_y + half_height, np.float32(rows - 1)))
    return first * TILE, max(first, last + 1) * TILE


@inlined
def _any_unfinished(transmittance):
    largest = ZERO
    for i in range(PIXELS):
        largest = max(largest, transmittance[np.uintp(i)])
    return largest > ZERO


@parallel
def pack(means2d, footprints, bounds, colors, features, depths):
    """One row per Gaussian with all that a tile needs of it, so that it is fetched from one place."""
    n, extra = features.shape
    splats = np.empty((n, GEOMETRY + 4 + extra), np.float32)
    for i in prange(n):
        splats[i, 0], splats[i, 1] = means2d[i, 0], means2d[i, 1]
        for k in range(4):
            splats[i, 2 + k] = footprints[i, k]
        splats[i, 6], splats[i, 7] = bounds[i, 0], bounds[i, 1]
        for k in range(3):
            splats[i, GEOMETRY + k] = colors[i, k]
        for k in range(extra):
            splats[i, GEOMETRY + 3 + k] = features[i, k]
        splats[i, GEOMETRY + 3 + extra] = depths[i]
    return splats


@parallel
def composite(
    starts: Int64[ndarray, " tiles+1"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 8+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    size,
    lanes,
):
    """Images, features, alphas and depths of every layer, and how far into `rows` each tile went.

    `size` is the picture's height and width. Tiles are dealt out to `lanes` threads in turn. A splat's channels are its
    colour, its features and its z.
    """
    height, width = size
    layers, channels = backgrounds.shape[0], splats.shape[1] - GEOMETRY
    extra = channels - 4
    grid = (layers, (height + TILE - 1) // TILE, (width + TILE - 1) // TILE)
    images = np.empty((layers, height, width, 3), np.float32)
    features = np.empty((layers, height, width, extra), np.float32)
    alphas = np.empty((layers, height, width, 1), np.float32)
    depths = np.empty((layers, height, width, 1), np.float32)
    ends = np.empty(starts.shape[0] - 1, np.int64)
    for lane in prange(lanes):
        transmittance = np.empty(PIXELS, np.float32)
        weights = np.empty(PIXELS, np.float32)
        sums = np.empty(channels * PIXELS, np.float32)
        for tile in range(lane, starts.shape[0] - 1, lanes):
            layer, top, left = _tile_corner(tile, grid)
            tile_rows, tile_columns = min(TILE, height - top), min(TILE, width - left)
            sums[:] = ZERO
            for i in range(PIXELS):  # what lies outside of the picture is finished from the start
                inside = PIXEL_X[i] < tile_columns and PIXEL_Y[i] < tile_rows
                transmittance[i] = ONE if inside else -ONE
            ends[tile] = starts[tile + 1]
            for position in range(starts[tile], starts[tile + 1]):
                if (position - starts[tile]) % CHECK_EVERY == CHECK_EVERY - 1 and not _any_unfinished(transmittance):
                    ends[tile] = position
                    break
                row = rows[position]
                x = splats[row, 0] - np.float32(left) - HALF
                y = splats[row, 1] - np.float32(top) - HALF
                a, b, c = splats[row, 2], splats[row, 3], splats[row, 4]
                opacity, limit = splats[row, 5], splats[row, 6]
                first, last = _pixel_span(y, splats[row, 7], tile_rows)
                half_a, half_c = HALF * a, HALF * c
                for i in range(first, last):
                    p = np.uintp(i)
                    dx, dy = PIXEL_X[p] - x, PIXEL_Y[p] - y
                    exponent = (half_a * dx + b * dy) * dx + half_c * dy * dy
                    before = transmittance[p]
                    reached = np.float32(exponent >= ZERO) * np.float32(exponent <= limit) * np.float32(before > ZERO)
                    decay = _decay(min(max(exponent, ZERO), MAX_EXPONENT))
                    alpha = reached * min(CAP, opacity * decay)
                    after = before * (ONE - alpha)
                    finished = reached * np.float32(after <= STOP)
                    weights[p] = (ONE - finished) * alpha * before
                    transmittance[p] = after - finished * (after + before)
                for k in range(channels):
                    value, base = splats[row, GEOMETRY + k], np.uintp(k * PIXELS)
                    for i in range(first, last):
                        p = np.uintp(i)
                        sums[base + p] += weights[p] * value

            for i in range(tile_rows):
                for j in range(tile_columns):
                    p = i * TILE + j
                    left_over = abs(transmittance[p])
                    alpha = ONE - left_over
                    place = (layer, top + i, left + j)
                    alphas[place[0], place[1], place[2], 0] = alpha
                    for k in range(3):
                        images[place[0], place[1], place[2], k] = (
                            sums[k * PIXELS + p] + left_over * backgrounds[layer, k]
                        )
                    for k in range(extra):
                        features[place[0], place[1], place[2], k] = (
                            sums[(3 + k) * PIXELS + p] + left_over * backgrounds[layer, 3 + k]
                        )
                    z = sums[(3 + extra) * PIXELS + p]
                    depths[place[0], place[1], place[2], 0] = z / alpha if alpha > ZERO else ZERO
    return images, features, alphas, depths, ends


@parallel
def composite_backward(
    starts,
    ends,
    rows,
    splats,
    backgrounds,
    images,
    features,
    alphas,
    depths,
    v_images,
    v_features,
    v_alphas,
    v_depths,
    channels,
    lanes,
):
    """The gradient of every splat (see V_GEOMETRY), summed within each of the lanes: lanes N 6+D."""
    layers, height, width = images.shape[:3]
    extra = features.shape[3]
    grid = (layers, (height + TILE - 1) // TILE, (width + TILE - 1) // TILE)
    v_splats = np.zeros((lanes, splats.shape[0], V_GEOMETRY + 4 + extra), np.float32)
    for lane in prange(lanes):
        transmittance = np.empty(PIXELS, np.float32)
        weights = np.empty(PIXELS, np.float32)
        v_weights = np.empty(PIXELS, np.float32)
        behind = np.empty(PIXELS, np.float32)
        v_sums = np.empty(channels * PIXELS, np.float32)
        for tile in range(lane, starts.shape[0] - 1, lanes):
            if ends[tile] == starts[tile]:
                continue
            layer, top, left = _tile_corner(tile, grid)
            tile_rows, tile_columns = min(TILE, height - top), min(TILE, width - left)
            transmittance[:] = -ONE
            behind[:] = ZERO
            v_sums[:] = ZERO
            for i in range(tile_rows):
                for j in range(tile_columns):
                    p = i * TILE + j
                    alpha = alphas[layer, top + i, left + j, 0]
                    left_over = ONE - alpha
                    v_left_over = -v_alphas[layer, top + i, left + j, 0]
                    shown = ZERO
                    for k in range(3):
                        v = v_images[layer, top + i, left + j, k]
                        v_sums[k * PIXELS + p] = v
                        shown += v * (images[layer, top + i, left + j, k] - left_over * backgrounds[layer, k])
                        v_left_over += v * backgrounds[layer, k]
                    for k in range(extra):
                        v = v_features[layer, top + i, left + j, k]
                        v_sums[(3 + k) * PIXELS + p] = v
                        shown += v * (features[layer, top + i, left + j, k] - left_over * backgrounds[layer, 3 + k])
                        v_left_over += v * backgrounds[layer, 3 + k]
                    if channels == 4 + extra and alpha > ZERO:
                        v = v_depths[layer, top + i, left + j, 0]
                        v_sums[(3 + extra) * PIXELS + p] = v / alpha
                        shown += v * depths[layer, top + i, left + j, 0]
                        v_left_over += v * depths[layer, top + i, left + j, 0] / alpha
                    transmittance[p] = ONE
                    behind[p] = shown + v_left_over * left_over

            for position in range(starts[tile], ends[tile]):
                row = rows[position]
                x = splats[row, 0] - np.float32(left) - HALF
                y = splats[row, 1] - np.float32(top) - HALF
                a, b, c = splats[row, 2], splats[row, 3], splats[row, 4]
                opacity, limit = splats[row, 5], splats[row, 6]
                first, last = _pixel_span(y, splats[row, 7], tile_rows)
                if first == last:
                    continue
                half_a, half_c = HALF * a, HALF * c
                v_weights[first:last] = ZERO
                for k in range(channels):
                    value, base = splats[row, GEOMETRY + k], np.uintp(k * PIXELS)
                    for i in range(first, last):
                        p = np.uintp(i)
                        v_weights[p] += v_sums[base + p] * value
                total, along_x, along_y = ZERO, ZERO, ZERO
                along_xx, along_xy, along_yy = ZERO, ZERO, ZERO
                for i in range(first, last):
                    p = np.uintp(i)
                    dx, dy = PIXEL_X[p] - x, PIXEL_Y[p] - y
                    exponent = (half_a * dx + b * dy) * dx + half_c * dy * dy
                    before = transmittance[p]
                    reached = np.float32(exponent >= ZERO) * np.float32(exponent <= limit) * np.float32(before > ZERO)
                    uncapped = opacity * _decay(min(max(exponent, ZERO), MAX_EXPONENT))
                    alpha = reached * min(CAP, uncapped)
                    after = before * (ONE - alpha)
                    finished = reached * np.float32(after <= STOP)
                    weight = (ONE - finished) * alpha * before
                    weights[p] = weight
                    transmittance[p] = after - finished * (after + before)
                    remaining = behind[p] - weight * v_weights[p]
                    behind[p] = remaining
                    v_alpha = before * v_weights[p] - remaining / (ONE - alpha)
                    v_exponent = -alpha * v_alpha * (ONE - finished) * np.float32(uncapped <= CAP)
                    v_dx, v_dy = v_exponent * dx, v_exponent * dy
                    total += v_exponent
                    along_x += v_dx
                    along_y += v_dy
                    along_xx += v_dx * dx
                    along_xy += v_dx * dy
                    along_yy += v_dy * dy
                v_splats[lane, row, 0] -= a * along_x + b * along_y
                v_splats[lane, row, 1] -= b * along_x + c * along_y
                v_splats[lane, row, 2] += HALF * along_xx
                v_splats[lane, row, 3] += along_xy
                v_splats[lane, row, 4] += HALF * along_yy
                v_splats[lane, row, 5] -= total / opacity
                for k in range(channels):
                    v_value, base = ZERO, np.uintp(k * PIXELS)
                    for i in range(first, last):
                        p = np.uintp(i)
                        v_value += weights[p] * v_sums[base + p]
                    v_splats[lane, row, V_GEOMETRY + k] += v_value
    return v_splats


@parallel
def unpack(v_splats):
    """The lanes' sum, as gradients of what `pack` took: means2d, footprints, colors, features, depths."""
    lanes, n, columns = v_splats.shape
    extra = columns - V_GEOMETRY - 4
    v_means2d, v_footprints = np.empty((n, 2), np.float32), np.empty((n, 4), np.float32)
    v_colors, v_features = np.empty((n, 3), np.float32), np.empty((n, extra), np.float32)
    v_depths = np.empty(n, np.float32)
    for i in prange(n):
        for lane in range(1, lanes):
            for k in range(columns):
                v_splats[0, i, k] += v_splats[lane, i, k]
        v_means2d[i, 0], v_means2d[i, 1] = v_splats[0, i, 0], v_splats[0, i, 1]
        for k in range(4):
            v_footprints[i, k] = v_splats[0, i, 2 + k]
        for k in range(3):
            v_colors[i, k] = v_splats[0, i, V_GEOMETRY + k]
        for k in range(extra):
            v_features[i, k] = v_splats[0, i, V_GEOMETRY + 3 + k]
        v_depths[i] = v_splats[0, i, V_GEOMETRY + 3 + extra]
    return v_means2d, v_footprints, v_colors, v_features, v_depths
