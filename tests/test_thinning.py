"""moegs prune killed in its fine-tuning, really: it goes on to the same result and leaves nothing behind."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import filmed
import pytest
from command_line import run
from mixtures import mixture
from torch.testing import assert_close

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture

ROOT = Path(__file__).parent.parent
# The command `moegs`, which saves its state every fourth step and is killed as the eleventh begins.
KILLED = """
import os, signal, sys
from moegs.__main__ import main
from moegs.training import loop, thinning

def step(trainee, number, pictures):
    if number == 10:
        os.kill(os.getpid(), signal.SIGKILL)
    return one_step(trainee, number, pictures)

one_step, loop.one_step, thinning.SAVE_EVERY = loop.one_step, step, 4
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set in `data`, the mixture on its cameras in `made.pt`."""
    return filmed.write(tmp_path, mixture(("poly", "key"))).parent


def command(folder: Path, out: str, *more: object) -> list[str]:
    """What is asked of moegs: 14 steps of fine-tuning on a CPU."""
    asked = ("prune", folder / "made.pt", "--data", folder / "data", "--out", folder / out, "--device", "cpu")
    return [*map(str, asked), "--finetune", "14", *map(str, more)]


def moegs(*arguments: str) -> str:
    """What moegs tells on stderr, in a process of its own."""
    ran = subprocess.run([sys.executable, "-m", "moegs", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr


def kill(*arguments: str) -> None:
    """Runs moegs until it kills itself."""
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("experts", [(), ("--finetune-experts",)], ids=["router", "experts too"])
def test_a_killed_fine_tuning_goes_on_to_the_same_result_and_leaves_nothing(
    folder: Path, experts: tuple[str, ...]
) -> None:
    asked = ("--ratio", "0.5", *experts)
    moegs(*command(folder, "whole.pt", *asked))
    kill(*command(folder, "killed.pt", *asked))
    assert {path.name for path in folder.iterdir()} == {"data", "made.pt", "whole.pt", "killed.run"}
    assert "pruned: goes on from step 8" in moegs(*command(folder, "killed.pt", *asked, "--resume"))
    assert {path.name for path in folder.iterdir()} == {"data", "made.pt", "whole.pt", "killed.pt"}
    whole, killed = (checkpoint.load(folder / name) for name in ("whole.pt", "killed.pt"))
    for name, tensor in whole.mixture.state_dict().items():
        assert_close(killed.mixture.state_dict()[name], tensor, rtol=0, atol=0, msg=name)
    start, moved = checkpoint.load(folder / "made.pt").mixture, whole.mixture
    assert len(moved.members[0]) < len(start.members[0])
    assert killed.scores == whole.scores
    assert set(killed.importance) == set(whole.importance) == (set() if experts else {"contribution", "gate-gradient"})
    for found in (whole, killed):
        del found.provenance["pruned"]["seconds"]
    assert killed.provenance == whole.provenance


def test_what_was_killed_is_taken_up_by_the_same_command_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    kill(*command(folder, "x.pt", "--ratio", 0.5))
    left = files(folder / "x.run")
    refusals = {
        ("--ratio", 0.5): "x.run: holds this very run already, unfinished; add --resume to go on with it",
        ("--ratio", 0.4, "--resume"): "x.run: belongs to another config (prune.ratio: 0.5 there, 0.4 here)",
        ("--ratio", 0.5, "--weigh-anew", "--resume"): "belongs to another config (weigh_anew: False there, True here)",
    }
    for asked, told in refusals.items():
        assert run(monkeypatch, *command(folder, "x.pt", *asked)) == 1
        assert told in capsys.readouterr().err
        assert files(folder / "x.run") == left
    rig, other = checkpoint.load(folder / "made.pt").mixture.rig, mixture(("poly", "key"), count=50)
    checkpoint.save(Checkpoint(Mixture(other.names, other.members, other.router, rig)), folder / "made.pt")
    assert run(monkeypatch, *command(folder, "x.pt", "--ratio", 0.5, "--resume")) == 1
    assert "x.run: belongs to another config (sha256: " in capsys.readouterr().err
    assert files(folder / "x.run") == left


def files(folder: Path) -> list[Path]:
    """All that lies in `folder`."""
    return sorted(folder.rglob("*"))


def test_the_mixture_is_read_once(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    read, load = [], checkpoint.load

    def counted(path: Path, *arguments: Any) -> Checkpoint:
        read.append(path.name)
        return load(path, *arguments)

    monkeypatch.setattr(checkpoint, "load", counted)
    assert run(monkeypatch, *command(folder, "x.pt", "--ratio", 0.5)) == 0
    assert read.count("made.pt") == 1


def test_a_start_that_fails_leaves_no_folder_and_one_that_holds_other_things_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert run(monkeypatch, *command(folder, "x.pt", "--ratio", 0.5, "--set", "downscale=2")) == 1
    assert "give the same downscale" in capsys.readouterr().err
    assert not (folder / "x.run").exists()
    (folder / "x.run").mkdir()
    (folder / "x.run" / "notes.txt").write_text("mine")
    assert run(monkeypatch, *command(folder, "x.pt", "--ratio", 0.5)) == 1
    assert "is no run's folder, and holds notes.txt; move it, or choose another name" in capsys.readouterr().err
    assert [path.name for path in (folder / "x.run").iterdir()] == ["notes.txt"]
