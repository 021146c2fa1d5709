"""The layout of the Technicolor light-field videos (Sabater et al. 2017), undistorted.

`cameras_parameters.txt` beside `<Scene>_undist_<frame>_<camera>.png`, all in one folder.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, UInt8
from numpy import ndarray

from moegs.data import poses
from moegs.data.config import DataConfig
from moegs.data.folder import Folder, open_pictures, read_picture
from moegs.data.footage import Footage
from moegs.data.point_files import own_points
from moegs.data.recording import Recording, Take

NAME = re.compile(r"(.+)_undist_(\d+)_(\d+)\.png")
FIRST = {"Birthday": 151, "Fabien": 51, "Painter": 100, "Theater": 51, "Train": 151}
"""The first of the frames that publications use, as the files are numbered."""
FRAMES = 50
TEST = 10
DAMAGED = "Birthday_undist_00173_09.png"
"""Ends early in the published data; what is missing comes from the frame before, as published methods do it."""


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`, from the first published frame on; camera 10 is held out.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    scene, numbered = _pictures(folder)
    first = max(FIRST.get(scene, 0), min(numbered))
    rows = _rows(folder / "cameras_parameters.txt")
    frames = range(first, max(numbered) + 1)
    if not frames:
        raise ValueError(f"{folder}: frames up to {max(numbered)}, but those of {scene} begin at {first}; add them")
    if config.end is not None:
        frames = frames[: config.end]
    elif scene in FIRST:
        frames = frames[:FRAMES]
    takes = []
    for camera, row in enumerate(rows):
        name = f"cam{camera:02}"
        film = _footage(config, [_picture(folder, numbered, frame, camera, len(rows)) for frame in frames])
        viewmat = poses.from_quaternion(row[5:9], row[9:12])
        intrinsics = (row[0], row[0], row[1], row[2])
        view = poses.camera(f"{folder}: camera '{name}'", viewmat, intrinsics, (film.width, film.height))
        takes.append(Take(name, view, film))
    test = (f"cam{TEST:02}",) if len(takes) > TEST else (takes[0].name,)
    return Recording(tuple(takes), test, own_points(folder), frames=FRAMES if scene in FIRST else None)


def _pictures(folder: Path) -> tuple[str, dict[int, dict[int, Path]]]:
    """The scene's name, and its files by frame and by camera."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; set data.path to the data set's folder")
    found = [(name, path) for path in sorted(folder.iterdir()) if (name := NAME.fullmatch(path.name))]
    if not found:
        raise ValueError(f"{folder}: no pictures here; expected '<Scene>_undist_00151_00.png' and so on")
    scenes = sorted({name[1] for name, _ in found})
    if len(scenes) > 1:
        raise ValueError(f"{folder}: pictures of '{scenes[0]}' and of '{scenes[1]}'; give each scene its own folder")
    numbered: dict[int, dict[int, Path]] = {}
    for name, path in found:
        numbered.setdefault(int(name[2]), {})[int(name[3])] = path
    return scenes[0], numbered


def _picture(folder: Path, numbered: dict[int, dict[int, Path]], frame: int, camera: int, cameras: int) -> Path:
    there = numbered.get(frame, {})
    if camera not in there:
        raise ValueError(
            f"{folder}: {len(there)} of {cameras} cameras have frame {frame}, missing '_{frame:05}_{camera:02}.png'; "
            "add it, or set data.end so that it is not used"
        )
    return there[camera]


def _rows(path: Path) -> Float64[ndarray, "C 12"]:
    """Per camera: focal length, cx, cy, two unused numbers, rotation (w, x, y, z) and translation, world to camera."""
    try:
        lines = path.read_text().splitlines()[1:]
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it holds the cameras of this data set, add it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read as text ({error.__class__.__name__}); replace it") from None
    rows = []
    for number, line in enumerate(lines, start=2):
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        if line.strip() and len(values) < 12:
            raise ValueError(f"{path}: line {number} does not have 12 numbers, focal length to translation; correct it")
        rows += [values[:12]] if values else []
    if not rows:
        raise ValueError(f"{path}: no cameras in it; expected a header line and then a line per camera")
    return np.array(rows)


def _footage(config: DataConfig, pictures: list[Path]) -> Footage:
    folder = open_pictures(config.path, pictures, config.background)
    names = [picture.name for picture in pictures]
    return Mended(folder, names.index(DAMAGED)) if DAMAGED in names[1:] else folder


@dataclass(frozen=True)
class Mended:
    """A camera's pictures, one of which ends early: where a channel of it is 0, it has the picture before."""

    folder: Folder
    damaged: int
    """Which, not the first."""

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def width(self) -> int:
        return self.folder.width

    @property
    def height(self) -> int:
        return self.folder.height

    @property
    def frames(self) -> int:
        return self.folder.frames

    @property
    def fps(self) -> None:
        return None

    @property
    def fingerprint(self) -> str:
        return f"{self.folder.fingerprint} mended"

    def decode(self, first: int, last: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """Raises ValueError as the folder does."""
        if not first <= self.damaged < last:
            yield from self.folder.decode(first, last)
            return
        yield from self.folder.decode(first, self.damaged)
        before, broken = self.folder.pictures[self.damaged - 1 : self.damaged + 1]
        picture = read_picture(broken, self.folder.background, whole=False)
        yield np.where(picture == 0, read_picture(before, self.folder.background), picture)
        yield from self.folder.decode(self.damaged + 1, last)
