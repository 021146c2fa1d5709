"""The gradients of projection, step by step back from the footprints to the Gaussians; `v_x` is the gradient of x."""

import math

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize.cpu.projection import (
    HUGE,
    ONE,
    TWO,
    ZERO,
    dot,
    lens_of,
    mixed,
    seen,
    sharp_covariance,
    spread_of,
    vector,
)

HALF = np.float32(0.5)


@inlined
def _v_covariance(conic, v_conic):
    """-Q v_Q Q for the inverse Q of a covariance: xx, xy (one of the two equal entries), yy.

    The conic's b stands for two equal entries as well, which share its gradient.
    """
    a, b, c = conic
    v_a, v_b, v_c = v_conic[0], HALF * v_conic[1], v_conic[2]
    left_a, left_b = v_a * a + v_b * b, v_a * b + v_b * c  # v_Q Q
    right_a, right_b = v_b * a + v_c * b, v_b * b + v_c * c
    return -(a * left_a + b * right_a), -(a * left_b + b * right_b), -(b * left_b + c * right_b)


@inlined
def _v_compensation(spread, conic, opacity, v_opacity):
    """What compensating the opacity adds to the covariance's gradient: xx, xy, yy; and the uncompensated opacity's.

    ln(compensation) = (ln(det before the blur) - ln(det after)) / 2, and the gradient of ln(det) is the inverse.
    """
    a, b, c = conic
    xx, xy, yy, det = sharp_covariance(spread)
    v_log = HALF * v_opacity * opacity
    v_uncompensated = v_opacity * math.sqrt(det * (a * c - b * b))
    return v_log * (yy / det - a), v_log * (-xy / det - b), v_log * (xx / det - c), v_uncompensated


@inlined
def _v_axes(spread, scale, v_flat):
    """Of U = (J A) R S: gradients of the axes in R and of the scales."""
    rows, axes = spread.rows, spread.axes
    v_x, v_y = v_flat
    v_axes = (
        mixed(scale[0] * v_x[0], rows[0], scale[0] * v_y[0], rows[1]),
        mixed(scale[1] * v_x[1], rows[0], scale[1] * v_y[1], rows[1]),
        mixed(scale[2] * v_x[2], rows[0], scale[2] * v_y[2], rows[1]),
    )
    v_scale = (
        v_x[0] * dot(rows[0], axes[0]) + v_y[0] * dot(rows[1], axes[0]),
        v_x[1] * dot(rows[0], axes[1]) + v_y[1] * dot(rows[1], axes[1]),
        v_x[2] * dot(rows[0], axes[2]) + v_y[2] * dot(rows[1], axes[2]),
    )
    return v_axes, v_scale


@inlined
def _v_row(spread, scale, v_flat):
    """Of U = (J A) R S: the gradient of one row of J A from that of the same row of U."""
    first_two = mixed(scale[0] * v_flat[0], spread.axes[0], scale[1] * v_flat[1], spread.axes[1])
    return mixed(ONE, first_two, scale[2] * v_flat[2], spread.axes[2])


@inlined
def _v_quat(spread, v_axes):
    """Across the quaternion's direction alone, since its length does not count."""
    w, x, y, z = spread.unit_quat
    a, b, c = v_axes
    v_w = TWO * (x * (b[2] - c[1]) + y * (c[0] - a[2]) + z * (a[1] - b[0]))
    v_x = TWO * (y * (b[0] + a[1]) + z * (c[0] + a[2]) + w * (b[2] - c[1]) - TWO * x * (b[1] + c[2]))
    v_y = TWO * (x * (b[0] + a[1]) + z * (c[1] + b[2]) + w * (c[0] - a[2]) - TWO * y * (a[0] + c[2]))
    v_z = TWO * (x * (c[0] + a[2]) + y * (c[1] + b[2]) + w * (a[1] - b[0]) - TWO * z * (a[0] + b[1]))
    along = v_w * w + v_x * x + v_y * y + v_z * z
    k = spread.factor
    return k * (v_w - along * w), k * (v_x - along * x), k * (v_y - along * y), k * (v_z - along * z)


@inlined
def _v_across(focal, axis, forward, position, z, slope, free, v_row, v_pixel):
    """Gradients of x and z from one row of J A, f / z (axis - slope forward), and from the pixel f x / z + c.

    The slope is x / z where it is free; else it was clamped and is a constant.
    """
    v_ratio = dot(v_row, axis) - slope * dot(v_row, forward) + position * v_pixel  # of f / z
    v_x, v_z = focal / z * v_pixel, -focal / (z * z) * v_ratio
    if free:
        v_slope = -focal / z * dot(v_row, forward)
        return v_x + v_slope / z, v_z - v_slope * slope / z
    return v_x, v_z


