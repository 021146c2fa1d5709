"""The gradients of blending: each tile once more front to back, with what it hides still to come.

A pixel is out = sum_i w_i c_i + T_end background with w_i = alpha_i T_i. Therefore, `v_` being a gradient,
v_w_i = c_i . v_out, and alpha_i both adds w_i and dims all behind it:
v_alpha_i = T_i v_w_i - behind_i / (1 - alpha_i), behind_i = sum_{j > i} w_j v_w_j + T_end v_T_end.
`behind` starts as the whole sum, which the picture itself tells, and loses a term with each Gaussian.
"""

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import TILE
from moegs.rasterize.cpu.compositing import (
    BATCH,
    CAP,
    GEOMETRY,
    HALF,
    ONE,
    PIXELS,
    STOP,
    ZERO,
    Pictures,
    blend,
    decay,
    fetch,
    offset,
    splat_at,
    tile_at,
)

V_GEOMETRY = 6
"""Columns of a splat's gradient before its channels': u, v, conic a, b, c, opacity."""


@inlined
def _read(tile, backgrounds, pictures, v_pictures, with_depth, v_sums, behind):
    """The tile's gradients, one channel after the other, and what is behind before the first Gaussian: everything."""
    layer, extra = tile.layer, pictures.features.shape[3]
    for i in range(tile.rows):
        for j in range(tile.columns):
            p, row, column = i * TILE + j, tile.top + i, tile.left + j
            alpha = pictures.alphas[layer, row, column, 0]
            left_over = ONE - alpha
            v_left_over, total = -v_pictures.alphas[layer, row, column, 0], ZERO
            for k in range(3):
                v, background = v_pictures.images[layer, row, column, k], backgrounds[layer, k]
                v_sums[k * PIXELS + p] = v
                total += v * (pictures.images[layer, row, column, k] - left_over * background)
                v_left_over += v * background
            for k in range(extra):
                v, background = v_pictures.features[layer, row, column, k], backgrounds[layer, 3 + k]
                v_sums[(3 + k) * PIXELS + p] = v
                total += v * (pictures.features[layer, row, column, k] - left_over * background)
                v_left_over += v * background
            if with_depth and alpha > ZERO:  # depth = (sum of w z) / alpha
                v_depth = v_pictures.depths[layer, row, column, 0]
                depth = pictures.depths[layer, row, column, 0]
                v_sums[(3 + extra) * PIXELS + p] = v_depth / alpha
                total += v_depth * depth
                v_left_over += v_depth * depth / alpha
            behind[p] = total + v_left_over * left_over


@inlined
def _weigh_channels(splat, batch, i, channels, v_sums, v_weights):
    """v_w: the channels' values times their gradients."""
    for j in range(splat.first, splat.last):
        v_weights[np.uintp(j)] = ZERO
    for k in range(channels):
        value, base = batch[i, GEOMETRY + k], np.uintp(k * PIXELS)
        for j in range(splat.first, splat.last):
            p = np.uintp(j)
            v_weights[p] += v_sums[base + p] * value


@inlined
def _unblend(splat, transmittance, behind, v_weights, weights):
    """Walks on as `blend` does; sums over pixels of v, v dx, v dy, v dx^2, v dx dy, v dy^2 with v = v_exponent."""
    v_0, v_x, v_y, v_xx, v_xy, v_yy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(splat.first, splat.last):
        p = np.uintp(i)
        dx, dy, exponent = offset(splat, p)
        before = transmittance[p]
        reached = (exponent >= ZERO) & (exponent <= splat.limit) & (before > ZERO)
        uncapped = splat.opacity * decay(exponent) if reached else ZERO
        alpha = min(CAP, uncapped)
        after = before * (ONE - alpha)
        finished = reached & (after <= STOP)
        weight = ZERO if finished else alpha * before
        weights[p] = weight
        transmittance[p] = -before if finished else after
        rest = behind[p] - weight * v_weights[p]
        behind[p] = rest
        v_alpha = before * v_weights[p] - rest / (ONE - alpha)
        v = ZERO if finished | (uncapped > CAP) else -alpha * v_alpha
        v_0 += v
        v_x += v * dx
        v_y += v * dy
        v_xx += v * dx * dx
        v_xy += v * dx * dy
        v_yy += v * dy * dy
    return v_0, v_x, v_y, v_xx, v_xy, v_yy


