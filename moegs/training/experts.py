"""One expert alone: photometric loss on the pictures that its sampling draws, under density control and its recipe."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.config import check_range
from moegs.data.scene import Scene
from moegs.density import DensityConfig, DensityControl
from moegs.experts import AnyExpertConfig
from moegs.experts.base import Expert, Rate
from moegs.experts.recipe import Attention, Edit, Ground, Plain, Seen
from moegs.gaussians import Gaussians
from moegs.mixture import Mixture, sole
from moegs.rasterize import Layer, RenderResult, rasterize
from moegs.schedules import Steps
from moegs.ssim import ssim, ssim_map
from moegs.training.loop import Attempt, Trainee, TrainingError, make_optimizer
from moegs.training.objectives import Objective, Photometric
from moegs.training.sampling import Sampler, Sampling, ShuffledConfig

FIXED_ROWS = DensityConfig(stop=1)
"""No round ever changes anything."""

MOST = 1e6
"""That a factor may be: far beyond what helps, and far from what float32 cannot hold."""


@dataclass(frozen=True, kw_only=True)
class ExpertTraining:
    """One expert of the mixture and how it is trained."""

    name: str
    expert: AnyExpertConfig
    steps: Steps = 30000
    density: DensityConfig = field(default_factory=DensityConfig)
    sampling: Sampling = field(default_factory=ShuffledConfig)
    """Which pictures come next, and how many a step."""
    ssim_weight: float = 0.2
    """Share of 1 - SSIM in the loss; the rest is L1."""
    held_ssim: float = 0.0
    """Added to the loss where the sampling holds a frame: this times (1 - SSIM) / 2."""
    random_background: bool = False
    """Whether each step has a background of its own, so that nothing dark is left empty."""
    optimizer: Literal["adam", "radam"] = "adam"
    extent_scale: float = 1.0
    """Multiplies the scene's extent, and with it all rates and sizes that are measured in it."""

    def __post_init__(self) -> None:
        check_range(self, 1.0, math.inf, "steps")
        check_range(self, 0.0, 1.0, "ssim_weight")
        check_range(self, 0.0, MOST, "held_ssim")
        if not 0 < self.extent_scale <= MOST:
            raise ValueError(f"extent_scale: got {self.extent_scale}, expected more than 0, up to {MOST:g}")


@dataclass(frozen=True)
class _Last:
    """The picture made last, and what it was made of."""

    step: int
    camera: int
    frame: int
    gaussians: Gaussians
    result: RenderResult
    photo: Float[Tensor, "H W 3"]
    features: Float[Tensor, "N 3"] | None

    @cached_property
    def ssims(self) -> Float[Tensor, "H W"]:
        return ssim_map(self.result.images[0].detach(), self.photo)

    def carry_back(self) -> Float[Tensor, ""]:
        """0; its gradient carries the errors of the pixels to the features, along the blending weights.

        All features are 0, so that no other gradient changes.
        """
        if self.features is None:
            return self.photo.new_zeros(())
        errors = (self.result.images[0].detach() - self.photo).abs().mean(-1)
        maps = torch.stack([torch.ones_like(errors), errors, self.ssims], dim=-1)
        return (self.result.features[0] * maps).sum()

    def seen(self, camera: Camera, view: int, t: float, rows: int) -> Seen:
        """It as a recipe sees it, with all `rows` of the expert."""
        result, gaussians = self.result, self.gaussians
        mine = torch.arange(rows, device=result.rows.device) if gaussians.rows is None else gaussians.rows
        radii = result.radii.new_zeros(rows).index_copy_(0, mine[result.rows], result.radii.amax(1))
        row_errors = None
        if self.features is not None:
            assert self.features.grad is not None, "not carried back"
            row_errors = self.photo.new_zeros(rows, 3).index_copy_(0, mine, self.features.grad)
        return Seen(
            step=self.step,
            camera=camera,
            view=view,
            frame=self.frame,
            t=t,
            picture=result.images[0].detach(),
            photo=self.photo,
            depths=result.depths[0, ..., 0].detach(),
            ssims=self.ssims,
            radii=radii,
            row_errors=row_errors,
        )


@dataclass(frozen=True)
class Learned:
    """A trained expert that learns on for so many `steps`.

    Its schedules stay where they ended, its recipe is over and its rows are fixed. Only its learning rates go back, by
    the share `rewind` of what it has learned, and fall again (learning rate rewinding, Renda et al. 2020).
    """

    expert: Expert
    steps: int
    rewind: float

    def rates(self) -> list[Rate]:
        """How fast each parameter learns on, by the steps from now."""
        back = self.rewind * self.expert.step
        return [replace(rate, first=self.expert.step - back, pace=back / self.steps) for rate in self.expert.rates()]


