"""Poses as data sets write them, to cameras with OpenCV axes."""

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from moegs.cameras import Camera
from moegs.data.scene import LARGEST

ROUNDING = 1e-3
"""How far from a rotation a matrix may be that was written with few digits."""


def camera(
    where: str,
    viewmat: Float64[ndarray, "4 4"],
    intrinsics: tuple[float, float, float, float],
    size: tuple[int, int],
) -> Camera:
    """The view with this world-to-camera matrix, (fx, fy, cx, cy) in pixels and (width, height).

    Raises ValueError, beginning with `where`, for numbers that make no camera.
    """
    if not (np.isfinite(viewmat).all() and np.isfinite(intrinsics).all()):
        raise ValueError(f"{where}: its pose or intrinsics have a number that is not finite; correct or remove it")
    if np.abs(viewmat).max() > LARGEST or np.abs(intrinsics).max() > LARGEST:
        raise ValueError(f"{where}: its pose or intrinsics have a number beyond {LARGEST:g}; scale the scene down")
    rotation = viewmat[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=ROUNDING) or np.linalg.det(rotation) < 0:
        raise ValueError(f"{where}: its pose is no rotation; give three orthogonal axes of length 1, right-handed")
    fx, fy, cx, cy = intrinsics
    if min(fx, fy) <= 0:
        raise ValueError(f"{where}: got focal lengths {fx:g} and {fy:g}, expected more than 0 pixels")
    K = [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]
    return Camera(torch.tensor(viewmat, dtype=torch.float32), torch.tensor(K, dtype=torch.float32), *size)


def from_opengl(matrix: Float64[ndarray, "4 4"]) -> Float64[ndarray, "4 4"]:
    """World to camera with OpenCV axes, from camera to world with y up and z backward (OpenGL, Blender)."""
    return inverse(matrix @ np.diag([1.0, -1.0, -1.0, 1.0]))


def from_quaternion(quat: Float64[ndarray, " 4"], shift: Float64[ndarray, " 3"]) -> Float64[ndarray, "4 4"]:
    """World to camera from its rotation (w, x, y, z) and translation, as COLMAP has them; NaN for a zero quaternion."""
    with np.errstate(invalid="ignore"):
        w, x, y, z = quat / np.linalg.norm(quat)
    viewmat = np.eye(4)
    viewmat[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    viewmat[:3, 3] = shift
    return viewmat


def inverse(pose: Float64[ndarray, "4 4"]) -> Float64[ndarray, "4 4"]:
    """The inverse of a rigid transform; of no use for what is not rigid, which `camera` refuses."""
    turned = np.eye(4)
    turned[:3, :3], turned[:3, 3] = pose[:3, :3].T, -pose[:3, :3].T @ pose[:3, 3]
    return turned


def scaled(
    where: str,
    intrinsics: tuple[float, float, float, float],
    written: tuple[int | float, int | float],
    size: tuple[int, int],
) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) of pictures of `size`, from those of pictures of the `written` (width, height).

    Raises ValueError, beginning with `where`, when the proportions differ by more than a hundredth.
    """
    if not (written[0] > 0 and written[1] > 0):
        raise ValueError(f"{where}: got a size of {written[0]:g}x{written[1]:g}, expected more than 0 pixels")
    across, along = size[0] / written[0], size[1] / written[1]
    if abs(across / along - 1) > 0.01:
        raise ValueError(
            f"{where}: pictures of {size[0]}x{size[1]}, but its intrinsics are for {written[0]:g}x{written[1]:g}; "
            "give pictures of the same proportions"
        )
    fx, fy, cx, cy = intrinsics
    return fx * across, fy * along, cx * across, cy * along
