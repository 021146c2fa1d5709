"""One clear line for each way to break a data set in the layout of Neural 3D Video."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from PIL import Image
from recordings import HEIGHT, WIDTH

from moegs.data import DataConfig, load_scene


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


def points_of(xyz: np.ndarray) -> Callable[[Path], None]:
    return lambda root: np.savez(root / "points_0000.npz", xyz=xyz, rgb=np.zeros((3, 3), np.uint8))


def header_of(shape: tuple[int, ...]) -> bytes:
    """An array file that says so, and ends."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return file.getvalue()


def png_of(width: int, height: int) -> bytes:
    """A picture that says to be so large, with nothing in it."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


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
    "no rotation": (poses_of(with_value((2, 0), 4.0)), r"camera 'cam02': its pose is no rotation"),
    "near and far": (poses_of(with_value((2, 15), 9.0)), r"camera 'cam02': .*near 9, far 5.*near less than far"),
    "proportions": (
        poses_of(with_value((0, 9), 50.0)),
        r"pictures of 32x24, but its intrinsics are for 50x48; .* proportions",
    ),
    "no cameras": (
        lambda root: [folder.rename(root / f"x{folder.name}") for folder in root.glob("cam*")],
        r"tiny: no cameras here; expected a video 'NAME\.mp4', a folder of frames .* NAME like cam00",
    ),
    "empty folder": (empty_folder, r"cam01: no frames in this folder; add pictures"),
    "missing frame": (drop("cam01/0002.png"), r"cam01: 3 frames up to 3, but frame 2 is missing; .* data\.end to 2"),
    "frame counts": (
        drop("cam01/0003.png"),
        r"'cam01' has 3 frames, but 4 are asked for; 'cam00' has 4; set data\.end",
    ),
    "frame twice": (picture("cam01/002.png", 4, 4), r"'0002\.png' and '002\.png' are the same frame"),
    "no number": (picture("cam01/last.png", 4, 4), r"last\.png: no frame number in its name"),
    "two sizes": (larger_camera, r"different sizes: 32x24 \('cam0[02]'\), 64x48 \('cam01'\)"),
    "points": (wrong_points, r"points_0000\.npz: got xyz \[3, 2\] and rgb \[3, 3\], expected"),
    "poses in an archive": (
        lambda root: (np.savez(root / "p.npz", a=np.zeros(3)), (root / "p.npz").rename(root / "poses_bounds.npy")),
        r"poses_bounds\.npy: is an archive of arrays \(\.npz\), expected one array",
    ),
    "poses cut off": (
        lambda root: (root / "poses_bounds.npy").write_bytes(b"PK\x03\x04 cut"),
        r"poses_bounds\.npy: cannot be read as an array",
    ),
    "poses beyond memory": (
        lambda root: (root / "poses_bounds.npy").write_bytes(header_of((10**12, 17))),
        r"poses_bounds\.npy: cannot be read as an array",
    ),
    "endless depth": (poses_of(with_value((2, 16), 1e300)), r"camera 'cam02': .*far 1e\+300.*far up to 1e\+15"),
    "far pose": (poses_of(with_value((2, 3), 1e30)), r"camera 'cam02': .* number beyond 1e\+15; scale"),
    "picture beyond memory": (
        lambda root: [(file.write_bytes(png_of(30000, 30000))) for file in (root / "cam01").iterdir()],
        r"cam01/0000\.png: cannot be read as a picture",
    ),
    "points of text": (points_of(np.full((3, 3), "x")), r"points_0000\.npz: got xyz of <U1 .*expected numbers"),
    "complex points": (points_of(np.zeros((3, 3), complex)), r"got xyz of complex128 .*expected numbers"),
    "points are text": (
        lambda root: (root / "points_0000.npz").write_text("1 2 3"),
        r"points_0000\.npz: cannot be read as points \(.*\); replace it",
    ),
}


@pytest.mark.parametrize(("breaking", "told"), BROKEN.values(), ids=BROKEN)
def test_broken_data_is_told_in_one_line(tiny: Path, breaking: Callable[[Path], object], told: str) -> None:
    breaking(tiny)
    with pytest.raises(ValueError, match=told) as caught:
        load_scene(DataConfig(path=tiny, format="n3v"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("choices", "told"),
    [
        ({"downscale": 1000}, r"data\.downscale is 1000, which leaves nothing of camera 'cam00' with 32x24 pixels"),
        ({"random_points": 10**12}, r"random_points: got 1000000000000, expected 0 to 100000000"),
        ({"seed": -1}, r"seed: got -1, expected 0 or more"),
        ({"far": float("inf")}, r"near, far: got None and inf, expected more than 0, up to 1e\+15"),
    ],
)
def test_choices_that_fit_no_data_are_told(tiny: Path, choices: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load_scene(DataConfig(path=tiny, **choices))


def test_what_may_not_be_read_is_told(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)  # the tests may run as root, who may read everything
    with pytest.raises(ValueError, match=r"tiny: cannot be reached \(Permission denied\); allow it"):
        load_scene(DataConfig(path=tiny))


def test_a_frame_of_another_size_is_told_when_it_is_read(tiny: Path) -> None:
    picture("cam01/0002.png", WIDTH, HEIGHT + 1)(tiny)
    with pytest.raises(ValueError, match=r"0002\.png: 32x25 pixels, but '0000\.png' has 32x24"):
        load_scene(DataConfig(path=tiny)).photos.at(1, 0)


def test_cameras_that_do_not_begin_together_are_told(tiny: Path) -> None:
    (tiny / "cam01" / "0000.png").unlink()
    told = r"tiny: camera 'cam01' begins with frame 1, but 'cam00' with frame 0; give all cameras the same frames"
    with pytest.raises(ValueError, match=told):
        load_scene(DataConfig(path=tiny, end=3))


def test_what_lies_behind_the_end_may_be_missing(tiny: Path) -> None:
    (tiny / "cam01" / "0002.png").unlink()
    assert load_scene(DataConfig(path=tiny, end=2)).rig.timeline.frames == 2


def test_fewer_frames_suffice_when_end_says_so(tiny: Path) -> None:
    (tiny / "cam01" / "0003.png").unlink()
    assert load_scene(DataConfig(path=tiny, end=3)).rig.timeline.frames == 3
