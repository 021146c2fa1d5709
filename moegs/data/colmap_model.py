"""COLMAP's sparse models, binary and text: images with their cameras, and points.

After COLMAP's description of its output format; read here, so that no package of it is needed.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
from jaxtyping import Float64, UInt8
from numpy import ndarray

from moegs.data import poses

T = TypeVar("T")
Intrinsics = tuple[float, float, float, float]

MODELS = {
    0: ("SIMPLE_PINHOLE", 3),
    1: ("PINHOLE", 4),
    2: ("SIMPLE_RADIAL", 4),
    3: ("RADIAL", 5),
    4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8),
    6: ("FULL_OPENCV", 12),
    7: ("FOV", 5),
    8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5),
    10: ("THIN_PRISM_FISHEYE", 12),
}
"""By number, each with how many parameters it has."""
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
BENT = ("OPENCV", "FULL_OPENCV", "SIMPLE_RADIAL", "RADIAL")
"""Pinholes with distortion, which may all be 0."""


@dataclass(frozen=True)
class Image:
    """A registered image."""

    name: str
    viewmat: Float64[ndarray, "4 4"]
    """World to camera."""
    intrinsics: Intrinsics
    """fx, fy, cx, cy in pixels."""
    size: tuple[int, int]
    """Width and height that they are for."""


@dataclass(frozen=True)
class Lens:
    """A camera of the model: what its images share."""

    intrinsics: Intrinsics
    size: tuple[int, int]


def lies_in(folder: Path) -> bool:
    """Whether there is a model in `folder`."""
    return any((folder / f"cameras{suffix}").is_file() for suffix in (".bin", ".txt"))


def read(folder: Path) -> list[Image]:
    """The images of the model in `folder`, by name; of binary and text, the binary.

    Raises ValueError in one line for files that are missing or damaged, and for cameras with distortion.
    """
    lenses = _parsed(folder, "cameras", _cameras_bin, _cameras_txt)
    images = []
    for name, quat, shift, camera in _parsed(folder, "images", _images_bin, _images_txt):
        if camera not in lenses:
            raise ValueError(f"{folder}: image '{name}' is of camera {camera}, which the model does not have; redo it")
        lens = lenses[camera]
        images.append(Image(name, poses.from_quaternion(quat, shift), lens.intrinsics, lens.size))
    return sorted(images, key=lambda image: image.name)


def points_in(folder: Path) -> tuple[Path, ...]:
    """The file of the model's points, if it has any."""
    return next(((path,) for suffix in (".bin", ".txt") if (path := folder / f"points3D{suffix}").is_file()), ())


def read_points(path: Path) -> tuple[Float64[ndarray, "P 3"], UInt8[ndarray, "P 3"]]:
    """Positions and colours of the points in `points3D.bin` or `points3D.txt`."""
    if path.suffix == ".bin":
        with path.open("rb") as file:
            rows = list(_points_bin(file))
    else:
        words = [line.split() for line in _lines(path)]
        rows = [([float(w) for w in row[1:4]], [int(w) for w in row[4:7]]) for row in words]
    xyz = np.array([row[0] for row in rows], dtype=np.float64).reshape(-1, 3)
    return xyz, np.array([row[1] for row in rows], dtype=np.uint8).reshape(-1, 3)


def _parsed(folder: Path, name: str, binary: Callable[[IO[bytes]], T], text: Callable[[list[str]], T]) -> T:
    path = next((p for suffix in (".bin", ".txt") if (p := folder / f"{name}{suffix}").is_file()), None)
    if path is None:
        raise ValueError(f"{folder}: no '{name}.bin' and no '{name}.txt'; the model needs one, add it")
    try:
        if path.suffix == ".bin":
            with path.open("rb") as file:
                return binary(file)
        return text(_lines(path, keep_empty=name == "images"))
    except _BentError as error:
        raise ValueError(f"{path}: {error}") from None
    except (struct.error, ValueError, IndexError, KeyError, MemoryError, OverflowError) as error:
        reason = " ".join(str(error).split()) or error.__class__.__name__
        raise ValueError(f"{path}: cannot be read as COLMAP's '{name}' ({reason}); export the model again") from None


class _BentError(Exception):
    """A camera that is no pinhole."""


def _lens(number: int, model: str, size: tuple[int, int], parameters: tuple[float, ...]) -> Lens:
    focals = 1 if model in ONE_FOCAL else 2
    f, (cx, cy), bend = parameters[:focals], parameters[focals : focals + 2], parameters[focals + 2 :]
    if model not in ("SIMPLE_PINHOLE", "PINHOLE", *BENT) or any(bend):
        raise _BentError(
            f"camera {number} is {model} with distortion, but only pinhole cameras are read; undistort the pictures "
            "with COLMAP's image_undistorter and give its model"
        )
    return Lens((f[0], f[-1], cx, cy), size)


def _take(file: IO[bytes], layout: str) -> tuple:
    data = file.read(struct.calcsize(f"<{layout}"))
    return struct.unpack(f"<{layout}", data)


def _cameras_bin(file: IO[bytes]) -> dict[int, Lens]:
    lenses = {}
    for _ in range(_take(file, "Q")[0]):
        number, model, width, height = _take(file, "iiQQ")
        name, count = MODELS[model]
        lenses[number] = _lens(number, name, (width, height), _take(file, f"{count}d"))
    return lenses


def _images_bin(file: IO[bytes]) -> list[tuple[str, ndarray, ndarray, int]]:
    rows = []
    for _ in range(_take(file, "Q")[0]):
        _, *pose, camera = _take(file, "i7di")
        name = b""
        while (letter := _take(file, "c")[0]) != b"\0":
            name += letter
        file.seek(24 * _take(file, "Q")[0], 1)  # where its points were seen
        rows.append((name.decode(), np.array(pose[:4]), np.array(pose[4:]), camera))
    return rows


def _points_bin(file: IO[bytes]) -> Iterator[tuple[tuple, tuple]]:
    for _ in range(_take(file, "Q")[0]):
        _, *values, _, tracks = _take(file, "Q3d3BdQ")
        file.seek(8 * tracks, 1)
        yield tuple(values[:3]), tuple(values[3:])


def _lines(path: Path, keep_empty: bool = False) -> list[str]:
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [line for line in lines if not line.startswith("#") and (line or keep_empty)]


def _cameras_txt(lines: list[str]) -> dict[int, Lens]:
    lenses = {}
    for number, model, width, height, *parameters in (line.split() for line in lines):
        values = tuple(float(word) for word in parameters)
        lenses[int(number)] = _lens(int(number), model, (int(width), int(height)), values)
    return lenses


def _images_txt(lines: list[str]) -> list[tuple[str, ndarray, ndarray, int]]:
    """Two lines per image, the second (where its points were seen) perhaps empty."""
    rows = []
    for line in lines[::2]:
        if not line:
            continue
        words = line.split(maxsplit=9)
        values = np.array([float(word) for word in words[1:8]])
        rows.append((words[9], values[:4], values[4:], int(words[8])))
    return rows
