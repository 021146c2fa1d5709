"""The N3V loader: cameras, frames, colours, points, caches; and one clear line for each way to break a data set."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import recordings
import torch
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image
from recordings import FAR, HEIGHT, NEAR, WIDTH
from torch.testing import assert_close

from moegs.data import DataConfig, load_scene
from moegs.data.scene import Rig

ROOM = Path(__file__).parent / "assets" / "room"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three cameras with four pictures each."""
    return recordings.write_folders(tmp_path / "tiny")


# What is read


def test_room_has_its_cameras_frames_and_splits() -> None:
    rig = load_scene(DataConfig(path=ROOM)).rig
    assert rig.names == tuple(f"cam{number:02}" for number in range(12))
    assert (rig.test, rig.train) == ((0,), tuple(range(1, 12)))
    assert (rig.timeline.frames, rig.timeline.fps, rig.timeline.t(15)) == (30, 30.0, 0.5)
    assert (rig.cameras[3].width, rig.cameras[3].height) == (320, 240)
    assert torch.equal(rig.background, torch.zeros(3))


def test_room_cameras_are_those_of_its_other_description() -> None:
    described = json.loads((ROOM / "transforms.json").read_text())
    rig = load_scene(DataConfig(path=ROOM)).rig
    for camera, entry in zip(rig.cameras, described["cameras"], strict=True):
        # Camera to world with y up and z backward (OpenGL), against world to camera with y down and z forward.
        expected = np.linalg.inv(np.array(entry["transform_matrix"]) @ np.diag([1, -1, -1, 1]))
        assert_close(camera.viewmat.double(), torch.tensor(expected), rtol=0, atol=1e-5)  # float32
        K = [[described["fl_x"], 0, described["cx"]], [0, described["fl_y"], described["cy"]], [0, 0, 1]]
        assert_close(camera.K.double(), torch.tensor(K, dtype=torch.float64), rtol=1e-6, atol=0)


def test_room_points_fall_on_pixels_of_their_colour() -> None:
    scene = load_scene(DataConfig(path=ROOM))
    camera, photo = scene.rig.cameras[1], scene.photos.at(1, 0).float() / 255
    local = scene.points.means @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    pixels = (local @ camera.K.T)[:, :2] / local[:, 2:]
    inside = ((pixels >= 0) & (pixels < torch.tensor([320, 240]))).all(1)
    column, row = pixels[inside].long().unbind(1)
    difference = (photo[row, column] - scene.points.colors[inside]).abs().mean(1)
    assert float(difference.median()) < 0.05  # many are hidden in this view or lie on edges; a wrong pose gives 0.2


def test_up_and_bounds_of_room() -> None:
    rig = load_scene(DataConfig(path=ROOM)).rig
    assert float(rig.up @ torch.tensor([0.0, 0.0, 1.0])) > 0.99  # its world has z upwards
    assert ((rig.bounds[1] - rig.bounds[0] > 1) & (rig.bounds.abs().amax(0) < 4)).all()


@pytest.mark.parametrize("inner", ["cam{:02}", "cam{:02}/images", "images/cam{:02}"])
def test_folders_of_frames_in_three_layouts(tmp_path: Path, inner: str) -> None:
    scene = load_scene(DataConfig(path=recordings.write_folders(tmp_path, inner=inner), fps=25.0))
    assert scene.rig.names == ("cam00", "cam01", "cam02")
    assert scene.rig.timeline.fps == 25.0
    for camera, frame in [(2, 3), (0, 1), (2, 0)]:
        assert np.array_equal(scene.photos.at(camera, frame).numpy(), recordings.frame(camera, frame))


def test_focal_length_is_scaled_to_the_pictures_and_the_poses_are_turned(tiny: Path) -> None:
    camera = load_scene(DataConfig(path=tiny)).rig.cameras[2]  # the file speaks of pictures twice as large
    assert_close(camera.K, torch.tensor([[30.0, 0, WIDTH / 2], [0, 30.0, HEIGHT / 2], [0, 0, 1]]))
    expected = torch.eye(4)
    expected[0, 3] = -0.2
    assert_close(camera.viewmat, expected)


