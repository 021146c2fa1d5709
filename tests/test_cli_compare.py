"""moegs compare, and what is pruned in moegs render, as a user meets them."""

from pathlib import Path

import cv2
import mixtures
import numpy as np
import pytest
import torch
from command_line import refusal, run
from PIL import Image

from moegs import checkpoint, compare, export, views
from moegs.checkpoint import Checkpoint
from moegs.compare import Pace
from moegs.shots import Comparison, Shot
from moegs.variants import Variants


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scored mixture of two, one of its experts alone, and a mixture of another scene."""
    path, generator = tmp_path_factory.mktemp("compare"), torch.Generator().manual_seed(5)
    scores = {"contribution": {name: torch.rand(60, generator=generator) for name in ("poly", "key")}}
    checkpoint.save(Checkpoint(mixtures.mixture(), importance=scores), path / "full.pt")
    checkpoint.save(Checkpoint(mixtures.mixture(("key",))), path / "student.pt")
    other = mixtures.mixture(("poly",))
    other.rig = mixtures.rig(cameras=4)
    checkpoint.save(Checkpoint(other), path / "elsewhere.pt")
    return path


@pytest.mark.parametrize("mode", ["wipe", "side", "diff"])
@pytest.mark.parametrize("other", ["student.pt", "expert:poly", "kept:0.45"])
def test_it_writes_what_the_browser_shows_to_the_bit_and_the_shot_into_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, mode: str, other: str
) -> None:
    monkeypatch.setattr(Pace, "seconds", 0.0625)  # which is burnt in
    other = str(folder / other) if other.endswith(".pt") else other
    tilt = 20.0 if mode == "wipe" else 0.0
    options = ("--mode", mode, "--camera", "test:0", "--time", "3", "--view", "depth", "--gain", "4", "--swap")
    options = (*options, "--tilt", f"{tilt}")
    assert run(monkeypatch, "compare", folder / "full.pt", other, *options, "--out", tmp_path / "x.png") == 0
    with Image.open(tmp_path / "x.png") as picture:
        pixels, text = np.asarray(picture), picture.info[export.SHOT_KEY]
    known = Variants(checkpoint.load(folder / "full.pt"), folder / "full.pt")
    known.open(other, "cpu")
    camera = known.mixture.rig.cameras[0]
    asked = Shot(camera, 0.5, "depth", comparison=Comparison(other, mode, gain=4, swapped=True, tilt=tilt))  # type: ignore[arg-type]
    assert Shot.from_json(text).comparison == asked.comparison
    assert np.array_equal(pixels, known.draw(asked).burnt())


def test_it_tells_what_both_cost_and_how_far_they_are_apart(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    options = ("--names", "all of it", "student", "--out", tmp_path / "x.png")
    assert run(monkeypatch, "compare", folder / "full.pt", folder / "student.pt", *options) == 0
    _, a, b, apart = capsys.readouterr().out.strip().splitlines()
    assert a.startswith("A  all of it: 120 Gaussians, ")
    assert b.startswith("B  student: 60 Gaussians, ")
    assert b.endswith(" fps")
    pictures = [checkpoint.load(folder / f"{name}.pt").mixture for name in ("full", "student")]
    shot = Shot(pictures[0].rig.cameras[0], 0.0)
    one, other = (views.draw(mixture, shot).render.picture.clamp(0, 1) for mixture in pictures)
    decibels = float(-10 * (one - other).square().mean().log10())
    assert apart == f"PSNR between A and B: {decibels:.2f} dB"


def test_side_by_side_is_a_video_twice_as_wide(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    options = ("--mode", "side", "--sway", "--seconds", 0.5, "--fps", 8, "--running", "--out", tmp_path / "x.mp4")
    assert run(monkeypatch, "compare", folder / "full.pt", "kept:0.5", *options) == 0
    assert "4 frames of 96x32 at 8 fps" in capsys.readouterr().out
    video = cv2.VideoCapture(str(tmp_path / "x.mp4"))
    assert [video.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH)] == [4, 96]
    video.release()


def test_of_itself_whole_it_is_equal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    assert run(monkeypatch, "compare", folder / "full.pt", "kept:1", "--mode", "diff", "--out", tmp_path / "x.png") == 0
    assert capsys.readouterr().out.strip().endswith("A and B are equal")


@pytest.mark.parametrize(
    ("other", "options", "told"),
    [
        ("elsewhere.pt", (), "different cameras, 'cam03' in one alone; compare mixtures of one data set"),
        ("expert:hex", (), "expert:hex: no such expert; 'full' has poly, key"),
        ("student.pt", ("--view", "gates"), "have rgb, expert:key, depth, alpha for wipe"),
        ("kept:0.5", ("--view", "gates", "--mode", "diff"), "'full, 50% kept' have rgb, "),
        ("kept:0.5", ("--position", "2"), "position: got 2, expected a share of the picture"),
        ("kept:0.5", ("--tilt", "60"), "tilt: got 60, expected -45 to 45 degrees"),
        (
            "kept:0.5",
            ("--mode", "diff", "--tilt", "9"),
            "--tilt: is of a divider, and --mode diff has none; give --mode",
        ),
        ("kept:0.5", ("--size", "100000x100000"), "has more than 67108864 pixels"),
        ("kept:0.5", ("--mode", "side", "--size", "1x1"), "size '1x1': both pictures share it; give at least 2x1"),
        (
            "kept:0.5",
            ("--mode", "side", "--signed"),
            "--signed: is of the difference, not of --mode side; give --mode diff",
        ),
        ("nowhere.pt", (), "nowhere.pt: does not exist"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path,
    other: str, options: tuple[str, ...], told: str,
) -> None:  # fmt: skip
    other = str(folder / other) if other.endswith(".pt") else other
    assert told in refusal(
        monkeypatch, capsys, "compare", folder / "full.pt", other, *options, "--out", tmp_path / "x.png"
    )
    assert not (tmp_path / "x.png").exists()


def test_neither_side_is_ever_overwritten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    student = folder / "student.pt"
    assert run(monkeypatch, "compare", folder / "full.pt", student, "--out", student, "--force") == 1
    assert "is the file that is read" in capsys.readouterr().err


def test_render_kept_is_the_pruned_mixture_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    out = tmp_path / "x.png"
    assert run(monkeypatch, "render", folder / "full.pt", "--kept", "0.45", "--out", out) == 0
    known = Variants(checkpoint.load(folder / "full.pt"), folder / "full.pt")
    drawing = known.draw(Shot(known.mixture.rig.cameras[0], 0.0, kept=0.45))
    with Image.open(out) as picture:
        assert np.array_equal(np.asarray(picture), drawing.burnt())
        assert Shot.from_json(picture.info[export.SHOT_KEY]).kept == 0.45
    assert sum(map(len, drawing.mixture.members)) == 54
    assert drawing.legend is not None
    assert drawing.legend.notes == ("what-if: 45% of the Gaussians kept, not fine-tuned",)


def test_render_kept_without_scores_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    assert run(monkeypatch, "render", folder / "student.pt", "--kept", "0.45", "--out", tmp_path / "x.png") == 1
    assert f"moegs prune {folder / 'student.pt'} --data DIR --ratio 0 --out" in capsys.readouterr().err


def test_help_names_the_grammar_of_b(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "compare", "--help") == 0
    shown = capsys.readouterr().out
    assert all(word in shown for word in ("expert:NAME", "kept:SHARE", "--mode", "--gain", "--turntable"))
    assert compare.ERROR_RANGE == 0.2, "which the help of --gain names"
