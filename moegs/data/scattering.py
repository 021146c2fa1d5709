"""Points at random places and times, for where nothing was found."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.spatial import KDTree
from torch import Tensor

from moegs.data.scene import Rig, Scene, meeting_point
from moegs.gaussians import Points

Depths = Sequence[tuple[float, float]]
"""Near and far of each camera of a rig, world units."""
GUESSED = 0.5
"""Where nothing is known of a scene: half the side of its box, in distances from the cameras to where they look."""
GREY = 0.5
"""The colour of what no photo shows."""


def in_views(count: int, scene: Scene, depths: Depths, near_to: Points | None, seed: int) -> Points:
    """`count` points at random pixels and depths of random training cameras, at random times in [0, 1).

    Each has the colour of the nearest point of `near_to`, or of its pixel at its time when there is none.
    """
    rig, random = scene.rig, np.random.default_rng(seed)
    cameras = random.choice(rig.train, count)
    unit = random.random((count, 3))  # along the picture's width, its height and the depth
    times = torch.from_numpy(random.random(count, dtype=np.float32))
    means, pixels = torch.empty(count, 3), torch.empty(count, 2)
    for number in rig.train:
        rows = np.flatnonzero(cameras == number)
        camera, (near, far) = rig.cameras[number], depths[number]
        pixels[rows] = torch.tensor(unit[rows, :2] * [camera.width, camera.height], dtype=torch.float32)
        z = torch.tensor(near + (far - near) * unit[rows, 2:], dtype=torch.float32)
        local = torch.cat([(pixels[rows] - camera.K[:2, 2]) / camera.K.diagonal()[:2] * z, z], 1)
        means[rows] = (local - camera.viewmat[:3, 3]) @ camera.viewmat[:3, :3]
    if near_to is not None:
        return Points(means, _nearest_colors(means, near_to), times)
    return Points(means, _photo_colors(scene, cameras, pixels, times), times)


def in_box(count: int, scene: Scene, box: Float[Tensor, "2 3"], near_to: Points | None, seed: int) -> Points:
    """`count` points all over `box`, at random times in [0, 1).

    Each has the colour of the nearest point of `near_to`, or of what a random training camera has at its place.
    """
    rig, random = scene.rig, np.random.default_rng(seed)
    cameras = random.choice(rig.train, count)
    means = box[0] + (box[1] - box[0]) * torch.from_numpy(random.random((count, 3), dtype=np.float32))
    times = torch.from_numpy(random.random(count, dtype=np.float32))
    if near_to is not None:
        return Points(means, _nearest_colors(means, near_to), times)
    pixels = torch.empty(count, 2)
    for number in rig.train:
        rows = np.flatnonzero(cameras == number)
        camera = rig.cameras[number]
        local = means[rows] @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
        seen = (local @ camera.K.T)[:, :2] / local[:, 2:]
        pixels[rows] = torch.where(local[:, 2:] > 0, seen, -1.0)
    return Points(means, _photo_colors(scene, cameras, pixels, times), times)


def guessed_box(rig: Rig) -> Float[Tensor, "2 3"]:
    """A cube around where the training cameras look."""
    cameras = [rig.cameras[number] for number in rig.train]
    centers = torch.stack([camera.center for camera in cameras])
    target = meeting_point(cameras)
    ahead = torch.stack([(target - camera.center) @ camera.forward for camera in cameras])
    if not (bool(target.isfinite().all()) and bool((ahead > 0).all())):  # they look side by side, or outwards
        distance = max(rig.extent, 1.0)
        target = centers.mean(0) + distance * torch.stack([camera.forward for camera in cameras]).mean(0)
    side = GUESSED * (centers - target).norm(dim=1).median()
    return torch.stack([target - side, target + side])


def _nearest_colors(means: Float[Tensor, "P 3"], near_to: Points) -> Float[Tensor, "P 3"]:
    _, nearest = KDTree(near_to.means.numpy()).query(means.numpy())
    return near_to.colors[nearest]


def _photo_colors(
    scene: Scene, cameras: np.ndarray, pixels: Float[Tensor, "P 2"], times: Float[Tensor, " P"]
) -> Float[Tensor, "P 3"]:
    """What each point's camera has at its pixel, in the last photo that it took by then, or else its first."""
    colors = torch.full((len(pixels), 3), GREY)
    for row, (camera, (x, y), t) in enumerate(zip(cameras.tolist(), pixels.tolist(), times.tolist(), strict=True)):
        frames = scene.frames(camera)
        before = np.searchsorted(np.asarray(frames), int(scene.rig.timeline.frame(t)), side="right")
        photo = scene.photos.at(camera, frames[max(int(before) - 1, 0)])
        height, width, _ = photo.shape
        if 0 <= x <= width and 0 <= y <= height:  # rounding may put a point on the far edge
            colors[row] = photo[min(int(y), height - 1), min(int(x), width - 1)] / 255
    return colors
