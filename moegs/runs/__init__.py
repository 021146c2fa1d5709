"""The folder of a training run: what lies where in it, for whoever trains and whoever looks on."""

import os
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

    def sweep(self) -> None:
        """Removes what killed processes left half written; only for whom holds the lock."""
        for folder in {
            self.path,
            self.expert("x").parent,
            self.student("x").parent,
            self.state("x").parent,
            self.snapshot("x").parent,
        }:
            for left in folder.glob(".*.part*"):
                left.unlink(missing_ok=True)


def is_run(path: Path) -> bool:
    """Whether the folder at `path` belongs to a run."""
    return RunFolder(path).config.exists()


def inside(path: Path) -> list[str]:
    """The names of the runs that lie side by side in the folder at `path`."""
    return sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and is_run(Path(entry.path)))
