"""The layout of nerfstudio, Blender and D-NeRF: `transforms.json`, or `transforms_train.json` and its like.

Each entry of `frames` is one picture with its pose and its time. Entries with one pose and one lens are one camera.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from moegs.data import places, poses
from moegs.data.config import DataConfig
from moegs.data.folder import open_pictures
from moegs.data.footage import Footage
from moegs.data.point_files import own_points
from moegs.data.recording import Recording, Take

DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
PINHOLES = ("OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "PERSPECTIVE")
"""Camera models that are pinholes when all distortion is 0."""
HELD_OUT = 8
"""Where the files name no test pictures and the camera moves, each so manieth is held out, from the first on."""
BLENDER_BOX = ((-1.3, -1.3, -1.3), (1.3, 1.3, 1.3))
"""What the objects of the Blender scenes lie in, as published methods fill it with points (3D Gaussian Splatting)."""


@dataclass(frozen=True)
class Entry:
    """One picture of one file."""

    where: str
    """The file and which entry of it."""
    split: str
    """Of its file: "train", "test", or "" where one file has all."""
    name: str
    """As the file has it."""
    picture: Path
    time: float
    values: dict[str, Any]
    """Its own, and those of the whole file where it has none."""


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`; the test files' pictures are held out, or those that the file names.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    files = _files(folder)
    contents = {path: _json(path) for path in files}
    entries = [entry for path, split in files.items() for entry in _entries(path, split, contents[path])]
    if not entries:
        raise ValueError(f"{folder}: no pictures in '{next(iter(files)).name}'; 'frames' must list them")
    splits = dict.fromkeys(entry.split for entry in entries)
    films = {split: _film(config, [entry for entry in entries if entry.split == split]) for split in splits}
    takes = tuple(_takes(entries, films))
    whole = next(iter(contents.values()))
    blender = "camera_angle_x" in whole and "" not in films
    return Recording(takes, _test(takes, whole, films), _points(folder, whole), box=BLENDER_BOX if blender else None)


def _files(folder: Path) -> dict[Path, str]:
    """The files that are read, each with its split; validation pictures serve where there are no test pictures."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder; set data.path to the data set's folder")
    whole, train, val, test = (folder / f"transforms{part}.json" for part in ("", "_train", "_val", "_test"))
    if train.is_file():
        held_out = test if test.is_file() else val
        return {train: "train"} | ({held_out: "test"} if held_out.is_file() else {})
    if whole.is_file():
        return {whole: ""}
    raise ValueError(f"{folder}: no 'transforms.json' and no 'transforms_train.json'; they hold the cameras, add one")


def _json(path: Path) -> dict[str, Any]:
    try:
        contents = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}); replace it") from None
    if not isinstance(contents, dict) or not isinstance(contents.get("frames"), list):
        raise ValueError(f"{path}: has no list 'frames'; each picture needs an entry there")
    return contents


def _entries(path: Path, split: str, contents: dict[str, Any]) -> Iterator[Entry]:
    shared = {key: value for key, value in contents.items() if key != "frames"}
    for number, own in enumerate(contents["frames"]):
        where = f"{path}: frame {number}"
        if not isinstance(own, dict) or not isinstance(own.get("file_path"), str):
            raise ValueError(f"{where} has no 'file_path'; add the name of its picture")
        name = own["file_path"]
        where = f"{where} ('{name}')"
        picture = places.picture(path.parent / name)
        if picture is None:
            raise ValueError(f"{where}: no such picture; add it or take its entry out")
        time = _number(own, "time", where, None)
        if not 0 <= time <= 1:
            raise ValueError(f"{where}: 'time' is {time:g}; times lie in [0, 1], divide all by the largest")
        yield Entry(where, split, name, picture, time, shared | own)


def _number(values: dict[str, Any], key: str, where: str, default: float | None) -> float:
    value = values.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        told = f"'{key}' is {value!r}" if key in values else f"has no '{key}'"
        raise ValueError(f"{where}: {told}; give a number" + (" in [0, 1]" if key == "time" else ""))
    return float(value)


def _film(config: DataConfig, entries: list[Entry]) -> Footage:
    pictures = [entry.picture for entry in entries]
    folder = config.path if len({p.parent for p in pictures}) > 1 else pictures[0].parent
    return open_pictures(folder, pictures, config.background)


