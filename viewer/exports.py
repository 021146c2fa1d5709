"""Exports: screenshots and turntable videos, drawn and encoded here and offered to the tab as downloads."""

import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moegs import export, views
from moegs.mixture import Mixture
from moegs.views import Drawing, Shot
from viewer.state import ExportOptions

Advance = Callable[[float], None]
"""Called with percents; may raise Cancelled."""


class Cancelled(Exception):  # noqa: N818  (not an error: the user's wish)
    """The user asked to stop."""


@dataclass(frozen=True)
class Download:
    """A file for the browser."""

    name: str
    content: bytes
    notes: tuple[str, ...] = ()
    """What the user should know about it."""


def file_name(shot: Shot, suffix: str) -> str:
    """A name that tells what is seen: the view, without signs that file systems refuse."""
    return f"moegs-{shot.view.replace(':', '-')}{suffix}"


def screenshot(draw: Callable[[Shot], Drawing], shot: Shot) -> Download:
    """`shot` as a PNG that holds the shot itself in its text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(shot, ".png")
        export.write_png(draw(shot).burnt(), path, shot.to_json())
        return Download(path.name, path.read_bytes())


def turntable(
    mixture: Mixture,
    draw: Callable[[Shot], Drawing],
    shot: Shot,
    options: ExportOptions,
    on_progress: Advance,
) -> Download:
    """A video of `shot` turning around the scene, of the shot's size (rounded up to even).

    `on_progress` hears percents, and may raise Cancelled: then nothing is left of it.
    """
    shot, notes = views.for_video(shot)
    size = shot.camera.width, shot.camera.height
    shots = views.turntable_shots(mixture, shot, options.degrees, options.seconds, options.fps, options.running)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file_name(shot, ".mp4")
        pictures = (draw(each).burnt() for each in shots)
        export.write_video(pictures, path, size, options.fps, lambda done: on_progress(100 * done / len(shots)))
        return Download(path.name, path.read_bytes(), notes)


class Job(threading.Thread):
    """A file in the making, aside from the pictures of the tab."""

    def __init__(
        self,
        make: Callable[[Advance], Download],
        on_progress: Advance,
        on_end: Callable[[Download | Exception], None],
    ) -> None:
        """`make` gets what it is to call with percents; `on_end` hears the file, or why there is none."""
        super().__init__(daemon=True, name="moegs-export")
        self._make, self._on_progress, self._on_end = make, on_progress, on_end
        self._stopped = threading.Event()

    def cancel(self) -> None:
        """Stops after the frame that is being drawn."""
        self._stopped.set()

    def run(self) -> None:
        try:
            made: Download | Exception = self._make(self._advance)
        except Exception as error:  # whatever goes wrong is told in the page; the tab lives on
            made = error
        self._on_end(made)

    def _advance(self, percent: float) -> None:
        if self._stopped.is_set():
            raise Cancelled("stopped")
        self._on_progress(percent)
