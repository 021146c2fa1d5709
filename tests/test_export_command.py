"""moegs export and moegs distill, as a user meets them."""

import json
import math
import re
from pathlib import Path

import filmed
import plyfile
import pytest
from command_line import refusal, run
from mixtures import mixture

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.experts import PolynomialConfig
from moegs.gaussians import Points
from moegs.mixture import Mixture


@pytest.fixture(scope="module")
def full_and_data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint, and the data set that it was trained on."""
    made, scores = mixture(("poly", "key")), {"mixture": {"psnr": 30.0}}
    path = filmed.write(tmp_path_factory.mktemp("export"), made, scores=scores)
    return path, path.parent / "data"


def test_a_compact_checkpoint_says_what_it_lost_and_opens(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    full_and_data: tuple[Path, Path],
) -> None:
    full, data = full_and_data
    out = tmp_path / "small.pt"
    assert run(monkeypatch, "export", full, "--compact", "--out", out, "--json", "-") == 0
    facts = estimated = json.loads(capsys.readouterr().out)
    assert facts["bytes"] == out.stat().st_size
    assert facts["bytes_before"] == full.stat().st_size
    assert facts["loss_is"] == "estimated"
    assert facts["loss"] <= 0.1
    assert checkpoint.load(out).provenance["compact"]["from"] == "made.pt"
    assert checkpoint.load(out).scores == {}
    assert run(monkeypatch, "export", out, "--compact", "--out", tmp_path / "b.pt", "--data", data, "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["loss_is"] == "measured"
    assert facts["loss"] == pytest.approx(facts["psnr_before"] - facts["psnr_after"])
    assert checkpoint.load(tmp_path / "b.pt").scores["mixture"]["psnr"] == facts["psnr_after"]
    assert run(monkeypatch, "export", full, "--compact", "--out", out) == 1
    assert f"{out}: exists already" in capsys.readouterr().err
    assert run(monkeypatch, "info", out) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert f"compact made.pt in fewer bits, {estimated['loss']:.3f} dB lost, estimated" in words


def test_a_ply_for_each_frame_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    full_and_data: tuple[Path, Path],
) -> None:
    full, _ = full_and_data
    out = tmp_path / "frames"
    assert run(monkeypatch, "export", full, "--ply", out, "--expert", "key", "--frames", "0:4:3") == 0
    assert sorted(path.name for path in out.iterdir()) == ["frame_00000.ply", "frame_00003.ply"]
    one = len(plyfile.PlyData.read(str(out / "frame_00003.ply"))["vertex"].data)
    assert run(monkeypatch, "export", full, "--ply", tmp_path / "fused", "--frames", "3") == 0
    both = len(plyfile.PlyData.read(str(tmp_path / "fused" / "frame_00003.ply"))["vertex"].data)
    assert one <= 60 < both <= 120
    assert "the mixture, fused, 1 frames" in capsys.readouterr().out
    both = ("--ply", tmp_path / "c", "--frames", "0:4:3", "--compact", "--out", tmp_path / "s.pt")
    for options in (("--ply", tmp_path / "b", "--frames", "3"), both):
        assert run(monkeypatch, "export", full, *options, "--json", "-") == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["ply"]["frames"] == ([0, 3] if options is both else [3])
        assert len(facts["ply"]["gaussians"]) == len(facts["ply"]["frames"])
        assert ("bytes" in facts) == (options is both)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "nothing to write; give --compact --out FILE, or --ply DIR"),
        (("--ply", "x", "--out", "x.pt"), "--out: names the compact checkpoint; give --compact too"),
        (("--compact",), "--compact: give the file to write with --out"),
        (("--compact", "--out", "x.zip"), "name it x.pt"),
        (("--compact", "--out", "x.pt", "--max-loss", "0"), "--max-loss: got 0"),
        (("--ply", "x", "--compact", "--out", "x.pt", "--max-loss", "0"), "--max-loss: got 0"),  # before any frame
        (("--ply", "x", "--expert", "hex"), "expert 'hex': this checkpoint has poly, key"),
        (("--ply", "x", "--frames", "4"), "frames '4': give all, one from 0 to 3, or first:end:step"),
        (("--ply", "x", "--frames", "-1"), "frames '-1': give all"),
        (("--ply", "x", "--frames", "2:1"), "frames '2:1': give all"),
        (("--ply", "x", "--frames", "0:3:0"), "frames '0:3:0': give all"),
        (("--ply", "."), "exists already; choose another name for the folder"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    full_and_data: tuple[Path, Path],
    options: tuple[str, ...],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert told in refusal(monkeypatch, capsys, "export", full_and_data[0], *options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scores", [{"mixture": "hello"}, {"mixture": {"psnr": math.nan}}, {"mixture": {"psnr": "x"}}])
def test_what_is_no_finite_score_is_none(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, scores: dict
) -> None:
    path = tmp_path / "odd.pt"
    checkpoint.save(Checkpoint(mixture(("poly",)), scores=scores), path)
    assert checkpoint.load(path).psnr is None
    assert run(monkeypatch, "export", path, "--compact", "--out", tmp_path / "x.pt", "--json", "-") == 0
    assert 0 <= json.loads(capsys.readouterr().out)["loss"] <= 0.1


@pytest.mark.parametrize("scratch", [False, True], ids=["continued", "from scratch"])
def test_distil_makes_a_checkpoint_and_a_table(
    scratch: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    full_and_data: tuple[Path, Path],
) -> None:
    full, data = full_and_data
    out, config = tmp_path / "student.pt", tmp_path / "run.yaml"
    linked, real = out, tmp_path / "elsewhere" / "real.pt"  # written through
    real.parent.mkdir()
    linked.symlink_to(real)
    config.write_text(
        f"data: {{path: {data}}}\n"
        "experts: [{name: poly, steps: 8, expert: {kind: polynomial}}, {name: key, expert: {kind: keyframe}}]"
    )
    asked = (
        "--data",
        data,
        "--expert",
        "poly",
        "--steps",
        "3",
        "--unseen",
        "2",
        "--twin",
        "--device",
        "cpu",
        "--out",
        out,
    )
    more = ("--from-scratch", "--config", config) if scratch else ()
    assert run(monkeypatch, "distill", full, *asked, *more, "--json", "-") == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert list(facts["scores"]) == ["poly", "student", "twin, photos alone", "mixture"]
    assert "against it before" in captured.err
    assert ("how 'poly' was trained is not known; it goes on with the def" in captured.err) == (not scratch)
    assert "saved, " not in captured.err  # in a folder that is gone
    for name in ("distill-poly", "distill-poly-twin"):
        assert re.search(rf"^{name}: held-out pictures scored, 0 of \d+$", captured.err, re.MULTILINE)
    assert re.search(r"^mixture: pictures scored, its experts' too, 0 of \d+$", captured.err, re.MULTILINE)
    *_, student, twin = captured.err.splitlines()
    assert student == f"{out}: poly distilled from the mixture; look at it with: moegs-view {out}"
    assert twin.endswith(
        f"student-twin.pt: its twin, from photos alone; look at it with: moegs-view {tmp_path}/student-twin.pt"
    )
    assert linked.is_symlink()
    assert linked.resolve() == real
    assert {path.name for path in tmp_path.iterdir()} == {"student.pt", "student-twin.pt", "run.yaml", "elsewhere"}
    for path in (out, tmp_path / "student-twin.pt"):
        found = checkpoint.load(path)
        assert (found.mixture.names, found.mixture.router) == (("poly",), None)
        assert found.provenance["distilled"]["twin"] == (path != out)
    assert run(monkeypatch, "distill", full, *asked, *more) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_distillation_that_cannot_be_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    full_and_data: tuple[Path, Path],
) -> None:
    full, data = full_and_data
    out = tmp_path / "x.pt"
    points = Points(*(load_scene(DataConfig(path=data)).points.__dict__[key] for key in ("means", "colors", "times")))
    alone = Mixture(
        ["poly"], [PolynomialConfig(sh_degree=0).start(points, 4, 2)], None, checkpoint.load(full).mixture.rig
    )
    checkpoint.save(Checkpoint(alone), tmp_path / "alone.pt")
    for options, told in {
        (full, "--data", data, "--expert", "hex"): "no expert 'hex'; it has poly, key",
        (
            full,
            "--data",
            data,
            "--expert",
            "poly",
            "--from-scratch",
        ): "from scratch its whole recipe is needed: give it",
        (full, "--data", data, "--expert", "poly", "--lambda", "2"): "photo_share: got 2, expected a share in [0, 1]",
        (tmp_path / "alone.pt", "--data", data, "--expert", "poly"): "one expert alone, without a router",
        (full, "--data", data, "--expert", "poly", "--set", "downscale=2"): "give the same downscale",
    }.items():
        assert run(monkeypatch, "distill", *options, "--out", out, "--device", "cpu") == 1
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert told in message
        assert message.startswith("moegs: ")
        assert {path.name for path in tmp_path.iterdir()} == {"alone.pt"}
