"""Clone, split and prune Gaussians where the picture asks for it, in step with the optimizer.

After 3D Gaussian Splatting (Kerbl et al. 2023), over every group of any expert: how a kind's own parameters are cloned
and split is the expert's business.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.optim import Optimizer

from moegs.density import mcmc
from moegs.density.config import DensityConfig
from moegs.density.rows import forget_moments, resize, rewrite
from moegs.experts.base import Expert
from moegs.experts.recipe import Edit, Recipe, due, follow
from moegs.rasterize import RenderResult


@dataclass(frozen=True)
class Change:
    """What one round of density control did."""

    cloned: int
    split: int
    pruned: int


class DensityControl:
    """Watches an expert train and changes its rows; holds the statistics since the last round.

    `recipe`: hears of every change of rows, as the expert does. Raises ValueError for thresholds of a group that is
    not there, and for MCMC without CUDA.
    """

    def __init__(
        self, expert: Expert, optimizer: Optimizer, config: DensityConfig, extent: float, recipe: Recipe | None = None
    ) -> None:
        unknown = [name for name in config.group_gradients if name not in expert.groups]
        if unknown:
            raise ValueError(f"group_gradients: no group '{unknown[0]}'; there are {', '.join(expert.groups)}")
        self.expert, self.optimizer, self.config, self.extent = expert, optimizer, config, extent
        self.recipe = recipe
        if config.mcmc:
            mcmc.check(expert)
        self._forget()

    def observe(self, result: RenderResult, rows: Int[Tensor, " N"] | None) -> None:
        """Notes the gradients of one view, after its backward pass with `result.means2d.retain_grad()`.

        `rows`: which of the expert's rows the rendered Gaussians were (`Gaussians.rows`). The gradient is that of this
        view's own loss, whatever the size of the batch.
        """
        if result.means2d.grad is None:
            return
        height, width = result.images.shape[1:3]
        drawn = (result.radii > 0).all(1)
        places = result.rows[drawn] if rows is None else rows[result.rows[drawn]]
        gradients = result.means2d.grad[drawn] * result.means2d.new_tensor([width / 2, height / 2])
        if self.config.batch == "sum":
            self.batch.append((places, gradients))
            return
        self.sums.index_add_(0, places, gradients.norm(dim=1))
        self.counts.index_add_(0, places, torch.ones_like(places, dtype=self.counts.dtype))

    def penalty(self) -> Float[Tensor, ""]:
        """What this way of control adds to the training loss, 0 if nothing."""
        return mcmc.penalty(self.expert, self.config.mcmc) if self.config.mcmc else self.sums.new_zeros(())

    @torch.no_grad()
    def after_step(self, step: int) -> Change | None:
        """Adds, removes and resets where the schedule asks for it after `step`; None where it does not."""
        config = self.config
        self._close_batch()
        if step >= config.stop:
            return None
        change = None
        if config.mcmc:
            self._mcmc_step(step)
        elif due(step, config.start, config.every):
            change = self._round(step)
            self._forget()
        if config.reset_every and step > 0 and step % config.reset_every == 0:
            self._reset_opacities()
        return change

    @torch.no_grad()
    def revise(self, edit: Edit) -> None:
        """Makes the change that a recipe asks for."""
        self._close_batch()  # what was noted is of the rows as they still are
        rewrite(self.expert, edit.group, edit.rewritten, self.optimizer, edit.anew)
        before = self.expert.counts()[edit.group]
        kept = torch.arange(before, device=self.sums.device) if edit.kept is None else edit.kept
        added = len(next(iter(edit.added.values()))) if edit.added else 0
        if len(kept) == before and not added:
            return
        resize(self.expert, edit.group, kept, edit.added, self.optimizer)
        self._tell(edit.group, torch.cat([kept, kept.new_full((added,), -1)]))

    def state_dict(self) -> dict[str, Tensor]:
        """The statistics since the last round."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes up the statistics of `state_dict`."""
        self.sums, self.counts = state["sums"].to(self.sums), state["counts"].to(self.counts)

    def _forget(self) -> None:
        example = next(self.expert.groups.parameters())
        self.sums: Float[Tensor, " N"] = example.new_zeros(len(self.expert))
        self.counts: Float[Tensor, " N"] = example.new_zeros(len(self.expert))
        self.batch: list[tuple[Int[Tensor, " _"], Float[Tensor, "_ 2"]]] = []

    def _close_batch(self) -> None:
        if not self.batch:
            return
        total = self.sums.new_zeros(len(self.sums), 2)
        drawn = torch.zeros_like(self.sums, dtype=torch.bool)
        for places, gradients in self.batch:
            total.index_add_(0, places, gradients)
            drawn[places] = True
        self.sums += total.norm(dim=1) / len(self.batch)
        self.counts += drawn
        self.batch = []

    def _round(self, step: int) -> Change:
        config, grows = self.config, self.config.grows(step)
        room = config.grow_below is None or len(self.expert) < config.grow_below
        cloned, split = self._grow(step) if grows and room else (0, 0)
        prunes = step < (config.prune_stop or config.stop) and (config.prune_while_growing or not grows)
        return Change(cloned, split, self._prune(step) if prunes and len(self.expert) > config.prune_above else 0)

    def _mcmc_step(self, step: int) -> None:
        config = self.config
        assert config.mcmc is not None
        if due(step, config.start, config.every):
            for name, stems in mcmc.relocate_and_add(self.expert, self.optimizer, config):
                self._tell(name, stems)
        mcmc.add_noise(self.expert, self.optimizer, config.mcmc)

    def _grow(self, step: int) -> tuple[int, int]:
        cloned = split = 0
        for name, growing in self._growing(step).items():
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

    def _growing(self, step: int) -> dict[str, Bool[Tensor, " _"]]:
        """The rows of each group whose gradient asks for growth, within the limit."""
        counts = self.expert.counts()
        means = self.sums / self.counts.clamp_min(1)
        thresholds = torch.cat(
            [means.new_full((n,), self.config.gradient_at(step, name)) for name, n in counts.items()]
        )
        growing = means > thresholds
        room = max(0, self.config.limit - len(means)) // (self.config.children - 1)  # a split adds so many
        if int(growing.sum()) > room:
            best = (means / thresholds).masked_fill(~growing, -1).topk(room).indices
            growing = torch.zeros_like(growing).index_fill(0, best, True)
        return dict(zip(counts, growing.split(list(counts.values())), strict=True))

    def _prune(self, step: int) -> int:
        pruned = 0
        for name in self.expert.groups:
            group = self.expert.group(name)
            gone = torch.sigmoid(group["logit_opacities"]) < self.config.opacity_at(step)
            if self.config.largest is not None:
                gone |= group["log_scales"].exp().amax(1) > self.config.largest * self.extent
            kept = torch.where(~gone)[0]
            if len(kept) == len(gone):
                continue
            resize(self.expert, name, kept, {}, self.optimizer)
            self._tell(name, kept)
            pruned += len(gone) - len(kept)
        return pruned

    def _tell(self, changed: str, stems: Int[Tensor, " _"]) -> None:
        """Lets the statistics follow the rows of a group that was resized, and tells expert and recipe."""
        counts = self.expert.counts()
        names = list(counts)
        before = sum(counts[name] for name in names[: names.index(changed)])
        after = sum(counts[name] for name in names[names.index(changed) + 1 :])
        for key in ("sums", "counts"):
            values: Tensor = getattr(self, key)
            first, mine, last = values.split([before, len(values) - before - after, after])
            setattr(self, key, torch.cat([first, follow(mine, stems, 0.0), last]))
        kept = {name: torch.arange(n, device=stems.device) for name, n in counts.items()}
        kept[changed] = stems
        self.expert.rows_changed(kept)
        if self.recipe is not None:
            self.recipe.rows_changed(kept)

    def _reset_opacities(self) -> None:
        ceiling = math.log(self.config.reset_opacity / (1 - self.config.reset_opacity))
        for name in self.expert.groups:
            logits = self.expert.group(name)["logit_opacities"]
            logits.clamp_(max=ceiling)
            forget_moments(self.optimizer, logits)
