"""Runs on a Ray cluster of this machine, started through the command line; a worker is killed in the middle."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import recordings
import stamps
import torch
import yaml

from moegs import checkpoint, config
from moegs.runs import RunFolder, status
from moegs.training import TrainConfig, cluster
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.phases import SoleJob

ROOT = Path(__file__).parent.parent


def write_configs(folder: Path) -> list[Path]:
    """Two runs of two small experts, the first one's expert takes its time; and one whose data is nowhere."""
    recordings.write_folders(folder / "data")
    written = []
    for name, steps, place in (("first", 400, "data"), ("second", 10, "data"), ("broken", 10, "nowhere")):
        data = {"path": str(folder / place)}
        experts = [
            {"name": "poly", "steps": steps, "expert": {"kind": "polynomial", "sh_degree": 0}},
            {"name": "key", "steps": 10, "expert": {"kind": "keyframe", "sh_degree": 0, "interval": 2}},
        ]
        run = {"data": data, "experts": experts, "router": {"steps": 5}, "save_every": 10, "snapshot_seconds": 0.0}
        written.append(folder / f"{name}.yaml")
        written[-1].write_text(yaml.safe_dump(run))
    return written


def pid_of(title: str) -> int | None:
    """The process that shows itself as `title`, as a Ray worker does while it is at a task."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (entry / "cmdline").read_bytes().startswith(f"ray::{title}".encode()):
                return int(entry.name)
        except OSError:  # it ended meanwhile
            continue
    return None


def kill_once_at_work(process: subprocess.Popen[str], title: str, folder: RunFolder, phase: str) -> None:
    deadline = time.monotonic() + 240
    while (pid := pid_of(title)) is None or not folder.state(phase).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the task never got anywhere"
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_runs_on_a_cluster_end_as_they_would_here_though_one_fails_and_a_worker_is_killed(tmp_path: Path) -> None:
    configs, out = write_configs(tmp_path), tmp_path / "cluster"
    command = [sys.executable, "-m", "moegs", "train", *map(str, configs), "--out", str(out)]
    with subprocess.Popen(
        [*command, "--device", "cpu", "--ray"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        kill_once_at_work(process, "first/poly", RunFolder(out / "first"), "poly")
        _, told = process.communicate(timeout=300)
    assert process.returncode == 1, told
    assert "first/poly: goes on from step" in told
    assert re.search(r"^moegs: 1 of 3 runs failed; .*nowhere", told, re.MULTILINE), told
    standings = {path.stem: status.look(RunFolder(out / path.stem)).standing for path in configs}
    assert standings == {"first": "finished", "second": "finished", "broken": "failed"}
    for path in configs[:2]:
        settings, there = config.load(TrainConfig, path), RunFolder(out / path.stem)
        here = cluster_free(path, tmp_path / "here" / path.stem)
        assert {file.name for file in there.path.iterdir()} == {file.name for file in here.path.iterdir()}
        ours, theirs = (checkpoint.load(run.mixture).mixture.state_dict() for run in (here, there))
        assert [expert.name for expert in settings.experts] == ["poly", "key"]
        for name, tensor in ours.items():
            assert torch.equal(tensor, theirs[name]), f"{path.stem}: {name}"


def cluster_free(path: Path, out: Path) -> RunFolder:
    """The same run on this machine, with as many threads as a task has."""
    environment = os.environ | dict.fromkeys(cluster.THREAD_VARIABLES, "1")
    command = [sys.executable, "-m", "moegs", "train", str(path), "--out", str(out), "--device", "cpu"]
    subprocess.run(command, cwd=ROOT, check=True, env=environment, capture_output=True)
    return RunFolder(out)


@dataclass(frozen=True)
class Broken(SoleJob):
    """Its data cannot be read."""

    def __call__(self, on_event: OnEvent) -> None:
        raise ValueError("room: no cameras")


def test_a_job_that_fails_is_told_and_what_waits_for_it_is_not_done(tmp_path: Path) -> None:
    place = cluster.Place(0, "mixture", "router", 1)
    job = Broken(stamps.settings(stamps.training()), RunFolder(tmp_path), "cpu")
    assert cluster.do(job, place, None) == "room: no cameras"
    assert cluster.do(job, place, None, None, "poly: the loss became nan") == "poly: the loss became nan"
    job.path.touch()
    assert cluster.do(job, place, None) is None, "it was done, but its worker died before it could say so"


def test_without_ray_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(TrainingError, match=r"^ray: not installed; pip install 'moegs\[ray\]', or leave --ray out$"):
        cluster.train_all({}, None, lambda event: None, cluster.Sitting())
