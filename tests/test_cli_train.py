"""moegs train as a user meets it: several runs, each in its place."""

from pathlib import Path

import pytest
import recordings
import yaml
from command_line import run

from moegs import checkpoint


def test_train_scales_and_places_each_of_several_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = recordings.write_folders(tmp_path / "tiny")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(
            f"data: {{path: tiny}}\nexperts: [{{name: {name}, steps: 20, expert: {{kind: polynomial, sh_degree: 0}}}}]"
        )
    configs, out = [tmp_path / "one.yaml", tmp_path / "two.yaml"], tmp_path / "runs"
    options = ("--out", out, "--budget", "0.25", "--set", "snapshot_seconds=0", "--device", "cpu")
    assert run(monkeypatch, "train", *configs, *options) == 0
    for name in ("one", "two"):
        made = checkpoint.load(out / name / "mixture.pt")
        assert (made.mixture.names, made.mixture.members[0].step) == ((name,), 5)
        written = yaml.safe_load((out / name / "config.yaml").read_text())
        assert written["data"]["path"] == str(data)
    captured = capsys.readouterr()
    assert "one/one: step 5/5" in captured.err
    assert f"moegs-view {out / 'two' / 'mixture.pt'}" in captured.out
    assert run(monkeypatch, "train", *configs, *options) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("moegs: 2 of 2 runs failed; one: ")
    assert "two: holds this very run already, finished; add --resume" in told
    assert run(monkeypatch, "train", *configs, *options, "--resume") == 0


@pytest.mark.parametrize("again", [(), ("--set",)])
def test_set_may_stand_once_or_before_each_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, again: tuple[str, ...]
) -> None:
    recordings.write_folders(tmp_path / "tiny")
    (tmp_path / "one.yaml").write_text(
        "data: {path: tiny}\nexperts: [{name: one, steps: 20, expert: {kind: polynomial, sh_degree: 0}}]"
    )
    changes = ("--set", "experts[0].steps=2", "snapshot_seconds=0", *again, "seed=5")
    out = tmp_path / "run"
    assert run(monkeypatch, "train", tmp_path / "one.yaml", *changes, "--out", out, "--device", "cpu") == 0
    written = yaml.safe_load((out / "config.yaml").read_text())
    assert (written["experts"][0]["steps"], written["snapshot_seconds"], written["seed"]) == (2, 0, 5)


def test_train_refuses_what_has_no_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    demo = Path(__file__).parent.parent / "configs" / "demo.yaml"
    assert run(monkeypatch, "train", demo, demo, "--out", tmp_path) == 1
    assert "2 configurations, but 1 names" in capsys.readouterr().err
    assert run(monkeypatch, "train", demo, "--out", tmp_path, "--budget", "0") == 1
    assert "budget: got 0, expected a share" in capsys.readouterr().err
    assert run(monkeypatch, "train", demo, "--out", tmp_path, "--set") == 1
    assert "--set: stands without a value" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_train_names_all_that_it_made_and_what_is_still_to_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recordings.write_folders(tmp_path / "tiny")
    expert = "{{name: {0}, steps: 2, expert: {{kind: polynomial, sh_degree: 0}}}}"
    (tmp_path / "two.yaml").write_text(
        f"data: {{path: tiny}}\nexperts: [{expert.format('a')}, {expert.format('b')}]\n"
        "router: {steps: 2}\nsnapshot_seconds: 0\nprune: {ratio: 0.5}\ndistill: [{expert: b, steps: 2}]"
    )
    out = tmp_path / "run"
    command = ("train", tmp_path / "two.yaml", "--out", out, "--device", "cpu")
    assert run(monkeypatch, *command, "--stop-after", "experts") == 0
    told = capsys.readouterr().out
    assert f"{out}: experts finished, still to come: router, prune, distill; the same command with --resume" in told
    assert run(monkeypatch, *command, "--resume") == 0
    told = capsys.readouterr().out
    for made in ("mixture.pt", "pruned.pt", "students/b.pt"):
        assert f"{out / made}: look at it with: moegs-view {out / made}\n" in told
    assert "still to come" not in told
