"""Rivals: other routers over the experts of a mixture, from checkpoints, to be scored beside its own."""

from collections.abc import Sequence
from pathlib import Path

import torch

from moegs import checkpoint
from moegs.mixture import Mixture


def load(paths: Sequence[Path], mixture: Mixture) -> dict[str, Mixture]:
    """The experts of `mixture` under the router of each checkpoint of `paths`, by the router's kind.

    A folder stands for the checkpoints directly in it that have a router, as a run's folder does for its mixture. Where
    kinds are alike, the file's name is added. Raises ValueError for a checkpoint without a router, or with other
    experts, and for a folder without a router.
    """
    found = {file: rival for path in paths for file, rival in _found(path, mixture).items()}
    kinds = [each.router.config.kind for each in (mixture, *found.values()) if each.router is not None]
    rivals = {}
    for file, rival in found.items():
        assert rival.router is not None, "those without were refused"
        kind = rival.router.config.kind
        rivals[kind if kinds.count(kind) == 1 else f"{kind} ({file.parent.name}/{file.stem})"] = rival
    return rivals


def files(path: Path) -> list[Path]:
    """The files that are read for `path`, a checkpoint or a folder of them."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.glob("*.pt")) if not file.name.endswith(".state.pt")]


def _found(path: Path, mixture: Mixture) -> dict[Path, Mixture]:
    """The rivals in a checkpoint or a folder, by file."""
    others = {file: checkpoint.load(file, mixture.device).mixture for file in files(path)}
    found = {file: _over(mixture, other, file) for file, other in others.items() if other.router is not None}
    if not found:
        what = "no checkpoint with a router in this folder" if path.is_dir() else "one expert alone, without a router"
        raise ValueError(f"{path}: {what}; give the checkpoint of a mixture, or the folder of its run")
    return found


def _over(mixture: Mixture, other: Mixture, file: Path) -> Mixture:
    """The experts of `mixture` under the router of `other`, which is for the same ones."""
    ours, theirs = mixture.experts.state_dict(), other.experts.state_dict()
    same = other.names == mixture.names and ours.keys() == theirs.keys()
    if not same or not all(torch.equal(ours[name], theirs[name]) for name in ours):
        raise ValueError(f"{file}: its experts are others, so the routers do not compare; train it over the same ones")
    return Mixture(mixture.names, mixture.members, other.router, mixture.rig).requires_grad_(False)
