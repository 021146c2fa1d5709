"""What every kind of router is to the rest of the project."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.rasterize import Layer, RenderResult


@dataclass(frozen=True, kw_only=True)
class RouterConfig(ABC):
    """What a kind of router is built from; each kind's config adds its own `kind`."""

    kind: str
    temperature: float = 1.0
    """Divides the logits before the softmax in every picture; small values choose harder. Training may have another."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ValueError(f"temperature: got {self.temperature}, expected a positive number")

    @abstractmethod
    def start(self, counts: Sequence[int]) -> "Router":
        """A new router over experts of `counts` Gaussians."""

    @abstractmethod
    def empty(self, tensors: Mapping[str, Tensor]) -> "Router":
        """A router with the shapes of `tensors`, ready for `load_state_dict`."""


@dataclass(frozen=True)
class Seen:
    """What a router judges: E experts from one camera at one time."""

    layers: Sequence[Layer]
    """Each expert's Gaussians, and how they are rendered."""
    images: Float[Tensor, "E H W 3"] | None
    """The experts' own pictures, for a router that blends pictures."""
    features: Float[Tensor, "E H W C"]
    """The router's channels, splatted."""
    camera: Camera
    t: float
    active: Bool[Tensor, " E"] | None = None
    """Which experts are live; None for all."""


@dataclass(frozen=True)
class Verdict:
    """What a router says of what it has seen."""

    logits: Float[Tensor, "E H W"]
    """How much each expert is wanted at each pixel, before the softmax."""
    joint: RenderResult | None = None
    """Where the mixture is one scene made of all Gaussians: what it looks like (E = 1). It then is the mixture's
    picture, in place of the blend of the experts' pictures."""


class Router(nn.Module, ABC):
    """How far to trust each expert in each pixel, from what it wrote on their Gaussians and from their pictures."""

    config: RouterConfig
    blends: ClassVar[bool]
    """Whether the mixture's picture is a blend of the experts' pictures."""
    sees_features_alone: ClassVar[bool]
    """Whether its splatted channels are all that it judges by, so that tile gating can ask it after a first look."""
    feature_background: Float[Tensor, " C"]
    """What a pixel reads that no Gaussian covers."""

    @property
    @abstractmethod
    def rows(self) -> list[int] | None:
        """How many Gaussians of each expert it has weights for; None for a router that fits any experts."""

    @abstractmethod
    def keep(self, rows: Sequence[Int[Tensor, " _"]]) -> None:
        """Leaves what it wrote on these rows of each expert, in this order, and forgets the others'."""

    @abstractmethod
    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N C"]:
        """The channels to splat with the Gaussians of expert number `expert` at time `t`; C may be 0."""

    @abstractmethod
    def trust(self, expert: int, gaussians: Gaussians) -> Float[Tensor, " N"] | None:
        """What it multiplies the opacity of each Gaussian of expert number `expert` by, in [0, 1], where the mixture is
        one scene made of all Gaussians; None for a router that judges pixels."""

    @abstractmethod
    def judge(self, seen: Seen) -> Verdict:
        """What it says of the experts from one camera at one time."""


class UnwrittenRouter(Router):
    """A router that writes nothing on Gaussians, and so fits any experts."""

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("feature_background", torch.empty(0), persistent=False)

    @property
    def rows(self) -> None:
        return None

    def keep(self, rows: Sequence[Int[Tensor, " _"]]) -> None:
        """There is nothing to leave."""

    def features(self, expert: int, gaussians: Gaussians, t: float) -> Float[Tensor, "N 0"]:
        """No channels."""
        return gaussians.means[:, :0]

    def trust(self, expert: int, gaussians: Gaussians) -> None:
        """It judges pixels."""
