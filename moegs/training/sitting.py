"""A sitting: one process's stay in a run's folder, which it claims, and where it says how the run stands."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from moegs.data import DataConfig
from moegs.runs import RunFolder, StageName, lock, status
from moegs.runs.status import Phase, Point, State, Status
from moegs.system import Device
from moegs.training.config import TrainConfig, claim
from moegs.training.events import Begun, Compiling, Event, Failed, Preparing, Progress, Saved, Scored, Told, Working
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.stages import Run

STATUS_SECONDS = 1.0
"""Between two words on how the run stands."""


@dataclass(frozen=True)
class Sitting:
    """How far a run is taken, and on what; none of it is part of the run's config."""

    device: Device = "auto"
    """Where to compute."""
    resume: bool = False
    """Go on with what an earlier sitting left in the folder, if it left anything; else a used folder is refused."""
    stop_after: StageName | None = None
    """End after this stage; resuming goes on with the next."""
    tensorboard: bool = False
    """Write scalars and pictures into the folder `logs` of the run; needs the extra [logs]."""


def check_all(failed: Mapping[str, str], runs: int) -> None:
    """Raises TrainingError in one line when of so many runs any has failed; `failed`: the reason of each, by name."""
    if failed and runs == 1:
        raise TrainingError(next(iter(failed.values())))
    if failed:
        told = "; ".join(f"{name}: {reason}" for name, reason in failed.items())
        raise TrainingError(f"{len(failed)} of {runs} runs failed; {told}")


@contextmanager
def opened(
    settings: TrainConfig, base: Path, out: Path, sitting: Sitting, on_event: OnEvent
) -> Iterator[tuple[Run, OnEvent]]:
    """The run of `settings` in the folder `out`, and whom to tell its events; the folder is this process's meanwhile.

    `base`: the folder that the data's path is relative to. Raises ValueError in one line when another process is at
    work in `out`, it belongs to another config, or it holds a run and `sitting` does not resume.
    """
    settings, folder = settings.resolved(base), RunFolder(out)
    with lock.hold(folder.lock), _logged(folder, settings.data, sitting, on_event) as tell:
        fresh = not folder.config.exists()
        run = Run(settings, folder, sitting.device, sitting.stop_after)
        claim(folder, settings, sitting.resume, run.is_whole)
        folder.sweep()
        recorder = _Recorder(folder, tell)
        try:
            yield run, recorder.tell
        except KeyboardInterrupt:
            recorder.end("stopped", "by Ctrl-C or SIGTERM; --resume goes on")
            raise
        except Exception as error:
            recorder.end("failed", " ".join(str(error).split()) or type(error).__name__)
            if fresh and not recorder.begun:
                folder.config.unlink(missing_ok=True)  # a start that fails leaves the folder to the corrected config
            raise
        finally:
            folder.sweep()  # of workers that were ended with this process
        whole = run.is_whole
        recorder.end("finished" if whole else "stopped", "" if whole else f"after {run.stages[-1]}; --resume goes on")


@contextmanager
def _logged(folder: RunFolder, data: DataConfig, sitting: Sitting, on_event: OnEvent) -> Iterator[OnEvent]:
    if not sitting.tensorboard:
        yield on_event
        return
    from moegs.training.logs import TensorBoard

    board = TensorBoard(folder.logs, sitting.device, data)

    def tell(event: Event) -> None:
        board.tell(event)
        on_event(event)

    try:
        yield tell
    finally:
        board.close()


class _Recorder:
    """Hands events on, and keeps the run's status from them."""

    def __init__(self, folder: RunFolder, on_event: OnEvent) -> None:
        self._folder, self._on_event = folder, on_event
        self._status = replace(status.read(folder), state="running", message="")
        self._written = -STATUS_SECONDS
        self.begun = False
        """Whether any stage has, in this sitting."""
        self._write()

    def tell(self, event: Event) -> None:
        """Takes note of `event`."""
        self._status = _after(self._status, event)
        self.begun |= isinstance(event, Begun)
        if not isinstance(event, Progress) or time.monotonic() - self._written >= STATUS_SECONDS:
            self._write()
        self._on_event(event)

    def end(self, state: State, message: str) -> None:
        """The last word, unless a phase has failed."""
        if self._status.state == "running":
            self._status = replace(self._status, state=state, message=message)
        self._write()

    def _write(self) -> None:
        status.write(self._status, self._folder)
        self._written = time.monotonic()


def _after(before: Status, event: Event) -> Status:
    if isinstance(event, Preparing | Working | Told | Compiling):
        return before
    if isinstance(event, Failed):
        return replace(before, state="failed", message=event.reason)
    if isinstance(event, Begun):
        return replace(before, stage=event.name)
    phase = before.find(event.name)
    if isinstance(event, Progress):
        if phase is None:
            phase = Phase(name=event.name, stage=before.stage, steps=event.steps, gaussians=0, seconds=0.0, curve=())
        return before.put(phase.at(Point(event.step, event.loss, event.psnr), event.gaussians, event.seconds))
    if isinstance(event, Scored):  # the mixture is no phase of its own, but the end of all routers
        if phase is None:
            return replace(before, score=event.psnr) if before.stage == "router" else before
        return before.put(replace(phase, score=event.psnr))
    if isinstance(event, Saved):
        ended = (event.name,) if phase else tuple(each.name for each in before.phases if each.stage == before.stage)
        return replace(before, phases=tuple(_finished(each, each.name in ended) for each in before.phases))
    return before


def _finished(phase: Phase, now: bool) -> Phase:
    return replace(phase, finished=phase.finished or now)
