"""One clear line for each way to break a data set, in every layout but that of Neural 3D Video."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import recordings
from PIL import Image
from recordings import HEIGHT, WIDTH

from moegs.data import DataConfig, load_scene

Breaking = Callable[[Path], object]
WRITERS = {
    "technicolor": recordings.write_technicolor,
    "nerfstudio": recordings.write_nerfstudio,
    "colmap": recordings.write_colmap,
    "folders": recordings.write_own,
}


def drop(*names: str) -> Breaking:
    return lambda root: [(root / name).unlink() for name in names]


def write(name: str, text: str) -> Breaking:
    return lambda root: (root / name).write_text(text)


def edit(name: str, change: Callable[[Any], object]) -> Breaking:
    def breaking(root: Path) -> None:
        contents = json.loads((root / name).read_text())
        change(contents)
        (root / name).write_text(json.dumps(contents))

    return breaking


def replace(name: str, old: str, new: str) -> Breaking:
    def breaking(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new, 1))

    return breaking


def picture(name: str, width: int = 2 * WIDTH, height: int = 2 * HEIGHT) -> Breaking:
    return lambda root: Image.new("RGB", (width, height)).save(root / name)


def entry(**values: object) -> Breaking:
    """The sixth picture of nerfstudio's file, `images/cam01/0001.png`, with other values."""
    return edit("transforms.json", lambda contents: contents["frames"][5].update(values))


def camera(**values: object) -> Breaking:
    """Camera 1 of our own file with other values."""
    return edit("cameras.json", lambda contents: contents["cameras"][1].update(values))


def without(name: str, listing: str, number: int, key: str) -> Breaking:
    return edit(name, lambda contents: contents[listing][number].pop(key))


def empty(folder: str) -> Breaking:
    return lambda root: [file.unlink() for file in (root / folder).iterdir()]


def larger(folder: str) -> Breaking:
    return lambda root: [picture(f"{folder}/{number:04}.png")(root) for number in range(4)]


