"""What a checkpoint is: a mixture, and what is known about it."""

import math
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from moegs.mixture import Mixture

FORMAT = "moegs"
VERSION = 3
"""The newest that is read: in it tensors may be quantised. What is not compact is written as 2, for older ones."""

Importance = dict[str, dict[str, Float[Tensor, " _"]]]
"""Of each criterion, for each expert's name: one number for each row of its concatenated groups, 0 or more."""


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, or not a whole one, told in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A mixture and what is known about it."""

    mixture: Mixture
    scores: dict[str, Any] = field(default_factory=dict)
    """What `evaluation` found on the held-out cameras."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: version, command, data, seconds of training."""
    importance: Importance = field(default_factory=dict)
    """How much each Gaussian matters to the mixture, by each criterion of `pruning` that was asked for."""

    @property
    def psnr(self) -> float | None:
        """The mixture's on the held-out cameras, dB, as `scores` has it; None where that is no finite number."""
        match self.scores:
            case {"mixture": {"psnr": float(psnr) | int(psnr)}} if math.isfinite(psnr):
                return float(psnr)
            case _:
                return None

    @property
    def criteria(self) -> tuple[str, ...]:
        """Those by which all Gaussians of all experts have their scores."""
        names = set(self.mixture.names)
        return tuple(criterion for criterion, scores in self.importance.items() if set(scores) == names)
