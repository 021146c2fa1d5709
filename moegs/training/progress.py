"""A run's events as progress bars in a terminal, or as a plain line now and then where there is none."""

import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from moegs import consoles
from moegs.training.events import (
    Begun,
    Compiling,
    Event,
    Failed,
    Preparing,
    Progress,
    Resumed,
    Saved,
    Scored,
    Skipped,
    Snapshot,
    Told,
    Working,
)
from moegs.training.loop import OnEvent

COLD_STEPS = 5
"""The first steps of a sitting, in which kernels compile: they say nothing of how long the rest takes."""


@contextmanager
def show(console: Console | None = None) -> Iterator[OnEvent]:
    """What to call with each event of a run; on standard error unless `console` says otherwise."""
    reporter = Reporter(console or consoles.console(stderr=True))
    with reporter.bars:
        yield reporter.tell


def with_note(on_event: OnEvent, note: str) -> OnEvent:
    """`on_event`, told `note` before the first event: when all that can be refused beforehand was not."""
    notes = [Told(note, warning=True)] if note else []

    def tell(event: Event) -> None:
        while notes:
            on_event(notes.pop())
        on_event(event)

    return tell


class Reporter:
    """Shows events on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.begun: dict[str, float] = {}
        """When each clock of `_preparing` started."""
        self.printed: dict[str, float] = {}
        self.warm: dict[str, Progress] = {}
        """Of each phase the first event after its cold steps."""
        self.cold: dict[str, int] = {}
        """Of each phase the step at which this sitting first heard of it."""

    def tell(self, event: Event) -> None:
        """Shows `event`."""
        if isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Preparing):
            self._preparing(event.what, event.done, event.of, f"data: {event.what}", "data")
        elif isinstance(event, Working):
            what = f"{_called(event.name)}: {event.what}"
            self._preparing(what, event.done, event.of, what, event.name)
        elif not isinstance(event, Snapshot) and event != Begun("router", 0):
            consoles.say(self.console, _line(event))

    def _preparing(self, task: str, done: int, of: int, words: str, clock: str) -> None:
        """`clock`: what has a line now and then, however many tasks follow each other in it, and one where a task says
        that nothing of it is done yet."""
        if self.console.is_terminal:
            if task not in self.tasks:
                self.tasks[task] = self.bars.add_task(task, total=of, state="")
            self.bars.update(self.tasks[task], completed=done)
            return
        now = time.monotonic()
        so_far = now - self.begun.setdefault(clock, now)
        if now - self.printed.setdefault(clock, now) >= consoles.pause(so_far) or not done:
            self.printed[clock] = now
            consoles.say(self.console, f"{words}, {done} of {of}")

    def _progress(self, event: Progress) -> None:
        state = f"{event.psnr:5.2f} dB  {event.gaussians:,} Gaussians"
        if self.console.is_terminal:
            if event.name not in self.tasks:
                self.tasks[event.name] = self.bars.add_task(_called(event.name), total=event.steps, state=state)
            self.bars.update(self.tasks[event.name], completed=event.step, state=state)
            return
        now = time.monotonic()
        left = self._left(event)
        printed = self.printed.get(event.name, -math.inf)
        if event.step < event.steps and now - printed < consoles.pause(event.seconds):
            return
        self.printed[event.name] = now
        consoles.say(
            self.console,
            f"{_called(event.name)}: step {event.step}/{event.steps}, loss {event.loss:.4f}, {state}, "
            f"{event.seconds:.0f} s so far{left}",
        )

    def _left(self, event: Progress) -> str:
        """How long the phase will take, from this sitting's steps but the cold ones; empty where that is not known."""
        first = self.cold.setdefault(event.name, event.step)
        if event.step - first < COLD_STEPS or event.step == event.steps:
            return ""
        warm = self.warm.setdefault(event.name, event)
        if event.step == warm.step:
            return ""
        left = (event.seconds - warm.seconds) / (event.step - warm.step) * (event.steps - event.step)
        return f", about {left:.0f} s left"


BEGUN = {
    "experts": "experts: {} to train",
    "router": "router: to be trained over the experts",
    "prune": "prune: the mixture loses the Gaussians that matter least",
    "distill": "distill: students to teach: {}",
}
"""How each stage begins, with the number of its jobs that are left."""


def _called(phase: str) -> str:
    """A phase's name for people: a router is known by its temperature."""
    return re.sub(r"(^|/)router-([0-9.e+-]+)$", r"\1router at temperature \2", phase)


def _line(event: Begun | Told | Compiling | Resumed | Skipped | Scored | Saved | Failed) -> str:
    if isinstance(event, Begun):
        return BEGUN[event.name].format(event.jobs)
    if isinstance(event, Told):
        return f"{'warning' if event.warning else 'data'}: {event.text}"
    name = _called(event.name)
    if isinstance(event, Compiling):
        return f"{name}: compiling kernels, once on this machine: about a minute"
    if isinstance(event, Resumed):
        return f"{name}: goes on from step {event.step}"
    if isinstance(event, Skipped):
        return f"{name}: finished before, {event.path}"
    if isinstance(event, Saved):
        return f"{name}: saved, {event.path}"
    if isinstance(event, Failed):
        return f"{name}: failed, {event.reason}"
    return f"{name}: {event.split} {event.psnr:.2f} dB"
