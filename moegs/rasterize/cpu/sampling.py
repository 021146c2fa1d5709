"""A first look: the features at one pixel of every square of SAMPLE x SAMPLE, from the same lists as the pictures."""

import numpy as np
from jaxtyping import Float32, Int32, Int64
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import SAMPLE, TILE
from moegs.rasterize.cpu.compositing import CAP, GEOMETRY, HALF, ONE, STOP, ZERO, decay

SIDE = TILE // SAMPLE
SAMPLES = SIDE * SIDE
SAMPLE_X = np.tile(np.arange(SIDE, dtype=np.float32) * SAMPLE + SAMPLE // 2 + HALF, SIDE)
SAMPLE_Y = np.repeat(np.arange(SIDE, dtype=np.float32) * SAMPLE + SAMPLE // 2 + HALF, SIDE)


@inlined
def _blend(splats, row, left, top, transmittance, sums):
    """Adds the splat's share of every sample to `sums` and lowers the transmittance; a finished one's is negative."""
    x, y = splats[row, 0] - left, splats[row, 1] - top
    a, b, c, opacity, limit = splats[row, 2], splats[row, 3], splats[row, 4], splats[row, 5], splats[row, 6]
    for i in range(SAMPLES):
        p = np.uintp(i)
        dx, dy = SAMPLE_X[p] - x, SAMPLE_Y[p] - y
        exponent = (HALF * a * dx + b * dy) * dx + HALF * c * dy * dy
        before = transmittance[p]
        reached = (exponent >= ZERO) & (exponent <= limit) & (before > ZERO)
        alpha = min(CAP, opacity * decay(exponent)) if reached else ZERO
        after = before * (ONE - alpha)
        finished = reached & (after <= STOP)
        weight = ZERO if finished else alpha * before
        transmittance[p] = -before if finished else after
        for k in range(sums.shape[0]):
            sums[k, p] += weight * splats[row, GEOMETRY + 3 + k]


@parallel
def sample(
    starts: Int64[ndarray, " S+1"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 8+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    features: Float32[ndarray, "E h w C"],
):
    """Fills `features`, which cover all tiles whole: those at the picture's edge too."""
    layers, height, width, channels = features.shape
    down, across = height // SIDE, width // SIDE
    for number in prange(layers * down * across):
        layer, tile_row, tile_column = number // (down * across), number // across % down, number % across
        transmittance, sums = np.ones(SAMPLES, np.float32), np.zeros((channels, SAMPLES), np.float32)
        left, top = np.float32(tile_column * TILE), np.float32(tile_row * TILE)
        for position in range(starts[number], starts[number + 1]):
            _blend(splats, rows[position], left, top, transmittance, sums)
        for i in range(SAMPLES):
            row, column = tile_row * SIDE + i // SIDE, tile_column * SIDE + i % SIDE
            for k in range(channels):
                behind = abs(transmittance[i]) * backgrounds[layer, 3 + k]
                features[layer, row, column, k] = sums[k, i] + behind
