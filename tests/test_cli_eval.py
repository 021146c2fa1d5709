"""moegs eval as a user meets it."""

import json
from pathlib import Path

import filmed
import pytest
import recordings
from command_line import refusal, run
from mixtures import mixture

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture, sole
from moegs.router import PixelConfig, UniformConfig, VolumeConfig


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `data` and a run's `made.pt`, a mixture on its cameras, and `state`."""
    found = filmed.write(tmp_path_factory.mktemp("filmed"), mixture(("poly", "key"))).parent
    (found / "router-1.state.pt").write_bytes(b"of a run that goes on")
    return found


def test_eval_with_tile_gating_says_so_beside_the_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    made = checkpoint.load(folder / "made.pt").mixture
    asked = (folder / "made.pt", "--data", folder / "data", "--json", "-")
    found = []
    for gating in ((), ("--skip-below", 0.6, "--verify-gating")):
        assert run(monkeypatch, "eval", *asked, *gating) == 0
        captured = capsys.readouterr()
        found.append((json.loads(captured.out), " ".join(captured.err.split())))
    (exact, plain), (gated, told) = found
    assert (exact["skip_below"], gated["skip_below"], exact["gating"]) == (0, 0.6, None)
    assert "tile gating" not in plain
    assert "4 pictures, tile gating below 0.6" in told
    assert f"tile gating below 0.6: {gated['gating']['dropped']:.1%} not drawn" in told
    camera, times = made.rig.cameras[0], [made.rig.timeline.t(frame) for frame in range(4)]
    shares = [float(made.render(camera, t, skip_below=0.6).logits.isneginf().float().mean()) for t in times]
    assert gated["gating"]["dropped"] == pytest.approx(sum(shares) / 4)
    assert max(shares) > 0
    assert gated["experts"] == exact["experts"]
    assert gated["mixture"] != exact["mixture"]


def test_one_expert_alone_has_one_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    made = checkpoint.load(folder / "made.pt").mixture
    checkpoint.save(Checkpoint(sole("poly", made.members[0], made.rig)), tmp_path / "poly.pt")
    assert run(monkeypatch, "eval", tmp_path / "poly.pt", "--data", folder / "data") == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sum("poly" in row for row in rows) == 1
    assert not any("mixture" in row or "oracle" in row for row in rows)


def test_eval_tells_of_decoding_the_cameras_that_it_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    asked = ("eval", folder / "made.pt", "--data", folder / "data", "--cache-dir", tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes a terminal of it for rich
    assert run(monkeypatch, *asked) == 0
    told = capsys.readouterr().err
    assert "1/1" in told
    assert "cameras decoded" in told
    assert len(list(tmp_path.glob("*.npy"))) == 1  # the one that is held out
    monkeypatch.delenv("FORCE_COLOR")
    assert run(monkeypatch, *asked) == 0
    assert "decoded" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--verify-gating",), "--verify-gating: nothing is skipped; give --skip-below too, such as 0.02"),
        (("--skip-below", "1"), "skip_below: got 1.0, expected a share of the gate in [0, 1)"),
    ],
)
def test_eval_refuses_gating_that_is_none(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    folder: Path,
    asked: tuple[str, ...],
    told: str,
) -> None:
    assert told in refusal(monkeypatch, capsys, "eval", folder / "made.pt", "--data", folder / "data", *asked)


@pytest.mark.parametrize("option", ["--routers", "--set"])
def test_eval_refuses_an_option_without_its_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, option: str
) -> None:
    asked = ("eval", folder / "made.pt", "--data", folder / "data")
    assert f"{option}: stands without a value" in refusal(monkeypatch, capsys, *asked, option)


