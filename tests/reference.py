"""The picture's definition in float64 NumPy: one Gaussian and one pixel at a time, no tiles, no tricks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy import ndarray
from torch import Tensor

from moegs.cameras import Camera
from moegs.gaussians import LowPass
from moegs.rasterize import ALPHA_MAX, ALPHA_MIN, JACOBIAN_MARGIN, TRANSMITTANCE_MIN, Layer


@dataclass(frozen=True)
class Picture:
    """What one layer looks like."""

    image: Float64[ndarray, "H W 3"]
    features: Float64[ndarray, "H W C"]
    alpha: Float64[ndarray, "H W 1"]
    depth: Float64[ndarray, "H W 1"]


@dataclass(frozen=True)
class Footprint:
    """A Gaussian in the picture."""

    center: Float64[ndarray, " 2"]
    """Pixels."""
    z: float
    """Along the camera's axis, world units."""
    precision: Float64[ndarray, "2 2"]
    """The inverse of the 2D covariance, 1/px^2."""
    opacity: float
    channels: Float64[ndarray, " D"]
    """Colour, features and z."""


def render(layer: Layer, camera: Camera) -> Picture:
    """`layer` as `camera` sees it."""
    return blend(footprints(layer, camera), layer, camera)


def blend(splats: Sequence[Footprint], layer: Layer, camera: Camera) -> Picture:
    """The picture that these footprints make over the backgrounds of `layer`."""
    nearest_first = sorted(splats, key=lambda splat: splat.z)
    extra = 0 if layer.features is None else layer.features.shape[1]
    channels = np.zeros((camera.height, camera.width, 3 + extra + 1))
    transmittance = np.ones((camera.height, camera.width, 1))
    for row in range(camera.height):
        for column in range(camera.width):
            pixel = np.array([column + 0.5, row + 0.5])
            for splat in nearest_first:
                offset = pixel - splat.center
                alpha = min(ALPHA_MAX, splat.opacity * np.exp(-0.5 * offset @ splat.precision @ offset))
                if alpha < ALPHA_MIN:
                    continue
                left_over = transmittance[row, column] * (1 - alpha)
                if left_over <= TRANSMITTANCE_MIN:
                    break
                channels[row, column] += transmittance[row, column] * alpha * splat.channels
                transmittance[row, column] = left_over
    hit = transmittance < 1
    return Picture(
        image=channels[..., :3] + transmittance * _or_zeros(layer.background, 3),
        features=channels[..., 3:-1] + transmittance * _or_zeros(layer.feature_background, extra),
        alpha=1 - transmittance,
        depth=np.where(hit, channels[..., -1:] / np.where(hit, 1 - transmittance, 1), 0),
    )


def footprints(layer: Layer, camera: Camera) -> list[Footprint]:
    """The Gaussians of `layer` that `camera` could see, in their order."""
    viewmat, K = _array(camera.viewmat), _array(camera.K)
    g = layer.gaussians
    found = []
    for i in range(len(g)):
        mean, quat, scale, opacity, sh = (_array(x[i]) for x in (g.means, g.quats, g.scales, g.opacities, g.sh))
        features = np.zeros(0) if layer.features is None else _array(layer.features[i])
        if not all(np.isfinite(x).all() for x in (mean, quat, scale, opacity, sh, features)):
            continue
        x, y, z = viewmat[:3, :3] @ mean + viewmat[:3, 3]
        if not layer.near <= z <= layer.far:
            continue
        precision, compensation = _precision(np.array([x, y, z]), viewmat, quat, scale, camera, layer.lowpass)
        if precision is None:
            continue
        direction = mean + viewmat[:3, :3].T @ viewmat[:3, 3]
        color = np.maximum(0, _harmonics(direction / np.linalg.norm(direction), len(sh)) @ sh + 0.5)
        found.append(
            Footprint(
                center=np.array([K[0, 0] * x / z + K[0, 2], K[1, 1] * y / z + K[1, 2]]),
                z=z,
                precision=precision,
                opacity=float(opacity * compensation),
                channels=np.concatenate([color, features, [z]]),
            )
        )
    return found


