"""What each row has to do with the errors of the pictures: photo errors, carried back along the blending weights."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moegs.experts.recipe import Seen, follow

UNSEEN = 1000.0
"""Stands for the least error or radius of a row that was not seen."""
NO_FRAME = -1.0
WELL = 0.01
"""A row is well seen in a picture where its blending weight, summed over the pixels, exceeds this; as published."""


@dataclass
class RowErrors:
    """Statistics of the rows of one group. Those called best last as long as the row, the others from `restart` on."""

    best_frames: Float[Tensor, " N"]
    """Position in the clip, in frames, at which each row was seen best so far; -1: never well seen."""
    least_l1s: Float[Tensor, " N"]
    """Its weighted mean photo error then."""
    l1s: Float[Tensor, " N"]
    """Sum of its weighted mean photo errors, picture by picture."""
    ssims: Float[Tensor, " N"]
    """Sum of its weighted mean similarities."""
    pictures: Float[Tensor, " N"]
    """In how many it had any weight."""
    least_radii: Float[Tensor, " N"]
    """The smallest extent with which it was seen, pixels."""

    @classmethod
    def none(cls, like: Float[Tensor, " N"]) -> "RowErrors":
        """Nothing seen yet of as many rows as `like` has."""
        zero = torch.zeros_like(like)
        return cls(zero + NO_FRAME, zero + UNSEEN, zero.clone(), zero.clone(), zero.clone(), zero + UNSEEN)

    def observe(self, seen: Seen, rows: slice, frame: float) -> None:
        """Notes one picture; `rows`: where this group's rows are among all."""
        assert seen.row_errors is not None, "attention to rows was not asked for"
        weights, l1s, ssims = seen.row_errors[rows].unbind(1)
        l1s, ssims = l1s / weights.clamp_min(1e-4), ssims / weights.clamp_min(1e-4)
        better = (weights > WELL) & (l1s < self.least_l1s)
        self.best_frames = torch.where(better, torch.full_like(l1s, frame), self.best_frames)
        self.least_l1s = torch.where(better, l1s, self.least_l1s)
        shown = weights > 0
        self.l1s += torch.where(shown, l1s, 0.0)
        self.ssims += torch.where(shown, ssims, 0.0)
        self.pictures += shown
        radii = seen.radii[rows].to(self.least_radii)
        self.least_radii = torch.where(shown, torch.minimum(self.least_radii, radii), self.least_radii)

    def restart(self) -> None:
        """Forgets sums and radii."""
        for values in (self.l1s, self.ssims, self.pictures):
            values.zero_()
        self.least_radii.fill_(UNSEEN)

    def follow(self, kept: Int[Tensor, " M"]) -> None:
        """The rows changed: `kept` as `Expert.rows_changed` has it. Children inherit."""
        fresh = RowErrors.none(self.l1s[:1].new_zeros(1))
        for f in fields(self):
            setattr(self, f.name, follow(getattr(self, f.name), kept, float(getattr(fresh, f.name))))

    def state_dict(self) -> dict[str, Tensor]:
        """All of it, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes up what `state_dict` gave."""
        for f in fields(self):
            setattr(self, f.name, state[f.name].to(self.l1s))
