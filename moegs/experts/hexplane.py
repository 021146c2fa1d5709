"""The hexplane expert: canonical Gaussians, deformed by features of a HexPlane (4DGaussians, arXiv 2310.08528)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.experts import canonical
from moegs.experts.base import Decay, Expert, ExpertConfig, Rate
from moegs.experts.canonical import CanonicalRates, Deltas
from moegs.experts.heads import Heads, HeadsConfig
from moegs.experts.planes import Planes, PlanesConfig
from moegs.experts.recipe import Ground, Plain, Recipe
from moegs.gaussians import Gaussians, Points
from moegs.schedules import Steps

SLIMMEST = 1e-3
"""A side of the planes' box is at least this share of its longest: points may all lie in a plane."""


@dataclass(frozen=True, kw_only=True)
class HexPlaneRates(CanonicalRates):
    """Learning rates as published; those of means, network and planes are per unit of scene extent."""

    means: Decay = Decay(1.6e-4, 1.6e-6, 20_000)
    network: Decay = Decay(1.6e-4, 1.6e-5, 20_000)
    planes: Decay = Decay(1.6e-3, 1.6e-4, 20_000)


@dataclass(frozen=True, kw_only=True)
class HexPlaneConfig(ExpertConfig):
    """The defaults are those published for N3V."""

    kind: Literal["hexplane"] = "hexplane"
    planes: PlanesConfig = field(default_factory=PlanesConfig)
    heads: HeadsConfig = field(default_factory=HeadsConfig)
    rates: HexPlaneRates = field(default_factory=HexPlaneRates)
    coarse_steps: Steps = 3000
    """Before this step nothing is deformed."""
    fine_restarts: bool = True
    """Whether rates, the optimizer's moments and density control start anew at that step, as published."""
    means_feel_planes: bool = True
    """Whether the gradient through the look-up in the planes reaches the means, as published."""
    box_outliers: float = 0.0
    """Share of the points left out at each end of each axis when the box is measured; published: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.coarse_steps < 0 or not 0 <= self.box_outliers < 0.5:
            raise ValueError("coarse_steps must be 0 or more, box_outliers at least 0 and less than 0.5")

    def start(self, points: Points, frames: int, views: int) -> "HexPlaneExpert":
        share = self.box_outliers
        box = torch.quantile(points.means.double(), points.means.new_tensor([1 - share, share]).double(), dim=0)
        flat = (SLIMMEST * (box[0] - box[1]).max() - (box[0] - box[1])).clamp_min(0) / 2
        box = torch.stack([box[0] + flat, box[1] - flat]).to(points.means)
        expert = HexPlaneExpert(self, canonical.parameters(canonical.start(points, self)), box)
        expert.check()
        return expert

    def empty(self, tensors: Mapping[str, Tensor]) -> "HexPlaneExpert":
        rows = canonical.empty(tensors, "all", canonical.shapes(self.sh_degree))
        return HexPlaneExpert(self, rows, torch.zeros(2, 3))


class HexPlaneExpert(Expert[HexPlaneConfig]):
    """Position, scale, rotation, opacity and colour change by what five heads read from the planes."""

    def __init__(self, config: HexPlaneConfig, rows: nn.ParameterDict, box: Float[Tensor, "2 3"]) -> None:
        super().__init__(config)
        self.groups = nn.ModuleDict({"all": rows})
        self.field = Planes(config.planes, box)
        self.first = nn.Linear(self.field.channels, config.heads.width)
        self.heads = Heads(config.heads, config.sh_degree)
        for module in (*self.first.modules(), *self.heads.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        if config.heads.zero_start:
            self.heads.still()

    def at(self, t: float, view: int | None = None) -> Gaussians:
        rows = self.group("all")
        if self.step < self.config.coarse_steps:
            return canonical.activate(rows, self.active_sh_degree, Deltas())
        means = rows["means"] if self.config.means_feel_planes else rows["means"].detach()
        return canonical.activate(rows, self.active_sh_degree, self.heads(self.first(self.field(means, t))))

    def rates(self) -> list[Rate]:
        rates = self.config.rates
        found = [
            *rates.of("all"),
            rates.network.of("first.", "heads.", times_extent=True),
            rates.planes.of("field.", times_extent=True),
        ]
        return [replace(rate, restart=self._restart) for rate in found]

    def penalty(self) -> Float[Tensor, ""]:
        if self.step < self.config.coarse_steps:
            return self.field.box.new_zeros(())
        return self.field.penalty()

    def split(self, group: str, rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
        return canonical.split(self.group(group), rows, n)

    def clone(self, group: str, rows: Int[Tensor, " R"]) -> dict[str, Float[Tensor, "..."]]:
        return canonical.clone(self.group(group), rows)

    def check(self) -> None:
        self.field.check()

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """Nothing is computed from the rows alone."""

    def recipe(self, ground: Ground) -> Recipe:
        return Plain(ground, self.groups, self._restart)

    @property
    def _restart(self) -> int | None:
        return self.config.coarse_steps if self.config.fine_restarts else None
