"""A run's events as progress bars in a terminal, or as a plain line now and then where there is none."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from moegs import consoles
from moegs.training.events import (
    Begun,
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

LINE_SECONDS = 30.0
"""Between two lines of one phase where the output is no terminal."""


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
        self.printed: dict[str, float] = {}

    def tell(self, event: Event) -> None:
        """Shows `event`."""
        if isinstance(event, Progress):
            self._progress(event)
        elif isinstance(event, Preparing):
            self._preparing(event.what, event.done, event.of, f"data: {event.what}")
        elif isinstance(event, Working):
            what = f"{event.name}: {event.what}"
            self._preparing(what, event.done, event.of, what)
        elif not isinstance(event, Snapshot):
            consoles.say(self.console, _line(event))

    def _preparing(self, task: str, done: int, of: int, words: str) -> None:
        if self.console.is_terminal:
            if task not in self.tasks:
                self.tasks[task] = self.bars.add_task(task, total=of, state="")
            self.bars.update(self.tasks[task], completed=done)
            return
        now = time.monotonic()
        if now - self.printed.setdefault(task, now) >= LINE_SECONDS:
            self.printed[task] = now
            consoles.say(self.console, f"{words}, {done} of {of}")

    def _progress(self, event: Progress) -> None:
        state = f"{event.psnr:5.2f} dB  {event.gaussians:,} Gaussians"
        if self.console.is_terminal:
            if event.name not in self.tasks:
                self.tasks[event.name] = self.bars.add_task(event.name, total=event.steps, state=state)
            self.bars.update(self.tasks[event.name], completed=event.step, state=state)
            return
        now = time.monotonic()
        if event.step < event.steps and now - self.printed.get(event.name, -math.inf) < LINE_SECONDS:
            return
        self.printed[event.name] = now
        left = event.seconds / event.step * (event.steps - event.step)
        consoles.say(
            self.console,
            f"{event.name}: step {event.step}/{event.steps}, loss {event.loss:.4f}, {state}, "
            f"{event.seconds:.0f} s so far, about {left:.0f} s left",
        )


def _line(event: Begun | Told | Resumed | Skipped | Scored | Saved | Failed) -> str:
    if isinstance(event, Begun):
        return f"{event.name}: {event.jobs} to train"
    if isinstance(event, Told):
        return f"{'warning' if event.warning else 'data'}: {event.text}"
    if isinstance(event, Resumed):
        return f"{event.name}: goes on from step {event.step}"
    if isinstance(event, Skipped):
        return f"{event.name}: finished before, {event.path}"
    if isinstance(event, Saved):
        return f"{event.name}: saved, {event.path}"
    if isinstance(event, Failed):
        return f"{event.name}: failed, {event.reason}"
    return f"{event.name}: {event.split} {event.psnr:.2f} dB"
