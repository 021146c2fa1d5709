"""The volume-aware pixel router (MoE-GS): weights on every Gaussian, and a network that sees them splatted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.router.base import Router, RouterConfig, Seen, Verdict
from moegs.router.network import PixelNetwork


@dataclass(frozen=True, kw_only=True)
class VolumeAwareConfig(RouterConfig):
    """The volume-aware pixel router, the method's own."""

    kind: Literal["volume-aware"] = "volume-aware"
    initial_weight: float = 0.9
    """What w and w_dir of every Gaussian start from; w_time starts from 0."""

    def start(self, counts: Sequence[int]) -> "VolumeAwareRouter":
        return VolumeAwareRouter(self, counts)

    def empty(self, tensors: Mapping[str, Tensor]) -> "VolumeAwareRouter":
        return VolumeAwareRouter(self, row_counts(tensors))


class VolumeAwareRouter(Router):
    """Each Gaussian carries (w, w_dir, w_time).

    They are splatted as (w, w_dir, t * w_time) with the colour's own footprint over a background of 1, to W, W_dir and
    W_time. A network 8-6-3-1 without bias, shared by all experts, sees (W_dir, W_time, camera centre, unit ray); the
    logit is W plus its answer.
    """

    blends: ClassVar[bool] = True
    sees_features_alone: ClassVar[bool] = True

    def __init__(self, config: VolumeAwareConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.static = nn.ParameterList([torch.full((count, 2), config.initial_weight) for count in counts])
        """(w, w_dir) of every Gaussian, one tensor N 2 per expert."""
        self.temporal = nn.ParameterList([torch.zeros(count, 1) for count in counts])
        """w_time of every Gaussian, one tensor N 1 per expert."""
        self.network = PixelNetwork(own=2)
        self.register_buffer("feature_background", torch.ones(3), persistent=False)

    @property
    def rows(self) -> list[int]:
        return [len(weights) for weights in self.static]

    def keep(self, rows: Sequence[Int[Tensor, " _"]]) -> None:
        self.static = selected(self.static, rows)
        self.temporal = selected(self.temporal, rows)

    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N 3"]:
        """(w, w_dir, t * w_time) of the Gaussians of expert number `expert` at time `t`."""
        weights = torch.cat([self.static[expert], t * self.temporal[expert]], dim=1)
        return weights if gaussians.rows is None else weights[gaussians.rows]

    def trust(self, expert: int, gaussians: Gaussians) -> None:
        """It judges pixels."""

    def judge(self, seen: Seen) -> Verdict:
        """The logits of what was splatted."""
        return Verdict(self.logits(seen.features, seen.camera))

    def logits(self, features: Float[Tensor, "E H W 3"], camera: Camera) -> Float[Tensor, "E H W"]:
        """W + network(W_dir, W_time, camera centre, unit ray)."""
        weights = self.network.weights
        if not features.is_cuda:
            from moegs.router.cpu import FusedLogits

            return FusedLogits.apply(features, *weights, camera.to("cpu"))  # type: ignore[return-value]
        if not (torch.is_grad_enabled() and (features.requires_grad or weights[0].requires_grad)):
            from moegs.router import cuda

            return cuda.logits(features.detach(), camera, *weights)
        return features[..., 0] + self.network.answer(features[..., 1:], camera.to(features.device))


def row_counts(tensors: Mapping[str, Tensor]) -> list[int]:
    """How many Gaussians of each expert the tensors static.0, static.1, ... hold weights of."""
    experts = sum(name.startswith("static.") for name in tensors)
    return [len(tensors.get(f"static.{e}", ())) for e in range(experts)]


def selected(weights: nn.ParameterList, rows: Sequence[Int[Tensor, " _"]]) -> nn.ParameterList:
    """Of each expert's weights these rows."""
    return nn.ParameterList(
        [
            nn.Parameter(old.detach()[kept], requires_grad=old.requires_grad)
            for old, kept in zip(weights, rows, strict=True)
        ]
    )
