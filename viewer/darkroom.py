"""Darkroom: one tab's exports, made aside from its pictures and sent to it."""

import threading
from collections.abc import Callable
from pathlib import Path

import viser

from moegs.shots import Shot
from viewer import exports
from viewer.exports import Advance, Cancelled, Download, Job, Progress, Video
from viewer.studio import Studio


class Darkroom:
    """Any number of screenshots and one video at a time."""

    def __init__(
        self, client: viser.ClientHandle, studio: Studio, on_progress: Callable[[Progress | None], None]
    ) -> None:
        """`on_progress` hears how far the video is, and None when there is none any more."""
        self._client, self._studio, self._on_progress = client, studio, on_progress
        self._lock = threading.Lock()
        self._given: set[str] = set()
        self._video: Job | None = None
        self._photos: list[Job] = []

    def photograph(self, shot: Shot, name: str) -> None:
        """Makes a screenshot and sends it."""
        draw = self._studio.draw
        job = Job(lambda advance: exports.screenshot(draw, shot, name), lambda progress: None, self._send)
        job.start()
        self._photos = [*(photo for photo in self._photos if photo.is_alive()), job]

    def record(self, video: Video) -> None:
        """Makes a video and sends it; nothing while another is being made."""

        def make(advance: Advance) -> Download:
            return exports.film(self._studio.mixture, self._studio.draw, video, advance)

        with self._lock:
            if self._video is not None and self._video.is_alive():
                return
            self._on_progress(Progress(0, video.tour.count, 0.0))
            self._video = Job(make, self._on_progress, self._recorded)
            self._video.start()

    def cancel(self) -> None:
        """Stops the video in the making, after the frame it is at."""
        if self._video is not None:
            self._video.cancel()

    def threads(self) -> list[threading.Thread]:
        """Those that may still be drawing."""
        return [*self._photos, *([] if self._video is None else [self._video])]

    def _recorded(self, made: Download | Exception) -> None:
        self._on_progress(None)
        self._send(made)

    def _send(self, made: Download | Exception) -> None:
        if isinstance(made, Cancelled):
            self._client.add_notification("Cancelled", "Nothing was kept.", auto_close_seconds=4)
        elif isinstance(made, Exception):
            self._client.add_notification("Export failed", f"{type(made).__name__}: {made}", color="red")
        else:
            for note in made.notes:
                self._client.add_notification("Note", note, auto_close_seconds=10)
            self._client.send_file_download(self._unused(made.name), made.content, save_immediately=True)

    def _unused(self, name: str) -> str:
        """`name`, with a number where this tab has had a file of that name already."""
        path, number = Path(name), 1
        with self._lock:
            while name in self._given:
                number += 1
                name = f"{path.stem}-{number}{path.suffix}"
            self._given.add(name)
        return name
