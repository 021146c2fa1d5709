"""How a keyframe expert trains: the clip grows, static Gaussians that drift get keys, and what fits badly goes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moegs.experts.base import Expert
from moegs.experts.keys import LONGEST_FADE, Keys, continued
from moegs.experts.recipe import Attention, Edit, Ground, Recipe, Seen, due
from moegs.experts.row_errors import RowErrors
from moegs.schedules import Interval, Steps


@dataclass(frozen=True, kw_only=True)
class GrowthConfig:
    """Training starts with the first frames; more join as it goes."""

    first: int = 10
    """Frames at the start."""
    more: int = 10
    """Frames that join at a time."""
    start: Steps = 500
    """Step after which they may."""
    every: Interval = 400
    """Steps between two times."""

    def __post_init__(self) -> None:
        if min(self.first, self.more, self.every) < 1:
            raise ValueError("growth: first, more and every must be at least 1")


@dataclass(frozen=True, kw_only=True)
class PromotionConfig:
    """Static Gaussians that drift most become dynamic ones."""

    start: Steps = 500
    """Step after which they may."""
    delay: Steps = 100
    """Steps from each growth to a second promotion; the first is as soon as a new frame was seen."""
    every: Interval = 3980
    """Steps between two promotions in the interval that is learnt worst."""
    stop: Steps = 30_000
    """Step from which there is none of these."""
    quantile: float = 0.98
    """Of those in sight, the share that stays: by displacement over squared distance from the camera."""
    least: float = 1e-6
    """Displacement below which none is promoted, times the scene's extent."""

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 <= self.quantile <= 1:
            raise ValueError("promotion: every must be at least 1, quantile in [0, 1]")


@dataclass(frozen=True, kw_only=True)
class TidyingConfig:
    """Gaussians with large errors, out of sight or of no size are removed; fades are kept inside the clip."""

    stop: Steps = 30_000
    """From this step on nothing is watched or removed any more."""
    every: Interval = 300
    """Steps over which errors are averaged."""
    errors_start: Steps = 20_000
    """Step after which errors count."""
    errors_rounds: int = 5
    """They count in each so manieth average."""
    least_ssim: float = 0.6
    """A Gaussian goes below this mean similarity of the pixels that it shows in ..."""
    most_l1: float = 0.08
    """... or above this mean photo error."""
    sight_start: Steps = 6000
    """Step after which, once an epoch, those never well seen go, and those that were seen too small."""
    least_radius: float = 5.0
    """Pixels."""
    fades_every: Interval = 1200
    """Steps between two adjustments of fades at the ends of the clip: they get twice as long."""
    fades_stop: Steps = 27_000
    """From this step on there is none."""

    def __post_init__(self) -> None:
        if min(self.every, self.errors_rounds, self.fades_every) < 1:
            raise ValueError("tidying: every, errors_rounds and fades_every must be at least 1")


Parts = tuple[GrowthConfig | None, PromotionConfig | None, TidyingConfig | None]
"""What a keyframe expert does while it trains; a part that is None is not done."""


