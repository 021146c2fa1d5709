"""Folders with one picture per frame."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from moegs.data.footage import fingerprint

SUFFIXES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Folder:
    """A folder with one numbered picture per frame."""

    path: Path
    width: int
    height: int
    pictures: tuple[Path, ...]
    fps: None = None

    @property
    def frames(self) -> int:
        """How many pictures there are."""
        return len(self.pictures)

    @property
    def fingerprint(self) -> str:
        return " ".join(fingerprint(picture) for picture in self.pictures)

    def decode(self, first: int, last: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """Raises ValueError for a picture that cannot be read or has another size than the first."""
        for path in self.pictures[first:last]:
            picture = _read_picture(path)
            if picture.shape[:2] != (self.height, self.width):
                raise ValueError(
                    f"{path}: {picture.shape[1]}x{picture.shape[0]} pixels, but '{self.pictures[0].name}' has "
                    f"{self.width}x{self.height}; give all frames one size"
                )
            yield picture


def open_folder(path: Path) -> Folder:
    """The numbered pictures in `path`.

    Raises ValueError when there are none, or a number is missing or there twice.
    """
    pictures = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    numbered: dict[int, Path] = {}
    for picture in pictures:
        digits = re.search(r"(\d+)$", picture.stem)
        if not digits:
            raise ValueError(f"{picture}: no frame number in its name; name frames like 0000.png or take it away")
        if other := numbered.get(int(digits[1])):
            raise ValueError(f"{path}: '{other.name}' and '{picture.name}' are the same frame; remove one")
        numbered[int(digits[1])] = picture
    if not numbered:
        raise ValueError(f"{path}: no frames in this folder; add pictures such as 0000.png")
    missing = sorted(set(range(min(numbered), max(numbered))) - set(numbered))
    if missing:
        raise ValueError(
            f"{path}: {len(numbered)} frames up to {max(numbered)}, but frame {missing[0]} is missing; "
            f"add it or set data.end to {missing[0] - min(numbered)}"
        )
    ordered = tuple(numbered[number] for number in sorted(numbered))
    height, width = _read_picture(ordered[0]).shape[:2]
    return Folder(path, width, height, ordered)


def _read_picture(path: Path) -> UInt8[ndarray, "H W 3"]:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as a picture ({error}); replace it") from None
