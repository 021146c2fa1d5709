"""The keyframe expert: still Gaussians that drift, and moving ones between keyframes (Ex4DGS, arXiv 2410.15629)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import floor
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs import rotations
from moegs.experts import canonical
from moegs.experts.base import Decay, Expert, ExpertConfig, Rate
from moegs.experts.canonical import CanonicalRates, Deltas
from moegs.experts.fades import brightest, fade
from moegs.experts.growth import GrowthConfig, KeyframeRecipe, PromotionConfig, TidyingConfig
from moegs.experts.keys import Keys
from moegs.experts.recipe import Ground, Recipe
from moegs.experts.windows import Awake, Windows, numbered
from moegs.gaussians import Gaussians, LowPass, Points, concatenate
from moegs.schedules import Steps
from moegs.timeline import MAX_FRAMES


@dataclass(frozen=True, kw_only=True)
class StaticRates(CanonicalRates):
    """Learning rates of the static group, as published for N3V."""

    quats: Decay = Decay(1e-5)
    displacements: Decay = Decay(1e-4)


@dataclass(frozen=True, kw_only=True)
class DynamicRates:
    """Learning rates of the dynamic group, as published for N3V."""

    key_means: Decay = Decay(1.6e-4)
    """Per unit of scene extent."""
    key_quats: Decay = Decay(1e-3)
    log_scales: Decay = Decay(5e-3)
    logit_opacities: Decay = Decay(0.01)
    sh0: Decay = Decay(2.5e-3)
    shN: Decay = Decay(2.5e-3 / 20)  # noqa: N815  (the field's name for the bases above degree 0)
    time_centers: Decay = Decay(0.01)
    log_time_widths: Decay = Decay(1e-4)

    def of(self, group: str) -> list[Rate]:
        """The rates of the parameters of `group`."""
        return [
            getattr(self, f.name).of(f"groups.{group}.{f.name}", times_extent=f.name == "key_means")
            for f in fields(self)
        ]


@dataclass(frozen=True, kw_only=True)
class KeyframeConfig(ExpertConfig):
    """The defaults are those published for N3V."""

    kind: Literal["keyframe"] = "keyframe"
    lowpass: LowPass = LowPass(blur=0.1, compensated=True)
    interval: int = 10
    """Frames from one key to the next."""
    time_pad: int = 2
    """Frames that the keys begin before the first frame, beside one whole interval."""
    fade_pad: float = 3.0
    """Frames that every fade lasts at least, as its full width at half height."""
    dynamic_share: float = 0.0
    """Share of the points, drawn at random, that start with keys; the others start static, as all do as published."""
    growth: GrowthConfig | None = field(default_factory=GrowthConfig)
    """None: the whole clip is learnt from the start."""
    promotion: PromotionConfig | None = field(default_factory=PromotionConfig)
    """None: what starts static stays so."""
    tidying: TidyingConfig | None = field(default_factory=TidyingConfig)
    """None: only density control removes Gaussians."""
    log_time_width: float = 2.0
    """Of every fade at the start and after a split, in intervals."""
    displacement_weight: float = 1e-4
    """Of the mean logarithm of the static Gaussians' displacements."""
    motion_weight: float = 1e-4
    """Of the mean distance from the first key to the others, world units."""
    penalty_start: Steps = 500
    """Step from which the two count."""
    static_rates: StaticRates = field(default_factory=StaticRates)
    dynamic_rates: DynamicRates = field(default_factory=DynamicRates)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.interval < 1 or self.time_pad < 0 or self.fade_pad <= 0:
            raise ValueError("interval must be at least 1, time_pad at least 0, fade_pad more than 0")
        if not 0 <= self.dynamic_share <= 1:
            raise ValueError(f"dynamic_share: got {self.dynamic_share:g}, expected 0 to 1")

    @property
    def keys(self) -> Keys:
        """When the keys stand."""
        return Keys(self.interval, self.time_pad)

    @property
    def shift(self) -> int:
        """Frames from key 0 to the first frame of the clip."""
        return self.keys.shift

    def start(self, points: Points, frames: int, views: int) -> "KeyframeExpert":
        """As the base class says. The dynamic Gaussians stand still at first and show from before the first frame to
        after the last; the recipe makes more of them out of static ones as it goes."""
        rows = canonical.start(points, self)
        order = torch.randperm(len(points.means), device=points.means.device)
        count = round(self.dynamic_share * len(order))
        moving = {name: tensor[order[:count]] for name, tensor in rows.items()}
        still = {name: tensor[order[count:]] for name, tensor in rows.items()}
        keys = self.keys.count(frames)
        static = still | {"displacements": torch.zeros_like(still["means"])}
        dynamic = {
            "key_means": moving.pop("means")[:, None].repeat(1, keys, 1),
            "key_quats": moving.pop("quats")[:, None].repeat(1, keys, 1),
            **moving,
            "time_centers": points.means.new_tensor(self.centers(float(frames), margin=-1.0)).repeat(count, 1),
            "log_time_widths": points.means.new_full((count, 2), self.log_time_width),
        }
        groups = {"static": canonical.parameters(static), "dynamic": canonical.parameters(dynamic)}
        return KeyframeExpert(self, groups, frames)

    def empty(self, tensors: Mapping[str, Tensor]) -> "KeyframeExpert":
        stored = tensors.get("groups.dynamic.key_means")
        keys = 0 if stored is None or stored.ndim < 2 else stored.shape[1]
        rows = canonical.shapes(self.sh_degree)
        static = rows | {"displacements": (3,)}
        dynamic = {name: shape for name, shape in rows.items() if name not in ("means", "quats")} | {
            "key_means": (keys, 3),
            "key_quats": (keys, 4),
            "time_centers": (2,),
            "log_time_widths": (2,),
        }
        groups = {
            "static": canonical.empty(tensors, "static", static),
            "dynamic": canonical.empty(tensors, "dynamic", dynamic),
        }
        return KeyframeExpert(self, groups, 0)

    def centers(self, frames: float, margin: float) -> tuple[float, float]:
        """The instants `margin` frames after the first frame and before the last, in intervals from key 0."""
        return (self.shift + margin) / self.interval, (self.shift + frames - 1 - margin) / self.interval


