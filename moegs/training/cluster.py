"""Runs on a Ray cluster: every expert of every run is a task, and every router one that waits for its experts.

Needs the extra [ray]. Tasks read the data and write into the run's folder as a local run does, so that both must be
reachable under the same path from every node.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moegs import allocator
from moegs.runs import StageName
from moegs.training.config import TrainConfig
from moegs.training.events import Begun, Failed, Skipped, named
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.phases import Job, prepare
from moegs.training.sitting import Sitting, check_all, opened
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
    check_all(failed, len(runs))  # only here: to leave the block by it would tell all of them that they have failed


@dataclass
class _Line:
    """A run on its way through the cluster."""

    run: Run
    tell: OnEvent
    begun: set[StageName] = field(default_factory=set)

    def left(self, stage: StageName) -> list[Job]:
        return [job for job in self.run.jobs(stage) if not job.path.exists()]


@dataclass(frozen=True)
class Place:
    """Where in the work a task belongs."""

    line: int
    """The number of its run."""
    name: str
    stage: StageName | None = None
    jobs: int = 0
    """Of its stage: those left in which something learns."""


def _work(lines: Sequence[_Line]) -> dict[str, str]:
    """Has all jobs of all `lines` done and hands their events on; what went wrong, by the name of the run's folder."""
    import ray
    from ray.exceptions import RayError
    from ray.util.queue import Queue

    queue = Queue(actor_options={"num_cpus": 0})
    tasks = {ref: place for number, line in enumerate(lines) for ref, place in _submit(number, line, queue)}
    failed: dict[str, str] = {}
    left = list(tasks)
    while left:
        done, left = ray.wait(left, num_returns=len(left), timeout=POLL_SECONDS)
        _hand_on(queue, lines)
        for ref in done:
            place = tasks[ref]
            line = lines[place.line]
            name = line.run.folder.path.name
            try:
                error = ray.get(ref)
            except RayError as lost:
                error = f"{place.name} lost its worker for good ({type(lost).__name__}); --resume goes on"
            if error and name not in failed:
                failed[name] = error
                line.tell(Failed(place.name, error))
    _hand_on(queue, lines)
    return failed


def _submit(number: int, line: _Line, queue: Any) -> Iterator[tuple[Any, Place]]:
    """The tasks of line `number`: first its data, then the jobs of each stage, which wait for all before them."""
    run, before = line.run, []
    if any(line.left(stage) for stage in run.stages):
        place = Place(number, "data")
        before = [_task(_make_ready, run, place.name).remote(run.settings, place, queue)]
        yield before[0], place
    for stage in run.stages:
        jobs = line.left(stage)
        for job in run.jobs(stage):
            if job not in jobs:
                line.tell(Skipped(job.name, job.path))
        places = [Place(number, job.name, stage, sum(each.trains for each in jobs)) for job in jobs]
        gpus = run.settings.gpu_share * (run.device != "cpu")
        begun = [
            _task(do, run, job.name, gpus).remote(job, place, queue, *before)
            for job, place in zip(jobs, places, strict=True)
        ]
        yield from zip(begun, places, strict=True)
        before = begun or before


def _task(work: Callable[..., str | None], run: Run, name: str, gpus: float = 0.0) -> Any:
    import ray

    threads = run.settings.threads
    return ray.remote(work).options(
        name=f"{run.folder.path.name}/{name}",
        num_cpus=threads,
        num_gpus=gpus if ray.cluster_resources().get("GPU") else 0,
        max_retries=RETRIES,
        runtime_env={"env_vars": dict.fromkeys(THREAD_VARIABLES, str(threads))},
    )


def _make_ready(settings: TrainConfig, place: Place, queue: Any) -> str | None:
    """A task: prepares the data; what went wrong, or None."""
    try:
        prepare(settings, lambda event: queue.put((place, event)))
    except ValueError as error:
        return str(error)
    return None


def do(job: Job, place: Place, queue: Any, *before: str | None) -> str | None:
    """A task: does `job` unless one that it waited for failed; what went wrong, or None."""
    failed = next(filter(None, before), None)
    if failed or job.path.exists():  # the latter when the worker died after the last line
        return failed
    allocator.keep_freed_memory()
    try:
        job(lambda event: queue.put((place, event)))
    except ValueError as error:
        return str(error)
    return None


def _hand_on(queue: Any, lines: Sequence[_Line]) -> None:
    count = queue.qsize()
    for place, event in queue.get_nowait_batch(count) if count else ():
        line = lines[place.line]
        if place.stage is not None and place.stage not in line.begun:
            line.begun.add(place.stage)
            line.tell(Begun(place.stage, place.jobs))
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
