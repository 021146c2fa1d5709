"""The router: per pixel and instant, how far to trust each expert."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from moegs.cameras import Camera
from moegs.gaussians import Gaussians

MuteRule = Literal["renormalize", "keep", "reroute"]
COLD = 1e-6
"""Temperatures below this are as good as an argmax."""


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """What the volume-aware pixel router is built from."""

    kind: Literal["volume"] = "volume"
    temperature: float = 1.0
    """Divides the logits before the softmax, in training and in every picture; small values choose harder."""
    initial_weight: float = 0.9
    """What w and w_dir of every Gaussian start from; w_time starts from 0."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: got {self.temperature}, expected a positive number")

    def start(self, counts: Sequence[int]) -> "VolumeRouter":
        """A new router over experts of `counts` Gaussians."""
        return VolumeRouter(self, counts)

    def empty(self, tensors: Mapping[str, Tensor]) -> "VolumeRouter":
        """A router with the shapes of `tensors`, ready for `load_state_dict`."""
        experts = sum(name.startswith("static.") for name in tensors)
        return VolumeRouter(self, [len(tensors.get(f"static.{e}", ())) for e in range(experts)])


class Router(nn.Module, ABC):
    """From what it wrote on each expert's Gaussians, splatted to pixels, to one logit per expert and pixel."""

    config: RouterConfig
    feature_background: Float[Tensor, " C"]
    """What a pixel reads that no Gaussian covers."""

    @abstractmethod
    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N C"]:
        """The channels to splat with the Gaussians of expert number `expert` at time `t`."""

    @abstractmethod
    def logits(self, features: Float[Tensor, "E H W C"], camera: Camera) -> Float[Tensor, "E H W"]:
        """How much each expert is wanted at each pixel, before the softmax."""


class VolumeRouter(Router):
    """The volume-aware pixel router (MoE-GS): each Gaussian carries (w, w_dir, w_time).

    They are splatted as (w, w_dir, t * w_time) with the colour's own footprint over a background of 1, to W, W_dir and
    W_time. A network 8-6-3-1 without bias, shared by all experts, sees (W_dir, W_time, camera centre, unit ray); the
    logit is W plus its answer.
    """

    def __init__(self, config: RouterConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.static = nn.ParameterList([torch.full((count, 2), config.initial_weight) for count in counts])
        """(w, w_dir) of every Gaussian, one tensor N 2 per expert."""
        self.temporal = nn.ParameterList([torch.zeros(count, 1) for count in counts])
        """w_time of every Gaussian, one tensor N 1 per expert."""
        # The published network is made of 1x1 convolutions; as matrix products they are five times faster on a CPU.
        self.network = nn.Sequential(
            nn.Linear(8, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False), nn.ReLU(), nn.Linear(3, 1, bias=False)
        )
        self.register_buffer("feature_background", torch.ones(3), persistent=False)

    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N 3"]:
        """(w, w_dir, t * w_time) of the Gaussians of expert number `expert` at time `t`."""
        weights = torch.cat([self.static[expert], t * self.temporal[expert]], dim=1)
        return weights if gaussians.rows is None else weights[gaussians.rows]

    def logits(self, features: Float[Tensor, "E H W 3"], camera: Camera) -> Float[Tensor, "E H W"]:
        """W + network(W_dir, W_time, camera centre, unit ray)."""
        first, second, third = (layer.weight for layer in self.network if isinstance(layer, nn.Linear))
        if not (torch.is_grad_enabled() and (features.requires_grad or first.requires_grad)):
            if features.is_cuda:
                from moegs.router import cuda

                return cuda.logits(features.detach(), camera, first, second, third)
            from moegs.router import cpu

            arrays = (tensor.detach().contiguous().numpy() for tensor in (first, second, third))
            return torch.from_numpy(cpu.logits(features.detach().contiguous().numpy(), camera.to("cpu"), *arrays))
        camera = camera.to(features.device)
        # The ray's part of the first layer is the same for all experts: one product instead of E.
        seen = camera.rays() @ first[:, 5:].T + first[:, 2:5] @ camera.center
        hidden = torch.relu(features[..., 1:] @ first[:, :2].T + seen)
        return features[..., 0] + (torch.relu(hidden @ second.T) @ third.T)[..., 0]


def gates(
    logits: Float[Tensor, "E H W"],
    temperature: float,
    active: Bool[Tensor, " E"] | None = None,
    rule: MuteRule = "renormalize",
) -> Float[Tensor, "E H W"]:
    """The share of each expert in each pixel: a softmax over experts of logits / temperature, and the rule for mutes.

    `renormalize`: over the live experts only. `keep`: over all, and the muted ones' shares are lost, so a picture
    darkens. `reroute`: over all, and the muted ones' shares go to the live expert with the highest logit at that pixel.
    With no live expert all gates are 0. Raises ValueError for a temperature that is not positive and finite, and for an
    unknown rule.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature: got {temperature}, expected a positive number")
    if rule not in get_args(MuteRule):
        raise ValueError(f"mute rule: got '{rule}', expected {', '.join(get_args(MuteRule))}")
    if temperature < COLD:  # where the quotients would overflow; a softmax does not change by a shift
        logits, temperature = logits - logits.amax(dim=0), max(temperature, torch.finfo(logits.dtype).tiny)
    if active is None or bool(active.all()):
        return torch.softmax(logits / temperature, dim=0)
    live = active[:, None, None]
    if not bool(active.any()):
        return torch.zeros_like(logits)
    live_logits = logits.masked_fill(~live, -torch.inf)
    if rule == "renormalize":
        return torch.softmax(live_logits / temperature, dim=0)
    full = torch.softmax(logits / temperature, dim=0)
    kept = full * live
    if rule == "keep":
        return kept
    best = live_logits.argmax(dim=0, keepdim=True)
    return kept.scatter_add(0, best, (full * ~live).sum(0, keepdim=True))
