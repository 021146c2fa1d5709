"""The four experts against what the published code of each computes from its own checkpoints."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plyfile import PlyData
from torch import Tensor
from torch.nn.functional import normalize
from torch.testing import assert_close

from moegs.experts.base import Expert, ExpertConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.heads import HeadsConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.planes import PlanesConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import Gaussians

PUBLISHED = Path(__file__).parent / "assets" / "published"
# Their float32 and a float64 computation of the same formulas lie up to 2e-5 apart.
TOLERANCE = 1e-4
TRAINED = 100_000  # a step after the end of every schedule
HEADS = {
    "pos": "means",
    "scales": "log_scales",
    "rotations": "quats",
    "opacity": "logit_opacities",
    "shs": "sh",
    "rgb": "sh",
}
"""Their names of the heads, and ours."""


class Ply:
    """The columns of a point file by their published names."""

    def __init__(self, path: Path) -> None:
        self.vertices = PlyData.read(path)["vertex"]

    def column(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.vertices[name], dtype=np.float32))

    def columns(self, pattern: str) -> Tensor:
        """All columns that `pattern` names when its {} counts from 0."""
        found = []
        while pattern.format(len(found)) in self.vertices:
            found.append(self.column(pattern.format(len(found))))
        return torch.stack(found, dim=1)

    def shape(self, prefix: str = "") -> dict[str, Tensor]:
        return {
            "log_scales": self.columns(prefix + "scale_{}"),
            "logit_opacities": self.column(prefix + "opacity"),
        }

    def place(self) -> dict[str, Tensor]:
        return {
            "means": torch.stack([self.column(axis) for axis in "xyz"], dim=1),
            "quats": self.columns("rot_{}"),
        }

    def harmonics(self, prefix: str = "") -> dict[str, Tensor]:
        """Stored channel by channel above degree 0."""
        rest = self.columns(prefix + "f_rest_{}").unflatten(1, (3, -1)).transpose(1, 2)
        return {"sh0": self.columns(prefix + "f_dc_{}")[:, None], "shN": rest}

    def keys(self, name: str, axes: int) -> Tensor:
        """N x keys x axes."""
        return torch.stack([self.columns(f"{name}_{{}}_{axis}") for axis in range(axes)], dim=2)


def group(name: str, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"groups.{name}.{parameter}": tensor for parameter, tensor in rows.items()}


def network(path: Path) -> dict[str, Tensor]:
    """The tensors of a network file without the prefix that some have."""
    tensors = torch.load(path, map_location="cpu", weights_only=True)
    return {name.removeprefix("deformation_net."): tensor for name, tensor in tensors.items()}


def heads(tensors: Mapping[str, Tensor], suffix: str, prefix: str, on: HeadsConfig) -> dict[str, Tensor]:
    """First layer and heads of one network; those that are switched off are stored all the same, and left out."""
    off = set() if on.move_opacities else {"logit_opacities"}
    off |= set() if on.move_sh else {"sh"}
    found = {f"{prefix}first.{part}": tensors[f"feature_out{suffix}.0.{part}"] for part in ("weight", "bias")}
    for theirs, ours in HEADS.items():
        for layer in (1, 3):  # theirs begins with the ReLU that all heads share
            for part in ("weight", "bias"):
                tensor = tensors.get(f"{theirs}_deform{suffix}.{layer}.{part}")
                if tensor is not None and ours not in off:
                    found[f"{prefix}heads.{ours}.{layer - 1}.{part}"] = tensor
    return found


def load(config: ExpertConfig, tensors: Mapping[str, Tensor], step: int = TRAINED) -> Expert:
    expert = config.empty(tensors)
    expert.load_state_dict(dict(tensors))
    expert.begin_step(step)
    return expert


def hexplane(folder: str, ply: str = "point_cloud.ply", step: int = TRAINED, **switches: Any) -> Expert:
    path = PUBLISHED / folder
    points, tensors = Ply(path / ply), network(path / "deformation.pth")
    levels = len({name.split(".")[2] for name in tensors if name.startswith("grid.grids.")})
    xy, zt = tensors["grid.grids.0.0"], tensors["grid.grids.0.5"]
    planes = PlanesConfig(
        channels=xy.shape[1],
        resolution=(xy.shape[3], xy.shape[2], zt.shape[3]),
        time_resolution=zt.shape[2],
        levels=(1, 2, 4)[:levels],
    )
    on = HeadsConfig(width=len(tensors["feature_out.0.bias"]), **switches)
    config = HexPlaneConfig(planes=planes, heads=on, sh_degree_interval=0)
    renamed = {
        name.replace("grid.grids", "field.planes"): tensor
        for name, tensor in tensors.items()
        if name.startswith("grid.grids.")
    }
    renamed |= {"field.box": tensors["grid.aabb"]} | heads(tensors, "", "", on)
    return load(config, renamed | group("all", points.place() | points.shape() | points.harmonics()), step)


def embedding(folder: str, step: int = TRAINED, fine: str = "_f", coarse_rows: int = 30, **switches: Any) -> Expert:
    path = PUBLISHED / folder
    points, tensors = Ply(path / "point_cloud.ply"), network(path / "deformation.pth")
    on = HeadsConfig(width=len(tensors["feature_out_c.0.bias"]), **switches)
    config = EmbeddingConfig(time_rows=len(tensors["weight"]), coarse_rows=coarse_rows, heads=on)
    rows = points.place() | points.shape() | points.harmonics() | {"embeddings": points.columns("embedding_{}")}
    renamed = {"times": tensors["weight"], "offsets": tensors["offsets"].squeeze(1)}
    renamed |= heads(tensors, "_c", "coarse.", on) | heads(tensors, fine, "fine.", on)
    return load(config, renamed | group("all", rows), step)


def segment(path: Path) -> dict[str, Tensor]:
    points = Ply(path)
    rows = points.place() | points.shape()
    in_harmonics = "f_rest_0" in points.vertices
    return rows | {
        **(points.harmonics() if in_harmonics else {"sh0": torch.zeros(len(rows["means"]), 1, 3)}),
        **({} if in_harmonics else {"shN": torch.zeros(len(rows["means"]), 0, 3)}),
        "motions": points.columns("motion_{}").unflatten(1, (3, 3)),
        "omegas": points.columns("omega_{}"),
        "time_centers": points.column("trbf_center"),
        "log_time_scales": points.column("trbf_scale"),
    }


def polynomial(folder: str) -> Expert:
    rows = segment(PUBLISHED / folder / "point_cloud.ply")
    tensors = group("0to49", rows) | {"bounds": torch.tensor([0.0, 1.0], dtype=torch.float64)}
    return load(PolynomialConfig(sh_degree=0), tensors)


def two_segments(folder: str) -> Expert:
    names = ("0to149", "150to299")
    tensors = {"bounds": torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)}
    for name in names:
        tensors |= group(name, segment(PUBLISHED / folder / f"{name}.ply"))
    return load(PolynomialConfig(segments=2), tensors)


def keyframe(folder: str, frames: float, duration: float | None = None, time_pad: int = 2) -> Expert:
    still, moving = (Ply(PUBLISHED / folder / name) for name in ("point_cloud.ply", "dynamic_point_cloud.ply"))
    static = still.place() | still.shape() | still.harmonics() | {"displacements": still.columns("xyz_disp_{}")}
    dynamic = moving.shape("motion_") | moving.harmonics("motion_")
    dynamic |= {"key_means": moving.keys("motion_xyz", 3), "key_quats": moving.keys("motion_rot", 4)}
    dynamic["time_centers"] = moving.columns("motion_opacity_c_{}")
    dynamic["log_time_widths"] = moving.columns("motion_opacity_v_{}")
    clip = {"frames": torch.tensor(frames), "duration": torch.tensor(duration or frames)}
    return load(KeyframeConfig(time_pad=time_pad), clip | group("static", static) | group("dynamic", dynamic))


def check(gaussians: Gaussians, expected: Mapping[str, np.ndarray], index: int, prefix: str = "") -> None:
    """`gaussians` are those of `expected` at its `index`-th time."""

    def wanted(field: str) -> Tensor:
        name = f"{prefix}{field}_{index}"
        return torch.from_numpy(expected[name if name in expected else f"{field}_0"])

    assert_close(gaussians.means, wanted("means"), atol=TOLERANCE, rtol=0)
    assert_close(gaussians.scales, wanted("scales"), atol=0, rtol=TOLERANCE)
    assert_close(gaussians.opacities, wanted("opacities"), atol=TOLERANCE, rtol=0)
    quats = normalize(gaussians.quats, dim=-1)
    sign = (quats * wanted("quats")).sum(-1, keepdim=True).sign()
    assert_close(quats * sign, wanted("quats"), atol=TOLERANCE, rtol=0)
    if "sh_0" in expected and not prefix:
        assert_close(gaussians.sh, wanted("sh"), atol=TOLERANCE, rtol=0)


EXPERTS = {
    "hexplane_n3v": hexplane,
    "hexplane_hypernerf": lambda folder: hexplane(folder, move_opacities=False, move_sh=False),
    "mixture_hexplane": hexplane,
    "embedding_n3v": embedding,
    "embedding_technicolor": lambda folder: embedding(folder, coarse_rows=5, move_sh=False),
    "embedding_n3v_early": lambda folder: embedding(folder, step=5000),
    "embedding_older_keys": lambda folder: embedding(folder, fine="_f1"),
    "polynomial_n3v": polynomial,
    "polynomial_technicolor": polynomial,
    "polynomial_lite": polynomial,
    "mixture_polynomial": two_segments,
    "keyframe_n3v": lambda folder: keyframe(folder, 300.0),
    "keyframe_n3v_313": lambda _: keyframe("keyframe_n3v", 300.0, duration=313.0),
    "keyframe_technicolor": lambda folder: keyframe(folder, 50.0, time_pad=3),
    "mixture_keyframe": lambda folder: keyframe(folder, 300.0),
}


@pytest.mark.parametrize("folder", EXPERTS)
def test_an_expert_is_what_its_published_code_computes(folder):
    expert, expected = EXPERTS[folder](folder), np.load(PUBLISHED / folder / "expected.npz")
    for index, t in enumerate(expected["times"]):
        check(expert.at(float(t)), expected, index)


@pytest.mark.parametrize(("folder", "view", "prefix"), [("embedding_n3v", 3, "cam_"), ("mixture_embedding", 0, "")])
def test_a_training_camera_has_its_own_clock(folder, view, prefix):
    expert, expected = embedding(folder), np.load(PUBLISHED / folder / "expected.npz")
    compared = [i for i in range(len(expected["times"])) if f"{prefix}means_{i}" in expected]
    assert compared
    for index in compared:
        check(expert.at(float(expected["times"][index]), view), expected, index, prefix)


def test_nothing_is_deformed_in_the_coarse_stage():
    last = 2999  # of its steps
    expert = hexplane("hexplane_hypernerf", "coarse_point_cloud.ply", last, move_opacities=False, move_sh=False)
    expected = np.load(PUBLISHED / "hexplane_hypernerf" / "expected.npz")
    coarse = {f"{name.removeprefix('coarse_')}_0": expected[name] for name in expected if name.startswith("coarse_")}
    for t in (0.0, 0.7):
        check(expert.at(t), coarse, 0)
