"""The layout for own captures: `cameras.json`, and beside it videos or folders of frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from moegs.cameras import Camera
from moegs.data import places, poses
from moegs.data.config import DataConfig
from moegs.data.footage import Footage
from moegs.data.point_files import own_points
from moegs.data.recording import NEAR, Recording, Take

FILE = "cameras.json"
KEYS = ("name", "width", "height", "fx", "fy", "cx", "cy", "viewmat")


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`; the cameras that the file's "test" names are held out, or else the first.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    contents = _contents(config)
    described = _described(folder / FILE, contents)
    footage = places.footage(config, lambda name: name in described)
    if missing := [name for name in described if name not in footage]:
        raise ValueError(
            f"{folder}: {len(footage)} of {len(described)} cameras of '{FILE}' have frames, missing '{missing[0]}'; "
            f"add {places.LAYOUTS}"
        )
    test = contents.get("test", [next(iter(described))] if len(described) > 1 else [])
    if unknown := [name for name in test if name not in described]:
        raise ValueError(f"{folder / FILE}: 'test' names '{unknown[0]}', which is no camera of it; correct it")
    takes = [_take(f"{folder / FILE}: camera '{name}'", described[name], footage[name]) for name in described]
    return Recording(tuple(takes), tuple(test), own_points(folder))


def _contents(config: DataConfig) -> dict[str, Any]:
    path = config.path / FILE
    if not config.path.is_dir():
        raise ValueError(f"{config.path}: no such folder; set data.path to the data set's folder")
    try:
        contents = json.loads(path.read_text())
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it holds the cameras of this data set, add it") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as JSON ({error}); replace it") from None
    return contents if isinstance(contents, dict) else {}


def _described(path: Path, contents: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The file's entries by camera name."""
    cameras = contents.get("cameras")
    if not isinstance(cameras, list) or not cameras:
        raise ValueError(f"{path}: has no list 'cameras'; each camera needs an entry there")
    described: dict[str, dict[str, Any]] = {}
    for number, camera in enumerate(cameras):
        missing = [key for key in KEYS if key not in camera] if isinstance(camera, dict) else [KEYS[0]]
        if missing:
            raise ValueError(f"{path}: camera {number} has no '{missing[0]}'; it needs {', '.join(KEYS)}")
        if camera["name"] in described:
            raise ValueError(f"{path}: two cameras are called '{camera['name']}'; give each its own name")
        described[str(camera["name"])] = camera
    return described


def _take(where: str, values: dict[str, Any], film: Footage) -> Take:
    width, height, fx, fy, cx, cy = (_number(where, values, key) for key in KEYS[1:7])
    near = _number(where, values, "near") if "near" in values else NEAR
    far = _number(where, values, "far") if "far" in values else np.inf
    if not 0 < near < far:
        raise ValueError(f"{where}: got near {near:g}, far {far:g}; both must be positive and near less than far")
    return Take(values["name"], _camera(where, values, (fx, fy, cx, cy), (width, height), film), film, near, float(far))


def _camera(
    where: str,
    values: dict[str, Any],
    intrinsics: tuple[float, float, float, float],
    written: tuple[float, float],
    film: Footage,
) -> Camera:
    size = film.width, film.height
    return poses.camera(where, _viewmat(where, values["viewmat"]), poses.scaled(where, intrinsics, written, size), size)


def _number(where: str, values: dict[str, Any], key: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"{where}: '{key}' is {value!r}; give a number")
    return float(value)


def _viewmat(where: str, rows: Any) -> Float64[ndarray, "4 4"]:
    try:
        viewmat = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        viewmat = np.zeros(0)
    if viewmat.shape != (4, 4):
        raise ValueError(f"{where}: 'viewmat' is no 4x4 matrix; give world to camera, x right, y down, z forward")
    return viewmat
