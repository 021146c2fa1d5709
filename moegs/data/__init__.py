"""Data sets: from a folder to a Scene.

A format is one file with a function from a DataConfig to the Recording that lies in its folder, and one line below.
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.data import n3v, photos, points
from moegs.data.config import DataConfig
from moegs.data.recording import Recording, Take
from moegs.data.scene import Rig, Scene
from moegs.timeline import Timeline

__all__ = ["FORMATS", "DataConfig", "Scene", "load_scene"]

FORMATS: dict[str, Callable[[DataConfig], Recording]] = {
    "n3v": n3v.read,
}


def load_scene(config: DataConfig, with_points: bool = True) -> Scene:
    """The scene that `config` describes; its photos are decoded when they are asked for.

    `with_points`: False where nothing is to be trained; then there are none, none are looked for, and bounds are 0.
    Raises ValueError in one line when files are missing, damaged or do not belong together, or the choices do not fit.
    """
    if config.format not in FORMATS:
        raise ValueError(f"data.format: got '{config.format}', expected {' or '.join(FORMATS)}")
    recording = FORMATS[config.format](config)
    takes, train, test = _split(recording, config)
    frames = _frames(takes, config)
    cameras = [take.camera for take in takes]
    cameras = [c.resized(round(c.width / config.downscale), round(c.height / config.downscale)) for c in cameras]
    rig = Rig(
        cameras=tuple(cameras),
        names=tuple(take.name for take in takes),
        train=train,
        test=test,
        timeline=Timeline(len(frames), takes[0].footage.fps or config.fps),
        up=_mean_up(cameras),
        bounds=torch.zeros(2, 3),  # known when the points are
        background=torch.tensor(config.background),
    )
    rolls = [
        photos.Roll(take.footage, frames, (camera.width, camera.height), config.resize)
        for take, camera in zip(takes, cameras, strict=True)
    ]
    cache = photos.cached(rolls, config)
    if not with_points:
        return Scene(rig, cache, points.NONE)
    depths = [(take.near, take.far) for take in takes]
    start, box = points.start(rig, depths, cache, recording.points, config)
    return Scene(replace(rig, bounds=box), cache, start)


def _split(recording: Recording, config: DataConfig) -> tuple[list[Take], tuple[int, ...], tuple[int, ...]]:
    """The takes that are used, and the numbers of those that train and of those that are held out."""
    known = [take.name for take in recording.takes]
    held_out = recording.test if config.test is None else config.test
    for key, names in (("skip", config.skip), ("test", config.test or ())):
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"{config.path}: data.{key} names camera '{unknown[0]}'; there are {', '.join(known)}")
    takes = [take for take in recording.takes if take.name not in config.skip]
    test = tuple(i for i, take in enumerate(takes) if take.name in held_out)
    train = tuple(i for i in range(len(takes)) if i not in test)
    if not train:
        raise ValueError(f"{config.path}: no camera is left to train; name fewer in data.test and data.skip")
    return takes, train, test


def _frames(takes: list[Take], config: DataConfig) -> range:
    """The frames that are used, which every camera has."""
    sizes = {(take.footage.width, take.footage.height): take.name for take in takes}
    if len(sizes) > 1:
        told = " and ".join(f"{width}x{height} ('{name}')" for (width, height), name in sizes.items())
        raise ValueError(f"{config.path}: pictures of different sizes: {told}; give all cameras one size")
    counts = {take.name: take.footage.frames for take in takes}
    fewest, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    end = counts[most] if config.end is None else config.end
    if counts[fewest] < end:
        others = f"; '{most}' has {counts[most]}" if counts[most] > counts[fewest] else ""
        raise ValueError(
            f"{config.path}: camera '{fewest}' has {counts[fewest]} frames, but {end} are asked for{others}; "
            f"set data.end to {counts[fewest]} or add frames"
        )
    if config.start >= end:
        raise ValueError(f"{config.path}: data.start is {config.start}, but there are {end} frames; set it below")
    return range(config.start, end)


def _mean_up(cameras: list[Camera]) -> Float[Tensor, " 3"]:
    """The cameras' mean up direction; the first one's where they cancel out."""
    mean = torch.stack([camera.up for camera in cameras]).mean(0)
    up = mean if mean.norm() > 1e-3 else cameras[0].up
    return up / up.norm()
