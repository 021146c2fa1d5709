"""PLY files, read by another reader than ours: the layout of 3D Gaussian Splatting, and the same picture."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import plyfile
import pytest
import torch
from backends import no_gpu
from mixtures import mixture
from small_experts import SMALL, stirred
from torch.testing import assert_close

from moegs import fusion
from moegs.cameras import look_at, pinhole
from moegs.gaussians import Gaussians
from moegs.mixture import Mixture
from moegs.ply import write_ply, write_plys
from moegs.rasterize import Layer, rasterize
from moegs.router import VolumeConfig


def read(path: Path) -> Gaussians:
    """The file as Kerbl et al.'s viewer takes it: sigmoid, exp, and channel by channel for the higher harmonics.

    Its bytes are read without plyfile, which wrote them: lines up to end_header, then little-endian float32.
    """
    header, _, data = path.read_bytes().partition(b"end_header\n")
    lines = [line.split() for line in header.decode("ascii").splitlines()]
    assert ["format", "binary_little_endian", "1.0"] in lines
    (count,) = (int(line[2]) for line in lines if line[:2] == ["element", "vertex"])
    names = [line[2] for line in lines if line[:2] == ["property", "float"]]
    assert len(names) == sum(line[0] == "property" for line in lines)
    vertices = np.frombuffer(data, "<f4").reshape(count, len(names))
    column = lambda name: torch.from_numpy(vertices[:, names.index(name)].copy())  # noqa: E731
    rest = sum(name.startswith("f_rest_") for name in names) // 3
    sh = torch.stack([column(f"f_dc_{c}") for c in range(3)], dim=1)[:, None]
    if rest:
        higher = torch.stack([column(f"f_rest_{i}") for i in range(3 * rest)], dim=1).reshape(-1, 3, rest)
        sh = torch.cat([sh, higher.transpose(1, 2)], dim=1)
    return Gaussians(
        means=torch.stack([column(name) for name in "xyz"], dim=1),
        quats=torch.stack([column(f"rot_{i}") for i in range(4)], dim=1),
        scales=torch.stack([column(f"scale_{i}") for i in range(3)], dim=1).exp(),
        opacities=torch.sigmoid(column("opacity")),
        sh=sh,
    )


@pytest.mark.parametrize("kind", SMALL)
def test_a_file_read_again_is_the_experts_picture(kind: str, tmp_path: Path) -> None:
    gaussians = stirred(SMALL[kind]).at(0.4)
    gaussians = replace(gaussians, opacities=gaussians.opacities.detach().clamp_min(0.002))
    write_ply(gaussians, tmp_path / "x.ply")
    camera = pinhole(
        40, 30, 36.0, look_at(torch.tensor([0.3, -0.2, -4.0]), torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]))
    )
    ours, theirs = (
        rasterize([Layer(each)], camera).images[0].detach() for each in (gaussians, read(tmp_path / "x.ply"))
    )
    assert float(ours.std()) > 0.02
    assert_close(theirs, ours, rtol=0, atol=1e-4)  # logarithms and back in float32


@pytest.mark.parametrize(("bases", "rest"), [(1, 0), (4, 9), (16, 45)])
def test_the_fields_are_those_that_every_viewer_asks_for(bases: int, rest: int, tmp_path: Path) -> None:
    one = mixture(("poly",)).at(0.0)[0]
    write_ply(replace(one, sh=torch.zeros(len(one), bases, 3)), tmp_path / "x.ply")
    element = plyfile.PlyData.read(str(tmp_path / "x.ply"))["vertex"]
    names = [property.name for property in element.properties]
    assert names == [
        *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(rest)),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    assert {property.val_dtype for property in element.properties} == {"f4"}
    assert (tmp_path / "x.ply").read_bytes().startswith(b"ply\nformat binary_little_endian 1.0\n")


def test_what_no_picture_shows_is_left_out(tmp_path: Path) -> None:
    one = mixture(("poly",)).at(0.0)[0]
    opacities = torch.full_like(one.opacities, 0.5)
    opacities[:10] = 0.9 / 255
    means = one.means.clone()
    means[20] = torch.nan
    opacities[30] = 1.0
    assert write_ply(replace(one, opacities=opacities, means=means), tmp_path / "x.ply") == 60 - 10 - 1
    again = read(tmp_path / "x.ply")
    assert bool(torch.isfinite(again.opacities).all())
    assert float(again.opacities.max()) == pytest.approx(1.0, abs=2e-6)  # the largest with a logit in float32


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    one = mixture(("poly",)).at(0.0)[0]
    heard: list[int] = []
    assert write_plys([(3, one), (12, one)], tmp_path / "a" / "b", heard.append) == [60, 60]
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["frame_00003.ply", "frame_00012.ply"]
    assert heard == [1, 2]

    def broken() -> Iterator[tuple[int, Gaussians]]:
        yield 0, one
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_plys(broken(), tmp_path / "c")
    with pytest.raises(ValueError, match=r"b: exists already; choose another name"):
        write_plys([(0, one)], tmp_path / "a" / "b")
    assert {path.name for path in tmp_path.iterdir()} == {"a"}


def test_the_routers_share_of_a_gaussian_is_its_gate_where_it_is_seen() -> None:
    made = mixture(("poly", "key"))
    cameras = [made.rig.cameras[i] for i in made.rig.train]
    shares = fusion.responsibilities(made, 0.5, cameras)
    for number, (share, part) in enumerate(zip(shares, made.at(0.5), strict=True)):
        sums = torch.zeros(2, len(part))
        for camera in cameras:  # by definition: the change of the picture with each Gaussian's colour is its weight
            gates = made.render(camera, 0.5).gates[number]
            for row in (0, 7):
                lit = torch.zeros(len(part), 1)
                lit[row] = 1.0
                expert = made.members[number]
                weight = rasterize([Layer(part, lit, lowpass=expert.lowpass, near=expert.near)], camera).features[
                    0, ..., 0
                ]
                sums[:, row] += torch.stack([(weight * gates).sum(), weight.sum()])
        seen = [row for row in (0, 7) if sums[1, row] > 0]
        assert seen
        for row in seen:
            assert float(share[row]) == pytest.approx(float(sums[0, row] / sums[1, row]), abs=1e-4)


def test_a_fused_mixture_is_every_expert_as_opaque_as_it_is_trusted() -> None:
    made = mixture(("poly", "key"))
    cameras = fusion.asked(made.rig)
    fused = fusion.fused(made, 0.5, cameras)
    parts, shares = made.at(0.5), fusion.responsibilities(made, 0.5, cameras)
    assert len(fused) == 120
    assert_close(
        fused.opacities, torch.cat([part.opacities * share for part, share in zip(parts, shares, strict=True)])
    )
    assert_close(fused.means, torch.cat([part.means for part in parts]))
    alone = mixture(("poly",))
    assert_close(fusion.fused(alone, 0.5, []).opacities, alone.at(0.5)[0].opacities)
    with pytest.raises(ValueError, match="no cameras to ask"):
        fusion.fused(made, 0.5, [])


def test_a_mixture_that_is_one_scene_is_fused_as_it_is() -> None:
    made = mixture(("poly", "key"))
    router = VolumeConfig().start([60, 60])
    for number, weights in enumerate(router.parameters()):
        weights.data = torch.randn(60, 1, generator=torch.Generator().manual_seed(number))
    one = Mixture(made.names, made.members, router, made.rig)
    scene, camera = fusion.fused(one, 0.5, []), made.rig.cameras[0]
    near = min(expert.near for expert in made.members)
    background = torch.stack([expert.background for expert in made.members]).mean(0)
    found = rasterize([Layer(scene, lowpass=VolumeConfig().lowpass, near=near, background=background)], camera)
    assert_close(found.images[0], one.render(camera, 0.5).picture, atol=1e-5, rtol=0)


@pytest.mark.gpu
@no_gpu
def test_the_routers_shares_are_the_same_on_a_gpu() -> None:
    made = mixture(("poly", "key"))
    cameras = fusion.asked(made.rig)
    ours = fusion.responsibilities(made, 0.5, cameras)
    theirs = fusion.responsibilities(made.to("cuda"), 0.5, cameras)
    for share, again in zip(ours, theirs, strict=True):
        assert_close(again.cpu(), share, rtol=0, atol=1e-3)  # two backends' sums in float32
