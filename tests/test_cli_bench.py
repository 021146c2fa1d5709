"""moegs bench, and what tile gating is told to have cost, as commands."""

import json
from pathlib import Path

import filmed
import pytest
import recordings
from command_line import refusal, run
from mixtures import mixture, rig

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig

QUICK = ("--rounds", 2, "--warm-up", 0)


def test_json_alone_goes_to_stdout_with_its_ratios_first(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path, tmp_path: Path
) -> None:
    table = tmp_path / "table.md"
    options = ("--skip-below", 0.95, "--verify-gating", "--against", made_file, made_file, "--markdown", table)
    assert run(monkeypatch, "bench", made_file, *QUICK, *options, "--json", "-") == 0
    told = capsys.readouterr()
    facts = json.loads(told.out)
    assert next(iter(facts)) == "ratios"
    assert {"made", "made-2"} < set(facts["memory"])
    assert facts["gating"]["skip_below"] == 0.95
    assert any(line.startswith("tile gating below 0.95: ") for line in told.err.splitlines())
    assert facts["command"].startswith(f"moegs bench {made_file}")
    assert "|  | ratio | of CPU time |" in table.read_text()


def test_markdown_takes_the_place_of_the_tables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path
) -> None:
    assert run(monkeypatch, "bench", made_file, *QUICK, "--time", 2, "--size", "24x16", "--markdown", "-") == 0
    told = capsys.readouterr().out
    assert told.startswith("`moegs bench")
    assert "24x16, t 0.333333" in told
    assert told.count("one pass, gated, culled and cached") == 1


def test_photos_are_compared_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = filmed.write(tmp_path, mixture(("poly", "key")))
    out = tmp_path / "bench.json"
    assert run(monkeypatch, "bench", path, *QUICK, "--data", tmp_path / "data", "--json", out) == 0
    assert {"PSNR", "change"} <= set(capsys.readouterr().out.split())
    pictures = json.loads(out.read_text())["pictures"]
    assert pictures["frame:exact"]["psnr_change"] == pytest.approx(0, abs=1e-4)
    assert pictures["member:poly"]["psnr"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--rounds", 1), "rounds: got 1 after 5; give at least 2"),
        (("--json", "-", "--markdown", "-"), "standard output can take one of them"),
        (("--skip-below", 1.5), "skip_below: got 1.5"),
        (("--against", "nowhere.pt"), "nowhere.pt: does not exist"),
        (("--against",), "--against: stands without a value"),
        (("--data", "nowhere", "--size", "20x20"), "--data: the photos are 48x32; leave --size out"),
        (("--data", "nowhere", "--time", "0.5"), "--data: no photo at frame 0.5; give --time a whole frame"),
        (("--data", "nowhere"), "nowhere"),
    ],
)
def test_what_cannot_be_timed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made_file: Path,
    options: tuple[object, ...],
    message: str,
) -> None:
    assert message in refusal(monkeypatch, capsys, "bench", made_file, *options)


def test_another_scene_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path, tmp_path: Path
) -> None:
    data = recordings.write_folders(tmp_path / "data")
    assert run(monkeypatch, "bench", made_file, "--data", data) == 1
    assert "give" in capsys.readouterr().err


def test_a_checkpoint_of_another_scene_is_not_timed_beside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path, tmp_path: Path
) -> None:
    other = mixture(("poly",))
    other.rig = rig(cameras=4)
    checkpoint.save(Checkpoint(other), tmp_path / "other.pt")
    told = refusal(monkeypatch, capsys, "bench", made_file, *QUICK, "--against", tmp_path / "other.pt")
    assert "other.pt': different cameras, 'cam03' in one alone; compare mixtures of one data set" in told


@pytest.mark.parametrize(
    ("router", "below", "reason"),
    [
        (None, 0.02, "this is one expert alone"),
        (PixelConfig(), 0.02, "a router of kind pixel has to see every expert's picture"),
        (VolumeConfig(), 0.02, "a router of kind volume has to see every expert's picture"),
        (UniformConfig(), 0.02, "a router of kind uniform gives every expert the same share"),
    ],
    ids=["alone", "pixel", "volume", "uniform"],
)
def test_where_nothing_can_be_skipped_it_is_told_and_not_verified(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    router: AnyRouterConfig | None, below: float, reason: str,
) -> None:  # fmt: skip
    path, made = tmp_path / "made.pt", mixture(("poly",) if router is None else ("poly", "key"))
    judge = None if router is None else router.start([60, 60])
    checkpoint.save(Checkpoint(Mixture(made.names, made.members, judge, made.rig)), path)
    for out, told in (("a.png", ""), ("b.png", f"--skip-below {below}: nothing is skipped, since {reason}\n")):
        options = ("--skip-below", below) if told else ()
        assert run(monkeypatch, "render", path, *options, "--out", tmp_path / out) == 0
        assert capsys.readouterr().err == told
    wanted = f"--verify-gating: nothing is skipped, since {reason}; leave it out"
    options = ("--skip-below", below, "--verify-gating")
    assert wanted in refusal(monkeypatch, capsys, "render", path, *options, "--out", tmp_path / "c.png")
    assert wanted in refusal(monkeypatch, capsys, "bench", path, *QUICK, *options)


def test_render_tells_what_gating_cost(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path, tmp_path: Path
) -> None:
    options = ("--skip-below", 0.95, "--verify-gating")
    assert run(monkeypatch, "render", made_file, *options, "--out", tmp_path / "x.png") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("x.png: rgb, 48x32")
    assert second.startswith("tile gating below 0.95: ")
    assert (
        run(
            monkeypatch,
            "render",
            made_file,
            *options,
            "--sway",
            "--seconds",
            0.3,
            "--fps",
            10,
            "--out",
            tmp_path / "x.mp4",
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("tile gating below 0.95: ")
