"""Phases as jobs: one expert's training, the router's, and how each of them ends. A job can be done in any process."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch

from moegs import __version__, checkpoint, config
from moegs.checkpoint import Checkpoint
from moegs.data import load_scene
from moegs.data.scene import Scene
from moegs.evaluation import check_data, evaluate
from moegs.mixture import Mixture
from moegs.runs import RunFolder
from moegs.system import Device
from moegs.system import device as device_called
from moegs.training import pruning
from moegs.training.config import TrainConfig
from moegs.training.events import Preparing, Saved, Scored, Told, working
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import OnEvent, Plan, TrainingError, run
from moegs.training.pictures import KeptPictures
from moegs.training.recipes import stored
from moegs.training.routing import RouterTrainee, RouterTraining
from moegs.training.sampling import Shuffled
from moegs.training.snapshots import Snapshots
from moegs.training.thinning import Course, Thinning, sha256, thinned
from moegs.training.validation import mean_psnr, photos


def is_finished(path: Path) -> bool:
    """Whether the checkpoint at `path` is there; raises ValueError where it is, but is none."""
    if not path.exists():
        return False
    checkpoint.load(path)
    return True


@dataclass(frozen=True)
class Job(ABC):
    """A part of a run that ends in one file; killed and done again, it goes on from its last state."""

    settings: TrainConfig
    folder: RunFolder
    device: Device
    """Of the machine that does it."""
    trains: ClassVar[bool] = True
    """Whether anything learns in it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """As in its events."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The file that is there when it is done."""

    @abstractmethod
    def __call__(self, on_event: OnEvent) -> None:
        """Does the job."""

    def plan(self, phase: str, steps: int, seed: int) -> Plan:
        """How a phase of this job trains."""
        snapshots = Snapshots(self.folder.snapshot(phase), self.settings.snapshot_seconds)
        return Plan(steps, seed, self.folder.state(phase), self.settings.save_every, snapshots)


@dataclass(frozen=True)
class ExpertJob(Job):
    """One expert's training, from the data to its checkpoint."""

    number: int
    """Which expert."""

    @property
    def name(self) -> str:
        return self.settings.experts[self.number].name

    @property
    def path(self) -> Path:
        return self.folder.expert(self.name)

    def __call__(self, on_event: OnEvent) -> None:
        expert, seed = self.settings.experts[self.number], self.settings.seed + self.number
        device = device_called(self.device)
        scene = load_scene(self.settings.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trainee = ExpertTrainee(expert, scene, device)
        plan = self.plan(expert.name, expert.steps, seed)
        seconds = run(trainee, trainee.sampler, plan, on_event)
        trainee.expert.begin_step(expert.steps)
        mixture = trainee.shown().requires_grad_(False)
        finish(expert.name, mixture, scene, self.path, provenance(self.settings, expert, seconds), on_event)
        plan.clear()


class MixtureJob(Job):
    """What makes the mixture of the experts."""

    @property
    def name(self) -> str:
        return "mixture"

    @property
    def path(self) -> Path:
        return self.folder.mixture


@dataclass(frozen=True)
class RouterJob(MixtureJob):
    """Trains a router at each temperature asked for, and keeps the one that does best on what none of them learned."""

    def __call__(self, on_event: OnEvent) -> None:
        settings, router = self.settings, self.settings.router
        device = device_called(self.device)
        scene = load_scene(settings.data)
        held_out = scene.rig.train[: router.validation] if len(router.tried) > 1 else ()
        learned = [camera for camera in scene.rig.train if camera not in held_out]
        names = [expert.name for expert in settings.experts]
        alone = [checkpoint.load(self.folder.expert(name), device).mixture for name in names]
        self._check(alone, scene)
        pictures = KeptPictures(router.pictures)
        plans: list[Plan] = []
        mixtures: dict[float, Mixture] = {}
        psnrs: dict[float, float] = {}
        seconds = 0.0
        for temperature in router.tried:
            name = f"router-{temperature:g}"
            mixture = self._start(temperature, alone)
            plan = self.plan(name, router.steps, settings.seed)
            trainee = RouterTrainee(name, router, mixture, scene, pictures)
            seconds += run(trainee, Shuffled(scene.pairs(learned), expect=scene.expect), plan, on_event)
            plans.append(plan)
            mixtures[temperature] = mixture
            if held_out:
                psnrs[temperature] = mean_psnr(mixture, scene, photos(scene, held_out))
                on_event(Scored(name, "validation", psnrs[temperature]))
            mixture.instants.forget()  # the next router keeps its own
        best = max(psnrs, key=lambda temperature: psnrs[temperature]) if psnrs else next(iter(mixtures))
        origin = provenance(settings, router, seconds)
        origin["validation"] = {f"{temperature:g}": psnr for temperature, psnr in psnrs.items()}
        origin["experts"] = stored(settings)
        finish(self.name, mixtures[best], scene, self.path, origin, on_event)
        for plan in plans:
            plan.clear()

    def _check(self, alone: Sequence[Mixture], scene: Scene) -> None:
        """Raises TrainingError where `scene` is not what every expert learned: its data changed since."""
        for expert, mixture in zip(self.settings.experts, alone, strict=True):
            try:
                check_data(mixture, scene)
            except ValueError as error:
                path = self.folder.expert(expert.name)
                raise TrainingError(f"{path}: {error}, or remove this expert to train it anew") from None

    def _start(self, temperature: float, alone: Sequence[Mixture]) -> Mixture:
        """The experts that are each `alone` under a new router; all routers share them."""
        experts = [part.members[0] for part in alone]
        router = replace(self.settings.router.router, temperature=temperature)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.settings.seed)
            router = router.start([len(expert) for expert in experts])
        return Mixture([part.names[0] for part in alone], experts, router, alone[0].rig).to(alone[0].device)


