"""A first look: the features at one pixel of every square of SAMPLE x SAMPLE, from the same lists as the pictures."""

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64
from numba import prange
from numpy import ndarray

from moegs.kernels import inlined, parallel
from moegs.rasterize import SAMPLE, TILE
from moegs.rasterize.cpu.compositing import BATCH, CAP, GEOMETRY, HALF, ONE, STOP, ZERO, decay, fetch

SIDE = TILE // SAMPLE
SAMPLES = SIDE * SIDE
SAMPLE_X = np.tile(np.arange(SIDE, dtype=np.float32) * SAMPLE + SAMPLE // 2 + HALF, SIDE)
SAMPLE_Y = np.repeat(np.arange(SIDE, dtype=np.float32) * SAMPLE + SAMPLE // 2 + HALF, SIDE)


@inlined
def _blend(batch, n, left, top, transmittance, weights):
    """Puts the share that the batch's splat `n` has of every sample into `weights` and lowers the transmittance."""
    x, y = batch[n, 0] - left, batch[n, 1] - top
    a, b, c, opacity, limit = batch[n, 2], batch[n, 3], batch[n, 4], batch[n, 5], batch[n, 6]
    for i in range(SAMPLES):
        p = np.uintp(i)
        dx, dy = SAMPLE_X[p] - x, SAMPLE_Y[p] - y
        exponent = (HALF * a * dx + b * dy) * dx + HALF * c * dy * dy
        before = transmittance[p]
        reached = (exponent >= ZERO) & (exponent <= limit) & (before > ZERO)
        alpha = min(CAP, opacity * decay(exponent)) if reached else ZERO
        after = before * (ONE - alpha)
        finished = reached & (after <= STOP)
        weights[p] = ZERO if finished else alpha * before
        transmittance[p] = -before if finished else after


@inlined
def _add_features(batch, n, channels, weights, sums):
    for k in range(channels):
        value, base = batch[n, GEOMETRY + 3 + k], np.uintp(k * SAMPLES)
        for i in range(SAMPLES):
            p = np.uintp(i)
            sums[base + p] += weights[p] * value


@inlined
def _sample_lane(lane, lanes, starts, rows, splats, backgrounds, asked, features):
    """Every `lanes`-th of the tiles asked for from number `lane` on."""
    _, height, width, channels = features.shape
    down, across = height // SIDE, width // SIDE
    transmittance, weights = np.empty(SAMPLES, np.float32), np.empty(SAMPLES, np.float32)
    sums = np.empty(channels * SAMPLES, np.float32)
    batch = np.empty((BATCH, splats.shape[1]), np.float32)
    for number in range(lane, starts.shape[0] - 1, lanes):
        if not asked[number % (down * across)]:
            continue
        layer, tile_row, tile_column = number // (down * across), number // across % down, number % across
        left, top = np.float32(tile_column * TILE), np.float32(tile_row * TILE)
        transmittance[:] = ONE
        sums[:] = ZERO
        position, stop = starts[number], starts[number + 1]
        while position < stop and transmittance.max() > ZERO:
            count = min(BATCH, stop - position)
            fetch(batch, splats, rows, position, position + count)
            for n in range(count):
                _blend(batch, n, left, top, transmittance, weights)
                _add_features(batch, n, channels, weights, sums)
            position += count
        for i in range(SAMPLES):
            row, column = tile_row * SIDE + i // SIDE, tile_column * SIDE + i % SIDE
            for k in range(channels):
                behind = abs(transmittance[i]) * backgrounds[layer, 3 + k]
                features[layer, row, column, k] = sums[k * SAMPLES + i] + behind


@parallel
def sample(
    starts: Int64[ndarray, " S+1"],
    rows: Int32[ndarray, " M"],
    splats: Float32[ndarray, "N 11+D"],
    backgrounds: Float32[ndarray, "E D-1"],
    asked: Bool[ndarray, " YX"],
    features: Float32[ndarray, "E h w C"],
    lanes: int,
):
    """Fills `features`, which cover all tiles whole, those at the picture's edge too, in the tiles `asked` for."""
    for lane in prange(lanes):
        _sample_lane(lane, lanes, starts, rows, splats, backgrounds, asked, features)
