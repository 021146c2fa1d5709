"""What every phase of a run has at its end, and the phase of one expert as a job for a process of its own."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from moegs import __version__, checkpoint, config
from moegs.checkpoint import Checkpoint
from moegs.data import load_scene
from moegs.data.scene import Scene
from moegs.evaluation import evaluate
from moegs.mixture import Mixture
from moegs.training.config import TrainConfig
from moegs.training.events import Saved, Scored
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import OnEvent, Plan, run
from moegs.training.routing import RouterTraining


def expert_file(out: Path, name: str) -> Path:
    """Where the run in the folder `out` keeps its finished expert `name`, a checkpoint of its own."""
    return out / "experts" / f"{name}.pt"


@dataclass(frozen=True)
class ExpertJob:
    """One expert's training, from the data to its checkpoint."""

    settings: TrainConfig
    number: int
    """Which expert."""
    path: Path
    """Of the checkpoint; the state of an unfinished training lies beside it."""
    device: torch.device

    def __call__(self, on_event: OnEvent) -> None:
        """Does the job."""
        expert, seed = self.settings.experts[self.number], self.settings.seed + self.number
        scene = load_scene(self.settings.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trainee = ExpertTrainee(expert, scene, self.device)
        plan = Plan(expert.steps, seed, self.path.with_suffix(".state.pt"), self.settings.save_every)
        seconds = run(trainee, trainee.sampler, plan, on_event)
        trainee.expert.begin_step(expert.steps)
        mixture = Mixture([expert.name], [trainee.expert], None, scene.rig).requires_grad_(False)
        finish(expert.name, mixture, scene, self.path, provenance(self.settings, expert, seconds), on_event)
        plan.state_file.unlink(missing_ok=True)


def finish(name: str, mixture: Mixture, scene: Scene, path: Path, origin: dict[str, Any], on_event: OnEvent) -> None:
    """Scores `mixture` on the held-out cameras, if there are any, and saves it."""
    scores: dict[str, Any] = {}
    if scene.rig.test:
        found = evaluate(mixture, scene, "test")
        on_event(Scored(name, "test", found.mixture.psnr))
        scores = asdict(found)
    checkpoint.save(Checkpoint(mixture, scores, origin), path)
    on_event(Saved(name, path))


def provenance(settings: TrainConfig, phase: ExpertTraining | RouterTraining, seconds: float) -> dict[str, Any]:
    """Where the checkpoint of a phase comes from, as plain values; `seconds` are those of its training."""
    return {
        "moegs": __version__,
        "data": settings.data.path.name,
        "seed": settings.seed,
        "seconds": seconds,
        "training": config.dump(phase),
    }
