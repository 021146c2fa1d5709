"""When the keys of a keyframe expert stand, and how new ones continue the old."""

from dataclasses import dataclass
from math import floor

import torch
from jaxtyping import Float
from torch import Tensor

LONGEST_FADE = 20.0
"""Logarithm of the slowest fade, in intervals. Published values are far above; they overflow, and their gradients are
discarded. At this one, a Gaussian already shows fully over any clip."""
DIFFERENCES = 4
"""How many of the last differences between keys a new key continues, as published."""


@dataclass(frozen=True)
class Keys:
    """Keys at even distances; key 0 stands some frames before the clip."""

    interval: int
    """Frames from one key to the next."""
    pad: int
    """Frames that the keys begin before the first frame, beside one whole interval."""

    @property
    def shift(self) -> int:
        """Frames from key 0 to the first frame of the clip."""
        return self.pad + self.interval

    def count(self, frames: int) -> int:
        """How many keys the first `frames` frames take part in."""
        return floor((frames + self.shift) / self.interval) + 3

    def place(self, frame: float) -> float:
        """Where a frame lies, in intervals from key 0."""
        return (frame + self.shift) / self.interval


def continued(keys: Float[Tensor, "N K C"], old: int, new: int) -> Float[Tensor, "N K C"]:
    """`keys` with those from number `old` up to `new` on the line that the mean of the last differences before gives.

    All after those repeat the last of them.
    """
    first = max(old - 1 - DIFFERENCES, 0)
    step = (keys[:, old - 1] - keys[:, first]) / max(old - 1 - first, 1)
    ahead = torch.arange(1, keys.shape[1] - old + 1, device=keys.device).clamp_max(new - old)
    line = keys[:, old - 1 : old] + ahead[None, :, None].to(keys) * step[:, None]
    return torch.cat([keys[:, :old], line], dim=1)
