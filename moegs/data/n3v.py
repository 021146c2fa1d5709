"""The layout of the Neural 3D Video data set (Li et al. 2022).

`poses_bounds.npy` beside `cam00.mp4`, `cam01.mp4` and so on, or beside folders of frames `cam00/`, `cam00/images/` or
`images/cam00/`. The rows of the poses follow the sorted names; numbers may be left out.
"""

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from moegs.cameras import Camera
from moegs.data.config import DataConfig
from moegs.data.folder import open_folder
from moegs.data.footage import Footage
from moegs.data.recording import Recording, Take
from moegs.data.video import SUFFIXES, open_video

NAME = re.compile(r"cam\d+")
POINTS = ("points_*.npz", "points_*.ply", "points3D*.ply")
"""The data set has none itself; these are names that its users write."""


def read(config: DataConfig) -> Recording:
    """The recording in `config.path`; camera 0 is held out.

    Raises ValueError in one line for files that are missing, damaged or do not belong together.
    """
    folder = config.path
    footage = _footage(config)
    poses = _poses(folder / "poses_bounds.npy")
    if len(poses) != len(footage):
        raise ValueError(
            f"{folder}: 'poses_bounds.npy' has {len(poses)} rows, but there are {len(footage)} cameras from "
            f"'{next(iter(footage))}' to '{next(reversed(footage))}'; give one row per camera, in the order of names"
        )
    takes = []
    for row, (name, film) in zip(poses, footage.items(), strict=True):
        where = f"{folder}: camera '{name}'"
        takes.append(Take(name, _camera(row, film, where), film, near=float(row[15]), far=float(row[16])))
    points = next((found for pattern in POINTS if (found := tuple(sorted(folder.glob(pattern))))), ())
    return Recording(tuple(takes), test=(takes[0].name,), points=points)


def _footage(config: DataConfig) -> dict[str, Footage]:
    """By camera name, sorted. Videos come before folders: those beside them are somebody's copies of their frames."""
    if not config.path.is_dir():
        raise ValueError(f"{config.path}: no such folder; set data.path to the data set's folder")
    videos = [file for file in config.path.iterdir() if file.suffix.lower() in SUFFIXES and NAME.fullmatch(file.stem)]
    if videos:
        return {file.stem: open_video(file, config.color_matrix) for file in sorted(videos)}
    parent = config.path / "images" if (config.path / "images").is_dir() else config.path
    folders = [folder for folder in parent.iterdir() if folder.is_dir() and NAME.fullmatch(folder.name)]
    if not folders:
        raise ValueError(f"{config.path}: no cameras here; expected videos such as 'cam00.mp4' or folders of frames")
    inner = {folder.name: folder / "images" for folder in sorted(folders)}
    return {name: open_folder(path if path.is_dir() else path.parent) for name, path in inner.items()}


def _poses(path: Path) -> Float64[ndarray, "C 17"]:
    try:
        poses = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file; it holds the cameras of this data set, add it") from None
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path}: cannot be read as an array ({error}); replace it") from None
    if poses.ndim != 2 or poses.shape[1] != 17 or poses.dtype.kind not in "fiu":
        raise ValueError(f"{path}: got {poses.dtype} {list(poses.shape)}, expected numbers [cameras, 17]; replace it")
    broken = np.flatnonzero(~np.isfinite(poses).all(1))
    if len(broken):
        raise ValueError(f"{path}: row {broken[0]} has a number that is not finite; replace it or skip its camera")
    return poses.astype(np.float64)


def _camera(row: Float64[ndarray, " 17"], footage: Footage, where: str) -> Camera:
    """LLFF columns are down, right, backward, centre, and (height, width, focal length in pixels)."""
    down, right, backward, center, (height, width, focal) = row[:15].reshape(3, 5).T
    rotation = np.stack([right, down, -backward])
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) or np.linalg.det(rotation) < 0:
        raise ValueError(f"{where}: the pose in 'poses_bounds.npy' is no rotation; expected columns down, right, back")
    if min(height, width, focal) <= 0 or not 0 < row[15] < row[16]:
        raise ValueError(
            f"{where}: got size {width:g}x{height:g}, focal length {focal:g}, near {row[15]:g}, far {row[16]:g} from "
            "'poses_bounds.npy'; all must be positive and near less than far"
        )
    across, along = footage.width / width, footage.height / height
    if abs(across / along - 1) > 0.01:
        raise ValueError(
            f"{where}: pictures of {footage.width}x{footage.height}, but 'poses_bounds.npy' is for "
            f"{width:g}x{height:g}; give pictures of the same proportions"
        )
    viewmat = np.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ center
    K = [[focal * across, 0, footage.width / 2], [0, focal * along, footage.height / 2], [0, 0, 1]]
    return Camera(
        torch.tensor(viewmat, dtype=torch.float32),
        torch.tensor(K, dtype=torch.float32),
        footage.width,
        footage.height,
    )
