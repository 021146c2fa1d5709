"""Runs on a Ray cluster: every expert of every run is a task, and every router one that waits for its experts.

Needs the extra [ray]. Tasks read the data and write into the run's folder as a local run does, so that both must be
reachable under the same path from every node.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moegs.runs import StageName
from moegs.training.config import TrainConfig
from moegs.training.events import Begun, Failed, Skipped, named
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.phases import Job
from moegs.training.sitting import Sitting, opened
from moegs.training.stages import Run
from moegs.training.workers import THREAD_VARIABLES

RETRIES = 10
"""How often a task is started again whose worker died; each time it goes on from its last state."""
POLL_SECONDS = 0.2


def train_all(runs: Mapping[Path, TrainConfig], address: str | None, on_event: OnEvent, sitting: Sitting) -> None:
    """Trains the run of each folder on the cluster at `address`; None: on one started here for the occasion.

    The paths in the configs are absolute. A run that fails does not stop the others. Raises TrainingError in one line
    when one has failed, and as `opened` does before anything is started.
    """
    with ExitStack() as stack:
        stack.enter_context(_cluster(address))  # first: no folder is claimed for what cannot begin
        lines = []
        for out, settings in runs.items():
            tell = named(on_event, out.name) if len(runs) > 1 else on_event
            lines.append(_Line(*stack.enter_context(opened(settings, Path(), out, sitting, tell))))
        failed = _work(lines)
    if failed:  # only here: to leave the block by it would tell all of them that they have failed
        raise TrainingError(f"{len(failed)} of {len(runs)} runs failed; {'; '.join(failed)}")


@dataclass
class _Line:
    """A run on its way through the cluster."""

    run: Run
    tell: OnEvent
    begun: set[StageName] = field(default_factory=set)

    def left(self, stage: StageName) -> list[Job]:
        return [job for job in self.run.jobs(stage) if not job.path.exists()]


def _work(lines: Sequence[_Line]) -> list[str]:
    """Submits the jobs of all `lines` and hands their events on until all are done; what went wrong, a line a run."""
    import ray
    from ray.exceptions import RayError
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    last: dict[Any, tuple[int, str]] = {}
    for number, line in enumerate(lines):
        before: list[Any] = []
        for stage in line.run.stages:
            jobs = line.left(stage)
            for job in line.run.jobs(stage):
                if job not in jobs:
                    line.tell(Skipped(job.name, job.path))
            if jobs:
                before = [_task(job).remote(job, (number, stage, len(jobs)), queue, *before) for job in jobs]
                last.update({ref: (number, job.name) for ref, job in zip(before, jobs, strict=True)})
    failed: dict[int, str] = {}
    left = list(last)
    while left:
        done, left = ray.wait(left, num_returns=len(left), timeout=POLL_SECONDS)
        _hand_on(queue, lines)
        for ref in done:
            number, name = last[ref]
            try:
                error = ray.get(ref)
            except RayError as lost:
                error = f"{lines[number].run.folder.path}: {name} lost its worker for good ({type(lost).__name__})"
            if error and number not in failed:
                failed[number] = error
                lines[number].tell(Failed(name, error))
    _hand_on(queue, lines)
    return list(failed.values())


def _task(job: Job) -> Any:
    import ray

    gpus = job.settings.gpu_share if job.device != "cpu" and ray.cluster_resources().get("GPU") else 0
    threads = job.settings.threads
    return ray.remote(_do).options(
        name=f"{job.folder.path.name}/{job.name}",
        num_cpus=threads,
        num_gpus=gpus,
        max_retries=RETRIES,
        runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, str(threads))},
    )


def _do(job: Job, place: tuple[int, StageName, int], queue: Any, *before: str | None) -> str | None:
    """A task: does `job` unless one that it waited for failed; what went wrong, or None."""
    failed = next(filter(None, before), None)
    if failed or job.path.exists():  # the latter when the worker died after the last line
        return failed
    try:
        job(lambda event: queue.put((*place, event)))
    except ValueError as error:
        return str(error)
    return None


def _hand_on(queue: Any, lines: Sequence[_Line]) -> None:
    count = queue.qsize()
    for number, stage, jobs, event in queue.get_nowait_batch(count) if count else ():
        line = lines[number]
        if stage not in line.begun:
            line.begun.add(stage)
            line.tell(Begun(stage, jobs))
        line.tell(event)


@contextmanager
def _cluster(address: str | None) -> Iterator[None]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise TrainingError("ray: not installed; pip install 'moegs[ray]', or leave --ray out") from None
    own: dict[str, Any] = {"address": "local", "include_dashboard": False} if address is None else {"address": address}
    try:
        ray.init(**own, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(
            f"ray: no cluster at '{address or 'local'}' ({reason}); start one, or name another"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
