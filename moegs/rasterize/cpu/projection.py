"""From Gaussians in space to their footprints in the picture, and the way back of the gradients.

EWA splatting (Zwicker et al. 2001) as gsplat 1.5.3 computes it. With A the camera's rotation, J the Jacobian of the
projection at the centre, R the Gaussian's rotation and S its scales, the 2D covariance is U U^T + blur I, where
U = J A R S has 2 rows and 3 columns.

Vectors are tuples of three numbers, matrices tuples of their rows: the compiler keeps both in registers.
"""

import math

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.rasterize import ALPHA_MIN, JACOBIAN_MARGIN, MAX_SIGMAS
from moegs.rasterize.cpu.kernels import inlined, parallel

# A float64 constant would turn all that it meets into float64, at half the speed.
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)
VISIBLE = np.float32(ALPHA_MIN)
SIGMAS = np.float32(MAX_SIGMAS)
HALF_MARGIN = np.float32(JACOBIAN_MARGIN / 2)
HUGE = np.float32(1e37)
"""Beyond this a product may overflow: such a Gaussian is not drawn."""
MAX_RADIUS = np.float32(1e9)
"""Pixels; a larger extent would not fit an int32."""


@inlined
def _vector(rows, i):
    return (rows[i, 0], rows[i, 1], rows[i, 2])


@inlined
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def _cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


@inlined
def _mixed(a, x, b, y):
    """The vector a x + b y of two numbers a, b and two vectors."""
    return (a * x[0] + b * y[0], a * x[1] + b * y[1], a * x[2] + b * y[2])


@inlined
def _unit(quat):
    """The quaternion (w, x, y, z) at length 1 and the factor that brought it there; no rotation if its length is 0."""
    w, x, y, z = quat
    squared = w * w + x * x + y * y + z * z
    if squared > ZERO:
        factor = ONE / math.sqrt(squared)
        return (w * factor, x * factor, y * factor, z * factor), factor
    return (ONE, ZERO, ZERO, ZERO), ZERO


@inlined
def _axes(unit_quat):
    """The columns of the rotation matrix: where the Gaussian's own axes point."""
    w, x, y, z = unit_quat
    return (
        (ONE - TWO * (y * y + z * z), TWO * (x * y + w * z), TWO * (x * z - w * y)),
        (TWO * (x * y - w * z), ONE - TWO * (x * x + z * z), TWO * (y * z + w * x)),
        (TWO * (x * z + w * y), TWO * (y * z - w * x), ONE - TWO * (x * x + y * y)),
    )


@inlined
def _clamped_slopes(x, y, z, pinhole):
    """x/z and y/z, kept inside the picture and its margin: far outside, the linear projection would explode."""
    fx, fy, cx, cy, width, height = pinhole
    margin_x, margin_y = HALF_MARGIN * width / fx, HALF_MARGIN * height / fy
    slope_x = min(max(x / z, -(cx / fx + margin_x)), (width - cx) / fx + margin_x)
    slope_y = min(max(y / z, -(cy / fy + margin_y)), (height - cy) / fy + margin_y)
    return slope_x, slope_y


@inlined
def _flattened(rows, scales, axes):
    """U's two rows, from the two rows of J A, the scales and the Gaussian's axes."""
    return (
        (scales[0] * _dot(rows[0], axes[0]), scales[1] * _dot(rows[0], axes[1]), scales[2] * _dot(rows[0], axes[2])),
        (scales[0] * _dot(rows[1], axes[0]), scales[1] * _dot(rows[1], axes[1]), scales[2] * _dot(rows[1], axes[2])),
    )


@inlined
def _pinhole(values):
    return (values[0], values[1], values[2], values[3], values[4], values[5])


