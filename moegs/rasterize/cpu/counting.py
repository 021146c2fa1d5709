"""How many pixels and tiles the Gaussians of a picture reach, and how many 3D Gaussian Splatting's squares would."""

import math

import numpy as np
from jaxtyping import Float32, Int32
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import TILE
from moegs.rasterize.cpu.reach import edge_exponent

SIGMAS, LEAST_GAP = 3.0, 0.1
"""Theirs: the square's half side in standard deviations of the longest axis, and the least square of half of the
difference between the covariance's eigenvalues (px^4)."""


@inlined
def _within(low, high, pixels):
    """How many of `pixels` in a row have their centre from `low` to `high`."""
    first, last = math.ceil(max(low - 0.5, 0.0)), math.floor(min(high - 0.5, pixels - 1.0))
    return max(0, last - first + 1)


@inlined
def _tiles_within(center, radius, pixels):
    """How many tiles along an axis of `pixels` they list; their pixels' centres are whole numbers."""
    tiles = (pixels + TILE - 1) // TILE
    first = min(tiles, max(0, int((center - 0.5 - radius) / TILE)))
    return min(tiles, max(0, int((center - 0.5 + radius + TILE - 1) / TILE))) - first


@inlined
def _count_one(u, v, bound, width, height):
    """Pixels in the ellipse, pixels in the square and tiles of the square, of one Gaussian; in float64."""
    limit, half_width, _, lean, aspect = bound
    xx = half_width * half_width / (2 * edge_exponent(np.float32(limit)))
    xy, det = lean * xx, (aspect * xx) ** 2
    yy = (det + xy * xy) / xx
    half_height, inside = math.sqrt(2 * limit * yy), 0
    first = max(0, math.ceil(v - half_height - 0.5))
    for row in range(first, min(height, math.floor(v + half_height - 0.5) + 1)):
        dy = row + 0.5 - v
        chord = math.sqrt(det * max(0.0, 2 * limit * yy - dy * dy)) / yy
        inside += _within(u + xy / yy * dy - chord, u + xy / yy * dy + chord, width)
    middle = (xx + yy) / 2
    radius = math.ceil(SIGMAS * math.sqrt(middle + math.sqrt(max(LEAST_GAP, middle * middle - det))))
    square = _within(u - radius, u + radius, width) * _within(v - radius, v + radius, height)
    return inside, square, _tiles_within(u, radius, width) * _tiles_within(v, radius, height)


@parallel
def count(
    order: Int32[ndarray, " M"],
    means2d: Float32[ndarray, "N 2"],
    bounds: Float32[ndarray, "N 5"],
    width: int,
    height: int,
):
    """Pixels in ellipses, pixels in squares and tiles of squares, of the Gaussians of `order`."""
    pixels, square_pixels, square_tiles = 0, 0, 0
    for i in prange(order.shape[0]):
        row = order[i]
        bound = (
            np.float64(bounds[row, 0]),
            np.float64(bounds[row, 1]),
            np.float64(bounds[row, 2]),
            np.float64(bounds[row, 3]),
            np.float64(bounds[row, 4]),
        )
        inside, square, listed = _count_one(
            np.float64(means2d[row, 0]), np.float64(means2d[row, 1]), bound, width, height
        )
        pixels += inside
        square_pixels += square
        square_tiles += listed
    return pixels, square_pixels, square_tiles
