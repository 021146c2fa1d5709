"""Fusion: a mixture at one instant as one set of Gaussians, for programs that know no router."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.data.scene import Rig
from moegs.gaussians import Gaussians, concatenate
from moegs.mixture import Mixture
from moegs.rasterize import Layer, splat

ASKED = 4
"""On the demo's cameras, shares from four give the same picture as those from all eleven, to 0.1 dB."""


def fused(mixture: Mixture, t: float, cameras: Sequence[Camera]) -> Gaussians:
    """All experts' Gaussians at time `t`, the opacity of each times the router's share of it, asked from `cameras`.

    What is lost: the router chooses for each pixel and so for each direction, which a Gaussian cannot; behind what is
    only partly trusted, more shines through; and every Gaussian gets the one low-pass of whoever draws it.
    """
    parts = mixture.at(t)
    if mixture.router is None:
        return concatenate(parts)
    shares = responsibilities(mixture, t, cameras)
    bases = max(part.sh.shape[1] for part in parts)
    faded = [
        replace(
            part,
            opacities=part.opacities * share,
            sh=torch.nn.functional.pad(part.sh, (0, 0, 0, bases - part.sh.shape[1])),
        )
        for part, share in zip(parts, shares, strict=True)
    ]
    return concatenate(faded)


def asked(rig: Rig) -> list[Camera]:
    """The cameras that the router is asked from unless others are given: four training ones, spread evenly."""
    count = min(ASKED, len(rig.train))
    return [rig.cameras[rig.train[(2 * i + 1) * len(rig.train) // (2 * count)]] for i in range(count)]


def responsibilities(mixture: Mixture, t: float, cameras: Sequence[Camera]) -> list[Float[Tensor, " _"]]:
    """The router's share of each Gaussian of each expert at time `t`, in [0, 1]: the gate of its expert, averaged over
    the pixels of all `cameras` with the weight, alpha x transmittance, that it has in them.

    What no camera sees has the mean gate of its expert. Raises ValueError without cameras.
    """
    if not cameras:
        raise ValueError("fusion: no cameras to ask the router from; the scene has no training camera")
    sums = [part.means.new_zeros(len(part), 2) for part in mixture.at(t)]
    means = torch.zeros(len(sums))
    for camera in cameras:
        place = camera.to(mixture.device)
        with torch.no_grad():
            gates = mixture.render(place, t).gates
        means += gates.mean((1, 2)).cpu() / len(cameras)
        for total, seen in zip(sums, _weighed(mixture, t, place, gates), strict=True):
            total += seen
    return [
        torch.where(total[:, 1] > 0, total[:, 0] / total[:, 1].clamp_min(1e-12), float(mean)).clamp(0, 1)
        for total, mean in zip(sums, means, strict=True)
    ]


def _weighed(mixture: Mixture, t: float, camera: Camera, gates: Float[Tensor, "E H W"]) -> list[Float[Tensor, "_ 2"]]:
    """For each Gaussian the sums over the pixels of its weight x gate, and of its weight: the gradient with respect to
    a feature is its weight."""
    layers = [
        Layer(
            part, torch.zeros_like(part.means[:, :2]).requires_grad_(),
            lowpass=expert.lowpass, near=expert.near, far=expert.far,
        )
        for part, expert in zip(mixture.at(t), mixture.members, strict=True)
    ]  # fmt: skip
    with torch.enable_grad():
        (splat(layers, camera) * torch.stack([gates, torch.ones_like(gates)], dim=-1)).sum().backward()
    found = []
    for layer in layers:
        assert layer.features is not None
        assert layer.features.grad is not None, "what is splatted has a gradient"
        found.append(layer.features.grad)
    return found
