"""Exports: screenshots and videos, drawn and encoded here and sent to the tab as downloads."""

import re
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moegs import export, shots
from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.tours import Tour
from moegs.views import Drawing

Advance = Callable[[int, int], None]
"""Called with how many frames are done and of how many; may raise Cancelled."""


class Cancelled(Exception):  # noqa: N818  (not an error: the user's wish)
    """The user asked to stop."""


@dataclass(frozen=True)
class Download:
    """A file for the browser."""

    name: str
    content: bytes
    notes: tuple[str, ...] = ()
    """What the user should know about it."""


@dataclass(frozen=True)
class Progress:
    """How far a file is."""

    done: int
    """Frames."""
    of: int
    seconds: float
    """Since it was begun."""

    @property
    def left(self) -> float:
        """Seconds to go, if the rest is as slow as what is done."""
        return self.seconds / self.done * (self.of - self.done)


def file_name(*parts: str) -> str:
    """`parts` as one name, without signs that file systems refuse."""
    return "-".join(re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts)


def screenshot(draw: Callable[[Shot], Drawing], shot: Shot, name: str) -> Download:
    """`shot` as NAME.png, which holds the shot itself in its text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.png"
        export.write_png(draw(shot).burnt(), path, shot.to_json())
        return Download(path.name, path.read_bytes())


@dataclass(frozen=True)
class Video:
    """What to film: one shot on a tour."""

    shot: Shot
    tour: Tour
    name: str
    """Of the file, without its suffix."""


def film(mixture: Mixture, draw: Callable[[Shot], Drawing], video: Video, on_frame: Advance) -> Download:
    """`video` as NAME.mp4, of the shot's size (rounded up to even).

    `on_frame` may raise Cancelled: then nothing is left of it. Raises ValueError where the tour has no way to go.
    """
    shot, notes = shots.for_video(video.shot)
    size = shot.camera.width, shot.camera.height
    way = shots.film(mixture.rig, shot, video.tour)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{video.name}.mp4"
        pictures = (draw(each).burnt() for each in way)
        export.write_video(pictures, path, size, video.tour.fps, lambda done: on_frame(done, len(way)))
        return Download(path.name, path.read_bytes(), notes)


class Job(threading.Thread):
    """A file in the making, aside from the pictures of the tab."""

    def __init__(
        self,
        make: Callable[[Advance], Download],
        on_progress: Callable[[Progress], None],
        on_end: Callable[[Download | Exception], None],
    ) -> None:
        """`make` gets what it is to call after every frame; `on_end` hears the file, or why there is none."""
        super().__init__(daemon=True, name="moegs-export")
        self._make, self._on_progress, self._on_end = make, on_progress, on_end
        self._stopped = threading.Event()
        self._begun = time.monotonic()

    def cancel(self) -> None:
        """Stops after the frame that is being drawn."""
        self._stopped.set()

    def run(self) -> None:
        try:
            made: Download | Exception = self._make(self._advance)
        except Exception as error:  # whatever goes wrong is told in the page; the tab lives on
            made = error
        self._on_end(made)

    def _advance(self, done: int, of: int) -> None:
        if self._stopped.is_set():
            raise Cancelled("stopped")
        self._on_progress(Progress(done, of, time.monotonic() - self._begun))
