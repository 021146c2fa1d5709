"""The router against what the published code computes: weights of each expert, logits of given inputs, and gates."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from plyfile import PlyData
from scenes import blobs
from torch import Tensor
from torch.testing import assert_close

from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.router import VolumeAwareConfig, gates
from moegs.router.volume_aware import VolumeAwareRouter

PUBLISHED = Path(__file__).parent / "assets" / "published"
EXPECTED = np.load(PUBLISHED / "mixture_router" / "expected.npz")
FRAMES = 300
FILES = {
    "keyframe": ("mixture_keyframe/point_cloud.ply", "mixture_keyframe/dynamic_point_cloud.ply"),
    "embedding": ("mixture_embedding/point_cloud.ply",),
    "polynomial": ("mixture_polynomial/0to149.ply", "mixture_polynomial/150to299.ply"),
    "hexplane": ("mixture_hexplane/point_cloud.ply",),
}
"""Where each expert's weights lie, in the order of the published mixture."""
NAMES = ("w_b_0", "w_b_1", "f_t_0")
"""Their names of w, w_dir and w_time."""


def columns(paths: Sequence[str]) -> Tensor:
    """(w, w_dir, w_time) of every row of the files, one after the other."""
    found = []
    for path in paths:
        vertices = PlyData.read(PUBLISHED / path)["vertex"]
        prefix = "motion_" if "dynamic" in path else ""
        found.append(np.stack([np.array(vertices[prefix + name], np.float32) for name in NAMES], axis=1))
    return torch.from_numpy(np.concatenate(found))


@pytest.fixture(scope="module")
def router() -> VolumeAwareRouter:
    """The published one: the weights of its experts' files, and its network."""
    weights = [columns(paths) for paths in FILES.values()]
    made = VolumeAwareConfig().start([len(rows) for rows in weights])
    for number, rows in enumerate(weights):
        made.static[number].data, made.temporal[number].data = rows[:, :2].contiguous(), rows[:, 2:].contiguous()
    layers = [layer for layer in made.network if isinstance(layer, torch.nn.Linear)]
    stored = torch.load(PUBLISHED / "mixture_router" / "network.pth", map_location="cpu", weights_only=True)
    for layer, convolution in zip(layers, stored.values(), strict=True):
        layer.weight.data = convolution[..., 0, 0]
    return made


def shown(expert: str, frame: int, count: int) -> Gaussians:
    """As many Gaussians as the expert has at a frame, with their rows where it shows some of them."""
    first = len(columns(FILES[expert][:1]))
    late = expert == "polynomial" and frame >= FRAMES // 2
    rows = torch.arange(count) + (first if late else 0)
    gaussians = blobs(len(columns(FILES[expert])), seed=0)
    return gaussians.select(rows) if expert == "polynomial" else gaussians


@pytest.mark.parametrize("expert", FILES)
def test_what_is_splatted_is_what_the_published_code_splats(router: VolumeAwareRouter, expert: str) -> None:
    number = list(FILES).index(expert)
    for index, frame in enumerate(EXPECTED["frames"]):
        wanted = torch.from_numpy(EXPECTED[f"{expert}_{index}"])
        features = router.features(number, shown(expert, int(frame), len(wanted)), float(frame) / FRAMES)
        assert_close(features, wanted, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("case", [0, 1])
def test_logits_and_gates_are_those_of_the_published_network(router: VolumeAwareRouter, case: int) -> None:
    fx, fy, cx, cy = EXPECTED[f"fx_fy_cx_cy_{case}"].tolist()
    width, height = EXPECTED[f"size_wh_{case}"].tolist()
    K = torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    camera = Camera(torch.from_numpy(EXPECTED[f"world_to_camera_{case}"]), K, width, height)
    center, rays = torch.from_numpy(EXPECTED[f"rays_{case}"]).split(3)
    assert_close(camera.rays().permute(2, 0, 1), rays, atol=1e-6, rtol=0)
    assert_close(camera.center[:, None, None].expand_as(center), center, atol=1e-6, rtol=0)
    splatted = torch.from_numpy(EXPECTED[f"splatted_{case}"]).permute(0, 2, 3, 1)
    logits = router.logits(splatted, camera).detach()
    assert_close(logits, torch.from_numpy(EXPECTED[f"logits_{case}"]), atol=2e-6, rtol=0)  # float32 of size 1
    for temperature in (1, 0.01):
        wanted = torch.from_numpy(EXPECTED[f"gates_{temperature}_{case}"])
        assert_close(gates(logits, float(temperature)), wanted, atol=2e-6 / temperature, rtol=0)
