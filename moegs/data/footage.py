"""Footage: one camera's frames as they lie on disk."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import UInt8
from numpy import ndarray


@runtime_checkable
class Footage(Protocol):
    """What one camera filmed."""

    @property
    def path(self) -> Path: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def frames(self) -> int: ...
    @property
    def fps(self) -> float | None:
        """None where the files do not say."""
        ...

    @property
    def fingerprint(self) -> str:
        """Another one when the files or their decoding have changed."""
        ...

    def decode(self, first: int, last: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """The frames from `first` up to but not including `last`, RGB, in order."""
        ...


def fingerprint(path: Path) -> str:
    """Another text when the file at `path` has been replaced or changed."""
    status = path.stat()
    return hashlib.sha256(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