def _precision(
    center: Float64[ndarray, " 3"],
    viewmat: Float64[ndarray, "4 4"],
    quat: Float64[ndarray, " 4"],
    scale: Float64[ndarray, " 3"],
    camera: Camera,
    lowpass: LowPass,
) -> tuple[Float64[ndarray, "2 2"] | None, float]:
    """The inverse of the blurred 2D covariance, None if it has none, and what opacity is to be multiplied by."""
    to_camera = viewmat[:3, :3] @ rotation(quat) @ np.diag(scale)
    J = _jacobian(center, camera)
    covariance = J @ to_camera @ to_camera.T @ J.T
    blurred = covariance + lowpass.blur * np.eye(2)
    if np.linalg.det(blurred) <= 0:
        return None, 0.0
    compensation = np.sqrt(max(0.0, np.linalg.det(covariance) / np.linalg.det(blurred)))
    return np.linalg.inv(blurred), float(compensation) if lowpass.compensated else 1.0


def _jacobian(center: Float64[ndarray, " 3"], camera: Camera) -> Float64[ndarray, "2 3"]:
    """Of the projection at `center`, which is moved to the picture's edge and its margin first where it lies beyond."""
    x, y, z = center
    (fx, _, cx), (_, fy, cy), _ = _array(camera.K)
    margin_x, margin_y = JACOBIAN_MARGIN * camera.width / (2 * fx), JACOBIAN_MARGIN * camera.height / (2 * fy)
    x = z * np.clip(x / z, -cx / fx - margin_x, (camera.width - cx) / fx + margin_x)
    y = z * np.clip(y / z, -cy / fy - margin_y, (camera.height - cy) / fy + margin_y)
    return np.array([[fx / z, 0, -fx * x / z**2], [0, fy / z, -fy * y / z**2]])


def rotation(quat: Float64[ndarray, " 4"]) -> Float64[ndarray, "3 3"]:
    """No rotation where the quaternion is zero."""
    length = np.linalg.norm(quat)
    w, x, y, z = quat / length if length > 0 else np.array([1.0, 0.0, 0.0, 0.0])
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def _harmonics(direction: Float64[ndarray, " 3"], count: int) -> Float64[ndarray, " K"]:
    """The first `count` real spherical harmonics, with the signs of 3D Gaussian Splatting."""
    x, y, z = direction
    pi = np.pi
    return np.array(
        [
            np.sqrt(1 / (4 * pi)),
            -np.sqrt(3 / (4 * pi)) * y,
            np.sqrt(3 / (4 * pi)) * z,
            -np.sqrt(3 / (4 * pi)) * x,
            np.sqrt(15 / (4 * pi)) * x * y,
            -np.sqrt(15 / (4 * pi)) * y * z,
            np.sqrt(5 / (16 * pi)) * (2 * z * z - x * x - y * y),
            -np.sqrt(15 / (4 * pi)) * x * z,
            np.sqrt(15 / (16 * pi)) * (x * x - y * y),
            -np.sqrt(35 / (32 * pi)) * y * (3 * x * x - y * y),
            np.sqrt(105 / (4 * pi)) * x * y * z,
            -np.sqrt(21 / (32 * pi)) * y * (4 * z * z - x * x - y * y),
            np.sqrt(7 / (16 * pi)) * z * (2 * z * z - 3 * x * x - 3 * y * y),
            -np.sqrt(21 / (32 * pi)) * x * (4 * z * z - x * x - y * y),
            np.sqrt(105 / (16 * pi)) * z * (x * x - y * y),
            -np.sqrt(35 / (32 * pi)) * x * (x * x - 3 * y * y),
        ]
    )[:count]


def _array(tensor: Tensor) -> Float64[ndarray, "..."]:
    return tensor.detach().cpu().numpy().astype(np.float64)


def _or_zeros(background: Tensor | None, count: int) -> Float64[ndarray, " D"]:
    return np.zeros(count) if background is None else _array(background)