def test_eval_scores_the_experts_and_what_they_are_measured_against(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the choices of data that are set, and without points, which scoring does not need."""
    data, path, made = recordings.write_folders(tmp_path / "tiny"), tmp_path / "made.pt", mixture(("poly", "key"))
    (data / "points_0000.npz").unlink()
    rig = load_scene(DataConfig(path=data, downscale=2), with_points=False).rig
    checkpoint.save(Checkpoint(Mixture(made.names, made.members, made.router, rig)), path)
    assert run(monkeypatch, "eval", path, "--data", data) == 1
    assert (
        "are 32x24, those of the checkpoint 16x12; give the same downscale, with --set downscale=2"
        in capsys.readouterr().err
    )
    assert run(monkeypatch, "eval", path, "--data", data, "--set", "downscale=2", "--json", "-") == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores["experts"]) == set(scores["gates"]) == {"poly", "key"}
    for score in (*scores["experts"].values(), scores["mixture"], scores["average"], scores["oracle"]):
        assert set(score) == {"psnr", "ssim", "lpips"}
    assert scores["oracle"]["psnr"] >= max(score["psnr"] for score in scores["experts"].values())


def test_a_checkpoint_knows_how_its_data_were_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """But nothing of where they lie and are kept; --set has the last word."""
    data, path, made = recordings.write_folders(tmp_path / "tiny"), tmp_path / "made.pt", mixture(("poly", "key"))
    read = DataConfig(path=data, downscale=2, end=3, test=("cam01",), cache="memory", cache_dir=tmp_path / "elsewhere")
    assert read.choices() == {"downscale": 2, "end": 3, "test": ["cam01"]}
    rig = load_scene(read, with_points=False).rig
    told = {"choices": {**read.choices(), "path": "/nowhere", "cache_dir": "/nowhere"}}
    checkpoint.save(Checkpoint(Mixture(made.names, made.members, made.router, rig), provenance=told), path)
    assert run(monkeypatch, "eval", path, "--data", data, "--json", "-") == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["per_camera"]) == ["cam01"]
    assert len(found["per_frame"]) == 3
    told = refusal(monkeypatch, capsys, "eval", path, "--data", data, "--set", "downscale=1")
    assert "give the same downscale, with --set downscale=2" in told
    assert "--set start=... end=..." in refusal(monkeypatch, capsys, "eval", path, "--data", data, "--set", "end=2")


def test_eval_puts_routers_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    made = checkpoint.load(folder / "made.pt").mixture
    for name, settings in {"a": PixelConfig(), "b": VolumeConfig(), "c": UniformConfig()}.items():
        rival = Mixture(made.names, made.members, settings.start([60, 60]), made.rig)
        checkpoint.save(Checkpoint(rival), tmp_path / f"{name}.pt")
    out = tmp_path / "scores.json"
    asked = ("--routers", tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt", folder, "--per-expert")
    assert run(monkeypatch, "eval", folder / "made.pt", "--data", folder / "data", *asked, "--json", out) == 0
    printed, facts = capsys.readouterr().out, json.loads(out.read_text())
    for word in ("pixel", "volume", "uniform", "oracle", "volume-aware, this one", "regret", "AlexNet", "sigma 1.5"):
        assert word in printed
    own = f"volume-aware ({folder.name}/made)"  # the run's own router, given again through its folder
    assert set(facts["rivals"]) == {"pixel", "volume", "uniform", own}
    assert facts["rivals"][own] == facts["mixture"]
    assert facts["rivals"]["uniform"]["psnr"] == pytest.approx(facts["average"]["psnr"])
    assert facts["router"]["kind"] == "volume-aware"
    assert sum(facts["best"].values()) == pytest.approx(1, abs=1e-5)
    assert len(facts["per_picture"]) == facts["pictures"] == 4
    assert [row["frame"] for row in facts["per_frame"]] == [0, 1, 2, 3]
    (camera,) = facts["per_camera"].values()
    assert camera["mixture"] == facts["mixture"]  # one camera: its means are all
    assert facts["per_frame"][2]["oracle"] == facts["per_picture"][2]["scores"]["oracle"]


def test_eval_refuses_routers_that_do_not_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "empty").mkdir()
    checkpoint.save(Checkpoint(mixture(("poly",))), tmp_path / "alone.pt")
    checkpoint.save(Checkpoint(mixture(("poly", "key"), count=50)), tmp_path / "others.pt")
    for path, told in {
        "empty": "no checkpoint with a router in this folder",
        "alone.pt": "one expert alone, without a router",
        "others.pt": "its experts are others, so the routers do not compare",
    }.items():
        asked = ("--data", folder / "data", "--routers", tmp_path / path)
        assert told in refusal(monkeypatch, capsys, "eval", folder / "made.pt", *asked)