class ExpertTrainee(Trainee):
    """An expert that learns to show what the training cameras saw, or what else its objective asks for."""

    def __init__(
        self,
        config: ExpertTraining,
        scene: Scene,
        device: torch.device,
        objective: Objective | None = None,
        learned: Learned | None = None,
    ) -> None:
        """`objective`: the photos when None. `learned`: what it goes on from; None: it starts on the scene's points."""
        self.name, self.config, self.scene, self.device = config.name, config, scene, device
        self.objective = objective or Photometric(config.ssim_weight)
        self.learned = learned
        self.extent = scene.rig.extent * config.extent_scale
        self.views = {camera: view for view, camera in enumerate(scene.rig.train)}
        self.cameras = [camera.to(device) for camera in scene.rig.cameras]
        self.ground = Ground(scene.rig.timeline.frames, len(self.views), self.extent)
        self.sampler: Sampler = config.sampling.start(scene)
        if learned is None:
            points = scene.points if config.expert.every_frame else scene.first_points or scene.points
            self._take(config.expert.start(points, scene.rig.timeline.frames, len(self.views)))
        else:
            self._take(learned.expert.requires_grad_(True))
        self.last: _Last | None = None

    def _take(self, expert: Expert) -> None:
        self.expert = self.module = expert.to(self.device)
        learned = self.learned
        self.rates = learned.rates() if learned else expert.rates()
        self.optimizer = make_optimizer(expert, self.rates, self.config.optimizer)
        self.recipe = Plain(self.ground, expert.groups) if learned else expert.recipe(self.ground)
        density = FIXED_ROWS if learned else self.config.density
        self.control = DensityControl(expert, self.optimizer, density, self.extent, self.recipe)
        self.sampler.frames = self.recipe.frames

    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        expert, config = self.expert, self.config
        expert.begin_step(self.learned.expert.step if self.learned else step)
        gaussians = expert.at(self.scene.rig.timeline.t(frame), self.views.get(camera))
        background = torch.rand(3).to(self.device) if config.random_background else expert.background
        attention = self._attention(step, camera)
        features = gaussians.means.new_zeros(len(gaussians), 3) if attention is Attention.ROWS else None
        if features is not None:
            features.requires_grad_()
        layer = Layer(
            gaussians, features, lowpass=expert.lowpass, near=expert.near, far=expert.far, background=background
        )
        result = rasterize([layer], self.cameras[camera])
        result.means2d.retain_grad()
        photo = self.scene.photo(camera, frame, self.device)
        picture = result.images[0]
        loss = self.objective.loss(picture, photo, camera, frame) + expert.penalty() + self.control.penalty()
        if self.sampler.held and config.held_ssim:
            loss = loss + config.held_ssim * (1 - ssim(picture, photo)) / 2
        self.last = _Last(step, camera, frame, gaussians, result, photo, features)
        if attention is not Attention.NONE:
            loss = loss + self.last.carry_back()
        return Attempt(loss, picture, photo)

    def after_backward(self) -> None:
        last = self.last
        assert last is not None, "no attempt was made"
        self.control.observe(last.result, last.gaussians.rows)
        if self._attention(last.step, last.camera) is not Attention.NONE:
            t = self.scene.rig.timeline.t(last.frame)
            seen = last.seen(self.cameras[last.camera], self.views[last.camera], t, len(self.expert))
            self.recipe.observe(seen)
        if self.sampler.listens:
            error = (last.result.images[0].detach() - last.photo).abs().mean()
            self.sampler.note(last.camera, last.frame, float(error))

    def after_step(self, step: int) -> None:
        self.last = None
        for edit in self.recipe.edits(step):
            self._check(edit, step)
            with self._inhabited(step, "its recipe removed", "set the part of the recipe that did so to null"):
                self.control.revise(edit)
        stage = self.recipe.stage_start(step)
        density = self.config.density
        removed = f"density control (below opacity {density.opacity_at(step - stage):g}, or too large) removed"
        with self._inhabited(step, removed, "set density.prune_above, or lower density.opacity and the rates"):
            self.control.after_step(step - stage)
        self.sampler.frames = self.recipe.frames

    def _attention(self, step: int, camera: int) -> Attention:
        """How closely the recipe watches; what no training camera saw, it never does."""
        return self.recipe.attention(step) if camera in self.views else Attention.NONE

    def _check(self, edit: Edit, step: int) -> None:
        for name, values in {**edit.rewritten, **edit.added}.items():
            if not bool(values.isfinite().all()):
                raise TrainingError(
                    f"{self.name}: the recipe's new values of 'groups.{edit.group}.{name}' are not finite at step "
                    f"{step}; lower the rates, or set the part that made them to null"
                )

    @contextmanager
    def _inhabited(self, step: int, removed: str, cure: str) -> Iterator[None]:
        """Raises TrainingError when the block empties a group, and with it a frame; a group may be empty where the
        others still show something."""
        before = self.expert.counts()
        yield
        emptied = [name for name, count in self.expert.counts().items() if before[name] and not count]
        timeline = self.scene.rig.timeline
        bare = [frame for frame in range(timeline.frames) if not self._shows(timeline.t(frame))] if emptied else []
        if bare:
            raise TrainingError(
                f"{self.name}: {removed} the last Gaussian of group '{emptied[0]}' at step {step}, which leaves "
                f"nothing to show at frame {bare[0]}; {cure}"
            )

    @torch.no_grad()
    def _shows(self, t: float) -> bool:
        return len(self.expert.at(t)) > 0

    def state_dict(self) -> dict[str, Any]:
        # A resumed expert has computed nothing from its rows yet: to go on alike, neither may this one have.
        self.expert.rows_changed(
            {name: torch.arange(n, device=self.device) for name, n in self.expert.counts().items()}
        )
        return {
            "expert": self.expert.state_dict(),
            "step": self.expert.step,
            "control": self.control.state_dict(),
            "recipe": self.recipe.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        tensors: dict[str, Tensor] = state["expert"]
        expert = self.config.expert.empty(tensors)
        expert.load_state_dict(tensors)
        expert.begin_step(state["step"])
        self._take(expert)
        self.control.load_state_dict(state["control"])
        self.recipe.load_state_dict(state["recipe"])
        self.sampler.frames = self.recipe.frames

    def shown(self) -> Mixture:
        return sole(self.name, self.expert, self.scene.rig)

    @property
    def gaussians(self) -> int:
        return len(self.expert)
