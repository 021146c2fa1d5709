"""The polynomial expert: Gaussians that come, move along a cubic and go (Spacetime Gaussians, arXiv 2312.16812)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.experts import canonical, turns
from moegs.experts.base import Decay, Expert, ExpertConfig, Rate, log_nearest_distance
from moegs.experts.canonical import CanonicalRates, Deltas
from moegs.experts.guided import GuidedConfig, GuidedSampling
from moegs.experts.recipe import Attention, Edit, Ground, Recipe, Seen
from moegs.experts.turns import TurnsConfig
from moegs.experts.windows import Awake, Windows
from moegs.gaussians import Gaussians, LowPass, Points
from moegs.schedules import Interval, Steps

LOG_SCALE_RANGE = (-10.0, 1.0)
"""Of the scales at the start, as published."""
FARTHEST = 1e6
"""From its centre in time a Gaussian goes on along its path no longer than this, in segments: powers would overflow."""


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

    every_frame: ClassVar[bool] = True
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
    guided: GuidedConfig | None = field(default_factory=GuidedConfig)
    """New Gaussians where the error stays high; None: density control alone adds them."""
    turns: TurnsConfig | None = field(default_factory=TurnsConfig)
    """Which Gaussians may turn late in training; None: all."""
    box_step: Steps | None = 10_000
    """After so many steps what lies outside the box of its segment's first points is removed; None: never."""
    least_z: float | None = None
    """Points with less world z are left out at the start, and what has moved there is removed later; None: none."""
    least_z_start: Steps = 9000
    """Step after which it is removed ..."""
    least_z_every: Interval = 1000
    """... each so many steps, from half of them on."""
    rates: PolynomialRates = field(default_factory=PolynomialRates)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.degree < 0 or self.segments < 1:
            raise ValueError(f"got degree {self.degree} and {self.segments} segments; expected at least 0 and 1")
        if self.least_z_every < 2:
            raise ValueError(f"least_z_every: got {self.least_z_every}, expected at least 2 steps")

    def start(self, points: Points, frames: int, views: int) -> "PolynomialExpert":
        """As the base class says. Each point's time is its Gaussian's centre; a segment that fewer than two points
        were seen in, which have no distance, starts with all of them, centred in its middle."""
        if frames < self.segments:
            raise ValueError(f"segments: got {self.segments} for {frames} frames; give at most one each")
        points = self._in_front(points)
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

    def _in_front(self, points: Points) -> Points:
        if self.least_z is None:
            return points
        near = points.means[:, 2] < self.least_z
        if int((~near).sum()) < 2:
            raise ValueError(
                f"least_z: {int(near.sum())} of {len(near)} points have less world z; set it lower, or null"
            )
        return Points(points.means[~near], points.colors[~near], points.times[~near])

    def newborn(self, points: Points, among: Float[Tensor, "N 3"]) -> dict[str, Float[Tensor, "..."]]:
        """Rows for `points` that join late: as large as their distance from the nearest of each other and `among`."""
        distances = log_nearest_distance(torch.cat([points.means, among]))[: len(points.means), None]
        rows = self._start_segment(points)
        return rows | {
            "log_scales": distances.clamp(*LOG_SCALE_RANGE).repeat(1, 3),
            "quats": torch.zeros_like(rows["quats"]),  # as published: they turn nothing
        }

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
        self.windows = Windows()

    def at(self, t: float, view: int | None = None) -> Gaussians:
        segment, inside = self.segment(t)
        name = list(self.groups)[segment]
        rows = self.group(name)
        awake = self._awake(name, rows, inside) if self._culls else Awake(rows)
        gaussians = self._segment(awake.rows, inside)
        if awake.numbers is None and self.config.segments == 1:
            return gaussians
        before = sum(list(self.counts().values())[:segment])
        every = torch.arange(len(gaussians), device=gaussians.means.device)
        return replace(gaussians, rows=before + (every if awake.numbers is None else awake.numbers))

    def segment(self, t: float) -> tuple[int, float]:
        """The number of the segment that `t` lies in, and where in it, in [0, 1]."""
        bounds = self.bounds.tolist()
        number = max(sum(t >= start for start in bounds[:-1]) - 1, 0)
        return number, (t - bounds[number]) / (bounds[number + 1] - bounds[number])

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

    def check(self) -> None:
        bounds = self.bounds.tolist()
        if bounds[0] != 0 or bounds[-1] != 1 or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError(f"bounds: got {bounds}, expected times that rise from 0 to 1")

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        self.windows.forget()

    def recipe(self, ground: Ground) -> Recipe:
        return PolynomialRecipe(self, ground)

    def _awake(self, name: str, rows: Mapping[str, Tensor], t: float) -> Awake:
        """The `rows` of one segment that may be seen around `t` in [0, 1] of it."""

        def brightest(low: float, high: float) -> Float[Tensor, " N"]:
            facts = ("logit_opacities", "time_centers", "log_time_scales")
            opacities, centers, scales = (rows[fact].detach().double() for fact in facts)
            nearest = torch.maximum(low - centers, centers - high).clamp(0, FARTHEST)
            return torch.sigmoid(opacities) * torch.exp(-(nearest * canonical.size(-scales)).square())

        return self.windows.awake(name, t, rows, brightest)

    def _segment(self, rows: Mapping[str, Tensor], t: float) -> Gaussians:
        """The Gaussians of one segment at `t` in [0, 1] of it."""
        since = (t - rows["time_centers"]).clamp(-FARTHEST, FARTHEST)
        fade = torch.exp(-(since * canonical.size(-rows["log_time_scales"])).square())
        elapsed = since.detach()[:, None]  # only the fading trains when a Gaussian is, as published
        # Horner: motions 0 to D - 1 are the coefficients of elapsed, elapsed^2, ...
        path = torch.zeros_like(rows["means"])
        for power in reversed(range(self.config.degree)):
            path = (path + rows["motions"][:, power]) * elapsed
        if self.config.turns is not None and self.step >= self.config.turns.step:
            rows = turns.held(rows)
        gaussians = canonical.activate(rows, self.active_sh_degree, Deltas(means=path, quats=elapsed * rows["omegas"]))
        return replace(gaussians, opacities=gaussians.opacities * fade)

    def _recentred(self, children: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.config.fresh_centers:
            children["time_centers"] = torch.rand_like(children["time_centers"])
        return children


class PolynomialRecipe(Recipe):
    """Guided sampling of new Gaussians, and late in training a few cuts that settle what turns and what is left."""

    def __init__(self, expert: PolynomialExpert, ground: Ground) -> None:
        self.expert, self.config, self.ground = expert, expert.config, ground
        self.guided = GuidedSampling(expert.config.guided, ground.views) if expert.config.guided else None
        self.boxes = {name: _box(expert.group(name)["means"].detach()) for name in expert.groups}
        self.found: list[tuple[str, Points]] = []
        """New points for a group, to be added as soon as the step is done."""

    @property
    def frames(self) -> int:
        return self.ground.frames

    def stage_start(self, step: int) -> int:
        return 0

    def attention(self, step: int) -> Attention:
        return Attention.PICTURE if self.guided is not None and self.guided.watches(step) else Attention.NONE

    def observe(self, seen: Seen) -> None:
        assert self.guided is not None, "nothing else watches"
        points = self.guided.observe(seen)
        if points is not None:
            number, _ = self.expert.segment(seen.t)
            self.found.append((list(self.expert.groups)[number], points))

    def edits(self, step: int) -> Iterator[Edit]:
        while self.found:
            name, points = self.found.pop()
            yield Edit(name, added=self.config.newborn(points, self.expert.group(name)["means"].detach()))
        for name in list(self.expert.groups):
            group = {key: value.detach() for key, value in self.expert.group(name).items()}
            if self.config.turns and step == self.config.turns.step:
                yield Edit(name, rewritten=turns.settled(group, self.config.turns))
            means, gone = group["means"], torch.zeros_like(group["time_centers"], dtype=torch.bool)
            if step == self.config.box_step:
                gone |= ((means < self.boxes[name][0]) | (means > self.boxes[name][1])).any(1)
            if self.config.least_z is not None and self._at_least_z(step):
                gone |= means[:, 2] < self.config.least_z
            if bool(gone.any()):
                yield Edit(name, kept=torch.where(~gone)[0])

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """It keeps nothing of the rows."""

    def state_dict(self) -> dict[str, Any]:
        return {"boxes": self.boxes, "guided": None if self.guided is None else self.guided.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.boxes = {name: box.to(self.boxes[name]) for name, box in state["boxes"].items()}
        if self.guided is not None:
            self.guided.load_state_dict(state["guided"])

    def _at_least_z(self, step: int) -> bool:
        return step >= self.config.least_z_start and step % self.config.least_z_every == self.config.least_z_every // 2


def _box(means: Float[Tensor, "N 3"]) -> Float[Tensor, "2 3"]:
    """Smallest and largest corner of what holds all `means`; of nothing, where there are none."""
    if not len(means):
        return means.new_zeros(2, 3)
    return torch.stack([means.amin(0), means.amax(0)])