@parallel
def project(
    means: Float32[ndarray, "N 3"],
    quats: Float32[ndarray, "N 4"],
    scales: Float32[ndarray, "N 3"],
    opacities: Float32[ndarray, " N"],
    layer_of: Int32[ndarray, " N"],
    settings: Float32[ndarray, "E 4"],
    viewmat: Float32[ndarray, "4 4"],
    intrinsics: Float32[ndarray, " 6"],
):
    """Per Gaussian: centre (px), footprint, z, what bounds its pixels, and radii (px); all 0 if it is not drawn.

    A footprint is the conic (a, b, c), the inverse of the 2D covariance, with its opacity, compensated where its layer
    says so. A pixel is drawn where the exponent a dx^2 / 2 + b dx dy + c dy^2 / 2 is at most ln(opacity / ALPHA_MIN),
    `bounds[0]`, so in the rows at most `bounds[1]` from the centre. `settings` are a layer's blur, whether it is
    compensated, near and far; `intrinsics` fx, fy, cx, cy, width, height.
    """
    n = means.shape[0]
    means2d, footprints = np.zeros((n, 2), np.float32), np.zeros((n, 4), np.float32)
    depths, bounds, radii = np.zeros(n, np.float32), np.zeros((n, 2), np.float32), np.zeros((n, 2), np.int32)
    right, down, forward = _vector(viewmat, 0), _vector(viewmat, 1), _vector(viewmat, 2)
    pinhole = _pinhole(intrinsics)
    fx, fy, cx, cy, width, height = pinhole
    for i in prange(n):
        layer = layer_of[i]
        blur, compensated, near, far = settings[layer, 0], settings[layer, 1], settings[layer, 2], settings[layer, 3]
        mean = _vector(means, i)
        z = _dot(forward, mean) + viewmat[2, 3]
        if not (z > ZERO and z >= near and z <= far):
            continue
        x, y = _dot(right, mean) + viewmat[0, 3], _dot(down, mean) + viewmat[1, 3]
        u, v = fx * x / z + cx, fy * y / z + cy

        slope_x, slope_y = _clamped_slopes(x, y, z, pinhole)
        rows = (_mixed(fx / z, right, -fx * slope_x / z, forward), _mixed(fy / z, down, -fy * slope_y / z, forward))
        unit_quat, _ = _unit((quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]))
        flat = _flattened(rows, _vector(scales, i), _axes(unit_quat))
        cov_xx, cov_xy, cov_yy = _dot(flat[0], flat[0]), _dot(flat[0], flat[1]), _dot(flat[1], flat[1])
        # Lagrange's identity: |u|^2 |v|^2 - (u v)^2 = |u x v|^2, which cannot cancel to 0 or below for a long needle.
        normal = _cross(flat[0], flat[1])
        sharp_det = _dot(normal, normal)
        det = sharp_det + blur * (cov_xx + cov_yy) + blur * blur
        cov_xx, cov_yy = cov_xx + blur, cov_yy + blur
        if not (det > ZERO and det < HUGE and cov_xx + cov_yy < HUGE):
            continue

        opacity = opacities[i]
        if compensated > ZERO:
            opacity *= math.sqrt(sharp_det / det)
        if not opacity >= VISIBLE:
            continue
        limit = math.log(opacity / VISIBLE)
        sigmas = min(SIGMAS, math.sqrt(TWO * limit))
        radius_x = min(MAX_RADIUS, np.float32(math.ceil(sigmas * math.sqrt(cov_xx))))
        radius_y = min(MAX_RADIUS, np.float32(math.ceil(sigmas * math.sqrt(cov_yy))))
        if not (u + radius_x > ZERO and u - radius_x < width and v + radius_y > ZERO and v - radius_y < height):
            continue

        means2d[i, 0], means2d[i, 1] = u, v
        footprints[i, 0], footprints[i, 1], footprints[i, 2] = cov_yy / det, -cov_xy / det, cov_xx / det
        footprints[i, 3] = opacity
        depths[i] = z
        bounds[i, 0], bounds[i, 1] = limit, math.sqrt(TWO * limit * cov_yy)
        radii[i, 0], radii[i, 1] = np.int32(radius_x), np.int32(radius_y)
    return means2d, footprints, depths, bounds, radii


@inlined
def _unflattened(v_flat, rows, scales, axes):
    """What `_flattened` hands back: gradients of its rows, scales and axes."""
    v_row_0 = (ZERO, ZERO, ZERO)
    v_row_1 = (ZERO, ZERO, ZERO)
    for k in range(3):
        v_row_0 = _mixed(ONE, v_row_0, v_flat[0][k] * scales[k], axes[k])
        v_row_1 = _mixed(ONE, v_row_1, v_flat[1][k] * scales[k], axes[k])
    v_scales = (
        v_flat[0][0] * _dot(rows[0], axes[0]) + v_flat[1][0] * _dot(rows[1], axes[0]),
        v_flat[0][1] * _dot(rows[0], axes[1]) + v_flat[1][1] * _dot(rows[1], axes[1]),
        v_flat[0][2] * _dot(rows[0], axes[2]) + v_flat[1][2] * _dot(rows[1], axes[2]),
    )
    v_axes = (
        _mixed(scales[0] * v_flat[0][0], rows[0], scales[0] * v_flat[1][0], rows[1]),
        _mixed(scales[1] * v_flat[0][1], rows[0], scales[1] * v_flat[1][1], rows[1]),
        _mixed(scales[2] * v_flat[0][2], rows[0], scales[2] * v_flat[1][2], rows[1]),
    )
    return (v_row_0, v_row_1), v_scales, v_axes


