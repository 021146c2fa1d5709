"""The router over frozen experts: the picture of the mixture learns to be the photo, and only weights move."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from moegs import metrics
from moegs.config import check_range
from moegs.data.scene import Scene
from moegs.experts.base import Rate
from moegs.losses import photometric
from moegs.mixture import Mixture
from moegs.router import AnyRouterConfig, Router, VolumeAwareConfig
from moegs.schedules import Steps
from moegs.training.fixed_rows import MixtureTrainee
from moegs.training.loop import Attempt, make_optimizer
from moegs.training.pictures import GB, KeptPictures, PictureCache, expert_pictures


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """A temperature that goes from `start` to `end` while the router learns, and then stays."""

    start: float
    end: float | None = None
    """None: constant."""
    steps: Steps = 1
    """After which `end` is reached."""
    shape: Literal["linear", "exponential"] = "exponential"
    """Evenly in the temperature, or in its logarithm."""

    def __post_init__(self) -> None:
        for temperature in (self.start, self.start if self.end is None else self.end):
            if not (math.isfinite(temperature) and temperature > 0):
                raise ValueError(f"temperature: got {temperature}, expected a positive number")
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")

    def at(self, step: int) -> float:
        """The temperature at `step`."""
        end, share = self.start if self.end is None else self.end, min(step / self.steps, 1.0)
        if self.shape == "linear":
            return (1 - share) * self.start + share * end
        return self.start ** (1 - share) * end**share


@dataclass(frozen=True, kw_only=True)
class RouterTraining:
    """How the router is trained; the rates are the published ones."""

    router: AnyRouterConfig = field(default_factory=VolumeAwareConfig)
    steps: Steps = 5000
    rate_weights: float = 0.5
    """Of w and w_dir."""
    rate_temporal: float = 0.05
    """Of w_time."""
    rate_network: float = 0.05
    decay: float = 0.01
    """The rate of w and w_dir falls to this share of itself ..."""
    decay_steps: Steps = 10000
    """... in so many steps."""
    ssim_weight: float = 0.2
    """Share of 1 - SSIM in the loss; the rest is L1."""
    temperature: Annealing | None = None
    """While it learns; None: the router's own, which every picture has afterwards. The published code learns at 0.01
    and shows at 1."""
    temperatures: tuple[float, ...] = ()
    """In place of the router's own: a router is trained at each, and the one with the best validation PSNR is kept."""
    validation: int = 1
    """How many of the training cameras train no router but choose between the temperatures, where there are several."""
    pictures: PictureCache = field(default_factory=PictureCache)
    """How the experts' pictures are kept."""
    instants_gb: float = 1.0
    """Memory for the experts' Gaussians at single frames, on the device; at least one frame's are kept."""

    def __post_init__(self) -> None:
        if self.router.kind == "uniform":
            raise ValueError("router.kind: uniform has nothing to learn; moegs eval scores it beside any router")
        if self.steps < 1 or self.decay_steps < 1:
            raise ValueError(f"steps, decay_steps: got {self.steps} and {self.decay_steps}, expected at least 1")
        for name in ("rate_weights", "rate_temporal", "rate_network", "decay"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a positive number")
        check_range(self, 0.0, math.inf, "instants_gb")
        check_range(self, 0.0, 1.0, "ssim_weight")
        if any(not 0 < temperature < math.inf for temperature in self.temperatures):
            raise ValueError(f"temperatures: got {list(self.temperatures)}, expected positive numbers")
        if len({f"{temperature:g}" for temperature in self.temperatures}) < len(self.temperatures):
            raise ValueError(f"temperatures: got {list(self.temperatures)}, two of them equal in six digits")
        if self.temperatures and self.temperature is not None:
            raise ValueError("temperatures: each is of training and pictures; leave temperature out, or them")
        if len(self.temperatures) > 1 and self.validation < 1:
            raise ValueError("validation: choosing between temperatures needs at least 1 camera")

    @property
    def tried(self) -> tuple[float, ...]:
        """The temperatures at which a router is trained."""
        return self.temperatures or (self.router.temperature,)

    def check_cameras(self, cameras: int) -> None:
        """Raises ValueError where of so many training cameras none is left to train on."""
        if len(self.tried) > 1 and self.validation >= cameras:
            raise ValueError(
                f"router.validation: got {self.validation} of {cameras} training cameras, which leaves none to train "
                "the router; give fewer, or one temperature"
            )

    def rates(self, router: Router) -> list[Rate]:
        """Of every parameter of `router`, whatever its kind."""
        rates = [
            Rate(("static.",), self.rate_weights, self.decay * self.rate_weights, self.decay_steps),
            Rate(("temporal.",), self.rate_temporal),
            Rate(("network.",), self.rate_network),
        ]
        names = [name for name, _ in router.named_parameters()]
        return [rate for rate in rates if any(name.startswith(rate.parameters) for name in names)]


class RouterTrainee(MixtureTrainee):
    """A router that learns which expert to trust."""

    def __init__(
        self,
        name: str,
        config: RouterTraining,
        mixture: Mixture,
        scene: Scene,
        pictures: KeptPictures | None = None,
    ) -> None:
        """`pictures`: where the experts' pictures are kept; routers over the same experts may share it."""
        assert mixture.router is not None, "one expert alone needs no router"
        super().__init__(name, mixture, scene)
        self.config = config
        self.pictures = KeptPictures(config.pictures) if pictures is None else pictures
        mixture.experts.requires_grad_(False)
        mixture.instants.limit = int(config.instants_gb * GB)
        self.router = self.module = mixture.router.requires_grad_(True)
        self.rates = config.rates(self.router)
        self.optimizer = make_optimizer(self.module, self.rates, "radam")
        self.cameras = [camera.to(mixture.device) for camera in scene.rig.cameras]

    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        """The mixture over the experts' kept pictures: what is computed is the router's part alone."""
        mixture, annealing = self.mixture, self.config.temperature
        temperature = mixture.temperature if annealing is None else annealing.at(step)
        images = expert_pictures(mixture, camera, frame, self.pictures) if self.router.blends else None
        picture = mixture.over(images, self.cameras[camera], self.scene.rig.timeline.t(frame), temperature)
        photo = self.scene.photo(camera, frame, mixture.device)
        return Attempt(photometric(picture, photo, self.config.ssim_weight), picture, photo)

    def shown(self) -> Mixture:
        return self.mixture


@torch.no_grad()
def validation_psnr(mixture: Mixture, scene: Scene, cameras: Sequence[int]) -> float:
    """Mean PSNR of the mixture's pictures of every third frame that each of `cameras` saw, dB."""
    pairs = [(camera, frame) for camera in cameras for frame in scene.frames(camera)[::3]]
    psnrs = [
        float(metrics.psnr(mixture.render(scene.rig.cameras[camera], scene.rig.timeline.t(frame)).picture, photo))
        for camera, frame in scene.in_turn(pairs)
        for photo in [scene.photo(camera, frame, mixture.device)]
    ]
    return sum(psnrs) / len(psnrs)
