"""What a run's folder tells whoever looks on: how the run stands, whether it is at work, what it looks like so far."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import stamps
import torch
from stamps import KilledError, plan, settings, stop_after, training
from torch.testing import assert_close

from moegs import checkpoint
from moegs.runs import RunFolder, lock, status
from moegs.training import loop, train
from moegs.training.events import Begun, Event, Resumed, Scored, Snapshot
from moegs.training.experts import ExpertTrainee
from moegs.training.loop import run
from moegs.training.sampling import Shuffled
from moegs.training.snapshots import SHARE, Snapshots

pytestmark = pytest.mark.usefixtures("stamp_room")


def test_a_run_starts_though_somebody_asks_all_the_time_whether_it_is_at_work(tmp_path: Path):
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            lock.held(tmp_path / ".lock")

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(20):
            with lock.hold(tmp_path / ".lock"):
                pass
    finally:
        done.set()
        for thread in asking:
            thread.join()


def hold_for_ever(path: Path, ready: Callable[[], None]) -> None:
    with lock.hold(path):
        ready()
        time.sleep(100)


@pytest.mark.slow
def test_the_lock_dies_with_its_process(tmp_path: Path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold_for_ever, args=(tmp_path / ".lock", ready.set), daemon=True)
    process.start()
    assert ready.wait(60)
    assert lock.held(tmp_path / ".lock")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not lock.held(tmp_path / ".lock")
    with lock.hold(tmp_path / ".lock"):
        pass


def test_a_run_says_how_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    both, folder = settings(training("polynomial"), training("keyframe")), RunFolder(tmp_path / "run")
    assert status.look(folder).standing == "absent"
    seen: list[status.Look] = []

    def tell(event: Event) -> None:
        if isinstance(event, Begun | Resumed | Scored):
            seen.append(status.look(folder))

    train(both, tmp_path, folder.path, tell)
    assert {look.standing for look in seen} == {"running"}
    assert [look.said.stage for look in seen] == ["experts"] * 3 + ["router"] * 4
    last = status.look(folder)
    assert last.standing == "finished"
    assert [phase.name for phase in last.said.phases] == ["polynomial", "keyframe", "router-0.1", "router-1"]
    assert [phase.step for phase in last.said.phases] == [12, 12, 6, 6]
    assert all(phase.finished and phase.score is not None for phase in last.said.phases)
    assert [point.step for point in last.said.phases[0].curve] == list(range(1, 13))


def test_a_run_that_fails_says_why_and_one_that_dies_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KilledError):
            train(settings(training()), tmp_path, folder.path)
    seen = status.look(folder)
    assert (seen.standing, seen.said.message) == ("failed", "KilledError")
    folder.config.touch()
    status.write(replace(seen.said, state="running"), folder)  # as a process leaves it that is killed
    assert status.look(folder).standing == "died"


def test_a_curve_keeps_its_ends_and_a_bounded_length():
    phase = status.Phase(name="x", stage="experts", steps=1000, gaussians=0, seconds=0.0, curve=())
    for step in range(1, 1001):
        phase = phase.at(status.Point(step, 1 / step, 20.0), 5, float(step))
        assert len(phase.curve) <= status.CURVE_POINTS + 2
    assert phase.step == 1000
    steps = [point.step for point in phase.curve]
    assert steps == sorted(set(steps))
    assert max(b - a for a, b in pairwise(steps)) <= 1000 / status.CURVE_POINTS
    again = phase.at(status.Point(500, 0.1, 30.0), 5, 1.0)  # it was killed and goes on from an earlier step
    assert (again.step, again.curve[-1].psnr) == (500, 30.0)


def test_a_snapshot_is_the_expert_so_far_and_changes_nothing(tmp_path: Path):
    quiet, out = settings(training("keyframe")), tmp_path / "run"
    found: list[checkpoint.Checkpoint] = []

    def look(event: Event) -> None:
        if isinstance(event, Snapshot):
            assert event.path == RunFolder(out).snapshot("keyframe")
            found.append(checkpoint.load(event.path))

    watched = replace(quiet, snapshot_seconds=1e-9)
    final = checkpoint.load(train(watched, tmp_path, out, look)).mixture.state_dict()
    assert found[0].mixture.names == ("keyframe",)
    assert found[0].provenance == {"phase": "keyframe", "step": 1}
    assert not RunFolder(out).snapshot("keyframe").exists(), "the finished expert takes its place"
    for name, tensor in checkpoint.load(train(quiet, tmp_path, tmp_path / "quiet")).mixture.state_dict().items():
        assert_close(final[name], tensor, rtol=0, atol=0)


def test_snapshots_cost_their_share_of_the_time_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = [0.0]

    def slow_save(contents: checkpoint.Checkpoint, path: Path) -> None:
        clock[0] += 3.0

    monkeypatch.setattr(checkpoint, "save", slow_save)
    snapshots, spent = Snapshots(tmp_path / "x.pt", seconds=10.0, now=lambda: clock[0]), 0.0
    mixture = ExpertTrainee(training(), stamps.scene(), torch.device("cpu")).shown()
    for step in range(3000):
        clock[0] += 1.0
        if snapshots.due():
            spent += snapshots.write("x", mixture, step).seconds
    assert 0 < spent <= SHARE * clock[0] + 3.0
    assert not Snapshots(tmp_path / "x.pt", seconds=0.0).due()


def test_the_loop_writes_no_snapshot_where_none_is_asked_for(tmp_path: Path):
    heard: list[Event] = []
    trainee = ExpertTrainee(training(), stamps.scene(), torch.device("cpu"))
    run(trainee, Shuffled(stamps.scene().pairs((1, 2))), plan(tmp_path), heard.append)
    assert [event for event in heard if isinstance(event, Snapshot)] == []
