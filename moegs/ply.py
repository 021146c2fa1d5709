"""PLY: Gaussians at one instant as the file of 3D Gaussian Splatting, which its viewers read."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from plyfile import PlyData, PlyElement

from moegs.files import new_folder
from moegs.gaussians import Gaussians
from moegs.rasterize import ALPHA_MIN

OPAQUE = 1 - 1e-6
"""The largest opacity that has a logit worth writing."""


def write_ply(gaussians: Gaussians, path: Path) -> int:
    """Writes `gaussians` to `path` in the layout of 3D Gaussian Splatting (Kerbl et al. 2023); how many there were.

    Those that no picture shows, because they are fainter than 1/255 or not finite, are left out. Normals, which nobody
    reads, are 0. The harmonics above degree 0 stand channel by channel, as many as there are.
    """
    shown = gaussians.opacities >= ALPHA_MIN
    for part in (gaussians.means, gaussians.quats, gaussians.scales, gaussians.sh.flatten(1)):
        shown = shown & part.isfinite().all(1)
    chosen = gaussians.select(shown)
    numbers = torch.cat(
        [
            chosen.means,
            torch.zeros_like(chosen.means),
            chosen.sh[:, 0],
            chosen.sh[:, 1:].transpose(1, 2).flatten(1),
            torch.logit(chosen.opacities.clamp_max(OPAQUE))[:, None],
            torch.log(chosen.scales.clamp_min(torch.finfo(torch.float32).tiny)),
            torch.nn.functional.normalize(chosen.quats, dim=1),
        ],
        dim=1,
    )
    names = _names(gaussians.sh.shape[1])
    rows = np.ascontiguousarray(numbers.detach().cpu().numpy().astype("<f4")).view([(name, "<f4") for name in names])
    PlyData([PlyElement.describe(rows[:, 0], "vertex")]).write(str(path))
    return len(chosen)


def _names(bases: int) -> list[str]:
    """The properties in their order, for `bases` spherical harmonics."""
    rest = [f"f_rest_{number}" for number in range(3 * (bases - 1))]
    before = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"]
    return [*before, *rest, "opacity", *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]


def write_plys(
    frames: Iterable[tuple[int, Gaussians]], folder: Path, on_frame: Callable[[int], None] = lambda done: None
) -> list[int]:
    """Writes each frame's Gaussians into the new `folder` as frame_00012.ply and so on; how many each has.

    `on_frame` hears how many are done. Whatever it or `frames` raises leaves nothing. Raises ValueError when `folder`
    is there already, or cannot be written.
    """
    counts: list[int] = []
    with new_folder(folder) as place:
        for frame, gaussians in frames:
            counts.append(write_ply(gaussians, place / f"frame_{frame:05}.ply"))
            on_frame(len(counts))
    return counts
