"""Training: stage by stage, each job in this process or side by side, in a folder that a run can return to."""

from collections.abc import Mapping
from pathlib import Path

from moegs.training.config import TrainConfig
from moegs.training.events import Begun, Event, Failed, Skipped, named
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.phases import is_finished, prepare
from moegs.training.sitting import Sitting, check_all, opened
from moegs.training.workers import run_side_by_side

__all__ = ["Event", "Sitting", "TrainConfig", "TrainingError", "train", "train_here"]


def train(
    settings: TrainConfig,
    base: Path,
    out: Path,
    on_event: OnEvent = lambda event: None,
    sitting: Sitting = Sitting(),
) -> Path:
    """Runs `settings` in the folder `out`, as far as `sitting` says, and returns the file that the last job made.

    `base`: the folder that the data's path is relative to. What `out` holds finished is not done again.
    Raises ValueError in one line when another process is at work in `out`, it belongs to another config, it holds a
    run that is not to be resumed, or a loss or gradient is not finite.
    """
    with opened(settings, base, out, sitting, on_event) as (run, tell):
        if any(not is_finished(job.path) for stage in run.stages for job in run.jobs(stage)):
            prepare(run.settings, tell)
        for stage in run.stages:
            jobs = run.jobs(stage)
            left = [job for job in jobs if not is_finished(job.path)]
            for job in jobs:
                if job not in left:
                    tell(Skipped(job.name, job.path))
            if left:
                tell(Begun(stage, sum(job.trains for job in left)))
            if left and len(jobs) > 1 and settings.parallel > 1:  # the last one too: with as many threads as it began
                run_side_by_side(left, settings.parallel, settings.threads, tell)
            else:
                for job in left:
                    job(tell)
        return run.jobs(run.stages[-1])[-1].path


def train_here(runs: Mapping[Path, TrainConfig], on_event: OnEvent, sitting: Sitting) -> None:
    """Trains the run of each folder on this machine, one after the other; the paths in the configs are absolute.

    A run that fails does not stop the others. Raises TrainingError in one line when one has failed.
    """
    failed: dict[str, str] = {}
    for out, settings in runs.items():
        try:
            train(settings, Path(), out, named(on_event, out.name) if len(runs) > 1 else on_event, sitting)
        except (ValueError, OSError) as error:
            if len(runs) == 1:
                raise
            failed[out.name] = " ".join(str(error).split())
            on_event(Failed(out.name, failed[out.name]))
    check_all(failed, len(runs))