def test_gaps_in_camera_numbers_follow_the_sorted_names(tiny: Path) -> None:
    (tiny / "cam01").rename(tiny / "cam07")
    scene = load_scene(DataConfig(path=tiny))
    assert scene.rig.names == ("cam00", "cam02", "cam07")
    assert [round(float(camera.center[0]), 4) for camera in scene.rig.cameras] == [0.0, 0.1, 0.2]
    assert np.array_equal(scene.photos.at(2, 1).numpy(), recordings.frame(1, 1))


def test_cameras_are_held_out_or_skipped_by_name(tiny: Path) -> None:
    rig = load_scene(DataConfig(path=tiny, test=("cam02",), skip=("cam00",))).rig
    assert (rig.names, rig.train, rig.test) == (("cam01", "cam02"), (0,), (1,))


def test_frames_are_counted_from_the_first_that_is_used(tiny: Path) -> None:
    scene = load_scene(DataConfig(path=tiny, start=1, end=3))
    assert (scene.rig.timeline.frames, scene.rig.timeline.t(1)) == (2, 0.5)
    assert np.array_equal(scene.photos.at(1, 0).numpy(), recordings.frame(1, 1))
    with pytest.raises(ValueError, match="no frame 2; there are 2"):
        scene.photos.at(1, 2)


def test_frames_may_be_numbered_from_one(tiny: Path) -> None:
    for picture in sorted(tiny.glob("cam*/*.png"), reverse=True):
        picture.rename(picture.with_stem(f"{int(picture.stem) + 1:04}"))
    assert np.array_equal(load_scene(DataConfig(path=tiny)).photos.at(0, 3).numpy(), recordings.frame(0, 3))


