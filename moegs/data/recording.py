"""Recording: what a data set's folder holds, before anything is chosen from it."""

from dataclasses import dataclass
from pathlib import Path

from moegs.cameras import Camera
from moegs.data.footage import Footage


@dataclass(frozen=True)
class Take:
    """One camera and what it filmed."""

    name: str
    camera: Camera
    """At the size of its footage."""
    footage: Footage
    near: float
    """Depth at which the scene begins, world units."""
    far: float
    """Depth at which it ends, world units."""


@dataclass(frozen=True)
class Recording:
    """A data set as it lies on disk: what the reader of each format gives."""

    takes: tuple[Take, ...]
    """In the data set's order."""
    test: tuple[str, ...]
    """The cameras that published evaluations hold out."""
    points: tuple[Path, ...] = ()
    """Its files of points, in the order of their frames."""
