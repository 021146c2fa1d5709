"""What one Gaussian has in every kind of expert: how it starts, is activated, and has children."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs import harmonics, rotations
from moegs.experts.base import Decay, ExpertConfig, Rate, log_nearest_distance
from moegs.gaussians import Gaussians, Points

MOST_LOG = 64.0
"""Of a size of Gaussians: far above anything drawn, and small enough that float32 holds products with it."""
Shapes = Mapping[str, tuple[int, ...]]
"""Of each parameter of a group by its name: the shape of one row."""


@dataclass(frozen=True, kw_only=True)
class CanonicalRates:
    """Learning rates of what every kind has, as published with 3D Gaussian Splatting."""

    means: Decay = Decay(1.6e-4, 1.6e-6, 30_000)
    """Per unit of scene extent."""
    quats: Decay = Decay(1e-3)
    log_scales: Decay = Decay(5e-3)
    logit_opacities: Decay = Decay(0.05)
    sh0: Decay = Decay(2.5e-3)
    shN: Decay = Decay(2.5e-3 / 20)  # noqa: N815  (the field's name for the bases above degree 0)

    def of(self, group: str) -> list[Rate]:
        """The rates of the parameters of `group`."""
        names = ("means", "quats", "log_scales", "logit_opacities", "sh0", "shN")
        return [getattr(self, name).of(f"groups.{group}.{name}", times_extent=name == "means") for name in names]


@dataclass(frozen=True)
class Deltas:
    """What a deformation adds to the parameters of N Gaussians before they are activated; 0.0: nothing."""

    means: Float[Tensor, "N 3"] | float = 0.0
    log_scales: Float[Tensor, "N 3"] | float = 0.0
    quats: Float[Tensor, "N 4"] | float = 0.0
    logit_opacities: Float[Tensor, " N"] | float = 0.0
    sh: Float[Tensor, "N K 3"] | float = 0.0


def shapes(sh_degree: int) -> dict[str, tuple[int, ...]]:
    """The shape of one row of each parameter."""
    return {
        "means": (3,),
        "quats": (4,),
        "log_scales": (3,),
        "logit_opacities": (),
        "sh0": (1, 3),
        "shN": (harmonics.count(sh_degree) - 1, 3),
    }


def start(points: Points, config: ExpertConfig) -> dict[str, Float[Tensor, "..."]]:
    """One round, faint Gaussian of its colour on each of `points`, as large as they are apart.

    Raises ValueError with fewer than two points, since their distance is what sizes them.
    """
    if len(points.means) < 2:
        raise ValueError(f"start: got {len(points.means)} points; give at least 2, so that they have a distance")
    means = points.means
    return {
        "means": means.clone(),
        "quats": means.new_tensor([1.0, 0.0, 0.0, 0.0]).repeat(len(means), 1),
        "log_scales": log_nearest_distance(means)[:, None].repeat(1, 3),
        "logit_opacities": torch.logit(means.new_full((len(means),), config.opacity)),
        "sh0": harmonics.from_color(points.colors)[:, None],
        "shN": means.new_zeros(len(means), harmonics.count(config.sh_degree) - 1, 3),
    }


def parameters(tensors: Mapping[str, Tensor]) -> nn.ParameterDict:
    """`tensors` as the trained parameters of one group."""
    return nn.ParameterDict({name: nn.Parameter(tensor) for name, tensor in tensors.items()})


def empty(tensors: Mapping[str, Tensor], group: str, rows: Shapes) -> nn.ParameterDict:
    """Zeros for `group`, as many rows as its log-scales have among the `tensors` of a whole expert.

    The shape of a row is what `rows` says, whatever `tensors` hold: loading then names what does not fit.
    """
    stored = tensors.get(f"groups.{group}.log_scales")
    count = 0 if stored is None or stored.ndim == 0 else len(stored)
    return parameters({name: torch.zeros(count, *shape) for name, shape in rows.items()})


def size(log: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """exp(log), which stays from MOST_LOG on.

    A size that overflowed would be drawn nowhere, so without a gradient of its own, and 0 times infinity is NaN.
    """
    return torch.exp(log.clamp_max(MOST_LOG))


def activate(group: Mapping[str, Tensor], degree: int, deltas: Deltas) -> Gaussians:
    """The Gaussians of `group` after `deltas`, with the bases above `degree` at 0."""
    sh, active = torch.cat([group["sh0"], group["shN"]], dim=1), harmonics.count(degree)
    if not isinstance(deltas.sh, float):  # by far the largest tensor: adding nothing would take as long as all the rest
        sh = sh + deltas.sh
    if active < sh.shape[1]:
        sh = torch.cat([sh[:, :active], torch.zeros_like(sh[:, active:])], dim=1)
    return Gaussians(
        means=group["means"] + deltas.means,
        quats=rotations.directed(group["quats"] + deltas.quats),
        scales=size(group["log_scales"] + deltas.log_scales),
        opacities=torch.sigmoid(group["logit_opacities"] + deltas.logit_opacities),
        sh=sh,
    )


def clone(group: Mapping[str, Tensor], rows: Int[Tensor, " R"], n: int = 1) -> dict[str, Float[Tensor, "..."]]:
    """`n` copies of `rows`, one whole set after the other."""
    return {name: tensor.detach()[rows].repeat(n, *[1] * (tensor.ndim - 1)) for name, tensor in group.items()}


def scatter(children: Mapping[str, Tensor], spread: float = 1.0) -> Float[Tensor, "R 3"]:
    """A random offset for each of `children` in its own axes: normal, with its scales times `spread`."""
    scales = size(children["log_scales"])
    return torch.randn_like(scales) * scales * spread


def split(group: Mapping[str, Tensor], rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
    """`n` children of each of `rows`: drawn from the parent's own normal, and 0.8 n times smaller, as published."""
    children = clone(group, rows, n)
    offsets = rotations.matrix(children["quats"]) @ scatter(children)[:, :, None]
    children["means"] = children["means"] + offsets.squeeze(-1)
    children["log_scales"] = shrunk(children["log_scales"], n)
    return children


def shrunk(log_scales: Float[Tensor, "R 3"], n: int) -> Float[Tensor, "R 3"]:
    """The log-scales of `n` children of one Gaussian: the parent's divided by 0.8 n."""
    return log_scales - torch.log(log_scales.new_tensor(0.8 * n))
