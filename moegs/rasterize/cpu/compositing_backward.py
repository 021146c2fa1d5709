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
from moegs.rasterize.cpu.compositing import (
    BATCH,
    CAP,
    GEOMETRY,
    HALF,
    ONE,
    ONE_ON,
    SHARE,
    STOP,
    THREE_ON,
    TWO_ON,
    ZERO,
    Pictures,
    decay,
    fetch,
    four,
    offset,
    reach,
    splat_at,
    step,
)
from moegs.rasterize.cpu.strips import PIXELS, STRIPS, blank, place, tile_at, unseen

BEHIND, OTHERS, SUMS = np.uintp(2 * PIXELS), np.uintp(3 * PIXELS), np.uintp(4 * PIXELS)
V_GEOMETRY = 6
"""Columns of a splat's gradient before its channels': u, v, conic a, b, c, opacity."""


@inlined
def _read(tile, backgrounds, pictures, v_pictures, with_depth, v_sums, behind):
    """The tile's gradients, one channel after the other, and what is behind before the first Gaussian: everything."""
    layer, extra = tile.layer, pictures.features.shape[3]
    for i in range(tile.rows):
        for j in range(tile.columns):
            p, row, column = place(i, j), tile.top + i, tile.left + j
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
def _weigh_four(splat, batch, i, k, sheet):
    """Adds the values of channels `k` to `k` + 3 times their gradients to v_w."""
    c0, c1, c2, c3 = four(batch, i, k)
    sums = SUMS + np.uintp(k * PIXELS)
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        low = c0 * sheet[sums + p] + c1 * sheet[sums + ONE_ON + p]
        high = c2 * sheet[sums + TWO_ON + p] + c3 * sheet[sums + THREE_ON + p]
        sheet[OTHERS + p] = (sheet[OTHERS + p] if k > 4 else ZERO) + low + high


@inlined
def _unblend(splat, batch, i, sheet):
    """Walks on as the picture did. Sums over pixels of v, v dx, v dy, v dx^2, v dx dy, v dy^2 with v = v_exponent, and
    of the first four channels' gradients."""
    c0, c1, c2, c3 = four(batch, i, 0)
    v_0, v_x, v_y, v_xx, v_xy, v_yy = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    v_c0, v_c1, v_c2, v_c3 = ZERO, ZERO, ZERO, ZERO
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        g0, g1 = sheet[SUMS + p], sheet[SUMS + ONE_ON + p]
        g2, g3 = sheet[SUMS + TWO_ON + p], sheet[SUMS + THREE_ON + p]
        v_weight = sheet[OTHERS + p] + (c0 * g0 + c1 * g1) + (c2 * g2 + c3 * g3)
        dx, dy, exponent = offset(splat, p)
        before = sheet[p]
        reached = (exponent >= ZERO) & (exponent <= splat.limit) & (before > ZERO)
        uncapped = splat.opacity * decay(exponent) if reached else ZERO
        alpha = min(CAP, uncapped)
        after = before * (ONE - alpha)
        finished = reached & (after <= STOP)
        weight = ZERO if finished else alpha * before
        sheet[SHARE + p] = weight
        sheet[p] = -before if finished else after
        rest = sheet[BEHIND + p] - weight * v_weight
        sheet[BEHIND + p] = rest
        v_alpha = before * v_weight - rest / (ONE - alpha)
        v = ZERO if finished | (uncapped > CAP) else -alpha * v_alpha
        v_0 += v
        v_x += v * dx
        v_y += v * dy
        v_xx += v * dx * dx
        v_xy += v * dx * dy
        v_yy += v * dy * dy
        v_c0 += weight * g0
        v_c1 += weight * g1
        v_c2 += weight * g2
        v_c3 += weight * g3
    return (v_0, v_x, v_y, v_xx, v_xy, v_yy), (v_c0, v_c1, v_c2, v_c3)


