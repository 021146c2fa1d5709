"""Export: pictures and videos that are whole or not there."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import recordings
from PIL import Image

from moegs import export


def pictures(count: int, width: int = 32, height: int = 18) -> Iterator[np.ndarray]:
    """Grey pictures that grow brighter."""
    for number in range(count):
        yield np.full((height, width, 3), (30 + 20 * number) % 256, np.uint8)


def test_a_png_has_the_pixels_and_the_shot(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3), np.uint8)
    export.write_png(pixels, tmp_path / "new" / "x.png", '{"view": "rgb"}')
    with Image.open(tmp_path / "new" / "x.png") as image:
        assert np.array_equal(np.asarray(image), pixels)
        assert image.info[export.SHOT_KEY] == '{"view": "rgb"}'


def test_a_video_has_every_frame_in_order(tmp_path: Path) -> None:
    heard: list[int] = []
    export.write_video(pictures(6), tmp_path / "x.mp4", (32, 18), 12.5, heard.append)
    frames = recordings.read_video(tmp_path / "x.mp4")
    assert heard == [1, 2, 3, 4, 5, 6]
    assert [frame.shape for frame in frames] == 6 * [(18, 32, 3)]
    levels = [float(frame.mean()) for frame in frames]
    np.testing.assert_allclose(levels, [30 + 20 * n for n in range(6)], atol=3)  # limited range, 8-bit conversions


@pytest.mark.parametrize("stop", ["listener", "pictures"])
def test_a_video_that_is_stopped_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, stop: str) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("before")

    def broken() -> Iterator[np.ndarray]:
        yield from pictures(2)
        raise RuntimeError("enough")

    def listen(done: int) -> None:
        if stop == "listener" and done == 2:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        export.write_video(pictures(9) if stop == "listener" else broken(), path, (32, 18), 10.0, listen)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_encoder_that_gives_up_is_one_line_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x\.mp4: the video encoder gave up \([^\n]*width not divisible by 2"):
        export.write_video(pictures(40, 33, 18), tmp_path / "x.mp4", (33, 18), 10.0)
    assert list(tmp_path.iterdir()) == []
