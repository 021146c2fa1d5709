"""A made mixture of real size: a furnished room seen by an arc of cameras, with the peaked gates of a trained router.

Nothing in it is trained, but what decides the time of a frame is as in a trained one: how large Gaussians are against
their distance to the next, how opaque, how many are seen, and how sharply the router divides the picture.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moegs.cameras import look_at, pinhole
from moegs.data.scene import Rig
from moegs.experts import KINDS
from moegs.experts.base import Expert
from moegs.gaussians import Points
from moegs.mixture import Mixture
from moegs.router import VolumeAwareConfig
from moegs.timeline import Timeline

FRAMES = 300
OWNED = 24
"""Regions of the room; in each, one expert has nearly the whole gate."""
CERTAINTY = 6.0
"""Router weight of the expert that owns a region, and minus that of the others: gates of 0.99999 inside."""


def mixture(kinds: Sequence[str], gaussians: int, size: tuple[int, int]) -> Mixture:
    """Experts of `kinds` with `gaussians` in all, and cameras of `size` (width, height)."""
    counts = [gaussians // len(kinds)] * len(kinds)
    experts = [_expert(kind, count, seed) for seed, (kind, count) in enumerate(zip(kinds, counts, strict=True))]
    router = VolumeAwareConfig().start(counts)
    for layer in router.network:
        if isinstance(layer, nn.Linear):
            layer.weight.data.zero_()
    owners = torch.rand(OWNED, 3, generator=torch.Generator().manual_seed(7)) * 2 - 1
    for number, expert in enumerate(experts):
        region = torch.cdist(expert.at(0.0).means.detach(), owners).argmin(1)
        weight = torch.where(region % len(kinds) == number, CERTAINTY, -CERTAINTY)
        router.static[number].data = torch.stack([weight, weight], dim=1)
    made = Mixture([f"{kind}{number}" for number, kind in enumerate(kinds)], experts, router, rig(*size))
    made.requires_grad_(False)
    return made


def rig(width: int, height: int, cameras: int = 20) -> Rig:
    """An arc of cameras in the open side of the room, all looking at its middle; the first is held out."""
    up = torch.tensor([0.0, -1.0, 0.0])
    angles = [0.5 * (2 * i / (cameras - 1) - 1) for i in range(cameras)]
    places = [torch.tensor([2.6 * math.sin(angle), -0.2, -2.6 * math.cos(angle)]) for angle in angles]
    return Rig(
        cameras=tuple(pinhole(width, height, 1.0 * width, look_at(place, torch.zeros(3), up)) for place in places),
        names=tuple(f"cam{i:02}" for i in range(cameras)),
        train=tuple(range(1, cameras)),
        test=(0,),
        timeline=Timeline(frames=FRAMES, fps=30.0),
        up=up,
        bounds=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]),
        background=torch.zeros(3),
    )


def room(count: int, seed: int) -> Points:
    """Coloured points on the walls, the floor and twelve balls of a room of side 2 around the origin."""
    random = torch.Generator().manual_seed(seed)
    walls, balls = count * 2 // 3, count - count * 2 // 3
    flat = torch.rand(walls, 3, generator=random) * 2 - 1
    side = torch.randint(4, (walls,), generator=random)
    flat[side == 0, 2] = 1.0  # back
    flat[side == 1, 1] = 1.0  # floor
    flat[side == 2, 0] = -1.0
    flat[side == 3, 0] = 1.0
    centers = torch.rand(12, 3, generator=torch.Generator().manual_seed(1)) * 1.2 - 0.6
    radii = 0.1 + 0.15 * torch.rand(12, generator=torch.Generator().manual_seed(2))
    which = torch.randint(12, (balls,), generator=random)
    round_ = nn.functional.normalize(torch.randn(balls, 3, generator=random), dim=1)
    means = torch.cat([flat, centers[which] + radii[which, None] * round_])
    colors = 0.5 + 0.4 * torch.sin(means @ torch.tensor([[7.0, 3.0, 11.0], [5.0, 13.0, 2.0], [3.0, 8.0, 9.0]]))
    return Points(means, colors.clamp(0, 1), torch.rand(count, generator=random) * 0.999)


def _expert(kind: str, count: int, seed: int) -> Expert:
    torch.manual_seed(seed)
    expert = KINDS[kind]().start(room(count, seed), FRAMES, views=19)
    expert.begin_step(100_000)
    for module in expert.modules():
        if isinstance(module, nn.Linear):
            module.weight.data *= 0.1  # a deformation by fractions of a Gaussian, not across the room
    for name in expert.groups:
        as_trained(expert.group(name))
    return expert


def as_trained(group: Mapping[str, Float[Tensor, "..."]]) -> None:
    """Anisotropic, of mixed opacity, with some colour in every direction; half of those with a time of their own are
    awake for a tenth of the clip."""
    scales, logits = group["log_scales"], group["logit_opacities"]
    scales.data += 0.6 * torch.randn_like(scales) - 0.3
    logits.data = 1.0 + 2.0 * torch.randn_like(logits)
    group["shN"].data = 0.05 * torch.randn_like(group["shN"])
    if "log_time_scales" in group:
        awake = torch.rand_like(group["log_time_scales"])
        group["log_time_scales"].data = torch.where(awake < 0.5, math.log(0.05), 2.0)