@inlined
def _add_splat(splat, moments, v_splats, lane, row):
    v_0, v_x, v_y, v_xx, v_xy, v_yy = moments
    v_splats[lane, row, 0] -= splat.a * v_x + splat.b * v_y
    v_splats[lane, row, 1] -= splat.b * v_x + splat.c * v_y
    v_splats[lane, row, 2] += HALF * v_xx
    v_splats[lane, row, 3] += v_xy
    v_splats[lane, row, 4] += HALF * v_yy
    v_splats[lane, row, 5] -= v_0 / splat.opacity


@inlined
def _add_channels(splat, weights, channels, v_sums, v_splats, lane, row):
    for k in range(channels[0], channels[1]):
        v_value, base = ZERO, np.uintp(k * PIXELS)
        for j in range(splat.first, splat.last):
            p = np.uintp(j)
            v_value += weights[p] * v_sums[base + p]
        v_splats[lane, row, V_GEOMETRY + k] += v_value


@inlined
def _backward_lane(lane, starts, ends, rows, splats, backgrounds, pictures, v_pictures, wanted, v_splats):
    geometry, first, last = wanted
    transmittance, behind = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    weights, v_weights = np.empty(PIXELS, np.float32), np.empty(PIXELS, np.float32)
    v_sums = np.empty((splats.shape[1] - GEOMETRY) * PIXELS, np.float32)
    batch = np.empty((BATCH, splats.shape[1]), np.float32)
    for number in range(lane, ends.shape[0], v_splats.shape[0]):
        tile = tile_at(number, pictures.images.shape)
        v_sums[:] = ZERO
        behind[:] = ZERO
        transmittance[:] = -ONE
        for i in range(tile.rows):
            transmittance[i * TILE : i * TILE + tile.columns] = ONE
        _read(tile, backgrounds, pictures, v_pictures, last == splats.shape[1] - GEOMETRY, v_sums, behind)
        for position in range(starts[number], ends[number], BATCH):
            count = min(BATCH, ends[number] - position)
            fetch(batch, splats, rows, position, position + count)
            for i in range(count):
                splat, row = splat_at(batch, i, tile), rows[position + i]
                if geometry:
                    _weigh_channels(splat, batch, i, last, v_sums, v_weights)
                    moments = _unblend(splat, transmittance, behind, v_weights, weights)
                    _add_splat(splat, moments, v_splats, lane, row)
                else:
                    blend(splat, transmittance, weights)
                _add_channels(splat, weights, (first, last), v_sums, v_splats, lane, row)


@parallel
def composite_backward(
    starts: Int64[ndarray, " S+1"],
    ends: Int64[ndarray, " S"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 8+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    pictures: Pictures,
    v_pictures: Pictures,
    wanted: tuple[bool, int, int],
    lanes: int,
):
    """The gradient of every splat as each lane sums it: lanes N 6+D.

    `wanted` says whether the geometry's gradients are, and of which channels: from the one number up to the other. A
    router learns features alone, in half the time. Depths have a gradient if the last channel, z, is wanted.
    """
    v_splats = np.zeros((lanes, splats.shape[0], V_GEOMETRY + splats.shape[1] - GEOMETRY), np.float32)
    for lane in prange(lanes):
        _backward_lane(lane, starts, ends, rows, splats, backgrounds, pictures, v_pictures, wanted, v_splats)
    return v_splats


@parallel
def unpack(v_splats: Float32[ndarray, "lanes N 6+D"]):
    """The lanes' sum in its parts: gradients of means2d, footprints, colors, features and depths."""
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
