"""Recording: what a data set's folder holds, before anything is chosen from it."""

import math
from dataclasses import dataclass
from pathlib import Path

from moegs.cameras import Camera
from moegs.data.footage import Footage

NEAR = 0.01
"""Where a data set does not say at which depth it begins, world units."""


@dataclass(frozen=True)
class Take:
    """One camera and what it filmed. A camera that moves is as many takes as there are pictures of it."""

    name: str
    camera: Camera
    """At the size of its footage."""
    footage: Footage
    """Several takes may share one; then each has pictures of its own in it."""
    near: float = NEAR
    """Depth at which the scene begins, world units."""
    far: float = math.inf
    """Depth at which it ends, world units."""
    pictures: tuple[int, ...] | None = None
    """Which frames of `footage` are its own; None: all."""
    times: tuple[float, ...] | None = None
    """The data set's own t of each of these, in [0, 1]; None: the frames of all cameras are in step, and even."""


@dataclass(frozen=True)
class Recording:
    """A data set as it lies on disk: what the reader of each format gives."""

    takes: tuple[Take, ...]
    """In the data set's order."""
    test: tuple[str, ...]
    """The cameras that published evaluations hold out."""
    points: tuple[Path, ...] = ()
    """Its files of points, in the order of their frames."""
    frames: int | None = None
    """How many frames published evaluations use, from the first; None: all."""
    box: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None
    """Corners of the space that is known to hold all of it, world units."""
