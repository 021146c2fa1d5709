"""The stages of a run, in their order, and the jobs that each has left to do. A stage begins when the last is done.

A further stage is a function from a run to its jobs, one line in `JOBS`, and its name in `moegs.runs.StageName`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moegs.runs import STAGES, RunFolder, StageName
from moegs.system import Device
from moegs.training.config import TrainConfig
from moegs.training.phases import ExpertJob, Job, RouterJob, SoleJob


@dataclass(frozen=True)
class Run:
    """What is trained, in which folder, on what."""

    settings: TrainConfig
    """With the data's path absolute."""
    folder: RunFolder
    device: Device
    stop_after: StageName | None = None
    """The last stage that is done; None: all are."""

    @property
    def stages(self) -> tuple[StageName, ...]:
        """Those that are to be done."""
        return STAGES if self.stop_after is None else STAGES[: STAGES.index(self.stop_after) + 1]

    def jobs(self, stage: StageName) -> Sequence[Job]:
        """Of one stage, those that are done included."""
        return JOBS[stage](self)


def _expert_jobs(run: Run) -> Sequence[Job]:
    return [ExpertJob(run.settings, run.folder, run.device, number) for number in range(len(run.settings.experts))]


def _router_jobs(run: Run) -> Sequence[Job]:
    job = SoleJob if len(run.settings.experts) == 1 else RouterJob
    return [job(run.settings, run.folder, run.device)]


JOBS: dict[StageName, Callable[[Run], Sequence[Job]]] = {"experts": _expert_jobs, "router": _router_jobs}
