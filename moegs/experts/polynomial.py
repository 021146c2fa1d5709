"""The polynomial expert: Gaussians that come, move along a cubic and go (Spacetime Gaussians, arXiv 2312.16812)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.experts import canonical
from moegs.experts.base import Decay, Expert, ExpertConfig, Rate
from moegs.experts.canonical import CanonicalRates, Deltas
from moegs.gaussians import Gaussians, LowPass, Points

LOG_SCALE_RANGE = (-10.0, 1.0)
"""Of the scales at the start, as published."""


@dataclass(frozen=True, kw_only=True)
class PolynomialRates(CanonicalRates):
    """Learning rates as published; that of the path's coefficients is per unit of scene extent, like the means'."""

    log_scales: Decay = Decay(1.5e-3)
    motions: Decay = Decay(0.5 * 3.5 * 1.6e-4)
    omegas: Decay = Decay(1e-4)
    time_centers: Decay = Decay(1e-4)
    log_time_scales: Decay = Decay(0.03)


@dataclass(frozen=True, kw_only=True)
class PolynomialConfig(ExpertConfig):
    """The defaults are those published for N3V, with spherical harmonics as in MoE-GS."""

    kind: Literal["polynomial"] = "polynomial"
    lowpass: LowPass = LowPass(blur=0.1, compensated=True)
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    degree: int = 3
    """Of the path of each centre; 0 keeps it still."""
    segments: int = 1
    """Stretches of time of equal length, each with Gaussians of its own."""
    log_time_scale: float = 0.0
    """Logarithm of how long each Gaussian lasts at the start, as a share of its segment."""
    fresh_centers: bool = True
    """Whether children get a random instant as their centre in time, as published; else their parent's."""
    rates: PolynomialRates = field(default_factory=PolynomialRates)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.degree < 0 or self.segments < 1:
            raise ValueError(f"got degree {self.degree} and {self.segments} segments; expected at least 0 and 1")

    def start(self, points: Points, frames: int, views: int) -> "PolynomialExpert":
        """As the base class says. Each point's time is its Gaussian's centre; a segment that fewer than two points
        were seen in, which have no distance, starts with all of them, centred in its middle."""
        if frames < self.segments:
            raise ValueError(f"segments: got {self.segments} for {frames} frames; give at most one each")
        first = [round(segment * frames / self.segments) for segment in range(self.segments + 1)]
        bounds = torch.tensor(first, dtype=torch.float64) / frames
        groups = {}
        for low, high in pairwise(first):
            times = (points.times * frames - low) / (high - low)
            seen = (times >= 0) & ((times < 1) | (high == frames))
            chosen = Points(points.means[seen], points.colors[seen], times[seen])
            if int(seen.sum()) < 2:
                chosen = replace(points, times=torch.full_like(times, 0.5))
            groups[f"{low}to{high - 1}"] = canonical.parameters(self._start_segment(chosen))
        return PolynomialExpert(self, groups, bounds)

    def empty(self, tensors: Mapping[str, Tensor]) -> "PolynomialExpert":
        names = dict.fromkeys(name.split(".")[1] for name in tensors if name.startswith("groups."))
        if len(names) != self.segments:
            raise ValueError(f"segments: the config says {self.segments}, the tensors have {len(names)}")
        motion = {"motions": (self.degree, 3), "omegas": (4,), "time_centers": (), "log_time_scales": ()}
        rows = canonical.shapes(self.sh_degree) | motion
        groups = {name: canonical.empty(tensors, name, rows) for name in names}
        return PolynomialExpert(self, groups, torch.zeros(self.segments + 1, dtype=torch.float64))

    def _start_segment(self, points: Points) -> dict[str, Tensor]:
        rows, times = canonical.start(points, self), points.times
        return rows | {
            "log_scales": rows["log_scales"].clamp(*LOG_SCALE_RANGE),
            "motions": times.new_zeros(len(times), self.degree, 3),
            "omegas": times.new_zeros(len(times), 4),
            "time_centers": times.clone(),
            "log_time_scales": torch.full_like(times, self.log_time_scale),
        }


class PolynomialExpert(Expert[PolynomialConfig]):
    """Each Gaussian is brightest at its centre in time; before and after it lies on a polynomial path and turns."""

    bounds: Float[Tensor, " S1"]
    """Where the segments start, and 1: in t."""

    def __init__(
        self, config: PolynomialConfig, groups: Mapping[str, nn.ParameterDict], bounds: Float[Tensor, " S1"]
    ) -> None:
        super().__init__(config)
        self.groups = nn.ModuleDict(groups)
        self.register_buffer("bounds", bounds)

    def at(self, t: float, view: int | None = None) -> Gaussians:
        bounds = self.bounds.tolist()
        segment = max(sum(t >= start for start in bounds[:-1]) - 1, 0)
        inside = (t - bounds[segment]) / (bounds[segment + 1] - bounds[segment])
        gaussians = self._segment(self.group(list(self.groups)[segment]), inside)
        if self.config.segments == 1:
            return gaussians
        before = sum(list(self.counts().values())[:segment])
        rows = torch.arange(before, before + len(gaussians), device=gaussians.means.device)
        return replace(gaussians, rows=rows)

    def rates(self) -> list[Rate]:
        rates, found = self.config.rates, []
        for group in self.groups:
            found += [
                *rates.of(group),
                rates.motions.of(f"groups.{group}.motions", times_extent=True),
                *(
                    getattr(rates, name).of(f"groups.{group}.{name}")
                    for name in ("omegas", "time_centers", "log_time_scales")
                ),
            ]
        return found

    def penalty(self) -> Float[Tensor, ""]:
        return self.background.new_zeros(())

    def split(self, group: str, rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
        return self._recentred(canonical.split(self.group(group), rows, n))

    def clone(self, group: str, rows: Int[Tensor, " R"]) -> dict[str, Float[Tensor, "..."]]:
        return self._recentred(canonical.clone(self.group(group), rows))

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """Nothing is computed from the rows alone."""

    def _segment(self, rows: Mapping[str, Tensor], t: float) -> Gaussians:
        """The Gaussians of one segment at `t` in [0, 1] of it."""
        since = t - rows["time_centers"]
        fade = torch.exp(-(since * torch.exp(-rows["log_time_scales"])).square())
        elapsed = since.detach()[:, None]  # only the fading trains when a Gaussian is, as published
        # Horner: motions 0 to D - 1 are the coefficients of elapsed, elapsed^2, ...
        path = torch.zeros_like(rows["means"])
        for power in reversed(range(self.config.degree)):
            path = (path + rows["motions"][:, power]) * elapsed
        gaussians = canonical.activate(rows, self.active_sh_degree, Deltas(means=path, quats=elapsed * rows["omegas"]))
        return replace(gaussians, opacities=gaussians.opacities * fade)

    def _recentred(self, children: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.config.fresh_centers:
            children["time_centers"] = torch.rand_like(children["time_centers"])
        return children
