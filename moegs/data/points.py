"""The points that training starts from: found ones, cut to what the cameras see, and random ones beside them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.data import point_files, scattering, triangulation
from moegs.data.config import DataConfig
from moegs.data.recording import Recording
from moegs.data.scattering import Depths
from moegs.data.scene import OnPrepared, Rig, Scene
from moegs.gaussians import Points

NONE = Points(torch.zeros(0, 3), torch.zeros(0, 3), torch.zeros(0))
TRIANGULATED = "triangulated by COLMAP"
UNASKED = 20_000
"""Random points where nothing else is found and none are asked for."""


@dataclass(frozen=True)
class Start:
    """What is there before training."""

    points: Points
    first: Points
    """The same but for those that were found at later frames than the first."""
    bounds: Float[Tensor, "2 3"]
    """The box around what they show, world units."""
    told: str
    """How many points, and whence."""
    warnings: tuple[str, ...] = ()
    """Why they are worse than they could be."""


def start(scene: Scene, depths: Depths, recording: Recording, config: DataConfig, on_prepared: OnPrepared) -> Start:
    """The points that `config` asks for; `scene` has none yet.

    Raises ValueError when there are no points, or none that the cameras see.
    """
    found, source, warnings = _found(scene, recording.points, config, on_prepared)
    told = ""
    if found is not None:
        points = clip(found, scene.rig, depths)
        if len(points.means) < 2:
            raise ValueError(
                f"{config.path}: only {len(points.means)} of {len(found.means)} points lie where a training camera "
                "sees them between its near and far; give points and poses of one scene"
            )
        cut = f"{len(points.means):,} of " if len(points.means) < len(found.means) else ""
        told = f"{cut}{len(found.means):,} points {source}"
        found = points
    count = config.random_points or (UNASKED if found is None else 0)
    if found is not None and not count:
        return Start(found, of_first(found), bounds(found), told, warnings)
    told = f"{told} and {count:,} random ones" if told else f"{count:,} random points"
    box = torch.tensor(config.bounds or recording.box) if config.bounds or recording.box else None
    if box is None and any(math.isinf(depths[number][1]) for number in scene.rig.train):
        box = bounds(found) if found is not None else scattering.guessed_box(scene.rig)
    if box is None:
        scattered = scattering.in_views(count, scene, depths, found, config.seed)
    else:
        scattered = scattering.in_box(count, scene, box, found, config.seed)
    if found is None:
        return Start(scattered, scattered, bounds(scattered) if box is None else box, told, warnings)
    first = join(of_first(found), scattered)
    return Start(join(found, scattered), first, bounds(found), told, warnings)


def of_first(points: Points) -> Points:
    """Those of the earliest time that at least two of `points` have; all, where no two share one."""
    times, counts = points.times.unique(return_counts=True)
    if not bool((counts > 1).any()):
        return points
    first = points.times == times[counts > 1][0]
    return Points(points.means[first], points.colors[first], points.times[first])


def _found(
    scene: Scene, files: Sequence[Path], config: DataConfig, on_prepared: OnPrepared
) -> tuple[Points | None, str, tuple[str, ...]]:
    """The points, whence they are, and warnings. A data set's own file that holds none counts as not there: a COLMAP
    model of known poses alone has one."""
    if config.points == "none":
        return None, "", ()
    if config.points_file is not None:
        files = (config.points_file,)
    asked = files and config.points != "triangulation"
    if asked and len((read := point_files.read_all(files, config.start, scene.rig.timeline)).means):
        if config.points_at == "every":
            raise ValueError(
                f"{config.path}: data.points_at is every, but '{files[0].name}' has points; set data.points to "
                "triangulation to find them anew, or data.points_at to first to start from these"
            )
        return read, f"in '{files[0].name}'{' and its like' * (len(files) > 1)}", ()
    if config.points_file is not None:
        raise ValueError(f"{config.points_file}: holds no points; give another file, or leave data.points_file out")
    if config.points == "file" or (config.points == "triangulation" and not find_spec("pycolmap")):
        raise ValueError(
            f"{config.path}: no points to start from, such as 'points_0000.npz' or 'points3D.ply'; set "
            f"data.points_file, {triangulation.INSTALL} to triangulate them, or set data.points to none and "
            "data.random_points to some thousands"
        )
    if config.points == "triangulation":
        return triangulation.triangulate(scene, config, on_prepared), TRIANGULATED, ()
    reason = f"pycolmap is missing ({triangulation.INSTALL})"
    if find_spec("pycolmap"):
        try:
            return triangulation.triangulate(scene, config, on_prepared), TRIANGULATED, ()
        except triangulation.NothingFoundError as error:
            reason = str(error)
    count = config.random_points or UNASKED
    return (
        None,
        "",
        (f"{config.path}: starts from {count:,} random points, which train worse than found ones: {reason}",),
    )


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


def join(first: Points, second: Points) -> Points:
    """All points of both."""
    pairs = {name: torch.cat([getattr(first, name), getattr(second, name)]) for name in ("means", "colors", "times")}
    return replace(first, **pairs)


def bounds(points: Points) -> Float[Tensor, "2 3"]:
    """The box around all but the outermost hundredth of `points` on each side of each axis, a tenth larger."""
    ordered = points.means.sort(dim=0).values  # torch.quantile refuses more than 16 million values
    places = [round(share * (len(ordered) - 1)) for share in (0.01, 0.99)]
    corners = ordered[places]
    margin = 0.05 * (corners[1] - corners[0])
    return torch.stack([corners[0] - margin, corners[1] + margin])
