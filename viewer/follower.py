"""Follower: keeps the tabs at what a training run looks like by now. It only reads the run's folder."""

import threading
from collections.abc import Callable
from pathlib import Path

from moegs import checkpoint, runs
from moegs.checkpoint import CheckpointError
from moegs.mixture import Mixture
from moegs.runs import RunFolder
from moegs.runs.status import Look, Status, look
from moegs.system import Device, device
from viewer import training

POLL = 0.5
"""Seconds between two looks into the folder."""

Version = tuple[Path, int]
"""A file, and when it was written."""


class Follower(threading.Thread):
    """Looks into a run's folder for news, until it is closed."""

    def __init__(self, path: Path, where: Device, phase: str | None) -> None:
        """Follows the run in `path`; of several experts under way the first, or the one that `phase` names.

        Raises ValueError in one line when `path` is not a folder of one run, and cannot become one.
        """
        super().__init__(daemon=True, name="moegs-follow")
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path}: is a file; give the folder that moegs train writes to (--out)")
        several = runs.inside(path) if path.exists() else []
        if several and not runs.is_run(path):
            raise ValueError(f"{path}: holds several runs; watch one of them: {', '.join(several)}")
        self._folder, self._device, self._phase = RunFolder(path), device(where), phase
        self._closed = threading.Event()
        self._shown: Version | None = None
        self._line = ""
        self._show: Callable[[Mixture], None] | None = None
        self._tell: Callable[[str], None] | None = None

    def first(self, say: Callable[[str], None]) -> Path:
        """The first file that there is to be seen; until then `say` is told what is waited for.

        Raises ValueError when it is closed meanwhile.
        """
        while not self._closed.wait(POLL):
            seen = look(self._folder)
            found = self._newest(seen.said)
            if found is not None:
                self._shown = found
                return found[0]
            say(training.waiting(self._folder.path, seen))
        raise ValueError(f"{self._folder.path}: nobody waits for it any more")

    def follow(self, show: Callable[[Mixture], None], tell: Callable[[str], None]) -> None:
        """Gives `show` every newer mixture and `tell` a line on how the run stands, from now on."""
        self._show, self._tell = show, tell
        self.start()

    def run(self) -> None:
        assert self._show is not None
        assert self._tell is not None
        while True:
            seen = look(self._folder)
            self._renew(seen, self._show)
            line = training.line(seen, self._shown and self._shown[0].stem)
            if line != self._line:
                self._line = line
                self._tell(line)
            if self._closed.wait(POLL):
                return

    def close(self) -> None:
        """Ends it after the look it is at."""
        self._closed.set()

    def _renew(self, seen: Look, show: Callable[[Mixture], None]) -> None:
        found = self._newest(seen.said)
        if found is None or found == self._shown:
            return
        try:
            mixture = checkpoint.load(found[0], self._device).mixture
        except CheckpointError:
            return  # it has just been replaced by what is finished, or is none: what was shown stays
        self._shown = found
        show(mixture)

    def _newest(self, said: Status) -> Version | None:
        """What is to be seen now: the mixture once there is one, else what is under way, else what was done last."""
        folder = self._folder
        phases = [phase for phase in said.phases if self._phase in (None, phase.name)]
        places = [] if self._phase else [folder.mixture]
        places += [folder.snapshot(phase.name) for phase in phases if not phase.finished]
        places += [folder.expert(phase.name) for phase in reversed(phases)]
        for path in places:
            try:
                return path, path.stat().st_mtime_ns
            except OSError:
                continue
        return None
