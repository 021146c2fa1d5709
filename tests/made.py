"""A tiny mixture made up on the spot: two experts that move, a router with random weights, a few cameras."""

import math

import torch

from moegs.cameras import Camera, look_at, pinhole
from moegs.data.scene import Rig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import LowPass, Points
from moegs.mixture import Mixture
from moegs.router import RouterConfig
from moegs.timeline import Timeline

UP = torch.tensor([0.0, 0.0, 1.0])


def rig(frames: int = 8, cameras: int = 5, width: int = 96, height: int = 64) -> Rig:
    """Cameras on an arc 4 units around the origin, the first held out, each with a principal point of its own."""
    views = tuple(_camera(i, cameras, width, height) for i in range(cameras))
    return Rig(
        cameras=views,
        names=tuple(f"cam{i:02}" for i in range(cameras)),
        train=tuple(range(1, cameras)),
        test=(0,),
        timeline=Timeline(frames, fps=10.0),
        up=UP,
        bounds=torch.tensor([[-1.5, -1.5, -1.0], [1.5, 1.5, 1.0]]),
        background=torch.zeros(3),
    )


def mixture(experts: int = 2, points: int = 120, seed: int = 0, **rig_options: int) -> Mixture:
    """Clouds of coloured blobs, a different one for each expert, that drift and turn."""
    generator = torch.Generator().manual_seed(seed)
    scene = rig(**rig_options)
    config = PolynomialConfig(sh_degree=1, sh_degree_interval=0, opacity=0.9, lowpass=LowPass(), log_time_scale=2.0)
    members = []
    for _ in range(experts):
        means = torch.randn(points, 3, generator=generator) * torch.tensor([0.8, 0.8, 0.4])
        colors = torch.rand(points, 3, generator=generator)
        expert = config.start(Points(means, colors, torch.rand(points, generator=generator)), scene.timeline.frames, 1)
        for name, parameter in expert.named_parameters():
            if name.endswith("motions"):
                parameter.data = 0.4 * torch.randn(parameter.shape, generator=generator)
            if name.endswith("log_scales"):
                parameter.data = parameter.data.clamp(-4.0, -2.5)
        members.append(expert)
    router = RouterConfig().start([points] * experts)
    for parameter in router.parameters():
        parameter.data = 2 * torch.randn(parameter.shape, generator=generator)
    names = [f"cloud{e}" for e in range(experts)]
    return Mixture(names, members, router, scene).requires_grad_(False)


def _camera(number: int, count: int, width: int, height: int) -> Camera:
    angle = math.radians(-40 + 80 * number / max(1, count - 1))
    center = torch.tensor([4 * math.sin(angle), -4 * math.cos(angle), 1.2])
    view = pinhole(width, height, 1.1 * width, look_at(center, torch.zeros(3), UP))
    view.K[0, 2] += 0.02 * width * (number + 1)
    view.K[1, 2] -= 0.015 * height
    return view
