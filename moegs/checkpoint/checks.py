"""What is checked of a file's contents before they are believed; each refusal is one line that names the place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from moegs.checkpoint.contents import CheckpointError
from moegs.experts.base import Expert

RIGID = 1e-3
"""How far a camera's axes may be from unit length and right angles: far more than float32 makes of a rotation."""


def check_tensors(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    """Raises CheckpointError unless `tensors` are the `wanted` ones, of their shapes and types, and finite."""
    for name in wanted:
        if name not in tensors:
            raise CheckpointError(f"{where}: tensor '{name}' is missing")
    for name, tensor in tensors.items():
        if name not in wanted:
            raise CheckpointError(f"{where}: unknown tensor '{name}'")
        if not isinstance(tensor, Tensor) or tensor.shape != wanted[name].shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CheckpointError(f"{where}: tensor '{name}' is {got}, expected {tuple(wanted[name].shape)}")
        if tensor.dtype != wanted[name].dtype:
            raise CheckpointError(f"{where}: tensor '{name}' is {tensor.dtype}, expected {wanted[name].dtype}")
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{where}: tensor '{name}' holds NaN or infinity")


def check_rows(path: Path, names: list[str], experts: list[Expert], rows: list[int]) -> None:
    """Raises CheckpointError unless the router weighs as many Gaussians, `rows`, as each of the experts has."""
    if len(rows) != len(experts):
        raise CheckpointError(f"{path}: router for {len(rows)} experts, but {len(experts)} are in the file")
    for name, expert, count in zip(names, experts, rows, strict=True):
        if len(expert) != count:
            raise CheckpointError(f"{path}: router weighs {count} Gaussians of '{name}', which has {len(expert)}")


def check_plain(value: Any, where: str) -> None:
    """Raises CheckpointError unless `value` is what JSON can say: mappings by text, lists, text, numbers, yes, no and
    nothing.
    """
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise CheckpointError(f"{where}: the key {key!r} is {type(key).__name__}, expected text")
            check_plain(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            check_plain(entry, f"{where}[{number}]")
    elif not isinstance(value, str | int | float | None):
        raise CheckpointError(f"{where}: is {type(value).__name__}, expected text, a number or nothing")


def check_camera(viewmat: Tensor, K: Tensor, where: str) -> None:
    """Raises CheckpointError unless these are a rigid pose and a lens."""
    rotation, last = viewmat[:3, :3].double(), viewmat[3].tolist()
    straight = torch.allclose(rotation @ rotation.T, torch.eye(3).double(), atol=RIGID)
    if not straight or rotation.det() < 0 or last != [0, 0, 0, 1]:
        raise CheckpointError(f"{where}: the world-to-camera matrix is not rigid: no rotation and translation")
    if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2].tolist() == [0, 0, 1]):
        raise CheckpointError(
            f"{where}: K has focal lengths {K[0, 0]:g} and {K[1, 1]:g}, or a last row other than 0 0 1"
        )
