"""The layout of the Neural 3D Video data set (Li et al. 2022).

`poses_bounds.npy` beside `cam00.mp4`, `cam01.mp4` and so on, or beside folders of frames `cam00/`, `cam00/images/` or
`images/cam00/`. The rows of the poses follow the sorted names; numbers may be left out.
"""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from moegs.cameras import Camera
from moegs.data import places, poses
from moegs.data.config import DataConfig
from moegs.data.footage import Footage
from moegs.data.point_files import own_points
from moegs.data.recording import Recording, Take
from moegs.data.scene import LARGEST

NAME = re.compile(r"cam\d+")
FRAMES = 300
"""The first of them are used in publications; flame_salmon_1 has 1200, all others have just these."""


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`; camera 0 is held out.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    footage = places.footage(config, lambda name: NAME.fullmatch(name) is not None)
    if not footage:
        raise ValueError(f"{folder}: no cameras here; expected {places.LAYOUTS} with NAME like cam00")
    rows = _poses(folder / "poses_bounds.npy")
    if len(rows) != len(footage):
        raise ValueError(
            f"{folder}: 'poses_bounds.npy' has {len(rows)} rows, but there are {len(footage)} cameras from "
            f"'{next(iter(footage))}' to '{next(reversed(footage))}'; give one row per camera, in the order of names"
        )
    takes = []
    for row, (name, film) in zip(rows, footage.items(), strict=True):
        where = f"{folder}: camera '{name}'"
        takes.append(Take(name, _camera(row, film, where), film, near=float(row[15]), far=float(row[16])))
    return Recording(tuple(takes), test=(takes[0].name,), points=own_points(folder), frames=FRAMES)


def _poses(path: Path) -> Float64[ndarray, "C 17"]:
    try:
        with path.open("rb") as file:
            rows = np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it holds the cameras of this data set, add it") from None
    except Exception as error:  # a damaged file makes NumPy's reader raise almost anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as an array ({reason}); replace it") from None
    if not isinstance(rows, ndarray):
        rows.close()
        raise ValueError(f"{path}: is an archive of arrays (.npz), expected one array; replace it")
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu":
        raise ValueError(f"{path}: got {rows.dtype} {list(rows.shape)}, expected numbers [cameras, 17]; replace it")
    broken = np.flatnonzero(~np.isfinite(rows).all(1))
    if len(broken):
        raise ValueError(f"{path}: row {broken[0]} has a number that is not finite; correct it")
    return rows.astype(np.float64)


def _camera(row: Float64[ndarray, " 17"], footage: Footage, where: str) -> Camera:
    """LLFF columns are down, right, backward, centre, and (height, width, focal length in pixels)."""
    down, right, backward, center, (height, width, focal) = row[:15].reshape(3, 5).T
    if not 0 < row[15] < row[16] <= LARGEST:
        raise ValueError(
            f"{where}: got near {row[15]:g}, far {row[16]:g} from 'poses_bounds.npy'; both positive, near less than "
            f"far, far up to {LARGEST:g}"
        )
    pose = np.eye(4)
    pose[:3] = np.stack([right, down, -backward, center], axis=1)
    size = (footage.width, footage.height)
    intrinsics = poses.scaled(where, (focal, focal, width / 2, height / 2), (width, height), size)
    return poses.camera(where, poses.inverse(pose), intrinsics, size)
