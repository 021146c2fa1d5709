"""Students as jobs: an expert that learned from its mixture, and its twin that learned from photos alone."""

from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from moegs import checkpoint, config, evaluation
from moegs.data import load_scene
from moegs.data.scene import Scene
from moegs.mixture import Mixture, sole
from moegs.runs import RunFolder
from moegs.schedules import scaled
from moegs.system import Device
from moegs.system import device as device_called
from moegs.training.config import TrainConfig
from moegs.training.distill import Distilled, DistillTraining, Teacher
from moegs.training.experts import ExpertTrainee, ExpertTraining, Learned
from moegs.training.loop import OnEvent, Plan, run
from moegs.training.objectives import Objective
from moegs.training.phases import Job, finish, provenance
from moegs.training.unseen import WithUnseen, between, widened
from moegs.training.workplace import claimed


@dataclass(frozen=True)
class DistillJob(Job):
    """One expert's distillation, from a mixture to a checkpoint with that expert alone."""

    number: int
    """Which of the settings' students."""
    mixture: Path
    """The teacher's checkpoint."""

    @property
    def wanted(self) -> DistillTraining:
        """What is asked for."""
        return self.settings.distill[self.number]

    @property
    def name(self) -> str:
        return f"distill-{self.wanted.expert}"

    @property
    def path(self) -> Path:
        return self.folder.student(self.wanted.expert)

    @property
    def twin_path(self) -> Path:
        """The twin's checkpoint, where one is asked for."""
        return self.folder.student(f"{self.wanted.expert}-twin")

    def __call__(self, on_event: OnEvent) -> None:
        scene = load_scene(self.settings.data, with_points=self.wanted.from_scratch)
        teacher = checkpoint.load(self.mixture, device_called(self.device)).mixture
        check(teacher, self.wanted.expert, scene, self.mixture)
        plans = []
        if self.wanted.twin:  # first: the student's file says that all is done
            plans.append(self._learn(f"{self.name}-twin", teacher, scene, None, on_event))
        plans.append(self._learn(self.name, teacher, scene, self._lessons(teacher, scene), on_event))
        for plan in plans:
            plan.clear()

    def _lessons(self, mixture: Mixture, scene: Scene) -> tuple[Scene, Objective]:
        """The scene with the unseen cameras, and what the student's pictures are to be like."""
        wanted = self.wanted
        rig = between(scene.rig, wanted.unseen, self.settings.seed)
        teacher = Teacher(mixture, wanted.expert, rig, wanted.pictures)
        ssim_weight = self._recipe.ssim_weight
        objective = Distilled(teacher, len(scene.rig.cameras), wanted.photo_share, ssim_weight)
        return widened(scene, rig, teacher.picture), objective

    @property
    def _recipe(self) -> ExpertTraining:
        """The expert's own, at the student's length."""
        recipe = next(each for each in self.settings.experts if each.name == self.wanted.expert)
        steps = self.wanted.length(recipe.steps)
        if self.wanted.from_scratch:
            recipe = scaled(recipe, steps / recipe.steps)
        return replace(recipe, steps=steps)

    def _learn(
        self, phase: str, mixture: Mixture, scene: Scene, lessons: tuple[Scene, Objective] | None, on_event: OnEvent
    ) -> Plan:
        """Trains the student, or without `lessons` the twin, and saves it; the plan, whose files are still there."""
        recipe, seed = self._recipe, self.settings.seed
        plan = self.plan(phase, recipe.steps, seed)
        path = self.path if lessons else self.twin_path
        if path.exists():
            return plan
        seen, objective = lessons or (scene, None)
        learned = None
        if not self.wanted.from_scratch:
            member = mixture.members[mixture.names.index(self.wanted.expert)]
            learned = Learned(deepcopy(member), recipe.steps, self.wanted.rewind)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trainee = ExpertTrainee(recipe, seen, mixture.device, objective, learned)
        trainee.name = phase
        if len(seen.rig.cameras) > len(scene.rig.cameras):
            trainee.sampler = _with_unseen(trainee, seen, len(scene.rig.cameras))
        seconds = run(trainee, trainee.sampler, plan, on_event)
        trainee.expert.begin_step(recipe.steps if learned is None else learned.expert.step)
        alone = sole(recipe.name, trainee.expert, scene.rig).requires_grad_(False)
        origin = provenance(self.settings, recipe, seconds) | self._origin(twin=lessons is None)
        finish(phase, alone, scene, path, origin, on_event)
        return plan

    def _origin(self, twin: bool) -> dict[str, Any]:
        """Where it stems from."""
        return {"teacher": self.mixture.name, "distilled": config.dump(replace(self.wanted, twin=twin))}


def distil(
    settings: TrainConfig, mixture: Path, work: Path, device: Device, resume: bool, on_event: OnEvent
) -> list[Path]:
    """Teaches the one student of `settings` from the checkpoint `mixture`, in the folder `work`: the files of the
    student, and of the twin where one is asked for.

    Raises ValueError in one line as `train` does, where `work` holds what is another's, and where the mixture cannot
    teach it; a start that fails leaves `work` as it was.
    """
    job = DistillJob(settings, RunFolder(work), device, 0, mixture)
    with claimed(work, settings, resume, job.path):
        if not job.path.exists():
            job(on_event)
    return [job.path, *([job.twin_path] if settings.distill[0].twin else [])]


def check(mixture: Mixture, expert: str, scene: Scene, path: Path) -> None:
    """Raises ValueError where the mixture in the file `path` cannot teach `expert` on `scene`."""
    if expert not in mixture.names:
        raise ValueError(f"{path}: no expert '{expert}'; it has {', '.join(mixture.names)}")
    if mixture.router is None:
        raise ValueError(f"{path}: one expert alone, without a router, has nothing to teach; give a mixture")
    evaluation.check_data(mixture, scene)


def _with_unseen(trainee: ExpertTrainee, scene: Scene, filmed: int) -> WithUnseen:
    """The sampler of `trainee`, and a fair share of the cameras from number `filmed` on."""
    unseen = range(filmed, len(scene.rig.cameras))
    share = len(unseen) / (len(unseen) + len(scene.rig.train))
    return WithUnseen(trainee.sampler, scene.pairs(unseen), share)