class KeyframeExpert(Expert[KeyframeConfig]):
    """Static Gaussians drift along a line. Dynamic ones follow Catmull-Rom paths and slerps through their keys, and
    fade in before and out after two instants."""

    frames: Float[Tensor, ""]
    """Of the clip: t = 1 is this frame."""
    duration: Float[Tensor, ""]
    """Frames in which a static Gaussian drifts by its displacement: those of the clip, more in some published files."""

    def __init__(self, config: KeyframeConfig, groups: Mapping[str, nn.ParameterDict], frames: int) -> None:
        super().__init__(config)
        self.groups = nn.ModuleDict(groups)
        self.register_buffer("frames", torch.tensor(float(frames)))
        self.register_buffer("duration", torch.tensor(float(frames)))
        self.windows = Windows()

    def at(self, t: float, view: int | None = None) -> Gaussians:
        frame = t * float(self.frames)
        names = ("static", "dynamic")
        static, dynamic = (self._awake(name, t) if self._culls else Awake(self.group(name)) for name in names)
        gaussians = concatenate([self._static(static.rows, frame), self._dynamic(dynamic.rows, frame)])
        return replace(gaussians, rows=numbered([static.numbers, dynamic.numbers], list(self.counts().values())))

    def rates(self) -> list[Rate]:
        static, dynamic = self.config.static_rates, self.config.dynamic_rates
        return [
            *static.of("static"),
            static.displacements.of("groups.static.displacements"),
            *dynamic.of("dynamic"),
        ]

    def penalty(self) -> Float[Tensor, ""]:
        config, total = self.config, self.background.new_zeros(())
        if self.step < config.penalty_start:
            return total
        displacements, keys = self.group("static")["displacements"], self.group("dynamic")["key_means"]
        keys = keys[:, : config.keys.count(int(min(self.duration, self.frames)))]  # those that have joined
        if len(displacements):
            total = total + config.displacement_weight * torch.log(displacements.norm(dim=-1) + 1e-3).mean()
        if len(keys):
            total = total + config.motion_weight * (keys[:, 1:] - keys[:, :1]).norm(dim=-1).mean()
        return total

    def split(self, group: str, rows: Int[Tensor, " R"], n: int) -> dict[str, Float[Tensor, "..."]]:
        if group == "static":
            return canonical.split(self.group(group), rows, n)
        children = canonical.clone(self.group(group), rows, n)
        # One draw for all keys, turned with each of them; twice as wide as a static parent's, as published.
        offsets = canonical.scatter(children, spread=2.0)[:, None, :, None]
        children["key_means"] = children["key_means"] + (rotations.matrix(children["key_quats"]) @ offsets).squeeze(-1)
        children["log_scales"] = canonical.shrunk(children["log_scales"], n)
        return self._refaded(children)

    def clone(self, group: str, rows: Int[Tensor, " R"]) -> dict[str, Float[Tensor, "..."]]:
        children = canonical.clone(self.group(group), rows)
        return children if group == "static" else self._refaded(children)

    def check(self) -> None:
        for name in ("frames", "duration"):
            if not 1 <= float(getattr(self, name)) <= MAX_FRAMES:
                raise ValueError(f"{name}: got {float(getattr(self, name)):g}, expected 1 to {MAX_FRAMES}")

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        self.windows.forget()

    def recipe(self, ground: Ground) -> Recipe:
        config = self.config
        parts = config.growth, config.promotion, config.tidying
        return KeyframeRecipe(self, config.keys, parts, self.duration, ground)

    def _awake(self, name: str, t: float) -> Awake:
        """The rows of group `name` that may be seen around `t`."""
        rows = self.group(name)
        opacities = rows["logit_opacities"].detach()
        if name == "static":  # they do not fade: one window is as good as another
            return self.windows.awake(name, 0.0, rows, lambda low, high: torch.sigmoid(opacities.double()))

        def largest(low: float, high: float) -> Float[Tensor, " N"]:
            centers, widths = (rows[fact].detach().double() for fact in ("time_centers", "log_time_widths"))
            places = [self.config.keys.place(share * float(self.frames)) for share in (low, high)]
            shown = brightest((places[0], places[1]), centers, widths, self._least_fade)
            return torch.sigmoid(opacities.double()) * shown

        return self.windows.awake(name, t, rows, largest, also=[self.frames])

    @property
    def _least_fade(self) -> float:
        return self.config.fade_pad / self.config.interval

    def _static(self, rows: Mapping[str, Tensor], frame: float) -> Gaussians:
        drift = rows["displacements"] * (frame / float(self.duration))
        return canonical.activate(rows, self.active_sh_degree, Deltas(means=drift))

    def _dynamic(self, rows: Mapping[str, Tensor], frame: float) -> Gaussians:
        place = self.config.keys.place(frame)
        key = min(max(floor(place), 1), rows["key_means"].shape[1] - 3)
        share = place - key
        posed = {
            **rows,
            "means": catmull_rom(rows["key_means"][:, key - 1 : key + 3], share),
            "quats": rotations.slerp(rows["key_quats"][:, key], rows["key_quats"][:, key + 1], share),
        }
        gaussians = canonical.activate(posed, self.active_sh_degree, Deltas())
        shown = fade(place, rows["time_centers"], rows["log_time_widths"], self._least_fade)
        return Gaussians(gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities * shown, gaussians.sh)

    def _refaded(self, children: dict[str, Tensor]) -> dict[str, Tensor]:
        """Children show at other instants than their parent, so that they can come to differ."""
        config, centers = self.config, children["time_centers"]
        apart = (centers[:, 1] - centers[:, 0]).abs() / 3
        jitter = torch.randn_like(centers) * apart.clamp_min(2 / config.interval)[:, None]
        first, last = config.centers(min(float(self.duration), float(self.frames)), margin=0.0)
        # Held from the second frame to the last that has joined, as published.
        children["time_centers"] = (centers + jitter).clamp(first + 1 / config.interval, last)
        children["log_time_widths"] = torch.full_like(children["log_time_widths"], config.log_time_width)
        return children


def catmull_rom(keys: Float[Tensor, "N 4 3"], share: float) -> Float[Tensor, "N 3"]:
    """The point at `share` of the way from the second to the third of four keys, on the curve through all."""
    u = share
    weights = [-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3]
    return torch.einsum("nkc,k->nc", keys, keys.new_tensor(weights) / 2)
