"""Instants: the Gaussians of all experts at the times asked for last, within so many bytes."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace

import torch
from torch import nn

from moegs.experts.base import Expert
from moegs.fingerprints import Fingerprint, tensors_of
from moegs.gaussians import Gaussians

INSTANTS_BYTES = 512 * 10**6
"""That a mixture keeps of instants unless told otherwise, on the device of its experts."""


class Instants:
    """What each of `experts` gave for the times asked for last, so that none is asked twice.

    The instant asked for last is kept whatever its size. Everything is forgotten once an expert has changed: its
    tensors, or its step. Writes that torch does not count, through `.data`, are not noticed: `forget` is for them.
    """

    def __init__(self, experts: nn.ModuleList) -> None:
        self.limit = INSTANTS_BYTES
        """Bytes."""
        self.half = False
        """Whether colours are kept in half precision, which a GPU draws as they are: most of what a Gaussian takes."""
        self.bytes = 0
        """What is kept now."""
        self._experts = experts
        self._kept: OrderedDict[float, list[Gaussians]] = OrderedDict()
        self._seen = _State(experts)

    def at(self, t: float) -> list[Gaussians]:
        """Every expert's Gaussians at time `t`, without gradients."""
        if not self._seen.holds(self._experts):
            self.forget()
            self._seen = _State(self._experts)
        found = self._kept.pop(t, None)
        if found is None:
            with torch.no_grad():
                found = [expert.at(t) for expert in members(self._experts)]
            if self.half:
                found = [replace(part, sh=part.sh.half()) for part in found]
            self.bytes += size(found)
        self._kept[t] = found
        while self.bytes > self.limit and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self.bytes -= size(oldest)
        return found

    def __len__(self) -> int:
        """How many times are kept."""
        return len(self._kept)

    def forget(self) -> None:
        """Drops everything."""
        self._kept.clear()
        self.bytes = 0

    @contextmanager
    def within(self, limit: int) -> Iterator[None]:
        """Keeps at most `limit` bytes in the block: 0 where each time is asked for once, or many times in a row."""
        before, self.limit = self.limit, limit
        try:
            yield
        finally:
            self.limit = before


class _State:
    """What the Gaussians of experts depend on beside the time."""

    def __init__(self, experts: nn.ModuleList) -> None:
        self._tensors, self._steps = Fingerprint(tensors_of(experts)), _steps(experts)

    def holds(self, experts: nn.ModuleList) -> bool:
        return self._steps == _steps(experts) and self._tensors.fits(tensors_of(experts))


def members(experts: nn.ModuleList) -> list[Expert]:
    """The experts in the list, by their type."""
    return list(experts)  # type: ignore[arg-type]


def size(parts: Sequence[Gaussians]) -> int:
    """Bytes of all tensors of `parts`."""
    tensors = [getattr(part, f.name) for part in parts for f in fields(part)]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)


def _steps(experts: nn.ModuleList) -> list[int]:
    return [expert.step for expert in members(experts)]
