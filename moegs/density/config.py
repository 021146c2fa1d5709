"""DensityConfig: when Gaussians are added and removed, and which."""

import math
from dataclasses import dataclass, field
from typing import Literal

from moegs.config import check_range
from moegs.schedules import Interval, Steps


@dataclass(frozen=True, kw_only=True)
class McmcConfig:
    """3D Gaussian Splatting as Markov Chain Monte Carlo (Kheradmand et al. 2024), with gsplat's numbers."""

    noise: float = 5e5
    """Of the random walk of the means, times their learning rate."""
    growth: float = 0.05
    """Share of its rows that each group gains in a round, up to the limit."""
    opacity_weight: float = 0.01
    """Of the mean opacity in the loss."""
    scale_weight: float = 0.01
    """Of the mean scale in the loss."""

    def __post_init__(self) -> None:
        check_range(self, 0.0, math.inf, "noise", "growth", "opacity_weight", "scale_weight")


@dataclass(frozen=True, kw_only=True)
class DensityConfig:
    """The defaults are those of 3D Gaussian Splatting, but for the opacity reset; steps count from the stage."""

    start: Steps = 500
    """First step after which anything may change."""
    stop: Steps = 15000
    """From this step on nothing changes any more."""
    every: Interval = 100
    """Steps between two rounds."""
    gradient: float = 2e-4
    """A Gaussian grows when its mean positional gradient exceeds this; normalised device coordinates."""
    gradient_end: float | None = None
    """What `gradient` becomes, evenly from step 0 to `stop`; None: it stays."""
    group_gradients: dict[str, float] = field(default_factory=dict)
    """Another `gradient` for single groups, by name."""
    batch: Literal["mean", "sum"] = "mean"
    """Whether each picture of a batch counts by itself, or the norm of their gradients' sum over their number does."""
    small: float = 0.01
    """Growing Gaussians up to this scale are cloned, larger ones split; times the scene's extent."""
    children: int = 2
    """How many a split Gaussian becomes."""
    rounds: int | None = None
    """How many rounds add Gaussians, the first ones; None: all."""
    grow_below: int | None = None
    """Nothing is added while there are this many Gaussians or more."""
    limit: int = 1_000_000
    """Gaussians in all; where more would grow, those with the largest gradients do."""
    opacity: float = 0.005
    """Gaussians below are removed."""
    opacity_end: float | None = None
    """What `opacity` becomes, evenly from step 0 to `stop`; None: it stays."""
    largest: float | None = None
    """Gaussians whose largest scale exceeds this are removed; times the scene's extent; None: none."""
    prune_above: int = 0
    """Nothing is removed while there are this many Gaussians or fewer."""
    prune_stop: Steps | None = None
    """From this step on nothing is removed; None: `stop`."""
    prune_while_growing: bool = True
    """Whether the rounds that add Gaussians remove some too."""
    reset_every: Interval | None = None
    """Steps between two opacity resets; None: never."""
    reset_opacity: float = 0.01
    """What a reset lowers opacities to."""
    mcmc: McmcConfig | None = None
    """In place of clone, split and prune: gsplat's MCMC, on CUDA. It heeds start, stop, every, opacity and limit."""

    def __post_init__(self) -> None:
        check_range(
            self, 0.0, math.inf, "start", "gradient", "gradient_end", "small", "largest", "rounds", "prune_stop"
        )
        check_range(self, 0.0, math.inf, "grow_below", "prune_above")
        check_range(self, 1.0, math.inf, "every", "stop", "reset_every", "limit")
        check_range(self, 2.0, math.inf, "children")
        for group, gradient in self.group_gradients.items():
            if not gradient >= 0:
                raise ValueError(f"group_gradients: got {gradient} for '{group}', expected 0 or more")
        for name in ("opacity", "opacity_end", "reset_opacity"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise ValueError(f"{name}: got {value}, expected a number in [0, 1)")
        if self.reset_every is not None and self.reset_opacity <= max(self.opacity, self.opacity_end or 0):
            raise ValueError("reset_opacity: must exceed opacity, or a reset removes every Gaussian")

    def opacity_at(self, step: int) -> float:
        """Below which opacity Gaussians are removed at `step`."""
        return self._between(self.opacity, self.opacity_end, step)

    def gradient_at(self, step: int, group: str) -> float:
        """Above which gradient the Gaussians of `group` grow at `step`."""
        return self.group_gradients.get(group, self._between(self.gradient, self.gradient_end, step))

    def grows(self, step: int) -> bool:
        """Whether the round at `step` is one of those that add Gaussians."""
        return self.rounds is None or step // self.every - self.start // self.every <= self.rounds

    def _between(self, start: float, end: float | None, step: int) -> float:
        return start if end is None else start + (end - start) * min(step / self.stop, 1.0)
