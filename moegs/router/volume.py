"""The volume router, an ablation (MoE-GS): all experts' Gaussians in one scene, each as opaque as its weight says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad

from moegs.gaussians import Gaussians, LowPass, concatenate
from moegs.rasterize import Layer, rasterize
from moegs.router.base import Router, RouterConfig, Seen, Verdict
from moegs.router.volume_aware import row_counts, selected

LEAST_SHARE = 1e-6
"""Of an expert in a pixel, so that its logarithm is a number."""


@dataclass(frozen=True, kw_only=True)
class VolumeConfig(RouterConfig):
    """The volume router, an ablation: it weighs Gaussians, not pixels.

    There is no softmax: the temperature changes what the views of gates show, not the picture.
    """

    kind: Literal["volume"] = "volume"
    initial_weight: float = 0.9
    """What w of every Gaussian starts from; its opacity is multiplied by sigmoid(w)."""
    lowpass: LowPass = field(default_factory=LowPass)
    """Of the one scene, whatever the experts' own."""

    def start(self, counts: Sequence[int]) -> "VolumeRouter":
        return VolumeRouter(self, counts)

    def empty(self, tensors: Mapping[str, Tensor]) -> "VolumeRouter":
        return VolumeRouter(self, row_counts(tensors))


class VolumeRouter(Router):
    """Each Gaussian carries w, which multiplies its opacity by sigmoid(w); the Gaussians of all experts are one scene.

    The scene is rendered with one transmittance, so that experts hide each other. Its background is the mean of the
    experts'; each expert's near and far hold for its own Gaussians. An expert's share of a pixel is what its Gaussians
    add to it, and its logarithm the logit: at temperature 1 the gates are these shares. A muted expert's Gaussians are
    left out of the scene, whatever the mute rule.
    """

    blends: ClassVar[bool] = False
    sees_features_alone: ClassVar[bool] = False

    def __init__(self, config: VolumeConfig, counts: Sequence[int]) -> None:
        super().__init__()
        self.config, self.lowpass = config, config.lowpass
        self.static = nn.ParameterList([torch.full((count, 1), config.initial_weight) for count in counts])
        """w of every Gaussian, one tensor N 1 per expert."""
        self.register_buffer("feature_background", torch.empty(0), persistent=False)

    @property
    def rows(self) -> list[int]:
        return [len(weights) for weights in self.static]

    def keep(self, rows: Sequence[Int[Tensor, " _"]]) -> None:
        self.static = selected(self.static, rows)

    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N 0"]:
        """No channels: the experts' own pictures are not weighed."""
        return gaussians.means[:, :0]

    def trust(self, expert: int, gaussians: Gaussians) -> Float[Tensor, " N"]:
        weights = self.static[expert][:, 0]
        return (weights if gaussians.rows is None else weights[gaussians.rows]).sigmoid()

    def judge(self, seen: Seen) -> Verdict:
        """The one scene, and how much of each pixel every expert adds to it."""
        everyone = range(len(seen.layers))
        members = [e for e in everyone if seen.active is None or bool(seen.active[e])] or everyone
        joint = rasterize([self._scene(seen, members)], seen.camera)
        return Verdict(joint.features[0].movedim(-1, 0).clamp_min(LEAST_SHARE).log(), joint)

    def _scene(self, seen: Seen, members: Sequence[int]) -> Layer:
        layers = [seen.layers[expert] for expert in members]
        bases = max(layer.gaussians.sh.shape[1] for layer in layers)
        camera = seen.camera.to(layers[0].gaussians.means.device)
        parts, owners = [], []
        for expert, layer in zip(members, layers, strict=True):
            gaussians = layer.gaussians
            depths = camera.depths(gaussians.means)
            between = (depths >= layer.near) & (depths <= layer.far)
            shown = gaussians.opacities * self.trust(expert, gaussians) * between
            sh = pad(gaussians.sh, (0, 0, 0, bases - gaussians.sh.shape[1]))
            parts.append(replace(gaussians, opacities=shown, sh=sh))
            owner = gaussians.means.new_zeros(len(gaussians), len(seen.layers))
            owner[:, expert] = 1
            owners.append(owner)
        scene = concatenate(parts)
        behind = [scene.means.new_zeros(3) if each.background is None else each.background for each in seen.layers]
        near, far = min(layer.near for layer in layers), max(layer.far for layer in layers)
        return Layer(scene, torch.cat(owners), self.lowpass, near, far, torch.stack(behind).mean(0))