@dataclass(frozen=True)
class SoleJob(MixtureJob):
    """One expert alone is the mixture, and needs no router."""

    trains = False

    def __call__(self, on_event: OnEvent) -> None:
        checkpoint.save(checkpoint.load(self.folder.expert(self.settings.experts[0].name)), self.path)
        on_event(Saved(self.name, self.path))


@dataclass(frozen=True)
class PruneJob(Job):
    """The finished mixture without the Gaussians that matter least."""

    @property
    def name(self) -> str:
        return pruning.NAME

    @property
    def path(self) -> Path:
        return self.folder.pruned

    def __call__(self, on_event: OnEvent) -> None:
        settings, device = self.settings.prune, device_called(self.device)
        assert settings is not None, "the config asks for no pruning"
        path = self.folder.mixture
        whole = checkpoint.load(path, device)
        wanted = Thinning(sha256=sha256(path), data=self.settings.data, prune=settings, router=self.settings.router)
        plan = self.plan(self.name, settings.finetune, self.settings.seed)
        course = Course(self.folder.state(pruning.CUT), plan)
        checkpoint.save(thinned(whole, path.name, wanted, course, on_event), self.path)
        on_event(Saved(self.name, self.path))
        course.clear()


def prepare(settings: TrainConfig, on_event: OnEvent) -> None:
    """Decodes frames and finds points once, where the caches keep them for all jobs and their processes."""
    scene = load_scene(settings.data, on_prepared=lambda what, done, of: on_event(Preparing(what, done, of)))
    if len(settings.experts) > 1:
        settings.router.check_cameras(len(scene.rig.train))
    for text in (scene.summary, *scene.warnings):
        on_event(Told(text, warning=text in scene.warnings))


def finish(name: str, mixture: Mixture, scene: Scene, path: Path, origin: dict[str, Any], on_event: OnEvent) -> None:
    """Scores `mixture` on the held-out cameras, if there are any, and saves it."""
    scores: dict[str, Any] = {}
    if scene.rig.test:
        heard = working(name, "held-out pictures scored", len(scene.pairs(mixture.rig.test)), on_event)
        found = evaluate(mixture, scene, "test", on_picture=heard)
        on_event(Scored(name, "test", found.mixture.psnr))
        scores = asdict(found)
    checkpoint.save(Checkpoint(mixture, scores, origin), path)
    on_event(Saved(name, path))


def provenance(settings: TrainConfig, phase: ExpertTraining | RouterTraining, seconds: float) -> dict[str, Any]:
    """Where the checkpoint of a phase comes from, as plain values; `seconds` are those of its training."""
    return {
        "moegs": __version__,
        "data": settings.data.path.name,
        "choices": settings.data.choices(),
        "seed": settings.seed,
        "seconds": seconds,
        "training": config.dump(phase),
    }
