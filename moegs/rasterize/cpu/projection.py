"""From Gaussians in space to their footprints in the picture.

EWA splatting (Zwicker et al. 2001) as gsplat 1.5.3 computes it. With A the camera's rotation, J the Jacobian of the
projection at the centre, R the Gaussian's rotation and S its scales, the 2D covariance is U U^T + blur I, where
U = J A R S has 2 rows and 3 columns.

Vectors are tuples of three numbers, matrices tuples of vectors: the compiler keeps both in registers.
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import ALPHA_MIN, JACOBIAN_MARGIN, MAX_SIGMAS
from moegs.rasterize.cpu.reach import edge_exponent
from moegs.rotations import SHORTEST

# A float64 constant would turn all that it meets into float64, at half the speed.
ZERO, ONE, TWO = np.float32(0), np.float32(1), np.float32(2)
VISIBLE = np.float32(ALPHA_MIN)
SIGMAS = np.float32(MAX_SIGMAS)
HALF_MARGIN = np.float32(JACOBIAN_MARGIN / 2)
HUGE = np.float32(1e37)
"""Beyond this a product may overflow."""
LARGEST = np.float32(1e18)
"""Sum of the variances in the picture, px^2, up to which a Gaussian is drawn; as on CUDA. Determinants then are below
HUGE."""
SHORTEST_SQUARED = np.float32(SHORTEST**2)
MAX_RADIUS = np.float32(1e9)
"""Pixels; a larger extent would not fit an int32."""

Vector = tuple[np.float32, np.float32, np.float32]


class Lens(NamedTuple):
    """The camera."""

    right: Vector
    down: Vector
    forward: Vector
    """Its axes in the world."""
    origin: Vector
    """The world's origin, seen from it."""
    fx: np.float32
    fy: np.float32
    cx: np.float32
    cy: np.float32
    width: np.float32
    height: np.float32


class Spread(NamedTuple):
    """How one Gaussian spreads in the picture, and the way there."""

    slope_x: np.float32
    slope_y: np.float32
    """x / z and y / z of the centre, kept inside the picture and its margin."""
    free_x: bool
    free_y: bool
    """Whether they were inside."""
    unit_quat: tuple[np.float32, np.float32, np.float32, np.float32]
    factor: np.float32
    """What brought the quaternion to length 1."""
    axes: tuple[Vector, Vector, Vector]
    """Columns of R."""
    rows: tuple[Vector, Vector]
    """Rows of J A."""
    flat: tuple[Vector, Vector]
    """Rows of U."""


@inlined
def vector(rows, i):
    return (rows[i, 0], rows[i, 1], rows[i, 2])


@inlined
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@inlined
def cross(a, b):
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


@inlined
def mixed(a, x, b, y):
    """The vector a x + b y of two numbers a, b and two vectors."""
    return (a * x[0] + b * y[0], a * x[1] + b * y[1], a * x[2] + b * y[2])


@inlined
def lens_of(viewmat, intrinsics):
    """`intrinsics` are fx, fy, cx, cy, width, height."""
    return Lens(
        vector(viewmat, 0),
        vector(viewmat, 1),
        vector(viewmat, 2),
        (viewmat[0, 3], viewmat[1, 3], viewmat[2, 3]),
        intrinsics[0],
        intrinsics[1],
        intrinsics[2],
        intrinsics[3],
        intrinsics[4],
        intrinsics[5],
    )


@inlined
def seen(mean, lens):
    """A point of the world in the camera's axes."""
    x, y, z = lens.origin
    return (dot(lens.right, mean) + x, dot(lens.down, mean) + y, dot(lens.forward, mean) + z)


@inlined
def _unit(quat):
    """The quaternion (w, x, y, z) at length 1 and the factor that brought it there; no rotation if it is too short."""
    w, x, y, z = quat
    squared = w * w + x * x + y * y + z * z
    if squared >= SHORTEST_SQUARED:
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
def _clamped(slope, focal, center, size):
    """Far outside of the picture the linear projection would explode: its slope stays at the margin.

    The slope, and whether it was inside.
    """
    margin = HALF_MARGIN * size / focal
    low, high = -(center / focal + margin), (size - center) / focal + margin
    return min(max(slope, low), high), slope > low and slope < high


