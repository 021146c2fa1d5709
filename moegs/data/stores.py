"""Stores of decoded frames: in this process, or in files that all processes share; each within a budget."""

import errno
import hashlib
import os
import re
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from moegs.data.config import DataConfig, ResizeFilter
from moegs.data.footage import Footage
from moegs.files import replacing

GB = 10**9
MB = 10**6
MOST_AT_ONCE = 8
"""Rolls decoded at a time: each takes an ffmpeg with its threads, one of ours, and a few frames of memory."""
LOCK_SECONDS = 0.2
"""Between two looks at whether what a lock is waited for is still wanted."""
FORMAT = "2"
"""To be raised when frames come out differently than before, so that old cache files are not used."""


def amount(count: int) -> str:
    """So many bytes for people: in GB, or in MB where they are less than one."""
    return f"{count / GB:.3g} GB" if count >= GB else f"{count / MB:.3g} MB"


class Roll:
    """The frames of one camera that are used, at the size they are used at."""

    def __init__(self, footage: Footage, frames: range, size: tuple[int, int], resize: ResizeFilter) -> None:
        self.footage, self.frames, self.size, self.resize = footage, frames, size, resize
        self.lock = threading.Lock()
        """Held by the thread that decodes it."""
        choices = f"{FORMAT} {footage.fingerprint} {frames} {size} {resize}"
        key = hashlib.sha256(choices.encode()).hexdigest()[:16]
        place = "-".join(re.sub(r"\W+", "_", part) for part in (footage.path.parent.name, footage.path.stem))
        self.file_name = f"{place}-{key}.npy"
        """Another one for other frames, another size, or changed files."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Frames, rows, columns, channels."""
        width, height = self.size
        return len(self.frames), height, width, 3

    @property
    def bytes(self) -> int:
        """Decoded."""
        return int(np.prod(self.shape))

    def decode(self) -> Iterator[UInt8[ndarray, "h w 3"]]:
        """Every frame, in order."""
        from PIL import Image

        filters = {
            "area": Image.Resampling.BOX,
            "bilinear": Image.Resampling.BILINEAR,
            "lanczos": Image.Resampling.LANCZOS,
        }
        for picture in self.footage.decode(self.frames.start, self.frames.stop):
            same = (picture.shape[1], picture.shape[0]) == self.size
            yield picture if same else np.asarray(Image.fromarray(picture).resize(self.size, filters[self.resize]))


class Store(ABC):
    """Where decoded rolls stay."""

    @abstractmethod
    def fill(self, rolls: Sequence[Roll]) -> Iterator[Roll]:
        """Decodes those of `rolls` that are not there yet and can be kept for others, and gives each when that is done:
        some at a time, so in any order.

        Raises ValueError before any is decoded when there is no room for all.
        """

    @abstractmethod
    def frame(self, roll: Roll, index: int) -> UInt8[ndarray, "H W 3"]:
        """One frame of `roll`, all of which is decoded now if it is not there yet; may be written into."""

    @abstractmethod
    def __str__(self) -> str:
        """The place, for people."""


class Memory(Store):
    """Decoded frames in this process."""

    def __init__(self) -> None:
        self.arrays: dict[Roll, UInt8[ndarray, "T H W 3"]] = {}

    def fill(self, rolls: Sequence[Roll]) -> Iterator[Roll]:
        yield from ()  # no other process could use them

    def frame(self, roll: Roll, index: int) -> UInt8[ndarray, "H W 3"]:
        with roll.lock:
            if roll not in self.arrays:
                array = np.empty(roll.shape, dtype=np.uint8)
                for frame, picture in zip(array, roll.decode(), strict=True):
                    frame[:] = picture
                self.arrays[roll] = array
        return self.arrays[roll][index]

    def __str__(self) -> str:
        return "memory"


