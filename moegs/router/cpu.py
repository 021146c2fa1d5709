"""The router's network on all CPU threads, without gradients: rays and three layers fused, pixel by pixel.

Five times faster than as matrix products, whose hidden layers would go through memory.
"""

import numpy as np
from jaxtyping import Float32
from numba import prange
from numpy import ndarray

from moegs.cameras import Camera
from moegs.kernels import LOCK, parallel

HIDDEN = 6
ZERO, HALF, ONE = np.float32(0), np.float32(0.5), np.float32(1)


def logits(
    features: Float32[ndarray, "E H W 3"],
    camera: Camera,
    first: Float32[ndarray, "6 8"],
    second: Float32[ndarray, "3 6"],
    third: Float32[ndarray, "1 3"],
) -> Float32[ndarray, "E H W"]:
    """W + network(W_dir, W_time, camera centre, unit ray) of every pixel of every expert."""
    K, viewmat = camera.K.numpy(), camera.viewmat.numpy()
    # The ray's weights turned into camera axes: there a ray is ((x - cx) / fx, (y - cy) / fy, 1) before normalising.
    ray = np.ascontiguousarray(first[:, 5:] @ viewmat[:3, :3].T, dtype=np.float32)
    still = np.ascontiguousarray(first[:, 2:5] @ camera.center.numpy(), dtype=np.float32)
    pinhole = np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], dtype=np.float32)
    out = np.empty(features.shape[:3], dtype=np.float32)
    with LOCK:
        _logits(features, pinhole, np.ascontiguousarray(first[:, :2]), still, ray, second, third[0], out)
    return out


@parallel
def _logits(features, pinhole, seen, still, ray, second, third, out):
    experts, height, width = out.shape
    fx, fy, cx, cy = pinhole
    for row in prange(height):
        y = (np.float32(row) + HALF - cy) / fy
        hidden = np.empty(HIDDEN, dtype=np.float32)
        for column in range(width):
            x = (np.float32(column) + HALF - cx) / fx
            shorten = ONE / np.sqrt(x * x + y * y + ONE)
            for e in range(experts):
                weight = features[e, row, column, 0]
                along, time = features[e, row, column, 1], features[e, row, column, 2]
                for j in range(HIDDEN):
                    looks = (ray[j, 0] * x + ray[j, 1] * y + ray[j, 2]) * shorten
                    hidden[j] = max(ZERO, seen[j, 0] * along + seen[j, 1] * time + still[j] + looks)
                for k in range(3):
                    answer = ZERO
                    for j in range(HIDDEN):
                        answer += second[k, j] * hidden[j]
                    weight += third[k] * max(ZERO, answer)
                out[e, row, column] = weight
