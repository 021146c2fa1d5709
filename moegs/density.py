"""Density control: clone, split and prune Gaussians where the picture asks for it, in step with the optimizer.

After 3D Gaussian Splatting (Kerbl et al. 2023), over every group of any expert: how a kind's own parameters are cloned
and split is the expert's business.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.optim import Optimizer

from moegs.experts.base import Expert
from moegs.rasterize import RenderResult
from moegs.schedules import Interval, Steps


@dataclass(frozen=True, kw_only=True)
class DensityConfig:
    """When Gaussians are added and removed, and which."""

    start: Steps = 500
    """First step after which Gaussians may be added."""
    stop: Steps = 15000
    """From this step on nothing changes any more."""
    every: Interval = 100
    """Steps between two changes."""
    gradient: float = 2e-4
    """A Gaussian grows when its mean positional gradient exceeds this; normalised device coordinates."""
    group_gradients: dict[str, float] = field(default_factory=dict)
    """Another `gradient` for single groups, by name."""
    small: float = 0.01
    """Growing Gaussians up to this scale are cloned, larger ones split; times the scene's extent."""
    children: int = 2
    """How many a split Gaussian becomes."""
    opacity: float = 0.005
    """Gaussians below are removed."""
    largest: float = 1.0
    """Gaussians whose largest scale exceeds this are removed; times the scene's extent."""
    reset_every: Interval | None = None
    """Steps between two opacity resets; None: never."""
    reset_opacity: float = 0.01
    """What a reset lowers opacities to."""
    limit: int = 1_000_000
    """Gaussians in all; where more would grow, those with the largest gradients do."""

    def __post_init__(self) -> None:
        if self.every < 1 or (self.reset_every is not None and self.reset_every < 1):
            raise ValueError("every and reset_every: expected at least 1 step between two changes")
        if self.children < 2:
            raise ValueError(f"children: got {self.children}; a split makes at least 2")
        for name in ("opacity", "reset_opacity"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a number in [0, 1)")
        if self.reset_every is not None and self.reset_opacity <= self.opacity:
            raise ValueError("reset_opacity: must exceed opacity, or a reset removes every Gaussian")


@dataclass(frozen=True)
class Change:
    """What one round of density control did."""

    cloned: int
    split: int
    pruned: int


class DensityControl:
    """Watches an expert train and changes its rows; holds the statistics since the last change."""

    def __init__(self, expert: Expert, optimizer: Optimizer, config: DensityConfig, extent: float) -> None:
        unknown = [name for name in config.group_gradients if name not in expert.groups]
        if unknown:
            raise ValueError(f"group_gradients: no group '{unknown[0]}'; there are {', '.join(expert.groups)}")
        self.expert, self.optimizer, self.config, self.extent = expert, optimizer, config, extent
        self._forget()

    def observe(self, result: RenderResult, rows: Int[Tensor, " N"] | None) -> None:
        """Notes the gradients of one view, after its backward pass with `result.means2d.retain_grad()`.

        `rows`: which of the expert's rows the rendered Gaussians were (`Gaussians.rows`).
        """
        if result.means2d.grad is None:
            return
        height, width = result.images.shape[1:3]
        drawn = (result.radii > 0).all(1)
        places = result.rows[drawn] if rows is None else rows[result.rows[drawn]]
        to_ndc = result.means2d.new_tensor([width / 2, height / 2])
        self.sums.index_add_(0, places, (result.means2d.grad[drawn] * to_ndc).norm(dim=1))
        self.counts.index_add_(0, places, torch.ones_like(places, dtype=self.counts.dtype))

    @torch.no_grad()
    def after_step(self, step: int) -> Change | None:
        """Adds, removes and resets where the schedule asks for it after `step`; None where it does not."""
        config = self.config
        if step >= config.stop:
            return None
        change = None
        if step > config.start and step % config.every == 0:
            cloned, split = self._grow()
            change = Change(cloned, split, self._prune())
            self._forget()
        if config.reset_every and step > 0 and step % config.reset_every == 0:
            self._reset_opacities()
        return change

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics since the last change."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes up the statistics of `state_dict`."""
        self.sums, self.counts = state["sums"].to(self.sums), state["counts"].to(self.counts)

    def _forget(self) -> None:
        example = next(self.expert.groups.parameters())
        self.sums: Float[Tensor, " N"] = example.new_zeros(len(self.expert))
        self.counts: Float[Tensor, " N"] = example.new_zeros(len(self.expert))

    def _grow(self) -> tuple[int, int]:
        cloned = split = 0
        for name, growing in self._growing().items():
            scales = self.expert.group(name)["log_scales"].exp().amax(1)
            small = scales <= self.config.small * self.extent
            twins = torch.where(growing & small)[0]
            parents = torch.where(growing & ~small)[0]
            cloned, split = cloned + len(twins), split + len(parents)
            # Children before the parents go: an expert reads the parents' rows to make them.
            new = [self.expert.clone(name, twins), self.expert.split(name, parents, self.config.children)]
            kept = torch.where(~(growing & ~small))[0]
            stems = torch.cat([twins, parents.repeat(self.config.children)])
            resize(self.expert, name, kept, {key: torch.cat([n[key] for n in new]) for key in new[0]}, self.optimizer)
            self._tell(name, torch.cat([kept, stems]))
        return cloned, split

    def _growing(self) -> dict[str, Bool[Tensor, " _"]]:
        """The rows of each group whose gradient asks for growth, within the limit."""
        counts = self.expert.counts()
        means = self.sums / self.counts.clamp_min(1)
        thresholds = torch.cat(
            [
                means.new_full((n,), self.config.group_gradients.get(name, self.config.gradient))
                for name, n in counts.items()
            ]
        )
        growing = means > thresholds
        room = max(0, self.config.limit - len(means))
        if int(growing.sum()) > room:
            best = (means / thresholds).masked_fill(~growing, -1).topk(room).indices
            growing = torch.zeros_like(growing).index_fill(0, best, True)
        return dict(zip(counts, growing.split(list(counts.values())), strict=True))

    def _prune(self) -> int:
        pruned = 0
        for name in self.expert.groups:
            group = self.expert.group(name)
            gone = torch.sigmoid(group["logit_opacities"]) < self.config.opacity
            gone |= group["log_scales"].exp().amax(1) > self.config.largest * self.extent
            kept = torch.where(~gone)[0]
            if len(kept) == len(gone):
                continue
            resize(self.expert, name, kept, {}, self.optimizer)
            self._tell(name, kept)
            pruned += len(gone) - len(kept)
        return pruned

    def _tell(self, changed: str, stems: Int[Tensor, " _"]) -> None:
        counts = self.expert.counts()
        kept = {name: torch.arange(n, device=stems.device) for name, n in counts.items()}
        self.expert.rows_changed({**kept, changed: stems})

    def _reset_opacities(self) -> None:
        ceiling = math.log(self.config.reset_opacity / (1 - self.config.reset_opacity))
        for name in self.expert.groups:
            logits = self.expert.group(name)["logit_opacities"]
            logits.clamp_(max=ceiling)
            for key, value in self.optimizer.state.get(logits, {}).items():
                if key != "step":
                    value.zero_()


@torch.no_grad()
def resize(
    expert: Expert,
    group: str,
    kept: Int[Tensor, " _"],
    added: Mapping[str, Float[Tensor, "..."]],
    optimizer: Optimizer | None = None,
) -> None:
    """Leaves the rows `kept` of a group and appends `added`, if anything, to each of its parameters.

    The optimizer's moments follow the kept rows and start from zero for the added ones. The caller tells the expert
    by `rows_changed`.
    """
    parameters = expert.groups[group]
    assert isinstance(parameters, nn.ParameterDict)
    for name, old in list(parameters.items()):
        extra = added[name].detach() if added else old.new_empty(0, *old.shape[1:])
        new = nn.Parameter(torch.cat([old[kept], extra]), requires_grad=old.requires_grad)
        parameters[name] = new
        if optimizer is not None:
            _hand_over(optimizer, old, new, kept)


def _hand_over(optimizer: Optimizer, old: nn.Parameter, new: nn.Parameter, kept: Int[Tensor, " _"]) -> None:
    for settings in optimizer.param_groups:
        settings["params"] = [new if parameter is old else parameter for parameter in settings["params"]]
    state = optimizer.state.pop(old, None)
    if state is None:
        return
    added = len(new) - len(kept)
    for key, value in state.items():
        if key != "step":
            state[key] = torch.cat([value[kept], value.new_zeros(added, *value.shape[1:])])
    optimizer.state[new] = state
