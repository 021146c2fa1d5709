"""Pictures in files, one per frame."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from moegs.data.footage import fingerprint

SUFFIXES = (".png", ".jpg", ".jpeg")
DEEP = ("I", "I;16", "I;16B", "F")
"""Pillow's names for what has more than 8 bits, and would be cut off at 255."""

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Folder:
    """One picture per frame, in a folder or in several."""

    path: Path
    """The folder, for people."""
    width: int
    height: int
    pictures: tuple[Path, ...]
    background: Color
    """RGB in [0, 1] behind transparent pixels."""
    fps: None = None

    @property
    def frames(self) -> int:
        """How many pictures there are."""
        return len(self.pictures)

    @property
    def fingerprint(self) -> str:
        told = " ".join(fingerprint(picture) for picture in self.pictures)
        return hashlib.sha256(f"{told} {self.background}".encode()).hexdigest()

    def decode(self, first: int, last: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """Raises ValueError for a picture that cannot be read or has another size than the first."""
        for path in self.pictures[first:last]:
            picture = read_picture(path, self.background)
            if picture.shape[:2] != (self.height, self.width):
                raise ValueError(
                    f"{path}: {picture.shape[1]}x{picture.shape[0]} pixels, but '{self.pictures[0].name}' has "
                    f"{self.width}x{self.height}; give all frames one size"
                )
            yield picture


def open_folder(path: Path, background: Color, end: int | None) -> Folder:
    """The numbered pictures in `path`, of which only so many are wanted as `end` says, from the first.

    Raises ValueError when there are none, or a number is missing or there twice.
    """
    numbered: dict[int, Path] = {}
    for picture in pictures_in(path):
        number = number_of(picture)
        if number is None:
            raise ValueError(f"{picture}: no frame number in its name; name frames like 0000.png or take it away")
        if other := numbered.get(number):
            raise ValueError(f"{path}: '{other.name}' and '{picture.name}' are the same frame; remove one")
        numbered[number] = picture
    if not numbered:
        raise ValueError(f"{path}: no frames in this folder; add pictures such as 0000.png")
    return open_pictures(path, [numbered[number] for number in in_sequence(path, numbered, end)], background)


def in_sequence(path: Path, numbers: Iterable[int], end: int | None) -> list[int]:
    """`numbers`, rising, of which only so many are wanted as `end` says.

    Raises ValueError, beginning with `path`, when one between them is missing.
    """
    ordered = sorted(numbers)
    wanted = [number for number in ordered if end is None or number < ordered[0] + end]
    missing = sorted(set(range(wanted[0], wanted[-1])) - set(wanted))
    if missing:
        raise ValueError(
            f"{path}: {len(ordered)} frames up to {ordered[-1]}, but frame {missing[0]} is missing; "
            f"add it or set data.end to {missing[0] - ordered[0]}"
        )
    return wanted


def number_of(path: Path) -> int | None:
    """The number at the end of a name, before its suffix; None where there is none."""
    digits = re.search(r"(\d+)$", path.stem)
    return int(digits[1]) if digits else None


def open_pictures(path: Path, pictures: Sequence[Path], background: Color) -> Folder:
    """These pictures, in this order, which lie in or below `path`; the size is that of the first."""
    height, width = read_picture(pictures[0], background).shape[:2]
    return Folder(path, width, height, tuple(pictures), background)


def pictures_in(path: Path) -> list[Path]:
    """The picture files that lie in the folder `path`, sorted by name."""
    return sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)


def read_picture(path: Path, background: Color, whole: bool = True) -> UInt8[ndarray, "H W 3"]:
    """A picture file, its transparent pixels before `background`; 0 where it ends early and need not be `whole`.

    Raises ValueError when it cannot be read, or has more than 8 bits per channel.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode in DEEP:
                raise ValueError(f"more than 8 bits per channel, mode {picture.mode}")
            with nullcontext() if whole else _pieces_allowed():
                picture.load()
            if picture.mode not in ("RGBA", "LA", "PA") and "transparency" not in picture.info:
                return np.asarray(picture.convert("RGB"))
            layers = np.asarray(picture.convert("RGBA"), dtype=np.float32)
    except (OSError, SyntaxError, ValueError, MemoryError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error}); replace it") from None
    alpha = layers[..., 3:] / 255
    over = alpha * layers[..., :3] + (1 - alpha) * 255 * np.array(background, dtype=np.float32)
    return over.round().astype(np.uint8)


@contextmanager
def _pieces_allowed() -> Iterator[None]:
    """Pillow has this switch for all pictures at once only."""
    from PIL import ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False