@inlined
def _project_one_backward(
    mean, quat, scale, compensated, viewmat, intrinsics, footprint, v_mean2d, v_footprint, v_depth
):
    """Gradients of mean, quaternion, scale and opacity."""
    lens = lens_of(viewmat, intrinsics)
    center = seen(mean, lens)
    x, y, z = center
    spread = spread_of(center, quat, scale, lens)
    conic, v_opacity = (footprint[0], footprint[1], footprint[2]), v_footprint[3]
    v_xx, v_xy, v_yy = _v_covariance(conic, v_footprint)
    if compensated > ZERO:
        add_xx, add_xy, add_yy, v_opacity = _v_compensation(spread, conic, footprint[3], v_opacity)
        v_xx, v_xy, v_yy = v_xx + add_xx, v_xy + add_xy, v_yy + add_yy

    flat_x, flat_y = spread.flat  # covariance = U U^T
    v_flat = (mixed(TWO * v_xx, flat_x, TWO * v_xy, flat_y), mixed(TWO * v_xy, flat_x, TWO * v_yy, flat_y))
    v_axes, v_scale = _v_axes(spread, scale, v_flat)
    v_row_x, v_row_y = _v_row(spread, scale, v_flat[0]), _v_row(spread, scale, v_flat[1])
    v_x, v_z_x = _v_across(lens.fx, lens.right, lens.forward, x, z, spread.slope_x, spread.free_x, v_row_x, v_mean2d[0])
    v_y, v_z_y = _v_across(lens.fy, lens.down, lens.forward, y, z, spread.slope_y, spread.free_y, v_row_y, v_mean2d[1])
    v_mean = mixed(ONE, mixed(v_x, lens.right, v_y, lens.down), v_z_x + v_z_y + v_depth, lens.forward)
    return v_mean, _v_quat(spread, v_axes), v_scale, v_opacity


@parallel
def project_backward(
    means: Float32[ndarray, "N 3"],
    quats: Float32[ndarray, "N 4"],
    scales: Float32[ndarray, "N 3"],
    layer_of: Int32[ndarray, " N"],
    settings: Float32[ndarray, "E 4"],
    viewmat: Float32[ndarray, "4 4"],
    intrinsics: Float32[ndarray, " 6"],
    footprints: Float32[ndarray, "N 4"],
    radii: Int32[ndarray, "N 2"],
    v_means2d: Float32[ndarray, "N 2"],
    v_footprints: Float32[ndarray, "N 4"],
    v_depths: Float32[ndarray, " N"],
):
    """Gradients of means, quats, scales and opacities, from those of what `project` gave; 0 for what it left out."""
    n = means.shape[0]
    v_means, v_quats = np.zeros((n, 3), np.float32), np.zeros((n, 4), np.float32)
    v_scales, v_opacities = np.zeros((n, 3), np.float32), np.zeros(n, np.float32)
    for i in prange(n):
        if radii[i, 0] > 0:
            v_mean, v_quat, v_scale, v_opacity = _project_one_backward(
                vector(means, i),
                (quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]),
                vector(scales, i),
                settings[layer_of[i], 1],
                viewmat,
                intrinsics,
                (footprints[i, 0], footprints[i, 1], footprints[i, 2], footprints[i, 3]),
                (v_means2d[i, 0], v_means2d[i, 1]),
                (v_footprints[i, 0], v_footprints[i, 1], v_footprints[i, 2], v_footprints[i, 3]),
                v_depths[i],
            )
            w, x, y, z = v_quat
            total = abs(w) + abs(x) + abs(y) + abs(z) + abs(v_opacity)
            total += dot(v_mean, v_mean) + dot(v_scale, v_scale)
            if total < HUGE:  # an enormous Gaussian may overflow: better no step than one to nowhere
                v_means[i, 0], v_means[i, 1], v_means[i, 2] = v_mean
                v_quats[i, 0], v_quats[i, 1], v_quats[i, 2], v_quats[i, 3] = v_quat
                v_scales[i, 0], v_scales[i, 1], v_scales[i, 2] = v_scale
                v_opacities[i] = v_opacity
    return v_means, v_quats, v_scales, v_opacities
