"""The folder of a training run: what lies where in it, for whoever trains and whoever looks on."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

StageName = Literal["experts", "router", "prune", "distill"]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""In the order in which they are done; from the third on only where the run's config asks for them."""


@dataclass(frozen=True)
class RunFolder:
    """Paths in a run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The run's whole configuration; where it is, the folder belongs to a run."""
        return self.path / "config.yaml"

    @property
    def mixture(self) -> Path:
        """The finished mixture."""
        return self.path / "mixture.pt"

    @property
    def pruned(self) -> Path:
        """The mixture with the Gaussians that matter alone, where the run prunes."""
        return self.path / "pruned.pt"

    def expert(self, name: str) -> Path:
        """The finished expert `name`, a checkpoint of its own."""
        return self.path / "experts" / f"{name}.pt"

    def student(self, name: str) -> Path:
        """The finished student that the expert `name` became, a checkpoint of its own."""
        return self.path / "students" / f"{name}.pt"

    def state(self, phase: str) -> Path:
        """From where an unfinished phase (an expert or a router) goes on."""
        return self.path / "states" / f"{phase}.pt"

    def snapshot(self, phase: str) -> Path:
        """What an unfinished phase looks like so far: a checkpoint to look at."""
        return self.path / "live" / f"{phase}.pt"

    @property
    def status(self) -> Path:
        """How the run stands."""
        return self.path / "live" / "status.json"

    @property
    def logs(self) -> Path:
        """TensorBoard's files."""
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        """What the process that trains holds."""
        return self.path / ".lock"

    @property
    def begun(self) -> bool:
        """Whether there is anything to go on from."""
        return any(any(file("x").parent.glob("*.pt")) for file in (self.expert, self.student, self.state))

    def sweep(self) -> None:
        """Removes what killed processes left half written; only for whom holds the lock."""
        for folder in (self.path, *self._inner):
            for left in folder.glob(".*.part*"):
                left.unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes what training wrote here, but for TensorBoard's files; what is another's stays, and so does the
        folder."""
        self.sweep()
        finished = (file for folder in self._inner for file in folder.glob("*.pt"))
        for file in (*finished, self.mixture, self.pruned, self.status, self.config, self.lock):
            file.unlink(missing_ok=True)
        for folder in self._inner:
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()

    def remove(self) -> None:
        """Removes it with all that training wrote in it; where it holds what is another's too, that stays, and so does
        the folder."""
        self.clear()
        with suppress(OSError):  # not empty
            self.path.rmdir()

    def others(self) -> list[str]:
        """What lies in a folder that belongs to no run, besides what a start that was killed left; by name."""
        if self.config.exists() or not self.path.exists():
            return []
        found = {entry.name for entry in self.path.iterdir()} - {entry.name for entry in self.path.glob(".*.part*")}
        return sorted(found - {self.lock.name})

    @property
    def _inner(self) -> tuple[Path, ...]:
        return tuple(file("x").parent for file in (self.expert, self.student, self.state, self.snapshot))


def is_run(path: Path) -> bool:
    """Whether the folder at `path` belongs to a run."""
    return RunFolder(path).config.exists()


def inside(path: Path) -> list[str]:
    """The names of the runs that lie side by side in the folder at `path`."""
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and is_run(Path(entry.path)))
