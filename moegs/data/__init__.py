"""Data sets: from a folder to a Scene.

A format is one file with a function from a DataConfig to the Recording that lies in its folder, and one line below.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.data import colmap, folders, n3v, nerfstudio, photos, points, technicolor
from moegs.data.config import DataConfig
from moegs.data.prefetch import Prefetched
from moegs.data.recording import Recording, Take
from moegs.data.scene import OnPrepared, Rig, Scene
from moegs.data.timing import listed, schedule
from moegs.files import reading

__all__ = ["FORMATS", "DataConfig", "Scene", "load_scene"]


@dataclass(frozen=True)
class Format:
    """How a data set may lie in its folder."""

    read: Callable[[DataConfig], Recording]
    signs: tuple[str, ...]
    """Files by which it is recognised; one of them suffices."""


FORMATS = {  # in the order in which they are recognised
    "n3v": Format(n3v.read, ("poses_bounds.npy",)),
    "technicolor": Format(technicolor.read, ("cameras_parameters.txt",)),
    "folders": Format(folders.read, (folders.FILE,)),
    "nerfstudio": Format(nerfstudio.read, ("transforms.json", "transforms_train.json")),
    "colmap": Format(
        colmap.read, tuple(f"{model}/cameras.{kind}" for model in colmap.MODELS for kind in ("bin", "txt"))
    ),
}


def load_scene(config: DataConfig, with_points: bool = True, on_prepared: OnPrepared | None = None) -> Scene:
    """The scene that `config` describes.

    `with_points`: False where nothing is to be trained; then there are none, none are looked for, and bounds are 0.
    `on_prepared`: given, frames that are kept on disk are decoded now, and this hears how far it is; else they are
    decoded when they are first asked for, a camera at a time.
    Raises ValueError in one line when files are missing, damaged, not to be read or do not belong together, or the
    choices do not fit.
    """
    with reading(config.path):
        return _load(config, with_points, on_prepared)


def _load(config: DataConfig, with_points: bool, on_prepared: OnPrepared | None) -> Scene:
    name, sign = _format(config)
    recording = FORMATS[name].read(config)
    plan = schedule(_taken(recording, config), config, recording.frames)
    takes = plan.takes
    train, test = _split(takes, recording, config)
    cameras = [_downscaled(take, config) for take in takes]
    rig = Rig(
        cameras=tuple(cameras),
        names=tuple(take.name for take in takes),
        train=train,
        test=test,
        timeline=plan.timeline,
        up=_mean_up(cameras),
        bounds=torch.zeros(2, 3),  # known when the points are
        background=torch.tensor(config.background),
    )
    sizes = [(camera.width, camera.height) for camera in cameras]
    cache = photos.cached(takes, plan.pictures, sizes, config)
    summary = f"{config.path}: {name} ('{sign}'), {_counts(rig)}, {cache}"
    ahead = Prefetched(cache)
    scene = Scene(rig, ahead, points.NONE, plan.seen, ahead.expect, cache.prepare, summary)
    if on_prepared is not None:
        cache.prepare(range(len(cameras)), on_prepared)
    if not with_points:
        return scene
    depths = [(config.near or take.near, config.far or take.far) for take in takes]
    start = points.start(scene, depths, recording, config, on_prepared or (lambda what, done, of: None))
    rig = replace(rig, bounds=start.bounds)
    return replace(
        scene,
        rig=rig,
        points=start.points,
        warnings=start.warnings,
        summary=f"{summary}; starts from {start.told}",
        first_points=start.first,
    )


def _format(config: DataConfig) -> tuple[str, str]:
    """Which format is read, and the file by which it was recognised."""
    if config.format != "auto" and config.format not in FORMATS:
        raise ValueError(f"data.format: got '{config.format}', expected auto or {' or '.join(FORMATS)}")
    if not config.path.is_dir():
        raise ValueError(f"{config.path}: no such folder; set data.path to the data set's folder")
    if config.format != "auto":
        return config.format, "as asked"
    for name, each in FORMATS.items():
        for sign in each.signs:
            if (config.path / sign).is_file():
                return name, sign
    known = ", ".join(f"'{each.signs[0]}' ({name})" for name, each in FORMATS.items())
    raise ValueError(f"{config.path}: no data set that is known lies here; expected one of {known}, see docs/data.md")


def _counts(rig: Rig) -> str:
    camera = rig.cameras[0]
    return (
        f"{len(rig.train)} cameras to train and {len(rig.test)} held out, {rig.timeline.frames} frames of "
        f"{camera.width}x{camera.height}"
    )


def _taken(recording: Recording, config: DataConfig) -> list[Take]:
    """The takes that are not skipped."""
    known = [take.name for take in recording.takes]
    if twice := [name for name in known if known.count(name) > 1]:
        raise ValueError(f"{config.path}: two cameras are called '{twice[0]}'; rename one")
    for key, names in (("skip", config.skip), ("test", config.test or ())):
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{config.path}: data.{key} names camera '{unknown[0]}'; there are {listed(known)}")
    takes = [take for take in recording.takes if take.name not in config.skip]
    if not takes:
        raise ValueError(f"{config.path}: no camera is left; name fewer in data.skip")
    return takes


def _split(takes: Sequence[Take], recording: Recording, config: DataConfig) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers of the takes that train, and of those that are held out."""
    held_out = recording.test if config.test is None else config.test
    test = tuple(i for i, take in enumerate(takes) if take.name in held_out)
    train = tuple(i for i in range(len(takes)) if i not in test)
    if not train:
        raise ValueError(f"{config.path}: no camera is left to train; name fewer in data.test and data.skip")
    return train, test


def _downscaled(take: Take, config: DataConfig) -> Camera:
    width, height = (round(side / config.downscale) for side in (take.camera.width, take.camera.height))
    if width < 1 or height < 1:
        raise ValueError(
            f"{config.path}: data.downscale is {config.downscale}, which leaves nothing of camera '{take.name}' with "
            f"{take.camera.width}x{take.camera.height} pixels; give a smaller number"
        )
    return take.camera.resized(width, height)


def _mean_up(cameras: list[Camera]) -> Float[Tensor, " 3"]:
    """The cameras' mean up direction; the first one's where they cancel out."""
    mean = torch.stack([camera.up for camera in cameras]).mean(0)
    up = mean if mean.norm() > 1e-3 else cameras[0].up
    return up / up.norm()
