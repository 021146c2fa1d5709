"""The bars of a verb that takes long."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moegs import consoles

if TYPE_CHECKING:
    from moegs.data.scene import Scene


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, or a line now and then when that is no terminal; the block calls what it gets with (done, of how
    many)."""
    console = consoles.console(stderr=True)
    if not console.is_terminal:
        yield _lines(console, unit)
        return
    words = TextColumn(unit, markup=False)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), words, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _lines(console: Console, unit: str) -> Callable[[int, int], None]:
    begun = printed = time.monotonic()

    def advance(done: int, of: int) -> None:
        nonlocal printed
        if (now := time.monotonic()) - printed >= consoles.pause(now - begun):
            printed = now
            console.print(f"{unit}: {done} of {of}", highlight=False, soft_wrap=True, markup=False)

    return advance


def tell_compiling(device: torch.device) -> None:
    """Says on stderr why the first picture takes long, where the kernels are not compiled yet on this machine."""
    if device.type == "cpu":
        from moegs.rasterize import cpu

        if not cpu.can_draw():
            print("compiling kernels, once on this machine: about 20 seconds", file=sys.stderr)


def decode(scene: "Scene", cameras: Sequence[int]) -> None:
    """Decodes the photos of `cameras` that are kept on disk and not there yet, under a bar of its own."""
    with progress("cameras decoded") as advance:
        scene.prepare(cameras, lambda what, done, of: advance(done, of))
