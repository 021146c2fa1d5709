"""Frames of videos: each with its own number, in the colours of its standard, or one line."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import recordings
import torch
from imageio_ffmpeg import get_ffmpeg_exe
from recordings import HEIGHT, WIDTH
from torch.testing import assert_close

from moegs.data import DataConfig, load_scene

ROOM = Path(__file__).parent / "assets" / "room"


def test_every_frame_has_its_own_number(tmp_path: Path) -> None:
    """Frames that refer to later ones (B frames) lie in another order in the file than on the screen."""
    levels = [16 + (37 * k) % 219 for k in range(40)]
    root = recordings.write_grey_videos(tmp_path, levels, "-bf", "3", "-b_strategy", "0", "-g", "12")
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
    root = recordings.write_grey_videos(tmp_path, [60, 120, 180], *options, chroma=chroma)
    photos = load_scene(DataConfig(path=root, color_matrix=setting)).photos  # type: ignore[arg-type]
    for frame, luma in enumerate([60, 120, 180]):
        color = photos.at(0, frame).reshape(-1, 3).float().mean(0)
        expected = torch.tensor(rgb(luma, chroma, matrix, full_range))
        assert_close(color, expected, rtol=0, atol=1.0)  # rounding to whole levels


@pytest.mark.parametrize("front", [False, True], ids=["index at the end", "index in front"])
def test_a_truncated_video_is_told(tmp_path: Path, front: bool) -> None:
    root = recordings.write_grey_videos(
        tmp_path, list(range(20, 220, 2)), *(["-movflags", "+faststart"] if front else [])
    )
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
