"""The points that training starts from: found ones, cut to what the cameras see, and random ones between them."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree
from torch import Tensor

from moegs.cameras import Camera
from moegs.data import point_files, triangulation
from moegs.data.config import DataConfig
from moegs.data.scene import Photos, Rig
from moegs.gaussians import Points

NONE = Points(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0))
Depths = Sequence[tuple[float, float]]
"""Near and far of each camera of a rig, world units."""


def start(
    rig: Rig, depths: Depths, photos: Photos, files: Sequence[Path], config: DataConfig
) -> tuple[Points, Float[Tensor, "2 3"]]:
    """The points that `config` asks for, and the box around what they show.

    `files` are the data set's own. Raises ValueError when there are no points, or none that the cameras see.
    """
    found = _found(rig, photos, files, config)
    if found is not None:
        points = clip(found, rig, depths)
        if len(points.means) < 2:
            raise ValueError(
                f"{config.path}: only {len(points.means)} of {len(found.means)} points lie where a training camera "
                "sees them between its near and far; give points and poses of one scene"
            )
        found = points
    if not config.random_points and found is not None:
        return found, bounds(found)
    scattered = scatter(config.random_points, rig, depths, photos, found, config.seed)
    return (scattered, bounds(scattered)) if found is None else (join(found, scattered), bounds(found))


def _found(rig: Rig, photos: Photos, files: Sequence[Path], config: DataConfig) -> Points | None:
    if config.points == "none":
        return None
    if config.points_file is not None:
        files = (config.points_file,)
    if files and config.points != "triangulation":
        return point_files.read_all(files, config.start, rig.timeline.frames)
    if config.points == "file" or not find_spec("pycolmap"):
        raise ValueError(
            f"{config.path}: no points to start from, such as 'points_0000.npz' or 'points3D.ply'; set "
            f"data.points_file, {triangulation.INSTALL} to triangulate them, or set data.points to none and "
            "data.random_points to some thousands"
        )
    return triangulation.triangulate(rig, photos, frame=0)


def clip(points: Points, rig: Rig, depths: Depths) -> Points:
    """The points that lie in the picture of a training camera, between its near and far."""
    seen = torch.zeros(len(points.means), dtype=torch.bool)
    for number in rig.train:
        seen |= _sees(rig.cameras[number], points.means, *depths[number])
    return Points(points.means[seen], points.colors[seen], points.times[seen])


def _sees(camera: Camera, means: Float[Tensor, "P 3"], near: float, far: float) -> Bool[Tensor, " P"]:
    local = means @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    depth = local[:, 2]
    pixels = (local @ camera.K.T)[:, :2] / depth[:, None]
    inside = ((pixels >= 0) & (pixels <= pixels.new_tensor([camera.width, camera.height]))).all(1)
    return inside & (near <= depth) & (depth <= far)


def scatter(count: int, rig: Rig, depths: Depths, photos: Photos, near_to: Points | None, seed: int) -> Points:
    """`count` points at random pixels and depths of random training cameras, at random times in [0, 1).

    Each has the colour of the nearest point of `near_to`, or of its pixel at its time when there is none.
    """
    random = np.random.default_rng(seed)
    cameras = random.choice(rig.train, count)
    unit = random.random((count, 3))  # along the picture's width, its height and the depth
    times = torch.from_numpy(random.random(count, dtype=np.float32))
    means, colors = torch.empty(count, 3), torch.empty(count, 3)
    for number in rig.train:
        rows = np.flatnonzero(cameras == number)
        camera, (near, far) = rig.cameras[number], depths[number]
        pixels = torch.tensor(unit[rows, :2] * [camera.width, camera.height], dtype=torch.float32)
        z = torch.tensor(near + (far - near) * unit[rows, 2:], dtype=torch.float32)
        local = torch.cat([(pixels - camera.K[:2, 2]) / camera.K.diagonal()[:2] * z, z], 1)
        means[rows] = (local - camera.viewmat[:3, 3]) @ camera.viewmat[:3, :3]
        if near_to is None:
            colors[rows] = _photo_colors(photos, number, rig.timeline.frames, pixels, times[rows])
    if near_to is not None:
        _, nearest = KDTree(near_to.means.numpy()).query(means.numpy())
        colors = near_to.colors[nearest]
    return Points(means, colors, times)


def _photo_colors(
    photos: Photos, camera: int, frames: int, pixels: Float[Tensor, "P 2"], times: Float[Tensor, " P"]
) -> Float[Tensor, "P 3"]:
    colors = pixels.new_zeros(len(pixels), 3)
    for color, (x, y), t in zip(colors, pixels.long().tolist(), times.tolist(), strict=True):
        photo = photos.at(camera, int(t * frames))
        height, width, _ = photo.shape
        color[:] = photo[min(y, height - 1), min(x, width - 1)]  # rounding may put a point on the far edge
    return colors / 255


def join(first: Points, second: Points) -> Points:
    """All points of both."""
    pairs = {name: torch.cat([getattr(first, name), getattr(second, name)]) for name in ("means", "colors", "times")}
    return replace(first, **pairs)


def bounds(points: Points) -> Float[Tensor, "2 3"]:
    """The box around all but the outermost hundredth of `points` on each side of each axis, a tenth larger."""
    corners = torch.quantile(points.means, points.means.new_tensor([0.01, 0.99]), dim=0)
    margin = 0.05 * (corners[1] - corners[0])
    return torch.stack([corners[0] - margin, corners[1] + margin])
