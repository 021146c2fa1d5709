"""Trainings at the size of stamps, for tests: a drifting cloud, filmed by four cameras; experts that learn it."""

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from moegs.cameras import Camera, look_at, pinhole
from moegs.data import DataConfig
from moegs.data.scene import Rig, Scene
from moegs.density import DensityConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.heads import HeadsConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.planes import PlanesConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import Points
from moegs.mixture import Mixture
from moegs.rasterize import Layer, rasterize
from moegs.router import VolumeAwareConfig
from moegs.timeline import Timeline
from moegs.training import TrainConfig, loop
from moegs.training.experts import ExpertTraining
from moegs.training.loop import Plan
from moegs.training.routing import RouterTraining
from moegs.training.snapshots import Snapshots

FRAMES = 3
HEADS = HeadsConfig(width=8, zero_start=True)
PLANES = PlanesConfig(channels=2, resolution=(4, 4, 4), time_resolution=6, levels=(1,))
KINDS = {
    "polynomial": PolynomialConfig(sh_degree=0, degree=1),
    "hexplane": HexPlaneConfig(sh_degree=0, planes=PLANES, heads=HEADS, coarse_steps=3),
    "embedding": EmbeddingConfig(sh_degree=0, size=4, time_size=4, time_rows=3, coarse_rows=2, heads=HEADS),
    "keyframe": KeyframeConfig(
        sh_degree=0, interval=2, penalty_start=0, dynamic_share=0.3, growth=None, promotion=None, tidying=None
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Photos in memory."""

    frames: Tensor

    def at(self, camera: int, frame: int) -> Tensor:
        return self.frames[camera, frame]


def ring() -> tuple[Camera, ...]:
    up = torch.tensor([0.0, -1.0, 0.0])
    places = [torch.tensor([x, 0.2 * x, -3.0]) for x in (0.0, -0.8, 0.8, 0.4)]
    return tuple(pinhole(24, 18, 24.0, look_at(place, torch.zeros(3), up)) for place in places)


@cache
def scene() -> Scene:
    """The cloud as it was filmed; points near the truth."""
    points, noise, filmed = _filmed()
    return replace(filmed, points=Points(points.means + 0.05 * noise, points.colors * 0.8, points.times))


@cache
def sparse_scene() -> Scene:
    """The same; points beside the truth, but for a part of it."""
    points, _, filmed = _filmed()
    return replace(filmed, points=Points(points.means[:30] + 0.05, points.colors[:30] * 0.8, points.times[:30]))


@cache
def _filmed() -> tuple[Points, Tensor, Scene]:
    """A cloud of 40 Gaussians that drifts, a normal offset for each, and what a ring of cameras saw, the first held
    out."""
    generator = torch.Generator().manual_seed(3)
    points = Points(
        torch.randn(40, 3, generator=generator) * 0.5,
        torch.rand(40, 3, generator=generator),
        torch.rand(40, generator=torch.Generator().manual_seed(4)),
    )
    truth = PolynomialConfig(sh_degree=0, degree=1, opacity=0.8).start(points, FRAMES, 3)
    truth.group("0to2")["motions"].data += torch.tensor([0.6, 0.0, 0.0])
    cameras = ring()
    rows = [[rasterize([Layer(truth.at(frame / FRAMES))], c).images[0] for frame in range(FRAMES)] for c in cameras]
    photos = torch.stack([torch.stack(row) for row in rows]).detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    rig = Rig(
        cameras=cameras, names=("a", "b", "c", "d"), train=(1, 2, 3), test=(0,), timeline=Timeline(FRAMES, 30.0),
        up=torch.tensor([0.0, -1.0, 0.0]), bounds=torch.tensor([[-2.0] * 3, [2.0] * 3]), background=torch.zeros(3),
    )  # fmt: skip
    return points, torch.randn(40, 3, generator=generator), Scene(rig, Pictures(photos), points)


def training(kind: str = "polynomial", **values) -> ExpertTraining:
    density = DensityConfig(start=0, every=4, stop=20, gradient=1e-5, limit=60)
    return ExpertTraining(**{"name": kind, "expert": KINDS[kind], "steps": 12, "density": density} | values)


def settings(*experts: ExpertTraining, **values) -> TrainConfig:
    router = RouterTraining(steps=6, temperatures=(0.1, 1.0))
    quiet = {"snapshot_seconds": 0.0}
    return TrainConfig(**{"data": DataConfig(path=Path("room")), "experts": experts, "router": router} | quiet | values)


def teaching(names: tuple[str, ...] = ("polynomial", "keyframe")) -> Mixture:
    """A mixture on the scene, as random as its router."""
    filmed, router = scene(), VolumeAwareConfig(temperature=0.7)
    torch.manual_seed(0)
    experts = [KINDS[name].start(filmed.points, FRAMES, 3) for name in names]
    for expert in experts:
        expert.begin_step(30)
    made = Mixture(names, experts, router.start([len(expert) for expert in experts]), filmed.rig)
    for parameter in made.router.parameters() if made.router else ():
        parameter.data = torch.randn(parameter.shape)
    return made.requires_grad_(False)


def plan(folder: Path, steps: int = 12, save_every: int = 100) -> Plan:
    return Plan(steps, 0, folder / "x.state.pt", save_every, Snapshots(folder / "x.live.pt", seconds=0.0))


class KilledError(Exception):
    """Stands for a killed process."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the loop do so many steps, then kills it."""
    one_step, done = loop.one_step, []

    def counted(*arguments):
        if len(done) == steps:
            raise KilledError
        done.append(None)
        return one_step(*arguments)

    monkeypatch.setattr(loop, "one_step", counted)
