"""Tensors in fewer bits, and back: how a compact checkpoint stores what an ordinary one has in float32."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

Scheme = Literal["uint8", "uint16", "bfloat", "full"]
"""`uint8` and `uint16`: evenly spaced levels between the smallest and the largest number of each column. `bfloat`: the
first half of each float32. `full`: as it is."""
LEVELS = {"uint8": 255, "uint16": 65535}
DTYPES = {"uint8": torch.uint8, "uint16": torch.uint16, "bfloat": torch.bfloat16}
MARK = "quantised"
"""The key by which a stored tensor is told from a mapping of names."""


def packed(tensor: Float[Tensor, "..."], scheme: Scheme) -> Any:
    """`tensor` as it is stored under `scheme`: plain values and tensors that `unpacked` makes float32 of again."""
    if scheme == "full":
        return tensor
    entry = {MARK: scheme, "shape": list(tensor.shape)}
    if scheme not in LEVELS:
        return entry | {"values": tensor.to(DTYPES[scheme])}
    columns = _columns(tensor.double())
    none = columns.new_zeros(columns.shape[1])
    low, high = (columns.amin(0), columns.amax(0)) if len(columns) else (none, none)
    step = (high - low) / LEVELS[scheme]
    levels = ((columns - low) / step.masked_fill(step == 0, 1)).round()
    return entry | {"values": levels.to(DTYPES[scheme]), "low": low.float(), "step": step.float()}


def unpacked(stored: Any) -> Any:
    """`stored` with every packed tensor in it, however deep in mappings and lists, as float32 again.

    Raises ValueError for what is marked as packed and is not.
    """
    if isinstance(stored, Mapping):
        return _unpack(stored) if MARK in stored else {key: unpacked(value) for key, value in stored.items()}
    return [unpacked(value) for value in stored] if isinstance(stored, list) else stored


def through(tensor: Float[Tensor, "..."], scheme: Scheme) -> Float[Tensor, "..."]:
    """`tensor` as it comes back from being stored."""
    return unpacked(packed(tensor, scheme))


def _unpack(entry: Mapping[str, Any]) -> Float[Tensor, "..."]:
    scheme, shape, values = (entry.get(key) for key in (MARK, "shape", "values"))
    dtype = DTYPES.get(str(scheme))
    if not isinstance(values, Tensor) or dtype is None or values.dtype != dtype or not isinstance(shape, list):
        raise ValueError(f"a tensor quantised as {scheme!r} is not stored as one")
    if scheme not in LEVELS:
        return values.float().reshape(shape)
    low, step = entry.get("low"), entry.get("step")
    if not isinstance(low, Tensor) or not isinstance(step, Tensor) or not low.shape == step.shape == values.shape[1:]:
        raise ValueError(f"the levels of a tensor quantised as {scheme} do not fit its columns")
    return (values.double() * step.double() + low.double()).float().reshape(shape)


def _columns(tensor: Float[Tensor, "..."]) -> Float[Tensor, "R C"]:
    """`tensor` in rows of numbers that belong side by side: one row per Gaussian, or what the last axis counts."""
    if tensor.ndim < 2:
        return tensor.reshape(-1, 1)
    rows = len(tensor)
    per_row = tensor[:1].numel() if rows else 0
    return tensor.reshape(rows, -1) if rows and rows >= per_row else tensor.reshape(-1, max(tensor.shape[-1], 1))


@dataclass(frozen=True)
class Packing:
    """In how many bits each tensor of a mixture is stored; those that are not named: as they are."""

    experts: Mapping[str, Mapping[str, Scheme]] = field(default_factory=dict)
    """By the expert's name and the tensor's."""
    router: Mapping[str, Scheme] = field(default_factory=dict)
