"""The router over frozen experts: the picture of the mixture learns to be the photo, and only weights move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from moegs import metrics
from moegs.data.scene import Scene
from moegs.experts.base import Rate
from moegs.losses import photometric
from moegs.mixture import Mixture
from moegs.router import RouterConfig
from moegs.schedules import Steps
from moegs.training.loop import Attempt, Trainee, make_optimizer


@dataclass(frozen=True, kw_only=True)
class RouterTraining:
    """How the router is trained; the rates are the published ones."""

    router: RouterConfig = field(default_factory=RouterConfig)
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
    temperatures: tuple[float, ...] = ()
    """In place of the router's own: a router is trained at each, and the one with the best validation PSNR is kept."""
    validation: int = 1
    """How many of the training cameras train no router but choose between the temperatures, where there are several."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.decay_steps < 1:
            raise ValueError(f"steps, decay_steps: got {self.steps} and {self.decay_steps}, expected at least 1")
        for name in ("rate_weights", "rate_temporal", "rate_network", "decay"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a positive number")
        if any(not temperature > 0 for temperature in self.temperatures):
            raise ValueError(f"temperatures: got {list(self.temperatures)}, expected positive numbers")
        if len(self.temperatures) > 1 and self.validation < 1:
            raise ValueError("validation: choosing between temperatures needs at least 1 camera")

    @property
    def tried(self) -> tuple[float, ...]:
        """The temperatures at which a router is trained."""
        return self.temperatures or (self.router.temperature,)

    def rates(self) -> list[Rate]:
        """Of every parameter of a volume router."""
        return [
            Rate(("static.",), self.rate_weights, self.decay * self.rate_weights, self.decay_steps),
            Rate(("temporal.",), self.rate_temporal),
            Rate(("network.",), self.rate_network),
        ]


class RouterTrainee(Trainee):
    """A router that learns which expert to trust."""

    def __init__(self, name: str, config: RouterTraining, mixture: Mixture, scene: Scene) -> None:
        assert mixture.router is not None, "one expert alone needs no router"
        self.name, self.config, self.mixture, self.scene = name, config, mixture, scene
        self.extent = scene.rig.extent
        mixture.experts.requires_grad_(False)
        mixture.instants_kept = scene.rig.timeline.frames  # the experts are frozen: each instant is computed once
        self.module = mixture.router
        self.rates = config.rates()
        self.optimizer = make_optimizer(self.module, self.rates, "radam")
        self.cameras = [camera.to(mixture.device) for camera in scene.rig.cameras]

    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        picture = self.mixture.render(self.cameras[camera], self.scene.rig.timeline.t(frame)).picture
        photo = self.scene.photo(camera, frame, self.mixture.device)
        return Attempt(photometric(picture, photo, self.config.ssim_weight), picture, photo)

    def after_backward(self) -> None:
        pass

    def after_step(self, step: int) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"router": self.module.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.module.load_state_dict(state["router"])

    def shown(self) -> Mixture:
        return self.mixture

    @property
    def gaussians(self) -> int:
        return sum(len(expert) for expert in self.mixture.members)


@torch.no_grad()
def validation_psnr(mixture: Mixture, scene: Scene, cameras: Sequence[int]) -> float:
    """Mean PSNR of the mixture's pictures of every third frame of `cameras`, dB."""
    psnrs = [
        float(metrics.psnr(mixture.render(scene.rig.cameras[camera], scene.rig.timeline.t(frame)).picture, photo))
        for camera, frame in scene.pairs(cameras)
        if frame % 3 == 0
        for photo in [scene.photo(camera, frame, mixture.device)]
    ]
    return sum(psnrs) / len(psnrs)