def videos(root: Path) -> None:
    """In place of the frames, one of them cut short."""
    for number in range(3):
        name = f"cam{number:02}"
        recordings.write_video(root / f"{name}.mp4", recordings.grey_planes(list(range(20, 220, 2))), "yuv420p")
    content = (root / "cam01.mp4").read_bytes()
    (root / "cam01.mp4").write_bytes(content[: len(content) * 9 // 10])


NAN = [[float("nan"), 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
LONG = [[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]

BROKEN: dict[str, list[tuple[Breaking, str]]] = {
    "technicolor": [
        (drop("cameras_parameters.txt"), r"cameras_parameters\.txt: no such file; it holds the cameras"),
        (write("cameras_parameters.txt", "f cx\n"), r"cameras_parameters\.txt: no cameras in it; expected a header"),
        (write("cameras_parameters.txt", "f\n1 2 3\n"), r"line 2 does not have 12 numbers, .*; correct it"),
        (
            replace("cameras_parameters.txt", "30.000000000", "nan"),
            r"camera 'cam00': its pose or intrinsics .* not fin",
        ),
        (replace("cameras_parameters.txt", "30.000000000", "-30"), r"camera 'cam00': got focal lengths -30"),
        (
            write("cameras_parameters.txt", "f\n" + "30 16 12 1 0 0 0 0 0 0 0 0\n" * 3),
            r"camera 'cam00': its pose or intrinsics have a number that is not finite",
        ),
        (
            lambda root: [file.unlink() for file in root.glob("*.png")],
            r"no pictures here; expected '<Scene>_undist_00151_00\.png'",
        ),
        (drop("Lamp_undist_00008_01.png"), r"2 of 3 cameras have frame 8, missing '_00008_01\.png'; add it, or set"),
        (
            lambda root: [file.unlink() for file in root.glob("*_00008_*.png")],
            r"0 of 3 cameras have frame 8, missing '_00008_00\.png'",
        ),
        (
            lambda root: [file.unlink() for file in root.glob("*_02.png")],
            r"2 of 3 cameras have frame 7, missing '_00007_02\.png'",
        ),
        (
            lambda root: [picture(f"Lamp_undist_{n:05}_01.png")(root) for n in range(7, 11)],
            r"pictures of different sizes: 32x24 \('cam0[02]'\), 64x48 \('cam01'\); give all cameras one size",
        ),
        (picture("Hall_undist_00007_01.png"), r"pictures of 'Hall' and of 'Lamp'; give each scene its own folder"),
        (write("Lamp_undist_00007_01.png", "no picture"), r"00007_01\.png: cannot be read as a picture"),
    ],
    "nerfstudio": [
        (drop("transforms.json"), r"no 'transforms\.json' and no 'transforms_train\.json'; they hold the cameras"),
        (write("transforms.json", "{"), r"transforms\.json: cannot be read as JSON \(.*\); replace it"),
        (write("transforms.json", "[]"), r"transforms\.json: has no list 'frames'"),
        (write("transforms.json", '{"frames": []}'), r"no pictures in 'transforms\.json'; 'frames' must list them"),
        (
            without("transforms.json", "frames", 5, "time"),
            r"frame 5 \('images/cam01/0001\.png'\): has no 'time'; give a",
        ),
        (entry(time=3.5), r"frame 5 .*: 'time' is 3\.5; times lie in \[0, 1\], divide all by the largest"),
        (entry(time="soon"), r"frame 5 .*: 'time' is 'soon'; give a number in \[0, 1\]"),
        (entry(time=0.0), r"frame 5 .*: the same camera and time as another entry; take one out"),
        (without("transforms.json", "frames", 5, "file_path"), r"frame 5 has no 'file_path'; add the name"),
        (
            without("transforms.json", "frames", 5, "transform_matrix"),
            r"frame 5 .*: 'transform_matrix' is no 4x4 matrix",
        ),
        (entry(transform_matrix=NAN), r"frame 5 .*: 'transform_matrix' has a number that is not finite"),
        (entry(transform_matrix=LONG), r"frame 5 .*: its pose is no rotation; give three orthogonal axes"),
        (entry(camera_model="OPENCV_FISHEYE"), r"frame 5 .*: camera model 'OPENCV_FISHEYE', but only pinhole cameras"),
        (entry(k1=0.1), r"frame 5 .*: 'k1' is 0\.1, but only pinhole cameras are read; undistort the pictures first"),
        (entry(fl_x=None), r"frame 5 .*: 'fl_x' is None; give a number"),
        (
            edit("transforms.json", lambda contents: contents.pop("fl_x")),
            r"frame 0 .*: no 'fl_x' and no 'camera_angle_x'; add the focal length",
        ),
        (entry(w=3 * WIDTH), r"frame 5 .*: pictures of 32x24, but its intrinsics are for 96x24; .* same proportions"),
        (drop("images/cam01/0001.png"), r"frame 5 \('images/cam01/0001\.png'\): no such picture; add it or take"),
        (empty("images/cam01"), r"frame 4 \('images/cam01/0000\.png'\): no such picture"),
        (picture("images/cam01/0001.png"), r"0001\.png: 64x48 pixels, but '0000\.png' has 32x24; give all frames one"),
        (write("images/cam00/0000.png", "no picture"), r"0000\.png: cannot be read as a picture"),
    ],
    "colmap": [
        (drop("sparse/0/cameras.txt"), r"no COLMAP model here; expected 'sparse/0/cameras\.bin'"),
        (drop("sparse/0/images.txt"), r"sparse/0: no 'images\.bin' and no 'images\.txt'; the model needs one"),
        (write("sparse/0/images.txt", ""), r"sparse/0: a model without images; register them first"),
        (
            write("sparse/0/cameras.txt", "1 PINHOLE"),
            r"cameras\.txt: cannot be read as COLMAP's 'cameras' \(.*\); export",
        ),
        (write("sparse/0/cameras.bin", "cut"), r"cameras\.bin: cannot be read as COLMAP's 'cameras' \(.*\); export"),
        (
            replace(
                "sparse/0/cameras.txt", "2 PINHOLE 32 24 30.0 30.0 18.5 10.5", "2 SIMPLE_RADIAL 32 24 30 18 10 0.1"
            ),
            r"cameras\.txt: camera 2 is SIMPLE_RADIAL with distortion, .*; undistort the pictures with COLMAP's",
        ),
        (
            replace("sparse/0/cameras.txt", "2 PINHOLE", "2 OPENCV_FISHEYE"),
            r"cameras\.txt: camera 2 is OPENCV_FISHEYE with distortion",
        ),
        (
            replace("sparse/0/cameras.txt", "2 PINHOLE", "7 PINHOLE"),
            r"image 'cam01\.png' is of camera 2, which the model",
        ),
        (
            replace("sparse/0/cameras.txt", "2 PINHOLE 32", "2 PINHOLE 99"),
            r"'cam01\.png': pictures of 32x24, but .* 99x24",
        ),
        (
            replace("sparse/0/cameras.txt", "2 PINHOLE 32 24 30.0", "2 PINHOLE 32 24 nan"),
            r"'cam01\.png': its pose or int",
        ),
        (
            replace("sparse/0/images.txt", " 3 cam02.png", " 3 cam07.png"),
            r"2 of 3 cameras of the model have frames, missing 'cam07'; add a video 'NAME\.mp4'",
        ),
        (
            lambda root: (root / "images").rename(root / "away"),
            r"nothing of 'cam00\.png' here; add the picture 'images/cam00\.png', or for the camera 'cam00' a video",
        ),
        (
            drop("images/cam01/0002.png"),
            r"cam01: 3 frames up to 3, but frame 2 is missing; add it or set data\.end to 2",
        ),
        (drop("images/cam01/0003.png"), r"camera 'cam01' has 3 frames, but 4 are asked for; 'cam00' has 4"),
        (empty("images/cam01"), r"cam01: no frames in this folder"),
        (larger("images/cam01"), r"different sizes: 32x24 \('cam0[02]'\), 64x48 \('cam01'\)"),
        (write("sparse/0/points3D.txt", "1 2"), r"points3D\.txt: "),
        (videos, r"cam01\.mp4: no readable video"),
    ],
    "folders": [
        (drop("cameras.json"), r"cameras\.json: no such file; it holds the cameras of this data set, add it"),
        (write("cameras.json", "{"), r"cameras\.json: cannot be read as JSON \(.*\); replace it"),
        (write("cameras.json", "[]"), r"cameras\.json: has no list 'cameras'"),
        (without("cameras.json", "cameras", 1, "cy"), r"camera 1 has no 'cy'; it needs name, width, height, fx"),
        (camera(name="cam00"), r"two cameras are called 'cam00'; give each its own name"),
        (camera(name="cam07"), r"2 of 3 cameras of 'cameras\.json' have frames, missing 'cam07'; add a video"),
        (camera(viewmat=NAN), r"camera 'cam01': its pose or intrinsics have a number that is not finite"),
        (camera(viewmat=LONG), r"camera 'cam01': its pose is no rotation"),
        (camera(viewmat=[1, 2]), r"camera 'cam01': 'viewmat' is no 4x4 matrix; give world to camera, x right"),
        (camera(fx="wide"), r"camera 'cam01': 'fx' is 'wide'; give a number"),
        (camera(fx=0.0), r"camera 'cam01': got focal lengths 0 and 30, expected more than 0"),
        (camera(width=0), r"camera 'cam01': got a size of 0x24, expected more than 0 pixels"),
        (camera(near=2.0, far=1.0), r"camera 'cam01': got near 2, far 1; both must be positive and near less than far"),
        (
            edit("cameras.json", lambda contents: contents.update(test=["cam09"])),
            r"'test' names 'cam09', which is no camera of it; correct it",
        ),
        (drop("cam01/0002.png"), r"cam01: 3 frames up to 3, but frame 2 is missing"),
        (drop("cam01/0003.png"), r"camera 'cam01' has 3 frames, but 4 are asked for"),
        (empty("cam01"), r"cam01: no frames in this folder"),
        (larger("cam01"), r"different sizes: 32x24 \('cam0[02]'\), 64x48 \('cam01'\)"),
        (write("cam01/0000.png", "no picture"), r"0000\.png: cannot be read as a picture"),
        (videos, r"cam01\.mp4: no readable video"),
    ],
}


def look_at_all(config: DataConfig, with_points: bool) -> None:
    scene = load_scene(config, with_points)
    for pair in scene.pairs(range(len(scene.rig.cameras))):
        scene.photos.at(*pair)


@pytest.mark.parametrize(
    ("layout", "breaking", "told"),
    [(layout, breaking, told) for layout, broken in BROKEN.items() for breaking, told in broken],
    ids=[f"{layout}: {told[:30]}" for layout, broken in BROKEN.items() for _, told in broken],
)
def test_broken_data_is_told_in_one_line(tmp_path: Path, layout: str, breaking: Breaking, told: str) -> None:
    root = WRITERS[layout](tmp_path / "made")
    breaking(root)
    with pytest.raises(ValueError, match=told) as caught:
        look_at_all(DataConfig(path=root, format=layout, cache="memory"), with_points="points3D" in told)
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (
            "0002/cam01.png",
            r"0002: not every camera has a picture here .*, look for 'cam01'; add it or set data\.end to 2",
        ),
        ("0002", r"frames: 3 frames up to 3, but frame 2 is missing; add it or set data\.end to 2"),
    ],
)
def test_a_picture_or_folder_that_is_missing_among_frames_is_told(tmp_path: Path, file: str, told: str) -> None:
    root = recordings.write_own(tmp_path / "made", "frames/{frame:04}/{camera}.png")
    (root / "frames" / file).rename(tmp_path / "away")
    with pytest.raises(ValueError, match=told):
        load_scene(DataConfig(path=root), with_points=False)
    assert load_scene(DataConfig(path=root, end=2), with_points=False).rig.timeline.frames == 2


@pytest.mark.parametrize("layout", WRITERS)
def test_a_folder_that_is_not_there_is_told(tmp_path: Path, layout: str) -> None:
    with pytest.raises(ValueError, match=r"away: no such folder; set data\.path to the data set's folder"):
        load_scene(DataConfig(path=tmp_path / "away", format=layout))


def test_a_picture_of_more_than_8_bits_is_told(tmp_path: Path) -> None:
    root = recordings.write_own(tmp_path / "made")
    Image.new("I;16", (WIDTH, HEIGHT)).save(root / "cam01" / "0000.png")
    with pytest.raises(ValueError, match=r"0000\.png: cannot be read as a picture \(more than 8 bits per channel"):
        load_scene(DataConfig(path=root))
