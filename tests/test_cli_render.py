"""moegs render as a user meets it: the same pixels as everywhere, and one line for what cannot be drawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from command_line import refusal, run
from PIL import Image

from moegs import checkpoint, export, views
from moegs.rasterize import cpu
from moegs.shots import Shot

TURN = ("--turntable", "360")


def four_letters(code: float) -> str:
    """A four-character code as text."""
    return int(code).to_bytes(4, "little").decode()


@pytest.mark.parametrize("view", ["rgb", "expert:key", "gate:poly", "gates", "gate-argmax"])
def test_render_writes_the_picture_that_draw_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_file: Path, view: str
) -> None:
    out = tmp_path / "x.png"
    options = ("--camera", "train:1", "--time", "3", "--view", view, "--size", "64x40", "--mute", "poly")
    assert run(monkeypatch, "render", made_file, *options, "--out", out) == 0
    made = checkpoint.load(made_file).mixture
    shot = Shot(made.rig.cameras[2].fitted(64, 40), t=3 / 6, view=view, active=(False, True))
    with Image.open(out) as picture:
        pixels, text = np.asarray(picture), picture.info[export.SHOT_KEY]
    assert np.array_equal(pixels, views.draw(made, shot).burnt())
    assert np.array_equal(pixels, views.draw(made, Shot.from_json(text)).burnt())


@pytest.mark.parametrize("again", [(), ("--mute",)])
def test_experts_are_muted_by_one_option_or_one_each(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_file: Path, again: tuple[str, ...]
) -> None:
    out = tmp_path / "x.png"
    assert run(monkeypatch, "render", made_file, "--mute", "poly", *again, "key", "--out", out) == 0
    with Image.open(out) as picture:
        assert Shot.from_json(picture.info[export.SHOT_KEY]).active == (False, False)


@pytest.mark.parametrize("option", ["--mute", "--solo"])
def test_an_option_for_experts_without_one_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path, option: str
) -> None:
    asked = ("render", made_file, "--out", tmp_path / "x.png", option)
    assert f"{option}: stands without a value" in refusal(monkeypatch, capsys, *asked)


def test_a_turntable_is_a_video_of_even_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    out = tmp_path / "turn.mp4"
    options = ("--turntable", 360, "--seconds", 0.5, "--fps", 12, "--size", "33x21", "--running")
    assert run(monkeypatch, "render", made_file, *options, "--out", out) == 0
    assert "rounded to 34x22" in capsys.readouterr().err
    video = cv2.VideoCapture(str(out))
    assert [video.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)] == [
        6, 34, 22,
    ]  # fmt: skip
    assert four_letters(video.get(cv2.CAP_PROP_FOURCC)) in ("h264", "avc1")
    assert four_letters(video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) == "I420"  # planar 4:2:0, which browsers play
    video.release()


def test_a_sway_is_a_video_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_file: Path) -> None:
    out = tmp_path / "sway.mp4"
    assert run(monkeypatch, "render", made_file, "--sway", "--seconds", 0.5, "--fps", 8, "--out", out) == 0
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    video.release()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sway", "--turntable", "90"), "--sway and --turntable: the camera can go only one way"),
        (("--camera", "test:7"), "camera 'test:7': the test split has 1 cameras"),
        (("--camera", "nowhere"), "camera 'nowhere': give test:0"),
        (("--time", "99"), "give a frame from 0 to 5"),
        (("--view", "gate:hex"), "view 'gate:hex': this checkpoint has rgb, expert:poly"),
        (("--mute", "hex"), "expert 'hex': this checkpoint has poly, key"),
        (("--temperature", "0"), "temperature: got 0.0, expected a positive number"),
        (("--size", "0x5"), "must be at least 1"),
        (("--size", "100000x100000"), "a picture of 100000x100000 has more than 67108864 pixels; make it smaller"),
        (("--size", "99999999999999999999x1"), "size"),
        (("--temperature", "inf", "--mute", "poly"), "temperature: got inf, expected a positive number"),
        (("--size", "big"), "give width and height in pixels, such as 1280x720"),
        (("--skip-below", "1"), "skip_below: got 1.0, expected a share of the gate in [0, 1)"),
        (("--verify-gating",), "--verify-gating: nothing is skipped; give --skip-below too, such as 0.02"),
        ((*TURN, "--seconds", "inf"), "got 360 degrees, inf s and 30 fps; give finite numbers, fps above 0"),
        ((*TURN, "--seconds", "nan"), "got 360 degrees, nan s and 30 fps; give finite numbers"),
        ((*TURN, "--fps", "0"), "fps above 0"),
        ((*TURN, "--fps", "inf"), "give finite numbers"),
        ((*TURN, "--seconds", "1e300", "--fps", "1e300"), "more than 100000 frames; make it shorter"),
        ((*TURN, "--fps=-30", "--seconds=-1"), "fps above 0"),
        ((*TURN, "--seconds", "-3"), "has no frame; make it longer"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    made_file: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    out = tmp_path / ("x.mp4" if "--turntable" in options else "x.png")
    assert message in refusal(monkeypatch, capsys, "render", made_file, *options, "--out", out)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compiled", [True, False])
def test_a_first_picture_says_why_it_takes_long(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    made_file: Path,
    compiled: bool,
) -> None:
    monkeypatch.setattr(cpu, "can_draw", lambda: compiled)
    assert run(monkeypatch, "render", made_file, "--device", "cpu", "--out", tmp_path / "x.png") == 0
    assert ("compiling kernels, once on this machine" in capsys.readouterr().err) != compiled
