"""Points to start from: from files, at random, triangulated, or none."""

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import recordings
import torch
from recordings import FAR, HEIGHT, NEAR, WIDTH
from torch.testing import assert_close

from moegs.data import DataConfig, load_scene, triangulation
from moegs.data.scene import Rig

ROOM = Path(__file__).parent / "assets" / "room"


def test_points_carry_the_time_of_their_frame(tiny: Path) -> None:
    recordings.write_points(tiny / "points_0002.npz", count=7)
    points = load_scene(DataConfig(path=tiny)).points
    assert (points.times == 0).sum() == 20
    assert (points.times == 0.5).sum() == 7
    assert torch.equal(points.colors, torch.tensor([1.0, 0, 0]).expand(27, 3))
    first = load_scene(DataConfig(path=tiny)).first_points
    assert first is not None
    assert torch.equal(first.times, torch.zeros(20))
    both = load_scene(DataConfig(path=tiny, random_points=50))
    assert both.first_points is not None
    assert (len(both.points.means), len(both.first_points.means)) == (77, 70)  # random ones are of no frame
    later = load_scene(DataConfig(path=tiny, start=2)).points
    assert torch.equal(later.times, torch.zeros(7))


def test_points_from_ply(tiny: Path) -> None:
    from plyfile import PlyData, PlyElement

    rows = np.array([(0, 0, 2, 0, 255, 0), (0.1, 0, 3, 0, 255, 0)], dtype="f4,f4,f4,u1,u1,u1")
    rows.dtype.names = ("x", "y", "z", "red", "green", "blue")
    PlyData([PlyElement.describe(rows, "vertex")]).write(str(tiny / "cloud.ply"))
    points = load_scene(DataConfig(path=tiny, points_file=tiny / "cloud.ply")).points
    assert_close(points.means, torch.tensor([[0.0, 0, 2], [0.1, 0, 3]]))
    assert torch.equal(points.colors, torch.tensor([[0.0, 1, 0]] * 2))


def test_points_that_no_training_camera_sees_are_left_out(tiny: Path) -> None:
    seen = [[0, 0, 2.0], [0.1, 0, 4.9]]
    unseen = [[0, 0, 0.9], [0, 0, 5.1], [0, 0, -2], [3, 0, 2], [np.nan, 0, 2]]  # by near, far, behind, aside, no place
    np.savez(tiny / "points_0000.npz", xyz=np.array(seen + unseen), rgb=np.zeros((7, 3), np.uint8))
    assert_close(load_scene(DataConfig(path=tiny)).points.means, torch.tensor(seen))


def in_a_training_view(means: torch.Tensor, rig: Rig) -> torch.Tensor:
    seen = torch.zeros(len(means), dtype=torch.bool)
    for number in rig.train:
        camera = rig.cameras[number]
        x, y, z = (means @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]).unbind(1)
        u, v = camera.K[0, 0] * x / z + camera.K[0, 2], camera.K[1, 1] * y / z + camera.K[1, 2]
        slack = 1e-3  # float32
        inside = (u > -slack) & (u < WIDTH + slack) & (v > -slack) & (v < HEIGHT + slack)
        seen |= inside & (z > NEAR - slack) & (z < FAR + slack)
    return seen


def test_random_points_fill_what_the_cameras_see(tiny: Path) -> None:
    scene = load_scene(DataConfig(path=tiny, random_points=500))
    points = scene.points
    assert len(points.means) == 520
    assert in_a_training_view(points.means, scene.rig).all()
    assert torch.equal(points.colors[20:], torch.tensor([1.0, 0, 0]).expand(500, 3))  # of the nearest file point
    assert float(points.times[20:].min()) >= 0
    assert float(points.times[20:].max()) < 1
    assert float(points.times[20:].std()) > 0.2  # uniform: 0.29
    again, other = (load_scene(DataConfig(path=tiny, random_points=500, seed=seed)).points for seed in (0, 1))
    assert torch.equal(again.means, points.means)
    assert not torch.equal(other.means, points.means)


def test_random_points_alone_have_the_colour_of_their_pixel_at_their_time(tiny: Path) -> None:
    scene = load_scene(DataConfig(path=tiny, points="none", random_points=100))
    red, green, blue = (scene.points.colors * 255).round().unbind(1)
    assert set(red.tolist()) == {10.0, 20.0}  # the training cameras
    assert torch.equal(green, 10 * (scene.points.times * 4).floor())
    assert (blue == 50).all()
    assert (scene.rig.bounds[1] > scene.rig.bounds[0]).all()


@pytest.mark.parametrize("source", ["file", "triangulation"])
def test_without_points_the_ways_to_get_some_are_told(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, source: Literal["file", "triangulation"]
) -> None:
    (tiny / "points_0000.npz").unlink()
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    told = r"no points to start from.*data\.points_file, pip install 'moegs\[colmap\]'.*data\.random_points"
    with pytest.raises(ValueError, match=told):
        load_scene(DataConfig(path=tiny, points=source))


@pytest.mark.parametrize("binary", [False, True])
def test_a_colmap_model_of_poses_alone_has_no_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, binary: bool
) -> None:
    """What COLMAP's model of known poses is: random points serve, or where they are asked for those of a file."""
    model = recordings.write_colmap(tmp_path / "tiny") / "sparse" / "0"
    (model / "points3D.txt").unlink()
    (model / f"points3D.{'bin' if binary else 'txt'}").write_bytes(bytes(8) if binary else b"# no points\n")
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    scene = load_scene(DataConfig(path=tmp_path / "tiny"))
    assert len(scene.points.means) == 20_000
    assert "pycolmap is missing" in scene.warnings[0]
    with pytest.raises(ValueError, match="no points to start from"):
        load_scene(DataConfig(path=tmp_path / "tiny", points="file"))


