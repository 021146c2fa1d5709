"""The pixel router, an ablation (MoE-GS): it sees the experts' pictures, and nothing is written on Gaussians."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from moegs.router.base import RouterConfig, Seen, UnwrittenRouter, Verdict
from moegs.router.network import PixelNetwork


@dataclass(frozen=True, kw_only=True)
class PixelConfig(RouterConfig):
    """The pixel router, an ablation: nothing per Gaussian."""

    kind: Literal["pixel"] = "pixel"

    def start(self, counts: Sequence[int]) -> "PixelRouter":
        return PixelRouter(self)

    def empty(self, tensors: Mapping[str, Tensor]) -> "PixelRouter":
        return PixelRouter(self)


class PixelRouter(UnwrittenRouter):
    """A network 10-6-3-1 without bias, shared by all experts, sees (red, green, blue, t, camera centre, unit ray).

    Its answer is the logit. The published text names these inputs; the layers are those of the volume-aware router.
    """

    blends: ClassVar[bool] = True
    sees_features_alone: ClassVar[bool] = False

    def __init__(self, config: PixelConfig) -> None:
        super().__init__(config)
        self.network = PixelNetwork(own=4)

    def judge(self, seen: Seen) -> Verdict:
        """Logits network(colour, t, camera centre, unit ray)."""
        assert seen.images is not None, "a pixel router needs the experts' pictures"
        own = torch.cat([seen.images, torch.full_like(seen.images[..., :1], seen.t)], dim=-1)
        return Verdict(self.network.answer(own, seen.camera.to(own.device)))