def test_downscale_averages_areas_and_shrinks_the_camera(tiny: Path) -> None:
    stripes = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    Image.fromarray(stripes).save(tiny / "cam01" / "0002.png")
    scene = load_scene(DataConfig(path=tiny, downscale=2))
    assert np.array_equal(scene.photos.at(1, 2).numpy(), np.full((HEIGHT // 2, WIDTH // 2, 3), 100))
    camera = scene.rig.cameras[1]
    assert (camera.width, camera.height) == (WIDTH // 2, HEIGHT // 2)
    assert_close(camera.K, torch.tensor([[15.0, 0, WIDTH / 4], [0, 15.0, HEIGHT / 4], [0, 0, 1]]))


# Videos


def one_video(root: Path, levels: list[int], *options: str, chroma: tuple[int, int] = (128, 128)) -> Path:
    """A data set of one training camera and one held out, with flat grey frames of these luma levels."""
    root.mkdir(exist_ok=True)
    for camera in range(2):
        planes = recordings.grey_planes(levels, chroma)
        recordings.write_video(root / f"cam{camera:02}.mp4", planes, "yuv420p", *options)
    np.save(root / "poses_bounds.npy", recordings.poses(2))
    recordings.write_points(root / "points_0000.npz")
    return root


def test_every_frame_has_its_own_number(tmp_path: Path) -> None:
    """Frames that refer to later ones (B frames) lie in another order in the file than on the screen."""
    levels = [16 + (37 * k) % 219 for k in range(40)]
    root = one_video(tmp_path, levels, "-bf", "3", "-b_strategy", "0", "-g", "12")
    for config in (DataConfig(path=root), DataConfig(path=root, start=7, end=31)):
        photos, last = load_scene(config).photos, config.end or 40
        for frame in [last - config.start - 1, 0, 11, 5, 12]:
            grey = 255 / 219 * (levels[config.start + frame] - 16)
            assert_close(photos.at(1, frame).float(), torch.full((HEIGHT, WIDTH, 3), grey), rtol=0, atol=1.01)


def test_room_frames_are_those_that_ffmpeg_gives_in_sequence() -> None:
    photos = load_scene(DataConfig(path=ROOM)).photos
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(ROOM / "cam05.mp4"),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    decoded = subprocess.run(command, capture_output=True, check=True).stdout
    expected = np.frombuffer(decoded, np.uint8).reshape(-1, 240, 320, 3).astype(float)
    assert len(expected) == 30
    for frame in [29, 3, 17]:
        errors = np.abs(expected - photos.at(5, frame).numpy()).mean((1, 2, 3))
        assert errors.argmin() == frame
        assert errors[frame] < 2  # its colours are rounded more coarsely


COLORS = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}
"""How much red and blue weigh in luma, as the two standards have it."""


def rgb(luma: int, chroma: tuple[int, int], matrix: str, full_range: bool) -> list[float]:
    """The colour of a YCbCr triple of 8 bits, in levels of 255, as the standards define it."""
    red, blue = COLORS[matrix]
    y = luma / 255 if full_range else (luma - 16) / 219
    cb, cr = ((value - 128) / (255 if full_range else 224) for value in chroma)
    r, b = y + 2 * (1 - red) * cr, y + 2 * (1 - blue) * cb
    return [255 * value for value in (r, (y - red * r - blue * b) / (1 - red - blue), b)]


def tags(text: str) -> list[str]:
    """What an H.264 stream says of its colours (1 is bt709, 6 bt601), written without touching the pictures."""
    return ["-bsf:v", f"h264_metadata={text}"]


@pytest.mark.parametrize(
    ("options", "setting", "matrix", "full_range"),
    [
        ([], "auto", "bt601", False),
        (tags("matrix_coefficients=1"), "auto", "bt709", False),
        (tags("matrix_coefficients=1:video_full_range_flag=1"), "auto", "bt709", True),
        (tags("matrix_coefficients=6"), "auto", "bt601", False),
        (tags("matrix_coefficients=6"), "bt709", "bt709", False),
    ],
)
def test_colours_of_a_video_are_those_of_its_standard(
    tmp_path: Path, options: list[str], setting: str, matrix: str, full_range: bool
) -> None:
    chroma = (110, 150)
    root = one_video(tmp_path, [60, 120, 180], *options, chroma=chroma)
    photos = load_scene(DataConfig(path=root, color_matrix=setting)).photos  # type: ignore[arg-type]
    for frame, luma in enumerate([60, 120, 180]):
        color = photos.at(0, frame).reshape(-1, 3).float().mean(0)
        expected = torch.tensor(rgb(luma, chroma, matrix, full_range))
        assert_close(color, expected, rtol=0, atol=1.0)  # rounding to whole levels


# The cache


def test_frames_are_decoded_when_asked_for(tiny: Path) -> None:
    scene = load_scene(DataConfig(path=tiny))
    (tiny / "cam02" / "0001.png").write_bytes(b"no picture")
    assert scene.photos.at(1, 1).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r"0001\.png: cannot be read as a picture"):
        scene.photos.at(2, 0)


def disk(tiny: Path, **settings: float) -> DataConfig:
    return DataConfig(path=tiny, cache="disk", cache_dir=tiny.parent / "cache", **settings)  # type: ignore[arg-type]


def test_disk_cache_keeps_frames_for_the_next_run(tiny: Path) -> None:
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), recordings.frame(1, 2))
    (file,) = (tiny.parent / "cache").iterdir()
    kept = np.load(file)
    assert kept.shape == (4, HEIGHT, WIDTH, 3)
    np.save(file, 255 - kept)
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), 255 - recordings.frame(1, 2))