class KeyframeRecipe(Recipe):
    """Carries out the parts, and watches what they need to know.

    `duration`: the expert's own, set to the frames that have joined, as published.
    """

    def __init__(self, expert: Expert, keys: Keys, parts: Parts, duration: Float[Tensor, ""], ground: Ground) -> None:
        self.expert, self.keys, self.duration, self.ground = expert, keys, duration, ground
        self.growth, self.promotion, self.tidying = parts
        self.length = min(self.growth.first, ground.frames) if self.growth else ground.frames
        self.errors = {name: RowErrors.none(expert.group(name)["logit_opacities"].detach()) for name in expert.groups}
        self.interval_losses: dict[int, tuple[float, int]] = {}
        self.due: tuple[float, float] | None = None
        """Frames in which the next picture that is seen leads to a promotion, from and up to."""
        self.chosen: Int[Tensor, " _"] | None = None
        """Static rows to promote as soon as the step is done."""
        self.second = True
        """Whether a second promotion is owed to the last growth."""
        self.unpruned = 0
        """Pictures since what is out of sight went last."""
        if self.growth:
            duration.fill_(self.length + 1)

    @property
    def frames(self) -> int:
        return min(self.length, self.ground.frames)

    def stage_start(self, step: int) -> int:
        return 0

    def attention(self, step: int) -> Attention:
        watches = self.promotion or self.tidying
        stop = self.tidying.stop if self.tidying else None
        return Attention.ROWS if watches and (stop is None or step < stop) else Attention.NONE

    def observe(self, seen: Seen) -> None:
        counts = self.expert.counts()
        frame = seen.t * self.ground.frames
        start = 0
        for name, errors in self.errors.items():
            errors.observe(seen, slice(start, start + counts[name]), frame)
            start += counts[name]
        self.unpruned += 1
        interval = int(frame // self.keys.interval)
        total, pictures = self.interval_losses.get(interval, (0.0, 0))
        self.interval_losses[interval] = (total + float(seen.errors.mean()), pictures + 1)
        if self.due and self.due[0] <= seen.frame < self.due[1]:
            self.due, self.chosen = None, self._chosen(seen)

    def edits(self, step: int) -> Iterator[Edit]:
        if self.chosen is not None:
            yield from self._promote(self.chosen)
            self.chosen = None
        if self.tidying and step < self.tidying.stop:
            yield from self._tidy(self.tidying, step)
        if self.growth and due(step, self.growth.start, self.growth.every):
            yield from self._grow(self.growth.more)
        if self.promotion:
            self._plan(self.promotion, step)

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        for name, errors in self.errors.items():
            errors.follow(kept[name])

    def state_dict(self) -> dict[str, Any]:
        return {
            "length": self.length,
            "errors": {name: errors.state_dict() for name, errors in self.errors.items()},
            "interval_losses": {key: list(value) for key, value in self.interval_losses.items()},
            "due": None if self.due is None else list(self.due),
            "second": self.second,
            "unpruned": self.unpruned,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.length, self.second, self.unpruned = state["length"], state["second"], state["unpruned"]
        self.due = None if state["due"] is None else (state["due"][0], state["due"][1])
        self.interval_losses = {key: (total, count) for key, (total, count) in state["interval_losses"].items()}
        for name, errors in self.errors.items():
            errors.load_state_dict(state["errors"][name])
        if self.growth:
            self.duration.fill_(self.length + 1)

    def _plan(self, config: PromotionConfig, step: int) -> None:
        """Decides where in the clip the next promotion is due."""
        growth = self.growth
        if growth and self.second and step > config.start and step % growth.every == config.delay % growth.every:
            self.due, self.second = self._newest(), False
        if due(step, config.start, config.every) and step < config.stop and self.interval_losses:
            most = max(count for _, count in self.interval_losses.values())
            known = {key: total / count for key, (total, count) in self.interval_losses.items() if count > most / 10}
            worst = max(known, key=lambda key: known[key])
            del self.interval_losses[worst]
            self.due = float(worst * self.keys.interval), float((worst + 1) * self.keys.interval)

    def _newest(self) -> tuple[float, float]:
        return float(self.frames - self.keys.interval), float(self.frames)

    def _chosen(self, seen: Seen) -> Int[Tensor, " _"]:
        """The static rows in sight that drift most for their distance, and were well seen before."""
        assert self.promotion is not None, "nothing is due without it"
        static = self.expert.group("static")
        rows = torch.where(seen.radii[: len(static["means"])] > 0)[0]
        if not len(rows):
            return rows
        drift = static["displacements"].detach()[rows].norm(dim=1)
        far = (static["means"].detach()[rows] - seen.camera.center).square().sum(1)
        speed = drift / (far + 1e-6)
        fastest = speed > torch.quantile(speed, self.promotion.quantile)
        moves = drift > self.promotion.least * self.ground.extent
        return rows[fastest & moves & (self.errors["static"].best_frames[rows] >= 0)]

    def _promote(self, rows: Int[Tensor, " R"]) -> Iterator[Edit]:
        """Gives static `rows` keys along their drift; they show most around the frame that they were seen best in."""
        if not len(rows):
            return
        static = self.expert.group("static")
        chosen = {name: tensor.detach()[rows] for name, tensor in static.items()}
        total, active = self.expert.group("dynamic")["key_means"].shape[1], self.keys.count(self.frames)
        beyond = self.keys.interval / self.length
        share = torch.linspace(-beyond, 1 + beyond, active, device=rows.device)
        share = torch.cat([share, share[-1:].expand(total - active)])[:, None]
        best = self.errors["static"].best_frames[rows]
        centers = torch.stack([best / 2, (self.length + best) / 2], dim=1)
        fades = torch.stack([best + self.keys.pad, self.length - best + self.keys.pad], dim=1)
        yield Edit(
            "dynamic",
            added={
                "key_means": chosen.pop("means")[:, None] + share * chosen.pop("displacements")[:, None],
                "key_quats": chosen.pop("quats")[:, None].repeat(1, total, 1),
                **chosen,
                "time_centers": self.keys.place(0.0) + centers.clamp(1, max(self.length - 1, 1)) / self.keys.interval,
                "log_time_widths": fades.clamp_max(LONGEST_FADE),
            },
        )
        stay = torch.ones(len(static["means"]), dtype=torch.bool, device=rows.device)
        stay[rows] = False
        yield Edit("static", kept=torch.where(stay)[0])

    def _grow(self, more: int) -> Iterator[Edit]:
        """Lets frames join, beyond the last one as far as keys begin before the first, and continues the keys."""
        longest = self.ground.frames + self.keys.shift
        if self.length >= longest:
            return
        old = self.keys.count(self.frames)
        self.length = min(self.length + more, longest)
        self.duration.fill_(self.length + 1)
        new, dynamic = self.keys.count(self.frames), self.expert.group("dynamic")
        if new > old and len(dynamic["key_means"]):
            keys = {name: continued(dynamic[name].detach(), old, new) for name in ("key_means", "key_quats")}
            yield Edit("dynamic", rewritten=keys)
            if self.promotion:
                self.due, self.second = self._newest(), True

    def _tidy(self, config: TidyingConfig, step: int) -> Iterator[Edit]:
        if due(step, 0, config.every):
            if due(step, config.errors_start, config.every * config.errors_rounds):
                for name, errors in self.errors.items():
                    l1s, ssims = errors.l1s / errors.pictures, errors.ssims / errors.pictures  # NaN: not seen, stays
                    yield from self._removed(name, (l1s > config.most_l1) | (ssims < config.least_ssim))
            for errors in self.errors.values():
                errors.restart()
        if self.unpruned >= self.ground.views * self.frames:
            self.unpruned = 0
            if step > config.sight_start:
                for name, errors in self.errors.items():
                    yield from self._removed(
                        name, (errors.best_frames < 0) | (errors.least_radii < config.least_radius)
                    )
        if due(step, 0, config.fades_every) and step < config.fades_stop:
            yield from self._lengthened()

    def _removed(self, name: str, gone: Bool[Tensor, " N"]) -> Iterator[Edit]:
        if bool(gone.any()):
            yield Edit(name, kept=torch.where(~gone)[0])

    def _lengthened(self) -> Iterator[Edit]:
        """Fades whose centre is at an end of the clip get twice as long, and the centre stays inside."""
        dynamic = self.expert.group("dynamic")
        if not len(dynamic["time_centers"]):
            return
        centers, fades = dynamic["time_centers"].detach(), dynamic["log_time_widths"].detach()
        first, last = self.keys.place(0.0) + 0.2, self.keys.place(float(self.length)) - 0.2
        at_end = torch.stack([(centers < first).any(1), (centers > last).any(1)], dim=1)
        longer = torch.where(at_end, (2 * fades.clamp_min(1)).clamp_max(LONGEST_FADE), fades)
        yield Edit(
            "dynamic",
            rewritten={
                "time_centers": centers.clamp(first, last),
                "log_time_widths": torch.where(fades < 0.5, torch.full_like(fades, 0.5), longer),
            },
        )
