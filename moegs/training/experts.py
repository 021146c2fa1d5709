"""One expert alone: photometric loss on a random view at a random time, under density control."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from moegs.data.scene import Scene
from moegs.density import DensityConfig, DensityControl
from moegs.experts import AnyExpertConfig
from moegs.experts.base import Expert
from moegs.gaussians import Gaussians
from moegs.losses import photometric
from moegs.mixture import Mixture
from moegs.rasterize import Layer, RenderResult, rasterize
from moegs.schedules import Steps
from moegs.training.loop import Attempt, Trainee, make_optimizer


@dataclass(frozen=True, kw_only=True)
class ExpertTraining:
    """One expert of the mixture and how it is trained."""

    name: str
    expert: AnyExpertConfig
    steps: Steps = 30000
    density: DensityConfig = field(default_factory=DensityConfig)
    ssim_weight: float = 0.2
    """Share of 1 - SSIM in the loss; the rest is L1."""
    random_background: bool = False
    """Whether each step has a background of its own, so that nothing dark is left empty."""
    optimizer: Literal["adam", "radam"] = "adam"
    extent_scale: float = 1.0
    """Multiplies the scene's extent, and with it all rates and sizes that are measured in it."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: got {self.steps}, expected at least 1")
        if not 0 <= self.ssim_weight <= 1:
            raise ValueError(f"ssim_weight: got {self.ssim_weight}, expected a share in [0, 1]")
        if not self.extent_scale > 0:
            raise ValueError(f"extent_scale: got {self.extent_scale}, expected a positive number")


class ExpertTrainee(Trainee):
    """An expert that learns to show what the training cameras saw."""

    def __init__(self, config: ExpertTraining, scene: Scene, device: torch.device) -> None:
        self.name, self.config, self.scene, self.device = config.name, config, scene, device
        self.extent = scene.rig.extent * config.extent_scale
        self.views = {camera: view for view, camera in enumerate(scene.rig.train)}
        self.cameras = [camera.to(device) for camera in scene.rig.cameras]
        self._take(config.expert.start(scene.points, scene.rig.timeline.frames, len(self.views)))
        self.rendered: tuple[RenderResult, Gaussians] | None = None

    def _take(self, expert: Expert) -> None:
        self.expert = self.module = expert.to(self.device)
        self.rates = expert.rates()
        self.optimizer = make_optimizer(expert, self.rates, self.config.optimizer)
        self.control = DensityControl(expert, self.optimizer, self.config.density, self.extent)

    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        expert = self.expert
        expert.begin_step(step)
        gaussians = expert.at(self.scene.rig.timeline.t(frame), self.views[camera])
        background = torch.rand(3).to(self.device) if self.config.random_background else expert.background
        layer = Layer(gaussians, lowpass=expert.lowpass, near=expert.near, far=expert.far, background=background)
        result = rasterize([layer], self.cameras[camera])
        result.means2d.retain_grad()
        self.rendered = result, gaussians
        photo = self.scene.photos.at(camera, frame).to(self.device, torch.float32) / 255
        loss = photometric(result.images[0], photo, self.config.ssim_weight) + expert.penalty()
        return Attempt(loss, result.images[0], photo)

    def after_backward(self) -> None:
        assert self.rendered is not None, "no attempt was made"
        result, gaussians = self.rendered
        self.control.observe(result, gaussians.rows)

    def after_step(self, step: int) -> None:
        self.rendered = None
        self.control.after_step(step)

    def state_dict(self) -> dict[str, Any]:
        # A resumed expert has computed nothing from its rows yet: to go on alike, neither may this one have.
        self.expert.rows_changed(
            {name: torch.arange(n, device=self.device) for name, n in self.expert.counts().items()}
        )
        return {"expert": self.expert.state_dict(), "step": self.expert.step, "control": self.control.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        tensors: dict[str, Tensor] = state["expert"]
        expert = self.config.expert.empty(tensors)
        expert.load_state_dict(tensors)
        expert.begin_step(state["step"])
        self._take(expert)
        self.control.load_state_dict(state["control"])

    def shown(self) -> Mixture:
        return Mixture([self.name], [self.expert], None, self.scene.rig)

    @property
    def gaussians(self) -> int:
        return len(self.expert)