def test_disk_cache_notices_changed_pictures_and_choices(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(1, 2)
    Image.fromarray(255 - recordings.frame(1, 2)).save(tiny / "cam01" / "0002.png")
    os.utime(tiny / "cam01" / "0002.png", (1, 1))
    assert np.array_equal(load_scene(disk(tiny)).photos.at(1, 2).numpy(), 255 - recordings.frame(1, 2))
    assert load_scene(disk(tiny, downscale=2)).photos.at(1, 2).shape == (HEIGHT // 2, WIDTH // 2, 3)


def test_disk_cache_holds_no_half_file_after_a_failure(tiny: Path) -> None:
    (tiny / "cam02" / "0003.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read as a picture"):
        load_scene(disk(tiny)).photos.at(2, 0)
    assert list((tiny.parent / "cache").iterdir()) == []


def test_disk_cache_makes_room_by_what_was_used_longest_ago(tiny: Path) -> None:
    cache, roll = tiny.parent / "cache", 4 * HEIGHT * WIDTH * 3
    cache.mkdir()
    for age, name in enumerate(["newer.npy", "older.npy"]):
        np.save(cache / name, np.zeros(roll, dtype=np.uint8))
        os.utime(cache / name, (1000 - age, 1000 - age))
    photos = load_scene(disk(tiny, disk_gb=3.1 * roll / 1e9)).photos  # room for three, and their headers
    photos.at(0, 0)
    assert len(list(cache.iterdir())) == 3
    photos.at(1, 0)
    assert not (cache / "older.npy").exists()
    assert (cache / "newer.npy").exists()
    photos.at(2, 0)
    assert not (cache / "newer.npy").exists()
    assert len(list(cache.iterdir())) == 3


def test_writing_into_a_photo_leaves_the_file_alone(tiny: Path) -> None:
    load_scene(disk(tiny)).photos.at(0, 0).zero_()
    assert np.array_equal(load_scene(disk(tiny)).photos.at(0, 0).numpy(), recordings.frame(0, 0))


def test_budgets_say_what_is_needed(tiny: Path) -> None:
    with pytest.raises(ValueError, match=r"take 2\.76e-05 GB, but data\.memory_gb is 1e-05; .* data\.cache to disk"):
        load_scene(DataConfig(path=tiny, cache="memory", memory_gb=1e-5))
    with pytest.raises(ValueError, match=r"data\.disk_gb is 1e-05; raise it, set a larger data\.downscale or fewer"):
        load_scene(disk(tiny, disk_gb=1e-5))


def test_auto_goes_to_disk_when_memory_does_not_suffice(tiny: Path) -> None:
    places = [
        str(load_scene(DataConfig(path=tiny, memory_gb=budget, cache_dir=tiny / "cache")).photos)
        for budget in (1.0, 1e-5)
    ]
    assert places == ["2.76e-05 GB in memory", f"2.76e-05 GB in {tiny / 'cache'}"]


# Points


def test_points_carry_the_time_of_their_frame(tiny: Path) -> None:
    recordings.write_points(tiny / "points_0002.npz", count=7)
    points = load_scene(DataConfig(path=tiny)).points
    assert (points.times == 0).sum() == 20
    assert (points.times == 0.5).sum() == 7
    assert torch.equal(points.colors, torch.tensor([1.0, 0, 0]).expand(27, 3))
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


def test_without_points_the_ways_to_get_some_are_told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tiny / "points_0000.npz").unlink()
    monkeypatch.setitem(sys.modules, "pycolmap", None)
    told = r"no points to start from.*data\.points_file, pip install 'moegs\[colmap\]'.*data\.random_points"
    for source in ("auto", "file", "triangulation"):
        with pytest.raises(ValueError, match=told):
            load_scene(DataConfig(path=tiny, points=source))  # type: ignore[arg-type]


def test_who_needs_no_points_is_not_asked_for_any(tiny: Path) -> None:
    (tiny / "points_0000.npz").unlink()
    scene = load_scene(DataConfig(path=tiny), with_points=False)
    assert len(scene.points.means) == 0
    assert scene.photos.at(1, 1).shape == (HEIGHT, WIDTH, 3)


def test_triangulated_points_lie_on_what_the_file_has() -> None:
    pytest.importorskip("pycolmap", reason="pycolmap is not installed")
    found = load_scene(DataConfig(path=ROOM, points="triangulation")).points
    known = load_scene(DataConfig(path=ROOM)).points
    nearest = torch.cdist(found.means, known.means).amin(1)
    assert len(found.means) > 500
    assert float(nearest.median()) < 0.1  # the room is 5 wide; other features are found, on the same surfaces


# What is broken


def drop(name: str) -> Callable[[Path], None]:
    return lambda root: (root / name).unlink()


def poses_of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    return lambda root: np.save(root / "poses_bounds.npy", change(recordings.poses(3)))


def with_value(place: tuple[int, int], value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(poses: np.ndarray) -> np.ndarray:
        poses[place] = value
        return poses

    return change


def picture(name: str, width: int, height: int) -> Callable[[Path], None]:
    return lambda root: Image.new("RGB", (width, height)).save(root / name)


def empty_folder(root: Path) -> None:
    for file in (root / "cam01").iterdir():
        file.unlink()


def larger_camera(root: Path) -> None:
    for number in range(4):
        picture(f"cam01/{number:04}.png", 2 * WIDTH, 2 * HEIGHT)(root)


def wrong_points(root: Path) -> None:
    np.savez(root / "points_0000.npz", xyz=np.zeros((3, 2)), rgb=np.zeros((3, 3), np.uint8))


BROKEN = {
    "no folder": (lambda root: root.rename(root.with_name("away")), r"tiny: no such folder; set data\.path"),
    "no poses": (drop("poses_bounds.npy"), r"poses_bounds\.npy: no such file; it holds the cameras"),
    "poses are text": (
        lambda root: (root / "poses_bounds.npy").write_text("1 2 3"),
        r"poses_bounds\.npy: cannot be read as an array \(.*\); replace it",
    ),
    "columns": (poses_of(lambda poses: poses[:, :15]), r"got float64 \[3, 15\], expected numbers \[cameras, 17\]"),
    "rows": (poses_of(lambda poses: poses[:2]), r"has 2 rows, but there are 3 cameras from 'cam00' to 'cam02'"),
    "NaN pose": (poses_of(with_value((1, 3), np.nan)), r"row 1 has a number that is not finite"),
    "no rotation": (poses_of(with_value((2, 0), 4.0)), r"camera 'cam02': the pose .* is no rotation"),
    "near and far": (poses_of(with_value((2, 15), 9.0)), r"camera 'cam02': .*near 9, far 5.*near less than far"),
    "proportions": (poses_of(with_value((0, 9), 50.0)), r"pictures of 32x24, but .* is for 50x48; .* proportions"),
    "no cameras": (
        lambda root: [folder.rename(root / f"x{folder.name}") for folder in root.glob("cam*")],
        r"tiny: no cameras here; expected videos such as 'cam00\.mp4' or folders of frames",
    ),
    "empty folder": (empty_folder, r"cam01: no frames in this folder; add pictures"),
    "missing frame": (drop("cam01/0002.png"), r"cam01: 3 frames up to 3, but frame 2 is missing; .* data\.end to 2"),
    "frame counts": (
        drop("cam01/0003.png"),
        r"'cam01' has 3 frames, but 4 are asked for; 'cam00' has 4; set data\.end",
    ),
    "frame twice": (picture("cam01/002.png", 4, 4), r"'0002\.png' and '002\.png' are the same frame"),
    "no number": (picture("cam01/last.png", 4, 4), r"last\.png: no frame number in its name"),
    "two sizes": (larger_camera, r"different sizes: 32x24 \('cam0[02]'\) and 64x48 \('cam01'\)"),
    "points": (wrong_points, r"points_0000\.npz: got xyz \[3, 2\] and rgb \[3, 3\], expected"),
    "points are text": (
        lambda root: (root / "points_0000.npz").write_text("1 2 3"),
        r"points_0000\.npz: cannot be read as points \(.*\); replace it",
    ),
}


@pytest.mark.parametrize(("breaking", "told"), BROKEN.values(), ids=BROKEN)
def test_broken_data_is_told_in_one_line(tiny: Path, breaking: Callable[[Path], object], told: str) -> None:
    breaking(tiny)
    with pytest.raises(ValueError, match=told) as caught:
        load_scene(DataConfig(path=tiny))
    assert "\n" not in str(caught.value)


def test_a_frame_of_another_size_is_told_when_it_is_read(tiny: Path) -> None:
    picture("cam01/0002.png", WIDTH, HEIGHT + 1)(tiny)
    with pytest.raises(ValueError, match=r"0002\.png: 32x25 pixels, but '0000\.png' has 32x24"):
        load_scene(DataConfig(path=tiny)).photos.at(1, 0)


def test_fewer_frames_suffice_when_end_says_so(tiny: Path) -> None:
    (tiny / "cam01" / "0003.png").unlink()
    assert load_scene(DataConfig(path=tiny, end=3)).rig.timeline.frames == 3


@pytest.mark.parametrize("front", [False, True], ids=["index at the end", "index in front"])
def test_a_truncated_video_is_told(tmp_path: Path, front: bool) -> None:
    root = one_video(tmp_path, list(range(20, 220, 2)), *(["-movflags", "+faststart"] if front else []))
    content = (root / "cam01.mp4").read_bytes()
    (root / "cam01.mp4").write_bytes(content[: len(content) * 9 // 10])
    with pytest.raises(ValueError, match=r"cam01\.mp4: no readable video.*; copy the file again") as caught:
        load_scene(DataConfig(path=root))
    assert "\n" not in str(caught.value)


def test_a_damaged_video_is_told_when_it_is_decoded(tmp_path: Path) -> None:
    root = tmp_path / "room"
    root.mkdir()
    for name in ("cam00.mp4", "cam01.mp4"):
        (root / name).write_bytes((ROOM / name).read_bytes())
    np.save(root / "poses_bounds.npy", np.load(ROOM / "poses_bounds.npy")[:2])
    (root / "points_0000.npz").write_bytes((ROOM / "points_0000.npz").read_bytes())
    content = bytearray((root / "cam01.mp4").read_bytes())
    content[30000:32000] = bytes(2000)
    (root / "cam01.mp4").write_bytes(content)
    scene = load_scene(DataConfig(path=root))
    with pytest.raises(ValueError, match=r"cam01\.mp4: frame \d+ of 30 cannot be decoded \(.*\); copy") as caught:
        scene.photos.at(1, 29)
    assert "\n" not in str(caught.value)


def test_unknown_choices_name_the_known() -> None:
    with pytest.raises(ValueError, match=r"data\.format: got 'n3w', expected n3v"):
        load_scene(DataConfig(path=ROOM, format="n3w"))
    with pytest.raises(ValueError, match=r"data\.test names camera 'cam12'; there are cam00, cam01"):
        load_scene(DataConfig(path=ROOM, test=("cam12",)))
    with pytest.raises(ValueError, match=r"no camera is left to train; name fewer"):
        load_scene(DataConfig(path=ROOM, test=tuple(f"cam{number:02}" for number in range(12))))
    with pytest.raises(ValueError, match=r"'cam00' has 30 frames, but 31 are asked for; set data\.end to 30"):
        load_scene(DataConfig(path=ROOM, end=31))
    with pytest.raises(ValueError, match=r"data\.start is 30, but there are 30 frames"):
        load_scene(DataConfig(path=ROOM, start=30))


@pytest.mark.parametrize(
    "values",
    [
        {"start": 3, "end": 3},
        {"downscale": 0},
        {"fps": 0.0},
        {"background": (2.0, 0.0, 0.0)},
        {"random_points": -1},
        {"points": "none"},
        {"memory_gb": 0.0},
    ],
    ids=str,
)
def test_choices_out_of_range_are_refused(values: dict) -> None:
    with pytest.raises(ValueError, match=re.escape(next(iter(values)))):
        DataConfig(path=ROOM, **values)


def test_importing_data_is_light() -> None:
    heavy = ["imageio", "imageio_ffmpeg", "cv2", "PIL", "numba", "plyfile", "pycolmap"]
    program = f"import sys, moegs.data, moegs.losses, moegs.metrics; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
