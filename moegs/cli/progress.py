"""The bars of a verb that takes long."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from moegs import consoles

if TYPE_CHECKING:
    from moegs.data.scene import Scene


@contextmanager
def progress(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, silent when that is not a terminal; the block calls what it gets with (done, of how many)."""
    console = consoles.console(stderr=True)
    words = TextColumn(unit, markup=False)
    columns = (*Progress.get_default_columns()[:-1], MofNCompleteColumn(), words, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def decode(scene: "Scene", cameras: Sequence[int]) -> None:
    """Decodes the photos of `cameras` that are kept on disk and not there yet, under a bar of its own."""
    with progress("cameras decoded") as advance:
        scene.prepare(cameras, lambda what, done, of: advance(done, of))
