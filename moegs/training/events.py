"""What a training run tells while it runs. Who started it decides whether to print or to show."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Progress:
    """Where one phase (an expert or a router) stands."""

    name: str
    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    loss: float
    """Mean since the last report."""
    psnr: float
    """Of the training pictures, mean since the last report, dB."""
    gaussians: int
    seconds: float
    """Spent on this phase so far, earlier sittings included."""


@dataclass(frozen=True)
class Preparing:
    """The data are being made ready: decoded, or triangulated."""

    what: str
    done: int
    of: int


@dataclass(frozen=True)
class Told:
    """Something that whoever started the run should know of its data, in one line."""

    text: str
    warning: bool = False


@dataclass(frozen=True)
class Resumed:
    """A phase goes on from where an earlier sitting left it."""

    name: str
    step: int


@dataclass(frozen=True)
class Skipped:
    """A phase was finished before; its file is `path`."""

    name: str
    path: Path


@dataclass(frozen=True)
class Scored:
    """A phase was measured on cameras that did not train it."""

    name: str
    split: str
    """Which cameras: "test", or "validation" for training cameras kept from it."""
    psnr: float
    """Mean over their pictures, dB."""


@dataclass(frozen=True)
class Saved:
    """A phase is finished; its file is `path`."""

    name: str
    path: Path


Event = Progress | Preparing | Told | Resumed | Skipped | Scored | Saved
