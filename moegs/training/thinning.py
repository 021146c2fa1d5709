"""A finished mixture pruned and fine-tuned, so that what is killed goes on: as a run's stage, and by itself."""

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.runs import RunFolder
from moegs.training import pruning
from moegs.training.loop import OnEvent, Plan
from moegs.training.pruning import Pruning
from moegs.training.routing import RouterTraining
from moegs.training.snapshots import Snapshots

SAVE_EVERY = 100
"""Steps between two states of a fine-tuning by itself."""
SOURCE = "cut from"
"""In the provenance of what was cut and is to be fine-tuned: the SHA-256 of the file that it comes from."""


@dataclass(frozen=True, kw_only=True)
class Thinning:
    """All that decides what becomes of a mixture that is pruned."""

    sha256: str
    """Of the mixture's file."""
    data: DataConfig
    prune: Pruning
    router: RouterTraining = field(default_factory=RouterTraining)
    """How its router was trained, for the fine-tuning."""
    weigh_anew: bool = False
    """Whether scores are measured also where the mixture's file holds them."""


@dataclass(frozen=True)
class Course:
    """From where a killed one goes on."""

    start: Path
    """The mixture as it is cut: a killed fine-tuning goes on with the very rows it began with."""
    plan: Plan
    """Of the fine-tuning."""

    def clear(self) -> None:
        """Removes what only an unfinished one needs."""
        self.plan.clear()
        self.start.unlink(missing_ok=True)


def alone(folder: RunFolder, steps: int) -> Course:
    """That of a pruning by itself in `folder`, with so many steps of fine-tuning; nobody looks on."""
    snapshots = Snapshots(folder.snapshot(pruning.NAME), seconds=0.0)
    plan = Plan(steps, 0, folder.state(pruning.NAME), SAVE_EVERY, snapshots)
    return Course(folder.state(pruning.CUT), plan)


def thinned(whole: Checkpoint, name: str, settings: Thinning, course: Course, on_event: OnEvent) -> Checkpoint:
    """The mixture `whole`, of the file `name`, without the Gaussians that go, fine-tuned and scored as `settings` ask.

    On a CPU, one that is killed and started again on the same `course` gives the same result as one that was not.
    Raises ValueError as `pruning.check` does, before anything is weighed.
    """
    asked = settings.prune
    scene = load_scene(settings.data, with_points=False)
    device = whole.mixture.device
    thin = checkpoint.load(course.start, device) if course.start.exists() else None
    if thin is None or thin.provenance.get(SOURCE) != settings.sha256:
        cut = pruning.cut(whole, scene, asked, on_event, settings.weigh_anew)
        checkpoint.save(replace(cut, provenance={**cut.provenance, SOURCE: settings.sha256}), course.start)
        thin = checkpoint.load(course.start, device)
    if asked.finetune:
        thin = pruning.finetuned(thin, scene, asked, settings.router, course.plan, on_event)
    thin = pruning.scored(thin, whole, scene, on_event)
    facts = {"from": name, "sha256": settings.sha256} | thin.provenance["pruned"]
    rest = {key: value for key, value in thin.provenance.items() if key != SOURCE}
    return replace(thin, provenance={**rest, "pruned": facts})


def sha256(path: Path) -> str:
    """Of the file `path`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
