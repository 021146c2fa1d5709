"""The same made scene in every layout: the same cameras, times and pictures; and what each layout has of its own."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import recordings
import torch
from PIL import Image
from recordings import HEIGHT, WIDTH, View
from torch.testing import assert_close

from moegs.cameras import Camera
from moegs.data import DataConfig, Scene, load_scene

HAVE_PYCOLMAP = find_spec("pycolmap") is not None
LAYOUTS: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "n3v": ("n3v", recordings.write_n3v),
    "technicolor": ("technicolor", recordings.write_technicolor),
    "nerfstudio": ("nerfstudio", recordings.write_nerfstudio),
    "colmap text": ("colmap", recordings.write_colmap),
    "folders": ("folders", recordings.write_own),
    "folders per frame": ("folders", lambda root: recordings.write_own(root, "frames/{frame:04}/{camera}.png")),
}
if HAVE_PYCOLMAP:  # which writes the binary model
    LAYOUTS["colmap binary"] = ("colmap", lambda root: recordings.write_colmap(root, binary=True))


@pytest.fixture(autouse=True)
def _no_triangulation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moegs.data.points.find_spec", lambda name: None)


def loaded(path: Path, **choices: object) -> Scene:
    return load_scene(DataConfig(path=path, random_points=50, **choices))  # type: ignore[arg-type]


def assert_same_view(camera: Camera, view: View) -> None:
    """Points of the world fall where geometry has them; to a thousandth of a pixel, as files of few digits allow."""
    for point in np.random.default_rng(1).uniform([-0.5, -0.5, 2.5], [0.5, 0.5, 3.5], (5, 3)):
        local = camera.viewmat.double() @ torch.tensor([*point, 1.0], dtype=torch.float64)
        pixel = (camera.K.double() @ local[:3])[:2] / local[2]
        assert_close(pixel, torch.from_numpy(view.pixel(point)), rtol=0, atol=1e-3)
        assert local[2] > 0


@pytest.mark.parametrize(("found", "write"), LAYOUTS.values(), ids=LAYOUTS)
def test_a_scene_is_the_same_in_every_layout(tmp_path: Path, found: str, write: Callable[[Path], Path]) -> None:
    scene = loaded(write(tmp_path / "made"))
    rig = scene.rig
    assert f"made: {found} ('" in scene.summary
    assert rig.names == ("cam00", "cam01", "cam02")
    assert (rig.test, rig.train) == ((0,), (1, 2))
    assert [rig.timeline.t(frame) for frame in range(4)] == [0, 0.25, 0.5, 0.75]
    assert (scene.seen, rig.timeline.fps) == (None, 30.0)
    for camera, view in zip(
        rig.cameras, recordings.views(shift=(0, 0) if found == "n3v" else (2.5, -1.5)), strict=True
    ):
        assert (camera.width, camera.height) == (WIDTH, HEIGHT)
        assert_same_view(camera, view)
    for camera in range(3):
        for frame in range(4):
            assert np.array_equal(scene.photos.at(camera, frame).numpy(), recordings.frame(camera, frame))


@pytest.mark.parametrize(("found", "write"), LAYOUTS.values(), ids=LAYOUTS)
def test_frames_cameras_and_sizes_are_chosen_alike(tmp_path: Path, found: str, write: Callable[[Path], Path]) -> None:
    choices = {"start": 1, "end": 3, "skip": ("cam00",), "test": ("cam02",), "downscale": 2, "format": found}
    scene = loaded(write(tmp_path / "made"), **choices)
    assert (scene.rig.names, scene.rig.train, scene.rig.test) == (("cam01", "cam02"), (0,), (1,))
    assert scene.rig.timeline.frames == 2
    assert_close(scene.photos.at(0, 1), torch.from_numpy(recordings.frame(1, 2).copy())[::2, ::2])
    assert (scene.rig.cameras[0].width, scene.rig.cameras[0].height) == (WIDTH // 2, HEIGHT // 2)


def test_a_folder_of_nothing_that_is_known_says_what_would_be(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no data set that is known lies here; expected one of 'poses_bounds\.npy'"):
        loaded(tmp_path)


def test_technicolor_uses_the_published_frames_and_camera(tmp_path: Path) -> None:
    root = recordings.write_technicolor(tmp_path / "Theater", scene="Theater", first=50)  # published: from 51 on
    scene = loaded(root)
    assert scene.rig.timeline.frames == 3
    assert np.array_equal(scene.photos.at(1, 0).numpy(), recordings.frame(1, 1))
    rows = (root / "cameras_parameters.txt").read_text().splitlines()
    (root / "cameras_parameters.txt").write_text("\n".join(rows + rows[1:] * 3) + "\n")
    for camera in range(3, 12):
        for number in range(50, 54):
            image = Image.open(root / f"Theater_undist_{number:05}_00.png")
            image.save(root / f"Theater_undist_{number:05}_{camera:02}.png")
    assert loaded(root).rig.names[loaded(root).rig.test[0]] == "cam10"


def test_the_damaged_frame_of_birthday_is_filled_from_the_one_before(tmp_path: Path) -> None:
    root = recordings.write_technicolor(tmp_path / "Birthday", scene="Birthday", first=171)
    rows = (root / "cameras_parameters.txt").read_text().splitlines()
    (root / "cameras_parameters.txt").write_text("\n".join(rows + rows[1:] * 2 + rows[1:2]) + "\n")
    noise = np.random.default_rng(0).integers(1, 256, (4, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for camera in range(3, 10):
        for number in range(4):
            Image.fromarray(noise[number]).save(root / f"Birthday_undist_{171 + number:05}_{camera:02}.png")
    damaged = root / "Birthday_undist_00173_09.png"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 2 // 3])
    photo = loaded(root).photos.at(9, 2).numpy()
    assert np.array_equal(photo[: HEIGHT // 2], noise[2, : HEIGHT // 2])
    assert np.array_equal(photo[-2:], noise[1, -2:])
    other = root / "Birthday_undist_00173_08.png"
    other.write_bytes(other.read_bytes()[: other.stat().st_size * 2 // 3])
    with pytest.raises(ValueError, match=r"Birthday_undist_00173_08\.png: cannot be read as a picture"):
        loaded(root).photos.at(8, 2)


def test_a_moving_camera_is_one_camera_per_picture_at_its_own_time(tmp_path: Path) -> None:
    scene = loaded(recordings.write_dnerf(tmp_path / "made"), background=(1.0, 1.0, 1.0))
    rig = scene.rig
    assert rig.names == (*(f"train/r_{n:03}" for n in range(5)), "test/r_000", "test/r_001")
    assert (rig.train, rig.test) == ((0, 1, 2, 3, 4), (5, 6))
    assert rig.timeline.times == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert scene.seen == ((0,), (1,), (2,), (3,), (4,), (0,), (4,))
    assert scene.pairs(rig.train) == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    for camera, view in zip(rig.cameras, [*recordings.views(5, (0, 0)), *recordings.views(2, (0, 0))], strict=True):
        assert_same_view(camera, view)
    photo = scene.photos.at(3, 3)
    assert photo[-1, 0].tolist() == [200, 30, 50]
    assert photo[0, 0].tolist() == [244, 210, 214]  # a fifth of it over white: 0.2 * 200 + 0.8 * 255 and so on
    with pytest.raises(ValueError, match="no frame 2 of camera 3; it has 3"):
        scene.photos.at(3, 2)
    assert "no frame has photos of two" in scene.warnings[0] or "pycolmap is missing" in scene.warnings[0]
    assert_close(rig.bounds, torch.tensor([[-1.3] * 3, [1.3] * 3]))


def test_a_moving_camera_can_be_cut_in_time(tmp_path: Path) -> None:
    scene = loaded(recordings.write_dnerf(tmp_path / "made"), start=1, end=3)
    assert scene.rig.names == ("train/r_001", "train/r_002")
    assert scene.rig.timeline.times == (0.25, 0.5)
    assert scene.photos.at(1, 1)[-1, 0].tolist() == [200, 20, 50]


def test_validation_pictures_serve_where_there_are_no_test_pictures(tmp_path: Path) -> None:
    (recordings.write_dnerf(tmp_path / "made") / "transforms_test.json").unlink()
    rig = loaded(tmp_path / "made").rig
    assert [rig.names[number] for number in rig.test] == ["val/r_000"]


def test_nerfstudio_reads_a_lens_per_picture_and_the_pictures_it_holds_out(tmp_path: Path) -> None:
    root = recordings.write_nerfstudio(tmp_path / "made")
    contents = json.loads((root / "transforms.json").read_text())
    for entry in contents["frames"]:
        if "cam02" in entry["file_path"]:
            entry |= {"fl_x": 60.0, "fl_y": 50.0, "w": 2 * WIDTH, "h": 2 * HEIGHT, "cx": 30.0, "cy": 20.0}
    contents["test_filenames"] = [f"images/cam01/{n:04}.png" for n in range(4)]
    (root / "transforms.json").write_text(json.dumps(contents))
    rig = loaded(root).rig
    assert_close(rig.cameras[2].K, torch.tensor([[30.0, 0, 15], [0, 25, 10], [0, 0, 1]]))
    assert rig.test == (1,)


def test_colmap_points_start_the_training(tmp_path: Path) -> None:
    for binary in (False, True)[: 1 + HAVE_PYCOLMAP]:
        root = recordings.write_colmap(tmp_path / str(binary), binary)
        points = load_scene(DataConfig(path=root)).points
        order = points.means[:, 2].argsort()
        assert_close(points.means[order], torch.tensor([[0.0, 0.0, 2.8], [0.1, 0.0, 3.0], [-0.1, 0.1, 3.2]]))
        assert torch.equal(points.colors[order], torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]))


def test_colmap_without_frames_per_camera_is_a_moving_camera(tmp_path: Path) -> None:
    root = recordings.write_colmap(tmp_path / "made")
    for camera in range(3):
        (root / "images" / f"cam{camera:02}" / "0000.png").rename(root / "images" / f"cam{camera:02}.png")
        for picture in (root / "images" / f"cam{camera:02}").iterdir():
            picture.unlink()
        (root / "images" / f"cam{camera:02}").rmdir()
    scene = load_scene(DataConfig(path=root))
    assert scene.seen == ((0,), (1,), (2,))
    assert scene.rig.timeline.times == (0.0, 1 / 3, 2 / 3)
    assert scene.rig.test == (0,)


def test_own_layout_reads_videos_depths_and_held_out_cameras(tmp_path: Path) -> None:
    root = recordings.write_own(tmp_path / "made", "away/{camera}/{frame:04}.png")
    for camera in range(3):
        planes = recordings.grey_planes([60, 120, 180])
        recordings.write_video(root / f"cam{camera:02}.mp4", planes, "yuv420p", rate=25)
    contents = json.loads((root / "cameras.json").read_text())
    contents["cameras"] = [camera | {"near": 2.0, "far": 4.0} for camera in contents["cameras"]]
    (root / "cameras.json").write_text(json.dumps(contents | {"test": ["cam02"]}))
    scene = load_scene(DataConfig(path=root, points="none", random_points=200))
    assert (scene.rig.test, scene.rig.timeline.frames, scene.rig.timeline.fps) == ((2,), 3, 25.0)
    cameras = [scene.rig.cameras[number] for number in scene.rig.train]
    depths = torch.stack([scene.points.means @ c.viewmat[2, :3] + c.viewmat[2, 3] for c in cameras])
    assert ((depths > 1.999) & (depths < 4.001)).any(0).all()
