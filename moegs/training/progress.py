"""A run's events as progress bars in a terminal, or as a plain line now and then where there is none."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from moegs.training.events import Event, Progress, Resumed, Saved, Scored, Skipped

LINE_SECONDS = 30.0
"""Between two lines of one phase where the output is no terminal."""


class Reporter:
    """Shows events; use it as a context manager, and as the `on_event` of a run."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.tasks: dict[str, TaskID] = {}
        self.printed: dict[str, float] = {}

    def __enter__(self) -> "Reporter":
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._progress(event)
        else:
            self.console.print(_line(event), highlight=False, soft_wrap=True)

    def _progress(self, event: Progress) -> None:
        state = f"{event.psnr:5.2f} dB  {event.gaussians:,} Gaussians"
        if self.console.is_terminal:
            if event.name not in self.tasks:
                self.tasks[event.name] = self.bars.add_task(event.name, total=event.steps, state=state)
            self.bars.update(self.tasks[event.name], completed=event.step, state=state)
            return
        now = time.monotonic()
        if event.step < event.steps and now - self.printed.get(event.name, 0.0) < LINE_SECONDS:
            return
        self.printed[event.name] = now
        left = event.seconds / event.step * (event.steps - event.step)
        self.console.print(
            f"{event.name}: step {event.step}/{event.steps}, loss {event.loss:.4f}, {state}, "
            f"{event.seconds:.0f} s so far, about {left:.0f} s left",
            highlight=False,
            soft_wrap=True,
        )


def _line(event: Resumed | Skipped | Scored | Saved) -> str:
    if isinstance(event, Resumed):
        return f"{event.name}: goes on from step {event.step}"
    if isinstance(event, Skipped):
        return f"{event.name}: finished before, {event.path}"
    if isinstance(event, Saved):
        return f"{event.name}: saved, {event.path}"
    return f"{event.name}: " + ", ".join(
        f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}" for name, value in event.scores.items()
    )
