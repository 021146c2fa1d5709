"""A sweep of pruning ratios, and the two verbs that prune as a user meets them."""

import json
from dataclasses import replace
from pathlib import Path

import filmed
import pytest
import torch
from command_line import refusal, run
from mixtures import mixture

from moegs import checkpoint, pruning
from moegs.benchmark import Rounds
from moegs.cameras import Camera
from moegs.checkpoint import Checkpoint
from moegs.cli.prune import cut_too_deep, decibels
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture, MixtureRender
from moegs.sweep import against, held_out, measure, per_gaussian_bytes, ratios


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `data`, the mixture on its cameras in `made.pt`."""
    return filmed.write(tmp_path_factory.mktemp("pruning"), mixture(("poly", "key"), count=400)).parent


def test_ratios_are_evenly_spaced_with_both_ends():
    assert ratios("0:0.9:10") == [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert ratios("0.55") == [0.55]


@pytest.mark.parametrize("text", ["", "0:0.9", "0:1.2:3", "0.5:0.2:3", "0:0.9:0", "0:0.9:x", "0:0.3:0.6:0.9", "nan"])
def test_what_are_no_ratios_is_one_line(text: str):
    with pytest.raises(ValueError, match=r"--prune .*: give FIRST:LAST:COUNT with ratios in \[0, 1\]"):
        ratios(text)


def test_too_many_ratios_is_a_line_of_its_own():
    with pytest.raises(ValueError, match="--prune 0:1:99999999999: got 99999999999 ratios, each of which is measured"):
        ratios("0:1:99999999999")


def test_a_row_tells_what_is_left(folder: Path):
    made = checkpoint.load(folder / "made.pt").mixture
    scene = load_scene(DataConfig(path=folder / "data"), with_points=False)
    scores = {name: torch.arange(float(len(expert))) for name, expert in zip(made.names, made.members, strict=True)}
    pairs = held_out(made, scene, 2)
    assert pairs == [(0, 0), (0, 2)]
    whole, part = (measure(made, pruning.kept(scores, ratio, "expert"), scene, pairs) for ratio in (0.0, 0.55))
    assert (whole.ratio, whole.gaussians) == (0, 800)
    assert (part.ratio, part.gaussians) == (pytest.approx(0.55), 360)
    assert part.per_gaussian_megabytes < whole.per_gaussian_megabytes < whole.megabytes
    assert whole.megabytes == pytest.approx(sum(t.nbytes for t in made.state_dict().values()) / 1e6)
    assert part.psnr != whole.psnr
    assert min(whole.ms, whole.ms_kept, whole.speedup, part.speedup_kept) > 0


def test_bytes_per_gaussian_are_those_that_a_row_has():
    made = mixture(("poly", "key"), count=40)
    one = pruning.pruned(made, {name: torch.arange(40) > 0 for name in made.names})
    floats = {"poly": 3 + 4 + 3 + 1 + 3 + 9 + 4 + 1 + 1 + 3, "still": 3 + 4 + 3 + 1 + 3 + 3 + 3}
    lost = per_gaussian_bytes(made) - per_gaussian_bytes(one)
    assert lost == 4 * sum(floats.values())  # row 0 of the keyframe expert is a still one


def test_prune_writes_a_smaller_checkpoint_that_says_what_was_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    path, out = folder / "made.pt", tmp_path / "thin.pt"
    given = ("--data", folder / "data", "--out", out)
    asked = ("--ratio", 0.55, "--finetune", 3, "--finetune-experts", "--json", tmp_path / "facts.json")
    assert run(monkeypatch, "prune", path, *given, *asked) == 0
    assert "55.0% pruned by contribution" in capsys.readouterr().out
    thin, facts = checkpoint.load(out), json.loads((tmp_path / "facts.json").read_text())
    assert sum(map(len, thin.mixture.members)) == 360
    assert facts["bytes"] == {"before": path.stat().st_size, "after": out.stat().st_size}
    assert facts["from"] == "made.pt"
    assert set(facts["test_psnr"]) == {"before", "after"}
    assert facts["settings"]["finetune_experts"] is True
    assert not thin.importance  # they were of the experts before they learned
    assert run(monkeypatch, "info", out) == 0
    assert "55.0% of the Gaussians of made.pt, by contribution" in capsys.readouterr().out
    assert run(monkeypatch, "prune", path, *given, "--ratio", 0.5) == 1
    assert "exists already; choose another name or add --force" in capsys.readouterr().err


@pytest.mark.parametrize(("after", "finetune", "told"), [(28.9, 0, True), (29.1, 0, False), (28.9, 10, False)])
def test_who_loses_much_by_the_cut_alone_is_told_of_fine_tuning(after: float, finetune: int, told: bool) -> None:
    facts = {"settings": {"finetune": finetune}, "test_psnr": {"before": 30.0, "after": after}}
    assert cut_too_deep(facts) == told
    assert not cut_too_deep({"settings": {"finetune": finetune}})  # no camera is held out


def test_ratio_0_stores_the_scores_and_sweep_takes_them_from_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    path, out = folder / "made.pt", tmp_path / "weighed.pt"
    assert run(monkeypatch, "prune", path, "--data", folder / "data", "--out", out, "--ratio", 0) == 0
    before, after = (checkpoint.load(each) for each in (path, out))
    for name, tensor in before.mixture.state_dict().items():
        assert torch.equal(after.mixture.state_dict()[name], tensor)
    assert "nothing pruned, all weighed by contribution" in capsys.readouterr().out
    assert run(monkeypatch, "info", out) == 0
    told = capsys.readouterr().out
    assert "every Gaussian has its score by contribution and by gate-gradient" in " ".join(told.split())
    assert "pruned" not in told
    monkeypatch.setattr(pruning, "importance", lambda *_: pytest.fail("measured again"))
    again = ("prune", out, "--data", folder / "data", "--out", tmp_path / "x.pt", "--ratio", 0, "--weigh-every", 2)
    assert run(monkeypatch, *again) == 0
    assert "are in the checkpoint already, so that weigh_every is not used" in capsys.readouterr().err
    assert run(monkeypatch, "sweep", out, "--data", folder / "data", "--prune", "0:0.8:3", "--json", "-") == 0
    captured = capsys.readouterr()
    rows = json.loads(captured.out)["rows"]
    assert [row["gaussians"] for row in rows] == [800, 480, 160]
    assert [row["ratio"] for row in rows] == pytest.approx([0, 0.4, 0.8])
    head, *lines = captured.err.splitlines()
    assert head.split()[-8:] == ["ms", "new", "faster", "new", "ms", "kept", "faster", "kept"]
    assert [line.split()[0] for line in lines[:3]] == ["0.0%", "40.0%", "80.0%"]
    assert "the median of the pairs' ratios" in " ".join(lines[3:])


def test_what_was_pruned_and_then_weighed_tells_of_both(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    data, thin, weighed = ("--data", folder / "data"), tmp_path / "thin.pt", tmp_path / "weighed.pt"
    assert run(monkeypatch, "prune", folder / "made.pt", *data, "--out", thin, "--ratio", 0.25) == 0
    assert run(monkeypatch, "prune", thin, *data, "--out", weighed, "--ratio", 0, "--weigh-anew") == 0
    capsys.readouterr()
    assert run(monkeypatch, "info", weighed, "--json", "-") == 0
    captured = capsys.readouterr()
    assert "25.0% of the Gaussians of made.pt, by contribution" in captured.err
    assert "0.0%" not in captured.err
    assert json.loads(captured.out)["importance"] == ["contribution", "gate-gradient"]
    assert run(monkeypatch, "info", folder / "made.pt") == 0
    assert "every Gaussian has its score" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ((), "prune: got none of --ratio, --threshold, --max-drop; give one of them"),
        (("--max-drop", "little"), "--max-drop little: give a loss of PSNR in dB, such as 0.05dB"),
        (
            ("--ratio", "0.5", "--set", "downscale=2"),
            "are 16x12, those of the checkpoint 32x24; give the same downscale",
        ),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    folder: Path,
    asked: tuple[str, ...],
    message: str,
) -> None:
    out = tmp_path / "x.pt"
    assert message in refusal(
        monkeypatch, capsys, "prune", folder / "made.pt", "--data", folder / "data", "--out", out, *asked
    )
    assert not out.exists()


@pytest.mark.parametrize("flag", ["--every", "--weigh-every"])
def test_a_sweep_of_no_frame_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, flag: str
) -> None:
    assert f"{flag}: got 0, expected 1 or more frames" in refusal(
        monkeypatch, capsys, "sweep", folder / "made.pt", "--data", folder / "data", flag, 0
    )


@pytest.mark.parametrize("verb", ["prune", "sweep"])
def test_what_cannot_be_is_refused_before_anything_is_weighed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path, verb: str
) -> None:
    whole = checkpoint.load(folder / "made.pt").mixture
    alone = Mixture(whole.names[:1], whole.members[:1], None, whole.rig)
    unseen = Mixture(whole.names, whole.members, whole.router, replace(whole.rig, test=(), train=(0, *whole.rig.train)))
    for name, made in {"alone": alone, "unseen": unseen}.items():
        checkpoint.save(Checkpoint(made), tmp_path / f"{name}.pt")
    (tmp_path / "folder.pt").mkdir()
    (tmp_path / "file").touch()
    monkeypatch.setattr(pruning, "importance", lambda *_: pytest.fail("weighed"))
    data = ("--data", folder / "data")
    by_gradient = ("--criterion", "gate-gradient")
    wrong: list[tuple[str, tuple, str]]
    if verb == "sweep":
        wrong = [("alone", by_gradient, "there is no gate-gradient"), ("unseen", (), "no held-out camera")]
    else:
        cut = ("--ratio", 0.5)
        wrong = [
            ("alone", (*cut, *by_gradient, "--out", tmp_path / "x.pt"), "there is no gate-gradient"),
            ("alone", (*cut, "--out", tmp_path / "folder.pt"), "folder.pt: is a folder; give a file"),
            ("alone", (*cut, "--out", tmp_path / "file" / "x.pt"), "file is a file, not a folder"),
        ]
    for name, asked, message in wrong:
        assert message in refusal(monkeypatch, capsys, verb, tmp_path / f"{name}.pt", *data, *asked)


def test_a_loss_is_given_with_or_without_its_unit():
    assert [decibels(text) for text in ("0.05dB", "0.05", "0.05 DB")] == [0.05, 0.05, 0.05]


def test_both_are_drawn_in_turn_new_and_then_again_each_round_at_a_time_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, part = mixture(("poly", "key")), mixture(("poly", "key"), count=20)
    drawn: list[tuple[str, float, bool]] = []

    def watched(name: str, made: Mixture) -> None:
        render = made.render

        def draw(camera: Camera, t: float) -> MixtureRender:
            drawn.append((name, t, len(made.instants) > 0))
            return render(camera, t)

        monkeypatch.setattr(made, "render", draw)

    watched("whole", whole)
    watched("part", part)
    new, again = against(whole, part, 0, Rounds(2, 1))
    names = ["whole", "part", "whole", "part"]
    wanted = [
        (name, t, kept)
        for t in (1 / 6, 3 / 6, 5 / 6)
        for name, kept in zip(names, (False, False, True, True), strict=True)
    ]
    assert drawn == [(name, pytest.approx(t), kept) for name, t, kept in wanted]
    assert min(new.ms, new.speedup, again.ms, again.speedup) > 0
