"""A run whose process is really killed, at any moment, and goes on: little is lost, the end is the same."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import recordings
import torch
import yaml
from torch.testing import assert_close

from moegs import checkpoint
from moegs.runs import RunFolder, status

ROOT = Path(__file__).parent.parent
SAVE_EVERY = 4
# Imports once, then forks for every line on its standard input a process that trains into the folder that it names.
STARTER = """
import os, sys
from pathlib import Path
from moegs import config
from moegs.training import Sitting, TrainConfig, loop, train
from moegs.training.events import Progress

loop.REPORT_SECONDS = 0.0
settings = config.load(TrainConfig, Path(sys.argv[1]))
for line in sys.stdin:
    out = Path(line.strip())
    if not (pid := os.fork()):
        with out.with_suffix(".losses").open("a") as losses:
            def tell(event):
                if isinstance(event, Progress):
                    print(event.name, event.step, event.loss.hex(), file=losses, flush=True)
            train(settings, Path(sys.argv[1]).parent, out, tell, Sitting(resume=True))
        os._exit(0)
    print(pid, flush=True)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def write_config(folder: Path, **values: object) -> Path:
    """A run of two small experts and a router on three cameras with four pictures each."""
    density = {"start": 5, "stop": 18, "every": 5, "gradient": 1e-6, "limit": 60, "opacity": 0.0}
    shared = {"steps": 20, "density": density, "random_background": True}
    experts = [
        {"name": "poly", "expert": {"kind": "polynomial", "sh_degree": 0, "degree": 1}, **shared},
        {"name": "key", "expert": {"kind": "keyframe", "sh_degree": 0, "interval": 2}, **shared},
    ]
    data = {"path": str(recordings.write_folders(folder / "data"))}
    run = {"data": data, "experts": experts, "router": {"steps": 12}, "save_every": SAVE_EVERY, **values}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(run))
    return path


class Trainer:
    """Starts runs of one config, each in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def train(self, out: Path, kill_when: Callable[[], bool] = lambda: False) -> bool:
        """Trains into `out` until the end, or until `kill_when`; whether it was killed before its end."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(out, file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        while not kill_when() and not finished(out):
            time.sleep(0)
        killed = not finished(out)
        if killed:
            os.kill(pid, signal.SIGKILL)
        code = int(self.process.stdout.readline())
        assert code == (signal.SIGKILL if killed else 0)
        return killed


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    config = write_config(tmp_path_factory.mktemp("killed"))
    with started(config) as process:
        yield Trainer(process)


@contextmanager
def started(config: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", STARTER, str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def finished(out: Path) -> bool:
    return RunFolder(out).mixture.exists()


def lines(out: Path) -> list[tuple[str, int, str]]:
    """Phase, step and exact loss of every step that a run has told of, in all of its sittings."""
    path = out.with_suffix(".losses")
    whole = path.read_text().split("\n")[:-1] if path.exists() else []
    return [(name, int(step), loss) for name, step, loss in (line.split() for line in whole)]


def half_written(out: Path) -> list[Path]:
    return list(out.rglob(".*.part*"))


def check_files(out: Path) -> None:
    """Everything that bears its final name can be read."""
    for path in out.rglob("[!.]*.pt"):
        if path.parent.name == "states":
            assert torch.load(path, weights_only=True)["step"] % SAVE_EVERY == 0
        else:
            checkpoint.load(path)
    assert status.look(RunFolder(out)).standing == "died"


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_loses_little_and_ends_the_same(trainer: Trainer, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "killed"
    trainer.train(whole)
    moments, caught_writing = random.Random(5), 0
    for at_work in (False, True, False, True):
        before = lines(out)
        told, delay = len(before) + moments.randint(6, 12), moments.random() * 0.05

        def reached(told: int = told, delay: float = delay, at_work: bool = at_work) -> bool:
            if len(lines(out)) < told:
                return False
            if not at_work:
                time.sleep(delay)
            return not at_work or any(out.glob("states/.*.part*"))

        assert trainer.train(out, reached), "it was killed before its end"
        caught_writing += bool(half_written(out))
        check_files(out)
        first = next(iter(lines(out)[len(before) :]))
        if before and first[0] == before[-1][0]:
            assert first[1] > before[-1][1] - SAVE_EVERY, "at most the interval is lost"
    assert not trainer.train(out)
    assert caught_writing, "once at least in the middle of a file"
    assert half_written(out) == []
    losses: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name, step, loss in lines(whole) + lines(out):
        losses[name, step].add(loss)
    assert {name for name, _ in losses} == {"poly", "key", "router-1"}
    assert [place for place, found in losses.items() if len(found) > 1] == [], "every step's loss, to the bit"
    ours, theirs = (checkpoint.load(run / "mixture.pt").mixture.state_dict() for run in (whole, out))
    for name, tensor in ours.items():
        assert_close(theirs[name], tensor, rtol=0, atol=0)
