"""A made mixture on the cameras of a small data set, both on disk: for verbs that need photos."""

from pathlib import Path
from typing import Any

import recordings

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture


def write(root: Path, made: Mixture, **known: Any) -> Path:
    """The checkpoint `root`/made.pt of `made` on the cameras of the data set in `root`/data; `known`: what it says."""
    rig = load_scene(DataConfig(path=recordings.write_folders(root / "data")), with_points=False).rig
    own = Mixture(made.names, made.members, made.router, rig)
    checkpoint.save(Checkpoint(own, **known), root / "made.pt")
    return root / "made.pt"
