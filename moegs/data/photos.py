"""Photos decoded when first asked for, a camera at a time, and kept in memory or on disk within a budget."""

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor

from moegs.data.config import DataConfig, ResizeFilter
from moegs.data.footage import Footage
from moegs.files import replacing

GB = 10**9
FORMAT = "1"
"""To be raised when frames come out differently than before, so that old cache files are not used."""


class Roll:
    """The frames of one camera that are used, at the size they are used at."""

    def __init__(self, footage: Footage, frames: range, size: tuple[int, int], resize: ResizeFilter) -> None:
        self.footage, self.frames, self.size, self.resize = footage, frames, size, resize

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Frames, rows, columns, channels."""
        width, height = self.size
        return len(self.frames), height, width, 3

    @property
    def bytes(self) -> int:
        """Decoded."""
        return int(np.prod(self.shape))

    @property
    def file_name(self) -> str:
        """Another one for other frames, another size, or changed files."""
        choices = f"{FORMAT} {self.footage.fingerprint} {self.frames} {self.size} {self.resize}"
        key = hashlib.sha256(choices.encode()).hexdigest()[:16]
        place = "-".join(re.sub(r"\W+", "_", part) for part in (self.footage.path.parent.name, self.footage.path.stem))
        return f"{place}-{key}.npy"

    def fill(self, array: UInt8[ndarray, "T H W 3"]) -> None:
        """Decodes every frame into `array`."""
        decoded = self.footage.decode(self.frames.start, self.frames.stop)
        for frame, picture in zip(array, self._resized(decoded), strict=True):
            frame[:] = picture

    def _resized(self, pictures: Iterator[UInt8[ndarray, "H W 3"]]) -> Iterator[UInt8[ndarray, "h w 3"]]:
        from PIL import Image

        filters = {
            "area": Image.Resampling.BOX,
            "bilinear": Image.Resampling.BILINEAR,
            "lanczos": Image.Resampling.LANCZOS,
        }
        for picture in pictures:
            same = (picture.shape[1], picture.shape[0]) == self.size
            yield picture if same else np.asarray(Image.fromarray(picture).resize(self.size, filters[self.resize]))


class Store(ABC):
    """Where decoded rolls stay."""

    @abstractmethod
    def get(self, roll: Roll) -> UInt8[ndarray, "T H W 3"]:
        """All frames of `roll`, decoded now if they are not there yet."""

    @abstractmethod
    def __str__(self) -> str:
        """The place, for people."""


class Memory(Store):
    """Decoded frames in this process."""

    def get(self, roll: Roll) -> UInt8[ndarray, "T H W 3"]:
        """All frames of `roll`, decoded now."""
        array = np.empty(roll.shape, dtype=np.uint8)
        roll.fill(array)
        return array

    def __str__(self) -> str:
        return "memory"


class Disk(Store):
    """Decoded frames in files of one folder, mapped into memory; later runs and other processes use them too."""

    def __init__(self, folder: Path, budget: int, needed: frozenset[str]) -> None:
        self.folder, self.budget, self.needed = folder, budget, needed
        """`needed`: the files that must stay."""

    def get(self, roll: Roll) -> UInt8[ndarray, "T H W 3"]:
        """All frames of `roll`; its file is written under another name first, so that it is whole or not there."""
        path = self.folder / roll.file_name
        if not path.exists():
            self._make_room(roll.bytes)
            with replacing(path) as temporary:
                array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=roll.shape)
                roll.fill(array)
                array.flush()
        os.utime(path)
        # Copy on write: torch asks for arrays that may be written, the file stays as it is.
        return np.load(path, mmap_mode="c", allow_pickle=False)

    def _make_room(self, size: int) -> None:
        """Removes the files used longest ago, those of this scene excepted, until `size` more bytes fit."""
        files = sorted(self.folder.glob("[!.]*.npy"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total + size <= self.budget:
                break
            if file.name not in self.needed:
                total -= file.stat().st_size
                file.unlink()

    def __str__(self) -> str:
        return str(self.folder)


class CachedPhotos:
    """The frames of every camera; the first question about a camera decodes all of its frames."""

    def __init__(self, rolls: Sequence[Roll], store: Store) -> None:
        self._rolls, self._store = rolls, store
        self._arrays: dict[int, UInt8[ndarray, "T H W 3"]] = {}

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        """The photo of camera number `camera` at `frame`, RGB: a view of the cache, not to be written into.

        Raises ValueError when the camera's files cannot be decoded.
        """
        roll = self._rolls[camera]
        if not 0 <= frame < len(roll.frames):
            raise ValueError(f"photos: no frame {frame}; there are {len(roll.frames)}, counted from 0")
        if camera not in self._arrays:
            self._arrays[camera] = self._store.get(roll)
        return torch.from_numpy(self._arrays[camera][frame])

    def __str__(self) -> str:
        """Where the frames stay and how many bytes they take when all are decoded."""
        return f"{sum(roll.bytes for roll in self._rolls) / GB:.3g} GB in {self._store}"


def cached(rolls: Sequence[Roll], config: DataConfig) -> CachedPhotos:
    """Photos in the store that `config` asks for.

    Raises ValueError when all frames together do not fit its budget.
    """
    size = sum(roll.bytes for roll in rolls) / GB
    kind = config.cache
    if kind == "auto":
        kind = "memory" if size <= config.memory_gb else "disk"
    budget = config.memory_gb if kind == "memory" else config.disk_gb
    if size > budget:
        raise ValueError(
            f"{config.path}: the decoded frames take {size:.3g} GB, but data.{kind}_gb is {budget:g}; raise it, set a "
            "larger data.downscale or fewer frames with data.end" + (", or set data.cache to disk" * (kind == "memory"))
        )
    if kind == "memory":
        return CachedPhotos(rolls, Memory())
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moegs"
    folder = config.cache_dir or user
    needed = frozenset(roll.file_name for roll in rolls)
    return CachedPhotos(rolls, Disk(folder, int(config.disk_gb * GB), needed))
