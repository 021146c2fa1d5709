"""A run whose process is really killed, at any moment, and goes on: little is lost, the end is the same."""

import random
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
# Imports once, then forks a process for every line on its standard input, which says into which folder it trains and
# when it is killed: never; so many steps from now and seconds after that, wherever it is then; or in the first writing
# of a state after so many steps, with half of the file written.
STARTER = """
import io, os, signal, sys, threading
from pathlib import Path
import torch
from moegs import config
from moegs.training import Sitting, TrainConfig, loop, train
from moegs.training.events import Progress

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def half_saved(contents, file):
    whole = io.BytesIO()
    torch.serialization.save(contents, whole)
    file.write(whole.getvalue()[: len(whole.getvalue()) // 2])
    file.flush()
    kill()

def work(out, end, steps, delay):
    told = 0
    with out.with_suffix(".losses").open("a") as losses:
        def tell(event):
            nonlocal told
            if not isinstance(event, Progress):
                return
            print(event.name, event.step, event.loss.hex(), file=losses, flush=True)
            told += 1
            if told == steps and end == "anywhere":
                threading.Timer(delay, kill).start()
            if told == steps and end == "writing":
                torch.save = half_saved
        train(settings, Path(sys.argv[1]).parent, out, tell, Sitting(resume=True))

loop.REPORT_SECONDS = 0.0
settings = config.load(TrainConfig, Path(sys.argv[1]))
for line in sys.stdin:
    out, end, steps, delay = line.split()
    if not (pid := os.fork()):
        work(Path(out), end, int(steps), float(delay))
        os._exit(0)
    print(os.waitpid(pid, 0)[1], flush=True)
"""


def write_config(folder: Path, **values: object) -> Path:
    """A run of two small experts and a router on three cameras with four pictures each."""
    density = {"start": 5, "stop": 18, "every": 5, "gradient": 1e-6, "limit": 60, "opacity": 0.0, "largest": 1e3}
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

    def train(self, out: Path, end: str = "never", steps: int = 0, delay: float = 0.0) -> int:
        """Trains into `out` until the end, or until it is killed as STARTER tells; the signal it ended by, or 0."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(out, end, steps, delay, file=self.process.stdin, flush=True)
        return int(self.process.stdout.readline())


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
    assert trainer.train(whole) == 0
    moments = random.Random(5)
    for end in ("anywhere", "writing", "anywhere", "writing"):
        before = lines(out)
        killed = trainer.train(out, end, moments.randint(5, 9), moments.random() * 0.01)
        assert killed == signal.SIGKILL
        assert bool(half_written(out)) or end == "anywhere"
        check_files(out)
        first = lines(out)[len(before)]
        if before and first[0] == before[-1][0]:
            assert first[1] > before[-1][1] - SAVE_EVERY, "at most the interval is lost"
    assert trainer.train(out) == 0
    assert half_written(out) == []
    losses: dict[tuple[str, int], set[str]] = defaultdict(set)
    for name, step, loss in lines(whole) + lines(out):
        losses[name, step].add(loss)
    assert {name for name, _ in losses} == {"poly", "key", "router-1"}
    assert [place for place, found in losses.items() if len(found) > 1] == [], "every step's loss, to the bit"
    ours, theirs = (checkpoint.load(run / "mixture.pt").mixture for run in (whole, out))
    assert min(len(expert) for expert in ours.members) > 20, "density control acted"
    for name, tensor in ours.state_dict().items():
        assert_close(theirs.state_dict()[name], tensor, rtol=0, atol=0)


def starts_until_both_work(command: list[str], out: Path, told: list[str]) -> subprocess.Popen[str]:
    """The run of `command` when each of its two experts has done a part of it; `told` takes what it says."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    waited_for = {"poly", "key"}
    for line in process.stderr:  # a state comes before the second report, which is half a minute later
        told.append(line.strip())
        waited_for -= {name for name in waited_for if re.match(f"{name}: (step|goes on)", line)}
        if not waited_for:
            break
    deadline = time.monotonic() + 120
    while not all(RunFolder(out).state(name).exists() for name in ("poly", "key")):
        assert time.monotonic() < deadline, told
        time.sleep(0.05)
    return process


def children(pid: int) -> set[int]:
    """The processes that `pid` has started, and what they are."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(stat.parent.name))
    return found


@pytest.mark.slow
def test_a_run_that_is_terminated_takes_its_workers_along_and_goes_on(tmp_path: Path) -> None:
    config, out = write_config(tmp_path), tmp_path / "run"
    endless = [f"experts.{number}.steps=10000000" for number in range(2)]
    command = [sys.executable, "-m", "moegs", "train", str(config), "--out", str(out), "--device", "cpu", "--resume"]
    command += ["--set", "parallel=2", *endless]
    for sitting in range(2):
        told: list[str] = []
        process = starts_until_both_work(command, out, told)
        assert ("poly: goes on from step" in " ".join(told)) == (sitting == 1)
        workers = children(process.pid)
        assert len(workers) >= 2
        process.terminate()
        _, last = process.communicate(timeout=60)
        assert last.splitlines()[-1] == "moegs: stopped; the same command with --resume goes on"
        assert process.returncode == 130
        deadline = time.monotonic() + 60
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline, "nobody is left to write in the run's folder"
            time.sleep(0.05)
        seen = status.look(RunFolder(out))
        assert (seen.standing, seen.said.message) == ("stopped", "by Ctrl-C or SIGTERM; --resume goes on")
        assert half_written(out) == []