@inlined
def spread_of(center, quat, scale, lens):
    """What a Gaussian's `Spread` is; `center` in the camera's axes."""
    x, y, z = center
    slope_x, free_x = _clamped(x / z, lens.fx, lens.cx, lens.width)
    slope_y, free_y = _clamped(y / z, lens.fy, lens.cy, lens.height)
    row_x = mixed(lens.fx / z, lens.right, -lens.fx * slope_x / z, lens.forward)
    row_y = mixed(lens.fy / z, lens.down, -lens.fy * slope_y / z, lens.forward)
    unit_quat, factor = _unit(quat)
    axes = _axes(unit_quat)
    flat_x = (scale[0] * dot(row_x, axes[0]), scale[1] * dot(row_x, axes[1]), scale[2] * dot(row_x, axes[2]))
    flat_y = (scale[0] * dot(row_y, axes[0]), scale[1] * dot(row_y, axes[1]), scale[2] * dot(row_y, axes[2]))
    return Spread(slope_x, slope_y, free_x, free_y, unit_quat, factor, axes, (row_x, row_y), (flat_x, flat_y))


@inlined
def sharp_covariance(spread):
    """U U^T without the blur: xx, xy, yy and determinant.

    The determinant by Lagrange's identity, |u|^2 |v|^2 - (u . v)^2 = |u x v|^2: a difference would cancel to 0 or below
    for a long needle.
    """
    x, y = spread.flat
    normal = cross(x, y)
    return dot(x, x), dot(x, y), dot(y, y), dot(normal, normal)


@inlined
def _project_one(
    i, mean, quat, scale, opacity, setting, viewmat, intrinsics, means2d, footprints, depths, bounds, radii
):
    # Comparisons are so written that NaN fails them.
    blur, compensated, near, far = setting
    lens = lens_of(viewmat, intrinsics)
    center = seen(mean, lens)
    x, y, z = center
    if not (z > ZERO and z >= near and z <= far):
        return
    xx, xy, yy, sharp_det = sharp_covariance(spread_of(center, quat, scale, lens))
    det = sharp_det + blur * (xx + yy) + blur * blur
    xx, yy = xx + blur, yy + blur
    if not (xx + yy < LARGEST and xx + yy < HUGE * det):  # the latter: its inverse, the conic, is finite
        return
    if compensated > ZERO:
        opacity *= math.sqrt(sharp_det / det)
    if not opacity >= VISIBLE:
        return
    limit = math.log(opacity / VISIBLE)
    sigmas = min(SIGMAS, math.sqrt(TWO * limit))
    radius_x = min(MAX_RADIUS, np.float32(math.ceil(sigmas * math.sqrt(xx))))
    radius_y = min(MAX_RADIUS, np.float32(math.ceil(sigmas * math.sqrt(yy))))
    u, v = lens.fx * x / z + lens.cx, lens.fy * y / z + lens.cy
    if not (u + radius_x > ZERO and u - radius_x < lens.width and v + radius_y > ZERO and v - radius_y < lens.height):
        return
    means2d[i, 0], means2d[i, 1] = u, v
    footprints[i, 0], footprints[i, 1], footprints[i, 2], footprints[i, 3] = yy / det, -xy / det, xx / det, opacity
    depths[i] = z
    squared = TWO * edge_exponent(limit)
    bounds[i, 0], bounds[i, 1], bounds[i, 2] = limit, math.sqrt(squared * xx), xy * math.sqrt(squared / yy)
    bounds[i, 3], bounds[i, 4] = xy / xx, math.sqrt(det) / xx
    radii[i, 0], radii[i, 1] = np.int32(radius_x), np.int32(radius_y)


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

    A footprint is the conic (a, b, c), the inverse of the 2D covariance, and the opacity, compensated where its layer
    says so. A pixel is drawn where the exponent a dx^2 / 2 + b dx dy + c dy^2 / 2 is at most ln(opacity / ALPHA_MIN),
    the first bound; the others are the ellipse of such pixels: its half width, apex, lean and aspect, as reach.py has
    them. `settings` are a layer's blur, whether it is compensated, near and far; `intrinsics` fx, fy, cx, cy, width,
    height.
    """
    n = means.shape[0]
    means2d, footprints = np.zeros((n, 2), np.float32), np.zeros((n, 4), np.float32)
    depths, bounds, radii = np.zeros(n, np.float32), np.zeros((n, 5), np.float32), np.zeros((n, 2), np.int32)
    for i in prange(n):
        e = layer_of[i]
        setting = (settings[e, 0], settings[e, 1], settings[e, 2], settings[e, 3])
        quat = (quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3])
        mean, scale = vector(means, i), vector(scales, i)
        _project_one(
            i, mean, quat, scale, opacities[i], setting, viewmat, intrinsics, means2d, footprints, depths, bounds, radii
        )
    return means2d, footprints, depths, bounds, radii
