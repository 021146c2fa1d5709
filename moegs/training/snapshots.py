"""Snapshots: what is being trained, written as a checkpoint where others can look at it, at a bounded rate."""

import time
from collections.abc import Callable
from pathlib import Path

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture
from moegs.training.events import Snapshot

SHARE = 0.02
"""Of the time that a phase may spend on snapshots."""


class Snapshots:
    """The newest snapshot of one phase; each replaces the one before."""

    def __init__(self, path: Path, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        """Written to `path`, at least `seconds` apart and more where they cost more than their share; 0: never."""
        self.path, self.seconds, self._now = path, seconds, now
        self._next = now()

    def due(self) -> bool:
        """Whether it is time for one: at the first step, and then as rarely as asked for."""
        return self.seconds > 0 and self._now() >= self._next

    def write(self, name: str, mixture: Mixture, step: int) -> Snapshot:
        """Writes `mixture`, which phase `name` has reached at `step`."""
        begun = self._now()
        checkpoint.save(Checkpoint(mixture, provenance={"phase": name, "step": step}), self.path)
        spent = self._now() - begun
        self._next = begun + max(self.seconds, spent / SHARE)
        return Snapshot(name, step, self.path, spent)

    def remove(self) -> None:
        """Takes the snapshot away: what is finished has a file of its own."""
        self.path.unlink(missing_ok=True)