def _takes(entries: list[Entry], films: dict[str, Footage]) -> Iterator[Take]:
    """One per camera: entries of one split with one pose and one lens."""
    places_in_film = {id(e): n for split in films for n, e in enumerate(e for e in entries if e.split == split)}
    cameras: dict[tuple[object, ...], list[Entry]] = {}
    for entry in entries:
        size = films[entry.split].width, films[entry.split].height
        key = (entry.split, *_viewmat(entry).ravel().tolist(), *_intrinsics(entry, size))
        cameras.setdefault(key, []).append(entry)
    names = _names(list(cameras.values()))
    for name, own in zip(names, cameras.values(), strict=True):
        own = sorted(own, key=lambda entry: entry.time)
        times = tuple(entry.time for entry in own)
        if twice := [after for before, after in pairwise(own) if before.time == after.time]:
            raise ValueError(f"{twice[0].where}: the same camera and time as another entry; take one out")
        film = films[own[0].split]
        size = film.width, film.height
        camera = poses.camera(own[0].where, _viewmat(own[0]), _intrinsics(own[0], size), size)
        yield Take(name, camera, film, pictures=tuple(places_in_film[id(entry)] for entry in own), times=times)


def _names(cameras: list[list[Entry]]) -> list[str]:
    """Each camera's: that of the folder that all its pictures lie in and no other camera's, or of its first picture."""
    plain = [[entry.name.removeprefix("./") for entry in own] for own in cameras]
    folders = [commonpath([Path(name).parent.as_posix() for name in names]) for names in plain]
    firsts = [Path(names[0]).with_suffix("").as_posix() for names in plain]
    short = [Path(folder).name for folder in folders]
    many = len(cameras) > 1 and any(len(own) > 1 for own in cameras)
    return short if many and len(set(short)) == len(short) and all(short) else firsts


def _viewmat(entry: Entry) -> Float64[ndarray, "4 4"]:
    matrix = entry.values.get("transform_matrix")
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.zeros(0)
    if pose.shape not in ((4, 4), (3, 4)):
        raise ValueError(f"{entry.where}: 'transform_matrix' is no 4x4 matrix; give camera to world, y up, z backward")
    if not np.isfinite(pose).all():
        raise ValueError(f"{entry.where}: 'transform_matrix' has a number that is not finite; correct or remove it")
    return poses.from_opengl(np.concatenate([pose[:3], [[0.0, 0.0, 0.0, 1.0]]]))


def _intrinsics(entry: Entry, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(fx, fy, cx, cy) of pictures of `size`, pixels."""
    values, where = entry.values, entry.where
    model = values.get("camera_model", "PINHOLE")
    bent = [key for key in DISTORTION if _number(values, key, where, 0.0)]
    if model not in PINHOLES or bent:
        told = f"'{bent[0]}' is {values[bent[0]]:g}" if bent else f"camera model '{model}'"
        raise ValueError(f"{where}: {told}, but only pinhole cameras are read; undistort the pictures first")
    width, height = (_number(values, key, where, float(side)) for key, side in zip("wh", size, strict=True))
    if "fl_x" in values:
        fx = _number(values, "fl_x", where, None)
    elif "camera_angle_x" in values:
        fx = 0.5 * width / math.tan(0.5 * _number(values, "camera_angle_x", where, None))
    else:
        raise ValueError(f"{where}: no 'fl_x' and no 'camera_angle_x'; add the focal length, pixels")
    fy = _number(values, "fl_y", where, fx)
    cx, cy = _number(values, "cx", where, width / 2), _number(values, "cy", where, height / 2)
    return poses.scaled(where, (fx, fy, cx, cy), (width, height), size)


def _test(takes: tuple[Take, ...], whole: dict[str, Any], films: dict[str, Footage]) -> tuple[str, ...]:
    if "" not in films:
        return tuple(take.name for take in takes if films.get("test") is take.footage)
    named = {str(name) for key in ("test_filenames", "val_filenames") for name in whole.get(key, ())}
    listed = [str(entry["file_path"]) for entry in whole["frames"]]
    if named:
        return tuple(t.name for t in takes if t.pictures and any(listed[n] in named for n in t.pictures))
    if any(take.pictures and len(take.pictures) > 1 for take in takes):
        return (takes[0].name,) if len(takes) > 1 else ()
    return tuple(take.name for take in takes[::HELD_OUT])


def _points(folder: Path, whole: dict[str, Any]) -> tuple[Path, ...]:
    named = whole.get("ply_file_path")
    return (folder / named,) if isinstance(named, str) and (folder / named).is_file() else own_points(folder)
