"""Tiny made mixtures for tests of everything above the experts."""

import torch

from moegs.cameras import look_at, pinhole
from moegs.data.scene import Rig
from moegs.experts import EmbeddingConfig, HexPlaneConfig, KeyframeConfig, PolynomialConfig
from moegs.gaussians import Points
from moegs.mixture import Mixture
from moegs.router import VolumeAwareConfig
from moegs.timeline import Timeline

FRAMES = 6
CONFIGS = {
    "hex": HexPlaneConfig(sh_degree=0),
    "emb": EmbeddingConfig(sh_degree=0),
    "poly": PolynomialConfig(sh_degree=0),
    "key": KeyframeConfig(sh_degree=0, dynamic_share=0.3),
}


def rig(width: int = 48, height: int = 32, cameras: int = 3) -> Rig:
    """Cameras on a small arc, all looking at the origin; the first is held out."""
    up = torch.tensor([0.0, -1.0, 0.0])
    places = [torch.tensor([0.4 * (i - cameras // 2), -0.2, -3.0]) for i in range(cameras)]
    return Rig(
        cameras=tuple(pinhole(width, height, 0.9 * width, look_at(place, torch.zeros(3), up)) for place in places),
        names=tuple(f"cam{i:02}" for i in range(cameras)),
        train=tuple(range(1, cameras)),
        test=(0,),
        timeline=Timeline(frames=FRAMES, fps=10.0),
        up=up,
        bounds=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]),
        background=torch.tensor([0.1, 0.2, 0.3]),
    )


def points(count: int, seed: int) -> Points:
    """Coloured points in a box of side 1.6 around the origin, over the whole clip."""
    generator = torch.Generator().manual_seed(seed)
    return Points(
        means=torch.rand(count, 3, generator=generator) * 1.6 - 0.8,
        colors=torch.rand(count, 3, generator=generator),
        times=torch.rand(count, generator=generator) * 0.99,
    )


def mixture(kinds: tuple[str, ...] = ("poly", "key"), count: int = 60, size: tuple[int, int] = (48, 32)) -> Mixture:
    """Experts of `count` opaque, randomly turned Gaussians each, under a router with random weights."""
    generator = torch.Generator().manual_seed(7)
    experts = []
    for seed, kind in enumerate(kinds):
        torch.manual_seed(seed)
        expert = CONFIGS[kind].start(points(count, seed), FRAMES, views=2)
        for group in expert.groups:
            parameters = expert.group(group)
            parameters["logit_opacities"].data.fill_(1.5)
        expert.begin_step(10_000)
        experts.append(expert)
    router = None
    if len(experts) > 1:
        router = VolumeAwareConfig(temperature=0.5).start([len(expert) for expert in experts])
        for parameter in router.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
    made = Mixture(kinds, experts, router, rig(*size))
    made.requires_grad_(False)
    return made