class Disk(Store):
    """Decoded frames in files of one folder, mapped into memory; later runs and other processes use them too."""

    def __init__(self, folder: Path, budget: int, needed: Iterable[Roll]) -> None:
        self.folder, self.budget = folder, budget
        self.needed = frozenset(roll.file_name for roll in needed)
        """The files that must stay."""
        self._used: set[Roll] = set()

    def fill(self, rolls: Sequence[Roll]) -> Iterator[Roll]:
        self.check(rolls)
        for file in self._surplus(self._missing(rolls)):  # at once: of what others are writing nobody knows
            file.unlink(missing_ok=True)
        halt, pool = threading.Event(), ThreadPoolExecutor(at_once(), thread_name_prefix="decode")
        try:
            coming = {pool.submit(self._write, roll, halt): roll for roll in rolls}
            for done in as_completed(coming):
                done.result()
                yield coming[done]
        finally:  # after an error or an interruption nobody waits for the others
            halt.set()
            pool.shutdown(cancel_futures=True)

    def frame(self, roll: Roll, index: int) -> UInt8[ndarray, "H W 3"]:
        path = self._path(roll)
        while True:
            try:
                # Mapped anew for each picture: pages that nobody looks at do not stay in this process, nor open files.
                # Copy on write: torch asks for arrays that may be written, the file stays as it is.
                frames = np.load(path, mmap_mode="c", allow_pickle=False)
            except FileNotFoundError:
                self.check([roll])
                self._write(roll)
                continue
            except (ValueError, EOFError) as error:
                raise ValueError(f"{path}: damaged file of decoded frames ({error}); remove it") from None
            if roll not in self._used:
                self._used.add(roll)
                os.utime(path)
            return frames[index]

    def check(self, rolls: Sequence[Roll]) -> None:
        """Raises ValueError when the disk has no room for those of `rolls` that are not decoded yet."""
        lacking = self._lacking(rolls)
        if lacking > 0:
            size, free = self._missing(rolls) / GB, (self._missing(rolls) - lacking) / GB
            raise ValueError(
                f"{self.folder}: no room for {size:.3g} GB of decoded frames, {free:.3g} GB are free; free some, set "
                "data.cache_dir (--cache-dir) to another disk, a larger data.downscale or fewer frames with data.end"
            )

    def has_room(self, rolls: Sequence[Roll]) -> bool:
        """Whether `rolls` can be written here, or lie here already."""
        return self._lacking(rolls) <= 0 and (not self._missing(rolls) or os.access(self._there(), os.W_OK))

    def _lacking(self, rolls: Sequence[Roll]) -> int:
        """How many bytes the disk has too few, when all is removed that the budget would have removed."""
        size = self._missing(rolls)
        gone = sum(file.stat().st_size for file in self._surplus(size))
        return size - gone - shutil.disk_usage(self._there()).free if size else 0

    def _missing(self, rolls: Sequence[Roll]) -> int:
        return sum(roll.bytes for roll in rolls if not self._path(roll).exists())

    def _path(self, roll: Roll) -> Path:
        return self.folder / roll.file_name

    def _there(self) -> Path:
        """The folder, or the nearest one above it that exists."""
        return next(place for place in (self.folder, *self.folder.absolute().parents) if place.exists())

    def _write(self, roll: Roll, halt: threading.Event | None = None) -> None:
        """Its file is written under another name first, so that it is whole or not there.

        Raises CancelledError when `halt` is set.
        """
        path, halt = self._path(roll), halt or threading.Event()
        with roll.lock, locked(path, halt):
            if path.exists():
                os.utime(path)
                return
            for left in self.folder.glob(f".{path.stem}.*.part.npy"):
                left.unlink()  # of a process that was killed: we have the lock
            for file in self._surplus(roll.bytes):
                file.unlink(missing_ok=True)
            with replacing(path) as temporary, _told(self.folder), temporary.open("wb") as file:
                header = {"descr": "|u1", "fortran_order": False, "shape": roll.shape}
                np.lib.format.write_array_header_1_0(file, header)
                for picture in roll.decode():
                    if halt.is_set():
                        raise CancelledError
                    file.write(np.ascontiguousarray(picture).data)

    def _surplus(self, size: int) -> list[Path]:
        """The files used longest ago, those of this scene excepted, that must go so that `size` more bytes fit."""
        files = sorted(self.folder.glob("[!.]*.npy"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        gone = []
        for file in files:
            if total + size <= self.budget:
                break
            if file.name not in self.needed:
                total -= file.stat().st_size
                gone.append(file)
        return gone

    def __str__(self) -> str:
        return str(self.folder)


def folder_of(config: DataConfig) -> Path:
    """The cache folder that `config` asks for."""
    user = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "moegs"
    return config.cache_dir or user


def at_once() -> int:
    """How many rolls are decoded at a time: one for each two CPUs of this process, since ffmpeg uses several."""
    cpus = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # the former, from Python 3.13, knows of affinity
    return max(1, min(MOST_AT_ONCE, cpus // 2))


def lock_file(path: Path) -> Path:
    """What is locked while `path` is written; some files share theirs, so that these stay few."""
    number = int(hashlib.sha256(path.name.encode()).hexdigest(), 16) % 64
    return path.parent / f".{number:02}.lock"


@contextmanager
def locked(path: Path, halt: threading.Event | None = None) -> Iterator[None]:
    """Only one process at a time is in this block for `path`; what it writes need not be done by the others.

    Raises ValueError when the folder of `path` cannot be written, CancelledError when `halt` is set meanwhile.
    """
    from filelock import FileLock, Timeout

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(lock_file(path))
        while True:
            try:
                lock.acquire(timeout=LOCK_SECONDS)
                break
            except Timeout:
                if halt is not None and halt.is_set():
                    raise CancelledError from None
    except OSError as error:
        raise ValueError(
            f"{path.parent}: cannot be written ({error.strerror}); set data.cache_dir (--cache-dir) to another place"
        ) from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        raise ValueError(
            f"{folder}: writing decoded frames failed ({error.strerror}); free some, or set data.cache_dir"
        ) from None