def test_a_file_that_is_asked_for_must_hold_points(tiny: Path) -> None:
    empty = tiny / "empty.npz"
    np.savez(empty, xyz=np.zeros((0, 3)), rgb=np.zeros((0, 3), np.uint8))
    with pytest.raises(ValueError, match=r"empty\.npz: holds no points; give another file, or leave data\.points_file"):
        load_scene(DataConfig(path=tiny, points_file=empty))


def test_it_is_told_where_training_starts(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**choices: Any) -> str:
        return load_scene(DataConfig(path=tiny, **choices)).summary.rpartition("; starts from ")[2]

    assert told() == "20 points in 'points_0000.npz'"
    assert told(random_points=1000) == "20 points in 'points_0000.npz' and 1,000 random ones"
    assert told(points="none", random_points=30) == "30 random points"
    recordings.write_points(tiny / "points_0002.npz", count=7)
    assert told() == "27 points in 'points_0000.npz' and its like"
    np.savez(tiny / "points_0000.npz", xyz=np.array([[0, 0, 2.0], [0, 0, 2.5], [0, 0, 99]]), rgb=np.zeros((3, 3)))
    (tiny / "points_0002.npz").unlink()
    assert told() == "2 of 3 points in 'points_0000.npz'"
    found = triangulation.Points(torch.tensor([[0.0, 0, 2]]).expand(5, 3), torch.zeros(5, 3), torch.zeros(5))
    monkeypatch.setattr(triangulation, "triangulate", lambda *_: found)
    assert told(points="triangulation") == "5 points triangulated by COLMAP"


def test_without_points_and_pycolmap_random_ones_serve_with_a_warning(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_scene(DataConfig(path=tiny)).warnings == ()
    (tiny / "points_0000.npz").unlink()
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    scene = load_scene(DataConfig(path=tiny, random_points=300))
    assert len(scene.points.means) == 300
    (warning,) = scene.warnings
    assert "starts from 300 random points, which train worse than found ones: pycolmap is missing (pip" in warning
    assert in_a_training_view(scene.points.means, scene.rig).all()


def test_random_points_fill_a_box_that_is_asked_for(tiny: Path) -> None:
    box = ((-0.1, -0.2, 2.0), (0.1, 0.0, 3.0))
    scene = load_scene(DataConfig(path=tiny, points="none", random_points=400, bounds=box))
    low, high = torch.tensor(box)
    assert ((scene.points.means >= low) & (scene.points.means <= high)).all()
    assert_close(scene.rig.bounds, torch.tensor(box))
    inside = in_a_training_view(scene.points.means, scene.rig)
    red, green, _ = (scene.points.colors[inside] * 255).round().unbind(1)
    seen = red != 128  # grey where the camera that was drawn does not see it
    assert seen.float().mean() > 0.5
    assert torch.equal(green[seen], (10 * (scene.points.times[inside] * 4).floor())[seen])


def test_who_needs_no_points_is_not_asked_for_any(tiny: Path) -> None:
    (tiny / "points_0000.npz").unlink()
    scene = load_scene(DataConfig(path=tiny), with_points=False)
    assert len(scene.points.means) == 0
    assert scene.photos.at(1, 1).shape == (HEIGHT, WIDTH, 3)


def test_triangulated_points_lie_on_what_the_file_has_and_are_found_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first frame, or with their time at several; kept for whoever asks for the same."""
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    config = DataConfig(path=ROOM, points="triangulation", cache_dir=tmp_path)
    found = load_scene(config).points
    known = load_scene(DataConfig(path=ROOM)).points
    nearest = torch.cdist(found.means, known.means).amin(1)
    assert len(found.means) > 500
    assert float(nearest.median()) < 0.1  # the room is 5 wide; other features are found, on the same surfaces
    assert (found.times == 0).all()
    monkeypatch.setattr(triangulation, "_run", lambda *arguments: pytest.fail("triangulated again"))
    assert torch.equal(load_scene(config).points.means, found.means)


def test_points_of_several_frames_have_their_times(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    place = np.array([[0.0, 0.0, 2.0], [0.1, 0.0, 3.0]])
    monkeypatch.setattr(triangulation, "_run", lambda scene, cameras, frame: (place, np.zeros((2, 3), np.uint8)))
    heard: list[tuple[str, int, int]] = []
    config = DataConfig(path=tiny, points="triangulation", points_at="every", points_step=3)
    scene = load_scene(config, on_prepared=lambda *event: heard.append(event))
    assert scene.points.times.tolist() == [0, 0, 0.75, 0.75]
    assert heard[-2:] == [("triangulated frames", 1, 2), ("triangulated frames", 2, 2)]


def test_where_nothing_matches_random_points_serve_with_a_warning(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    (tiny / "points_0000.npz").unlink()
    nothing = np.zeros((0, 3)), np.zeros((0, 3), np.uint8)
    monkeypatch.setattr(triangulation, "_run", lambda scene, cameras, frame: nothing)
    scene = load_scene(DataConfig(path=tiny, random_points=100, cache_dir=tiny / "cache"))
    assert len(scene.points.means) == 100
    assert "triangulation: nothing matches between the training cameras" in scene.warnings[0]
    with pytest.raises(ValueError, match="nothing matches between the training cameras; give a file of points"):
        load_scene(DataConfig(path=tiny, points="triangulation", cache_dir=tiny / "cache"))


def test_asking_for_every_frames_points_where_a_file_has_them_is_refused(tiny: Path) -> None:
    with pytest.raises(
        ValueError, match=r"data\.points_at is every, but 'points_0000\.npz' has points; set data\.points"
    ):
        load_scene(DataConfig(path=tiny, points_at="every"))
