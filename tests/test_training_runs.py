"""Runs: their stages, what a folder is claimed for, what a killed run loses, what it says while it runs."""

import io
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from rich.console import Console
from stamps import KINDS, KilledError, settings, stop_after, training
from torch.testing import assert_close

from moegs import checkpoint, consoles
from moegs.cli.progress import progress as cli_progress
from moegs.data import DataConfig
from moegs.runs import RunFolder, lock, status
from moegs.training import Sitting, TrainingError, loop, train
from moegs.training.events import Begun, Event, Progress, Resumed, Saved, Scored, Skipped, Working, working
from moegs.training.loop import OnEvent
from moegs.training.progress import show
from moegs.training.workers import run_side_by_side

pytestmark = pytest.mark.usefixtures("stamp_room")
RESUME = Sitting(resume=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_to_the_same_result(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = settings(training(kind, random_background=True), save_every=5)
    train(whole, tmp_path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(8, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "killed")
    heard: list[Event] = []
    train(whole, tmp_path, tmp_path / "killed", heard.append, RESUME)
    assert Resumed(kind, 5) in heard
    ours, theirs = (checkpoint.load(tmp_path / run / "mixture.pt").mixture for run in ("whole", "killed"))
    assert len(ours.members[0]) > 40  # density control acted
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_a_killed_router_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = settings(training("polynomial"), training("keyframe"), save_every=4)
    train(whole, tmp_path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(12 + 12 + 5, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "killed")
    heard: list[Event] = []
    train(whole, tmp_path, tmp_path / "killed", heard.append, RESUME)
    assert {event.name for event in heard if isinstance(event, Skipped)} == {"polynomial", "keyframe"}
    assert Resumed("router-0.1", 4) in heard
    ours, theirs = (checkpoint.load(tmp_path / run / "mixture.pt").mixture for run in ("whole", "killed"))
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_a_whole_run_leaves_checkpoints_with_scores_and_nothing_half_done(tmp_path: Path):
    heard: list[Event] = []
    out = tmp_path / "run"
    read = DataConfig(path=Path("room"), downscale=2)
    path = train(settings(training("polynomial"), training("keyframe"), data=read), tmp_path, out, heard.append)
    assert path == out / "mixture.pt"
    left = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    made = {"experts/polynomial.pt", "experts/keyframe.pt", "mixture.pt"}
    assert left == {"config.yaml", ".lock", "live/status.json"} | made
    found = checkpoint.load(path)
    assert found.mixture.names == ("polynomial", "keyframe")
    assert set(found.scores) >= {"experts", "mixture", "average", "oracle", "gates"}
    assert found.provenance["training"]["steps"] == 6
    assert found.provenance["data"] == "room"
    assert found.provenance["choices"] == {"downscale": 2}
    alone = checkpoint.load(out / "experts" / "keyframe.pt")
    assert alone.mixture.router is None
    assert alone.mixture.members[0].step == 12
    assert [event.name for event in heard if isinstance(event, Saved)] == ["polynomial", "keyframe", "mixture"]


def test_a_folder_of_another_config_is_refused(tmp_path: Path):
    train(settings(training()), tmp_path, tmp_path / "run")
    other = settings(training(steps=13))
    with pytest.raises(TrainingError, match=r"another config \(experts\[0\].steps: 12 there, 13 here\).*options"):
        train(other, tmp_path, tmp_path / "run")


def test_a_finished_run_is_not_done_again(tmp_path: Path):
    train(settings(training()), tmp_path, tmp_path / "run")
    heard: list[Event] = []
    train(settings(training()), tmp_path, tmp_path / "run", heard.append, RESUME)
    names = [event.name for event in heard if isinstance(event, Skipped)]
    assert names == ["polynomial", "mixture"]
    assert len(heard) == 2


def tell_threads(on_event: OnEvent) -> None:
    import numba

    on_event(Scored(f"{torch.get_num_threads()} {numba.get_num_threads()}", str(os.getpid()), 0.0))


def fail(on_event: OnEvent) -> None:
    raise TrainingError("polynomial: the loss became nan at step 7; lower the rates")


@pytest.mark.slow
def test_jobs_run_in_processes_of_their_own_with_their_threads():
    heard: list[Event] = []
    run_side_by_side([tell_threads, tell_threads], parallel=2, threads=1, on_event=heard.append)
    scored = [event for event in heard if isinstance(event, Scored)]
    assert [event.name for event in scored] == ["1 1", "1 1"]
    assert len({event.split for event in scored} | {str(os.getpid())}) == 3


def never_end(on_event: OnEvent) -> None:
    on_event(Scored("at work", str(os.getpid()), 0.0))
    time.sleep(1000)


def train_until_killed(pids: Connection) -> None:
    def tell(event: Event) -> None:
        assert isinstance(event, Scored)
        pids.send(int(event.split))

    run_side_by_side([never_end], parallel=2, threads=1, on_event=tell)


@pytest.mark.slow
def test_jobs_end_with_the_process_that_started_them_however_that_ends():
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=train_until_killed, args=(theirs,))
    process.start()
    job = ours.recv()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    deadline = time.monotonic() + 60
    while alive(job):
        assert time.monotonic() < deadline, "nobody is left to write in the run's folder"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.slow
def kill_itself(on_event: OnEvent) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_of_a_job_that_is_killed_the_signal_is_told():
    with pytest.raises(TrainingError, match="was ended by SIGKILL, as the system does where memory is short; --resume"):
        run_side_by_side([kill_itself], 1, 1, lambda event: None)


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_run_in_what_is_a_file_is_refused(tmp_path: Path, out: str):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file is a file, not a folder; choose another place"):
        train(settings(training()), tmp_path, tmp_path / out)


def test_a_job_that_fails_tells_why():
    with pytest.raises(TrainingError, match="^polynomial: the loss became nan at step 7"):
        run_side_by_side([fail], parallel=2, threads=1, on_event=lambda event: None)


def test_without_a_terminal_progress_is_a_plain_line_now_and_then():
    text = io.StringIO()
    with show(Console(file=text)) as on_event:
        for step in range(1, 11):
            on_event(Progress("hexplane", step, 10, 0.05, 27.5, 15000, 2.0 * step))
        on_event(Saved("hexplane", Path("runs/x.pt")))
    first, last, saved = text.getvalue().splitlines()
    assert first == "hexplane: step 1/10, loss 0.0500, 27.50 dB  15,000 Gaussians, 2 s so far"
    assert last == "hexplane: step 10/10, loss 0.0500, 27.50 dB  15,000 Gaussians, 20 s so far"
    assert saved == "hexplane: saved, runs/x.pt"


def test_without_a_terminal_what_begins_after_the_steps_is_told_at_once():
    text = io.StringIO()
    with show(Console(file=text)) as on_event:
        scored = working("distill-poly", "held-out pictures scored", 30, on_event)
        scored(1, 30)
        scored(2, 30)
    assert text.getvalue() == "distill-poly: held-out pictures scored, 0 of 30\n"


def test_without_a_terminal_what_takes_long_is_told_soon_and_then_ever_less_often(monkeypatch: pytest.MonkeyPatch):
    """A view a second for five minutes: weighed Gaussians in a phase of a run, and a verb's bar."""
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    text = {"run": io.StringIO(), "verb": io.StringIO()}
    monkeypatch.setattr(consoles, "console", lambda stderr: Console(file=text["verb"]))
    with show(Console(file=text["run"])) as on_event, cli_progress("views") as advance:
        for second in range(301):
            now = float(second)
            on_event(Working("pruned", "views", second + 1, 301))
            advance(second + 1, 301)
    told = {who: [int(line.split()[-3]) - 1 for line in each.getvalue().splitlines()] for who, each in text.items()}
    assert told["run"] == told["verb"]
    pauses = [after - before for before, after in zip([0, *told["run"]], told["run"], strict=False)]
    assert pauses[:4] == [5, 5, 5, 5]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30
    assert sum(seconds < 120 for seconds in told["run"]) < 15


def test_what_is_left_is_told_from_steps_that_no_longer_compile(monkeypatch: pytest.MonkeyPatch):
    """The first steps took a minute, all others two seconds; a line each."""
    monkeypatch.setattr(consoles, "pause", lambda seconds: 0.0)
    text = io.StringIO()
    with show(Console(file=text)) as on_event:
        on_event(Begun("router", 1))
        for step in range(1, 21):
            on_event(Progress("one/router-0.5", step, 20, 0.05, 27.5, 9, 60.0 + 2 * step))
        for trial in range(3):
            on_event(Working("pruned", f"pictures, trial {trial}", 1, 9))
    begun, *lines, _, second, third = text.getvalue().splitlines()
    assert begun == "router: to be trained over the experts"
    assert [line for line in lines[:6] if "left" in line] == []
    assert lines[6].startswith("one/router at temperature 0.5: step 7/20")
    assert lines[6].endswith("74 s so far, about 26 s left")
    assert (second, third) == ("pruned: pictures, trial 1, 1 of 9", "pruned: pictures, trial 2, 1 of 9")


def test_the_losses_of_a_resumed_run_are_those_of_one_that_was_never_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    whole = settings(training("hexplane", random_background=True), save_every=5)
    heard: dict[str, list[Event]] = {"whole": [], "killed": []}
    train(whole, tmp_path, tmp_path / "whole", heard["whole"].append)
    with monkeypatch.context() as patch:
        stop_after(8, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "killed", heard["killed"].append)
    train(whole, tmp_path, tmp_path / "killed", heard["killed"].append, RESUME)
    losses = {key: [(e.step, e.loss) for e in events if isinstance(e, Progress)] for key, events in heard.items()}
    assert [step for step, _ in losses["killed"]] == [*range(1, 9), *range(6, 13)]
    assert losses["killed"][:8] == losses["whole"][:8]
    assert losses["killed"][8:] == losses["whole"][5:]


def test_a_used_folder_is_refused_without_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = settings(training(), save_every=2)
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "run")
    with pytest.raises(TrainingError, match=r"run: holds this very run already, unfinished; add --resume to go on"):
        train(whole, tmp_path, tmp_path / "run")
    train(whole, tmp_path, tmp_path / "run", sitting=RESUME)
    with pytest.raises(TrainingError, match=r"run: holds this very run already, finished"):
        train(whole, tmp_path, tmp_path / "run")


def test_resume_starts_anew_where_there_is_nothing(tmp_path: Path):
    assert train(settings(training()), tmp_path, tmp_path / "run", sitting=RESUME).exists()


def test_how_a_run_is_done_may_change_between_sittings(tmp_path: Path):
    one = settings(training())
    train(one, tmp_path, tmp_path / "run")
    other = replace(one, parallel=2, threads=2, save_every=7, data=replace(one.data, memory_gb=1.0, cache="disk"))
    train(other, tmp_path, tmp_path / "run", sitting=RESUME)


def test_a_run_stops_after_the_stage_that_was_named_and_goes_on_with_the_next(tmp_path: Path):
    both, out = settings(training("polynomial"), training("keyframe")), tmp_path / "run"
    heard: list[Event] = []
    last = train(both, tmp_path, out, heard.append, Sitting(stop_after="experts"))
    assert last == out / "experts" / "keyframe.pt"
    assert [event for event in heard if isinstance(event, Begun)] == [Begun("experts", 2)]
    assert not (out / "mixture.pt").exists()
    seen = status.look(RunFolder(out))
    assert (seen.standing, seen.said.message) == ("stopped", "after experts; --resume goes on")
    train(both, tmp_path, out, heard.append, RESUME)
    assert [event for event in heard if isinstance(event, Begun)][1:] == [Begun("router", 1)]
    assert status.look(RunFolder(out)).standing == "finished"


def test_two_runs_in_one_folder_are_refused_and_a_glance_does_no_harm(tmp_path: Path):
    whole, out = settings(training()), tmp_path / "run"
    heard: list[str] = []

    def second(event: Event) -> None:
        assert lock.held(out / ".lock")
        with pytest.raises(ValueError, match=r"run: another run is at work there \(process \d+ on .+\); wait") as told:
            train(whole, tmp_path, out, sitting=RESUME)
        heard.append(str(told.value))

    train(whole, tmp_path, out, lambda event: second(event) if isinstance(event, Begun) else None)
    assert len(heard) == 2
    assert f"process {os.getpid()} on" in heard[0]
    assert not lock.held(out / ".lock")


def test_what_was_left_half_written_is_removed(tmp_path: Path):
    out = tmp_path / "run"
    for place in ("states/.polynomial.1.part.pt", "experts/.polynomial.1.part.pt", ".mixture.1.part.pt"):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_bytes(b"half")
    train(settings(training()), tmp_path, out)
    assert [path for path in out.rglob("*") if ".part" in path.name] == []
