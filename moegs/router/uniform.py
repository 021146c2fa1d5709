"""The plain average of the experts' pictures, as a router that has learned nothing: what every other must beat."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from moegs.router.base import RouterConfig, Seen, UnwrittenRouter, Verdict


@dataclass(frozen=True, kw_only=True)
class UniformConfig(RouterConfig):
    """The plain average of the experts' pictures: nothing to train."""

    kind: Literal["uniform"] = "uniform"

    def start(self, counts: Sequence[int]) -> "UniformRouter":
        return UniformRouter(self)

    def empty(self, tensors: Mapping[str, Tensor]) -> "UniformRouter":
        return UniformRouter(self)


class UniformRouter(UnwrittenRouter):
    """Equal logits."""

    blends: ClassVar[bool] = True
    sees_features_alone: ClassVar[bool] = True

    def judge(self, seen: Seen) -> Verdict:
        """Logits 0."""
        return Verdict(seen.features.new_zeros(seen.features.shape[:3]))
