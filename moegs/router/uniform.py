"""The plain average of the experts' pictures, as a router that has learned nothing: what every other must beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moegs.gaussians import Gaussians
from moegs.router.base import Router, RouterConfig, Seen, Verdict


@dataclass(frozen=True, kw_only=True)
class UniformConfig(RouterConfig):
    """The plain average of the experts' pictures: nothing to train."""

    kind: Literal["uniform"] = "uniform"

    def start(self, counts: Sequence[int]) -> "UniformRouter":
        return UniformRouter(self)

    def empty(self, tensors: Mapping[str, Tensor]) -> "UniformRouter":
        return UniformRouter(self)


class UniformRouter(Router):
    """Equal logits."""

    blends: ClassVar[bool] = True
    sees_features_alone: ClassVar[bool] = True

    def __init__(self, config: UniformConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("feature_background", torch.empty(0), persistent=False)

    @property
    def rows(self) -> None:
        return None

    def keep(self, rows: Sequence[Int[Tensor, " _"]]) -> None:
        """Nothing is written on Gaussians."""

    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N 0"]:
        """No channels."""
        return gaussians.means[:, :0]

    def judge(self, seen: Seen) -> Verdict:
        """Logits 0."""
        return Verdict(seen.features.new_zeros(seen.features.shape[:3]))
