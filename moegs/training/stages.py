"""The stages of a run, in their order, and the jobs that each has left to do. A stage begins when the last is done.

A further stage is a function from a run to its jobs, none where the config does not ask for it; one line in `JOBS`; and
its name in `moegs.runs.StageName`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moegs.runs import STAGES, RunFolder, StageName
from moegs.system import Device
from moegs.training.config import TrainConfig
from moegs.training.phases import ExpertJob, Job, PruneJob, RouterJob, SoleJob
from moegs.training.students import DistillJob


@dataclass(frozen=True)
class Run:
    """What is trained, in which folder, on what."""

    settings: TrainConfig
    """With the data's path absolute."""
    folder: RunFolder
    device: Device
    stop_after: StageName | None = None
    """The last stage that is done; None: all are."""

    def __post_init__(self) -> None:
        if self.stop_after is not None and not self.jobs(self.stop_after):
            raise ValueError(f"stop_after: this run has no stage '{self.stop_after}'; it does {', '.join(self.all)}")

    @property
    def all(self) -> tuple[StageName, ...]:
        """Those that the config asks for."""
        return tuple(stage for stage in STAGES if self.jobs(stage))

    @property
    def stages(self) -> tuple[StageName, ...]:
        """Those that are to be done."""
        return self.all if self.stop_after is None else self.all[: self.all.index(self.stop_after) + 1]

    @property
    def is_whole(self) -> bool:
        """Whether all that the config asks for is there."""
        return all(job.path.exists() for stage in self.all for job in self.jobs(stage))

    def jobs(self, stage: StageName) -> Sequence[Job]:
        """Of one stage, those that are done included."""
        return JOBS[stage](self)


def _expert_jobs(run: Run) -> Sequence[Job]:
    return [ExpertJob(run.settings, run.folder, run.device, number) for number in range(len(run.settings.experts))]


def _router_jobs(run: Run) -> Sequence[Job]:
    job = SoleJob if len(run.settings.experts) == 1 else RouterJob
    return [job(run.settings, run.folder, run.device)]


def _prune_jobs(run: Run) -> Sequence[Job]:
    return [] if run.settings.prune is None else [PruneJob(run.settings, run.folder, run.device)]


def _distill_jobs(run: Run) -> Sequence[Job]:
    settings, folder = run.settings, run.folder
    return [DistillJob(settings, folder, run.device, number, folder.mixture) for number in range(len(settings.distill))]


JOBS: dict[StageName, Callable[[Run], Sequence[Job]]] = {
    "experts": _expert_jobs,
    "router": _router_jobs,
    "prune": _prune_jobs,
    "distill": _distill_jobs,
}