@inlined
def _unrotated(v_axes, unit_quat, factor):
    """What `_axes` and `_unit` hand back: the gradient of the quaternion, across its direction alone."""
    w, x, y, z = unit_quat
    a, b, c = v_axes
    v_w = TWO * (x * (b[2] - c[1]) + y * (c[0] - a[2]) + z * (a[1] - b[0]))
    v_x = TWO * (y * (b[0] + a[1]) + z * (c[0] + a[2]) + w * (b[2] - c[1]) - TWO * x * (b[1] + c[2]))
    v_y = TWO * (x * (b[0] + a[1]) + z * (c[1] + b[2]) + w * (c[0] - a[2]) - TWO * y * (a[0] + c[2]))
    v_z = TWO * (x * (c[0] + a[2]) + y * (c[1] + b[2]) + w * (a[1] - b[0]) - TWO * z * (a[0] + b[1]))
    along = v_w * w + v_x * x + v_y * y + v_z * z
    return (
        (v_w - along * w) * factor,
        (v_x - along * x) * factor,
        (v_y - along * y) * factor,
        (v_z - along * z) * factor,
    )


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
    """Gradients of means, quats, scales and opacities, from those of what `project` gave (`v_` is a gradient)."""
    n = means.shape[0]
    v_means, v_quats = np.zeros((n, 3), np.float32), np.zeros((n, 4), np.float32)
    v_scales, v_opacities = np.zeros((n, 3), np.float32), np.zeros(n, np.float32)
    right, down, forward = _vector(viewmat, 0), _vector(viewmat, 1), _vector(viewmat, 2)
    pinhole = _pinhole(intrinsics)
    fx, fy = pinhole[0], pinhole[1]
    for i in prange(n):
        if radii[i, 0] == 0:
            continue
        mean = _vector(means, i)
        x, y = _dot(right, mean) + viewmat[0, 3], _dot(down, mean) + viewmat[1, 3]
        z = _dot(forward, mean) + viewmat[2, 3]
        slope_x, slope_y = _clamped_slopes(x, y, z, pinhole)
        rows = (_mixed(fx / z, right, -fx * slope_x / z, forward), _mixed(fy / z, down, -fy * slope_y / z, forward))
        unit_quat, factor = _unit((quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]))
        axes, scale = _axes(unit_quat), _vector(scales, i)
        flat = _flattened(rows, scale, axes)

        # The conic Q is the inverse of the covariance, so the covariance's gradient is -Q v_Q Q. The conic's b stands
        # for two equal entries, which share its gradient.
        a, b, c = footprints[i, 0], footprints[i, 1], footprints[i, 2]
        v_a, v_b, v_c = v_footprints[i, 0], HALF * v_footprints[i, 1], v_footprints[i, 2]
        v_xx = -(a * (v_a * a + v_b * b) + b * (v_b * a + v_c * b))
        v_xy = -(a * (v_a * b + v_b * c) + b * (v_b * b + v_c * c))
        v_yy = -(b * (v_a * b + v_b * c) + c * (v_b * b + v_c * c))
        v_opacity = v_footprints[i, 3]
        if settings[layer_of[i], 1] > ZERO:
            # ln(compensation) = (ln(det before the blur) - ln(det after)) / 2, and ln(det) has the gradient inverse.
            sharp_xx, sharp_xy, sharp_yy = _dot(flat[0], flat[0]), _dot(flat[0], flat[1]), _dot(flat[1], flat[1])
            normal = _cross(flat[0], flat[1])
            sharp_det = _dot(normal, normal)
            v_log = HALF * v_opacity * footprints[i, 3]
            v_xx += v_log * (sharp_yy / sharp_det - a)
            v_xy += v_log * (-sharp_xy / sharp_det - b)
            v_yy += v_log * (sharp_xx / sharp_det - c)
            v_opacity *= math.sqrt(sharp_det * (a * c - b * b))

        v_flat = (_mixed(TWO * v_xx, flat[0], TWO * v_xy, flat[1]), _mixed(TWO * v_xy, flat[0], TWO * v_yy, flat[1]))
        v_rows, v_scale, v_axes = _unflattened(v_flat, rows, scale, axes)
        v_quat = _unrotated(v_axes, unit_quat, factor)

        # rows[0] = fx / z (right - slope_x forward), u = fx x / z + cx; likewise down the picture.
        v_u, v_v = v_means2d[i, 0], v_means2d[i, 1]
        v_fx_z = _dot(v_rows[0], right) - slope_x * _dot(v_rows[0], forward) + x * v_u
        v_fy_z = _dot(v_rows[1], down) - slope_y * _dot(v_rows[1], forward) + y * v_v
        v_x, v_y = fx / z * v_u, fy / z * v_v
        v_z = v_depths[i] - (fx * v_fx_z + fy * v_fy_z) / (z * z)
        if slope_x == x / z:
            v_slope = -fx / z * _dot(v_rows[0], forward)
            v_x += v_slope / z
            v_z -= v_slope * slope_x / z
        if slope_y == y / z:
            v_slope = -fy / z * _dot(v_rows[1], forward)
            v_y += v_slope / z
            v_z -= v_slope * slope_y / z

        total = abs(v_x) + abs(v_y) + abs(v_z) + abs(v_opacity)
        for k in range(3):
            total += abs(v_scale[k])
        for k in range(4):
            total += abs(v_quat[k])
        if not total < HUGE:
            continue  # an enormous Gaussian overflowed: better no step than one to nowhere
        for k in range(3):
            v_means[i, k] = v_x * right[k] + v_y * down[k] + v_z * forward[k]
            v_scales[i, k] = v_scale[k]
        for k in range(4):
            v_quats[i, k] = v_quat[k]
        v_opacities[i] = v_opacity
    return v_means, v_quats, v_scales, v_opacities
