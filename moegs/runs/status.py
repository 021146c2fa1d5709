"""How a run stands, as it says itself in a small file; and whether it is still there to say so."""

import json
import time
from dataclasses import dataclass, replace
from typing import Literal

from moegs import config
from moegs.files import replacing
from moegs.runs import RunFolder, StageName, is_run, lock

CURVE_POINTS = 100
"""In a curve, about: more would be no wider on any screen."""

State = Literal["running", "finished", "stopped", "failed"]
Standing = Literal["absent", "running", "finished", "stopped", "failed", "died"]


@dataclass(frozen=True)
class Point:
    """Means between two reports."""

    step: int
    loss: float
    psnr: float
    """Of the training pictures, dB."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One expert, or one router."""

    name: str
    stage: StageName
    steps: int
    """In all."""
    gaussians: int
    seconds: float
    """Spent on it so far, earlier sittings included."""
    curve: tuple[Point, ...]
    """The last one is where it stands."""
    score: float | None = None
    """PSNR on cameras that did not train it, once it is measured, dB."""
    finished: bool = False

    @property
    def step(self) -> int:
        """Steps done."""
        return self.curve[-1].step if self.curve else 0

    def at(self, point: Point, gaussians: int, seconds: float) -> "Phase":
        """The same at `point`; what was said of later steps, before it was killed, is forgotten."""
        before = tuple(each for each in self.curve if each.step < point.step)
        if len(before) > 1 and before[-1].step - before[-2].step < self.steps / CURVE_POINTS:
            before = before[:-1]
        return replace(self, curve=(*before, point), gaussians=gaussians, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Status:
    """A run as it last said it stands."""

    state: State = "running"
    stage: StageName = "experts"
    phases: tuple[Phase, ...] = ()
    """Those that have begun, in that order."""
    score: float | None = None
    """PSNR of the mixture on the held-out cameras, once it is measured, dB."""
    message: str = ""
    """Why it stopped or failed."""
    written: float = 0.0
    """Seconds since 1970."""

    def find(self, name: str) -> Phase | None:
        """The phase `name`, if it has begun."""
        return next((phase for phase in self.phases if phase.name == name), None)

    def put(self, phase: Phase) -> "Status":
        """The same with `phase` in place of the one of its name, or at the end."""
        if self.find(phase.name) is None:
            return replace(self, phases=(*self.phases, phase))
        return replace(self, phases=tuple(phase if each.name == phase.name else each for each in self.phases))


def write(status: Status, folder: RunFolder) -> None:
    """Writes `status` where `read` finds it, with the moment."""
    with replacing(folder.status) as temporary:
        temporary.write_text(json.dumps(config.dump(replace(status, written=time.time()))))


def read(folder: RunFolder) -> Status:
    """What the run in `folder` last said; a fresh Status where it has said nothing that can be read."""
    try:
        return config.build(Status, json.loads(folder.status.read_text()), str(folder.status))
    except (OSError, ValueError):
        return Status()


@dataclass(frozen=True)
class Look:
    """A run as seen from outside."""

    standing: Standing
    said: Status


def look(folder: RunFolder) -> Look:
    """How the run in `folder` stands: one that says it is at work must hold its lock."""
    at_work = lock.held(folder.lock)  # asked first: the last word is written before the lock is let go
    said = read(folder)
    if at_work:
        return Look("running", said)
    if not is_run(folder.path) and said.state != "failed":  # one that fails at its start gives the folder back
        return Look("absent", said)
    return Look("died" if said.state == "running" else said.state, said)
