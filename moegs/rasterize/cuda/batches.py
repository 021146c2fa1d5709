"""Layers gathered into as few sets of Gaussians as can be projected at once: one for each low-pass."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from moegs import rotations
from moegs.cameras import Camera
from moegs.gaussians import LowPass
from moegs.rasterize import Layer, features_of

MAX_SIGMA = 1e9
"""Pixels: a Gaussian whose standard deviation in the picture may be larger is not drawn, since the determinant of its
covariance would overflow float32 and make its gradients NaN."""


@dataclass(frozen=True)
class Batch:
    """The layers of one low-pass, concatenated to N Gaussians."""

    lowpass: LowPass
    means: Float[Tensor, "N 3"]
    quats: Float[Tensor, "N 4"]
    """No rotation instead of a zero."""
    scales: Float[Tensor, "N 3"]
    opacities: Float[Tensor, " N"]
    """0 for what must not be drawn: the projection leaves it out, so that no row has to be taken out before."""
    sh: Float[Tensor, "N K 3"]
    """Zeros above a layer's own degree."""
    features: Float[Tensor, "N C"]
    experts: Int64[Tensor, " N"]
    """The number of the layer that each is of."""
    rows: Int64[Tensor, " N"]
    """Which Gaussian of all the concatenated layers each is."""


def by_lowpass(layers: Sequence[Layer], camera: Camera) -> list[Batch]:
    """The `layers` by low-pass, in the order in which each first appears; within a batch they keep their order."""
    members: dict[LowPass, list[int]] = {}
    for expert, layer in enumerate(layers):
        members.setdefault(layer.lowpass, []).append(expert)
    return [_concatenated(layers, experts, camera) for experts in members.values()]


def _concatenated(layers: Sequence[Layer], experts: Sequence[int], camera: Camera) -> Batch:
    chosen = [layers[expert] for expert in experts]
    parts = [layer.gaussians for layer in chosen]
    bases = max(part.sh.shape[1] for part in parts)
    expert_of, row_of = numbering([len(layer.gaussians) for layer in layers], experts, parts[0].means.device)
    return Batch(
        lowpass=chosen[0].lowpass,
        means=torch.cat([part.means for part in parts]),
        quats=rotations.directed(torch.cat([part.quats for part in parts])),
        scales=torch.cat([part.scales for part in parts]),
        opacities=torch.cat([layer.gaussians.opacities.where(drawable(layer, camera), 0) for layer in chosen]),
        sh=torch.cat([pad(part.sh, (0, 0, 0, bases - part.sh.shape[1])) for part in parts]),
        features=torch.cat([features_of(layer) for layer in chosen]),
        experts=expert_of,
        rows=row_of,
    )


def numbering(
    counts: Sequence[int], experts: Sequence[int], device: torch.device
) -> tuple[Int64[Tensor, " N"], Int64[Tensor, " N"]]:
    """For the Gaussians of the chosen `experts`, one after the other: whose each is, and its row among all `counts`.

    int64 and contiguous, as gsplat's kernels read them without a look.
    """
    starts = [sum(counts[:expert]) for expert in experts]
    return (
        torch.cat([torch.full((counts[expert],), expert, device=device) for expert in experts]),
        torch.cat(
            [
                torch.arange(start, start + counts[expert], device=device)
                for start, expert in zip(starts, experts, strict=True)
            ]
        ),
    )


@torch.no_grad()
def drawable(layer: Layer, camera: Camera) -> Bool[Tensor, " N"]:
    """Which Gaussians have finite values, lie between near and far, and are small enough to be projected."""
    gaussians = layer.gaussians
    values = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities[:, None], gaussians.sh.flatten(1)]
    rows = torch.cat([*values, features_of(layer)], dim=1)
    finite = rows.mul_(0).sum(1) == 0  # else NaN; isfinite() of each would be 36 launches
    depths = camera.depths(gaussians.means)
    sigmas = gaussians.scales.amax(1) * camera.K.diagonal()[:2].amax()  # pixels at depth 1
    return finite & (depths >= layer.near) & (depths <= layer.far) & (sigmas < MAX_SIGMA * depths)


def stacked(
    colors: Sequence[Float[Tensor, " D"] | None], size: int, example: Float[Tensor, "..."]
) -> Float[Tensor, "E D"]:
    """One background of `size` channels for each picture, on the device of `example`; None is zeros."""
    if all(color is None for color in colors):
        return example.new_zeros(len(colors), size)
    return torch.stack([example.new_zeros(size) if color is None else color.to(example) for color in colors])
