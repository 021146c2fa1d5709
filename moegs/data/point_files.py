"""Files of coloured points: .npz, .ply and COLMAP's points3D."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from moegs.data import colmap_model
from moegs.gaussians import Points
from moegs.timeline import Timeline

OWN = ("points_*.npz", "points_*.ply", "points3D*.ply")
"""The names that users of published data sets give to points beside them."""


def own_points(folder: Path) -> tuple[Path, ...]:
    """The files of points that lie in a data set's folder under such a name, in the order of their frames."""
    return next((found for pattern in OWN if (found := tuple(sorted(folder.glob(pattern))))), ())


def read(path: Path) -> tuple[Float[Tensor, "P 3"], Float[Tensor, "P 3"]]:
    """Positions, world units, and colours in [0, 1] from a .npz with `xyz` and `rgb`, a .ply, or COLMAP's points3D.

    Points with a position that is not finite are left out. Raises ValueError when the file is no such file.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; set data.points_file to a .npz with 'xyz' and 'rgb', or a .ply")
    try:
        xyz, rgb = READERS.get(path.suffix.lower(), _read_npz)(path)
    except Exception as error:  # a damaged file makes NumPy's and plyfile's readers raise almost anything
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: cannot be read as points ({reason}); replace it") from None
    if xyz.dtype.kind not in "fiu" or rgb.dtype.kind not in "fiu":
        raise ValueError(f"{path}: got xyz of {xyz.dtype} and rgb of {rgb.dtype}, expected numbers; replace it")
    if xyz.ndim != 2 or xyz.shape[1] != 3 or rgb.shape != xyz.shape:
        raise ValueError(f"{path}: got xyz {list(xyz.shape)} and rgb {list(rgb.shape)}, expected [points, 3] for both")
    colors = rgb / 255 if rgb.dtype.kind in "ui" else rgb
    finite = np.isfinite(xyz).all(1) & np.isfinite(colors).all(1)
    means, colors = (torch.tensor(values[finite], dtype=torch.float32) for values in (xyz, colors))
    return means, colors.clamp(0, 1)


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["xyz"], arrays["rgb"]


def _read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    from plyfile import PlyData

    vertex = PlyData.read(path)["vertex"]
    xyz, rgb = (np.stack([vertex[name] for name in names], 1) for names in (("x", "y", "z"), ("red", "green", "blue")))
    return xyz, rgb


READERS = {".ply": _read_ply, ".bin": colmap_model.read_points, ".txt": colmap_model.read_points}


def read_all(paths: Sequence[Path], start: int, timeline: Timeline) -> Points:
    """All points of `paths`, each with the time of the frame in its file's name: points_0012.npz is of frame 12.

    Files of frames outside those of `timeline`, which begins with frame `start`, are left out; where all are, or a
    name has no number, the points count as seen at the first frame.
    """
    numbers = [_frame(path) - start for path in paths]
    inside = [(path, n) for path, n in zip(paths, numbers, strict=True) if 0 <= n < timeline.frames] or [(paths[0], 0)]
    parts = [(*read(path), timeline.t(number)) for path, number in inside]
    times = [torch.full((len(means),), t) for means, _, t in parts]
    return Points(torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts]), torch.cat(times))


def _frame(path: Path) -> int:
    number = re.fullmatch(r"points_(\d+)", path.stem)
    return int(number[1]) if number else 0