@inlined
def _walk(splat, sheet):
    """Walks on as the picture did, where the geometry has no gradient. Sums over pixels of the first four channels'."""
    v_c0, v_c1, v_c2, v_c3 = ZERO, ZERO, ZERO, ZERO
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        weight, after = step(splat, p, sheet[p])
        sheet[p] = after
        sheet[SHARE + p] = weight
        v_c0 += weight * sheet[SUMS + p]
        v_c1 += weight * sheet[SUMS + ONE_ON + p]
        v_c2 += weight * sheet[SUMS + TWO_ON + p]
        v_c3 += weight * sheet[SUMS + THREE_ON + p]
    return v_c0, v_c1, v_c2, v_c3


@inlined
def _four_more(splat, k, sheet):
    """The same of channels `k` to `k` + 3, over the shares that are there."""
    sums = SUMS + np.uintp(k * PIXELS)
    v_c0, v_c1, v_c2, v_c3 = ZERO, ZERO, ZERO, ZERO
    for j in range(splat.first, splat.last):
        p = np.uintp(j)
        weight = sheet[SHARE + p]
        v_c0 += weight * sheet[sums + p]
        v_c1 += weight * sheet[sums + ONE_ON + p]
        v_c2 += weight * sheet[sums + TWO_ON + p]
        v_c3 += weight * sheet[sums + THREE_ON + p]
    return v_c0, v_c1, v_c2, v_c3


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
def _add_four(v_four, v_splats, lane, row, k):
    for n in range(4):
        v_splats[lane, row, V_GEOMETRY + k + n] += v_four[n]


@inlined
def _backward_lane(lane, starts, ends, rows, splats, backgrounds, pictures, v_pictures, wanted, v_splats):
    geometry, depth = wanted
    channels = splats.shape[1] - GEOMETRY
    sheet = blank((4 + channels) * PIXELS)
    batch, runs = np.empty((BATCH, splats.shape[1]), np.float32), np.empty((BATCH, STRIPS, 2), np.int64)
    for number in range(lane, ends.shape[0], v_splats.shape[0]):
        tile = tile_at(number, pictures.images.shape)
        sheet[:] = ZERO
        unseen(sheet[:PIXELS], tile)
        _read(tile, backgrounds, pictures, v_pictures, depth, sheet[SUMS:], sheet[BEHIND:])
        for position in range(starts[number], ends[number], BATCH):
            count = min(BATCH, ends[number] - position)
            fetch(batch, splats, rows, position, position + count)
            reach(batch, count, tile, runs)
            for i in range(count):
                row = rows[position + i]
                for strip in range(STRIPS):
                    splat = splat_at(batch, runs, i, tile, strip)
                    if splat.first == splat.last:
                        continue
                    if geometry:
                        for k in range(4, channels, 4):
                            _weigh_four(splat, batch, i, k, sheet)
                        moments, v_four = _unblend(splat, batch, i, sheet)
                        _add_splat(splat, moments, v_splats, lane, row)
                    else:
                        v_four = _walk(splat, sheet)
                    _add_four(v_four, v_splats, lane, row, 0)
                    for k in range(4, channels, 4):
                        _add_four(_four_more(splat, k, sheet), v_splats, lane, row, k)


@parallel
def composite_backward(
    starts: Int64[ndarray, " S+1"],
    ends: Int64[ndarray, " S"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 11+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    pictures: Pictures,
    v_pictures: Pictures,
    wanted: tuple[bool, bool],
    lanes: int,
):
    """The gradient of every splat as each lane sums it: lanes N 6+D.

    `wanted` says whether the geometry's gradients are, and those of the depths.
    """
    v_splats = np.zeros((lanes, splats.shape[0], V_GEOMETRY + splats.shape[1] - GEOMETRY), np.float32)
    for lane in prange(lanes):
        _backward_lane(lane, starts, ends, rows, splats, backgrounds, pictures, v_pictures, wanted, v_splats)
    return v_splats


@parallel
def unpack(v_splats: Float32[ndarray, "lanes N 6+D"], extra: int):
    """The lanes' sum in its parts: gradients of means2d, footprints, colors, `extra` features and depths."""
    lanes, n, columns = v_splats.shape
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
