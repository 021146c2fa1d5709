"""The command line as a user meets it: exit codes, one line per failure, and the same pixels as everywhere."""

import ctypes
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from command_line import run
from llvmlite.binding import ExecutionEngine
from mixtures import mixture

from moegs import checkpoint, demo, program
from moegs.checkpoint import Checkpoint

ROOT = Path(__file__).parent.parent


def test_info_tells_what_is_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path
) -> None:
    assert run(monkeypatch, "info", made_file, "--json", "-") == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert [(e["name"], e["kind"], e["gaussians"]) for e in facts["experts"]] == [
        ("poly", "polynomial", 60),
        ("key", "keyframe", 60),
    ]
    assert (facts["frames"], facts["fps"], facts["cameras"]) == (6, 10.0, {"train": 2, "test": 1})
    assert "poly" in captured.err


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB"), "not enough GPU memory (CUDA out of"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory (Unable to allocate 9 GiB); make the picture sm"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory (DefaultCPUAllocator"),
    ],
    ids=["gpu", "numpy", "torch"],
)
def test_a_lack_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], made_file: Path, error: Exception, told: str
) -> None:
    def fail(path: Path, device: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint, "load", fail)
    assert run(monkeypatch, "render", made_file, "--out", made_file.with_name("x.png")) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"moegs: {told}")
    assert line.count("\n") == 1


def test_another_failure_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, made_file: Path) -> None:
    def fail(path: Path, device: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(checkpoint, "load", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run(monkeypatch, "render", made_file, "--out", made_file.with_name("x.png"))


def test_what_has_no_number_is_null_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "one.pt"
    checkpoint.save(Checkpoint(mixture(("poly",)), scores={"mixture": {"psnr": math.inf}}), path)
    assert run(monkeypatch, "info", path, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["scores"] == {"mixture": {"psnr": None}}


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        ("> /dev/full", 1, "moegs: standard output: No space left on device; choose another place, or make room there"),
        (">&-", 1, "moegs: --json -: standard output is closed; open it, or give a file"),
        ("> >(true)", 1, ""),
    ],
)
def test_an_output_that_takes_nothing(made_file: Path, redirection: str, code: int, told: str) -> None:
    line = f"sleep 0; {sys.executable} -m moegs info {made_file} --json - {redirection}"
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    own = [each for each in answer.stderr.splitlines() if each.startswith(("moegs:", "Traceback", "Exception"))]
    assert (answer.returncode, own) == (code, [told] if told else [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["while it imports", "in a video"])
def test_what_is_stopped_says_so_and_leaves_nothing(
    tmp_path: Path, made_file: Path, number: signal.Signals, when: str
) -> None:
    out = tmp_path / "turn.mp4"
    film = ("--turntable", "360", "--seconds", "3000", "--out", out)
    command = [sys.executable, "-m", "moegs", "render", made_file, *film]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    if when == "in a video":
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".turn.*.mp4")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    else:
        time.sleep(0.5)  # torch alone takes longer
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == "moegs: stopped\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_a_signal_while_a_kernel_is_loaded_is_not_lost() -> None:
    """LLVM calls back while numba loads one, and what is raised there goes no further."""

    def _raw_object_cache_getbuffer() -> None:
        signal.raise_signal(signal.SIGTERM)

    def load() -> None:
        with program.stoppable():
            ctypes.CFUNCTYPE(None)(_raw_object_cache_getbuffer)()
            time.sleep(10)

    assert all(hasattr(ExecutionEngine, name) for name in program.CALLBACKS)
    with pytest.raises(program.Stopped):
        load()


def test_names_in_brackets_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "one.pt"
    checkpoint.save(Checkpoint(mixture(("poly",)), provenance={"data": "[/room]"}), path)
    assert run(monkeypatch, "info", path) == 0
    assert "[/room]" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [("paint",), ("render",), ("info", "a", "b"), ("eval", "x.pt", "--split", "dev")])
def test_wrong_usage_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    capsys.readouterr()


def test_a_missing_checkpoint_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info", "nowhere.pt") == 1
    assert capsys.readouterr().err == "moegs: nowhere.pt: does not exist; give a checkpoint file written by moegs\n"


def test_python_m_moegs_and_version() -> None:
    command = [sys.executable, "-m", "moegs", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.startswith("moegs 0.")


def test_system_says_what_there_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info", "--system", "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"torch", "cuda", "nvcc", "gsplat", "numba", "thread pools", "allocator"} <= set(facts)
    assert "layer" in facts["numba"]


def test_the_demo_is_a_mixture_of_the_four_kinds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.path().stat().st_size <= 20_000_000
    assert run(monkeypatch, "info", "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {e["kind"] for e in facts["experts"]} == {"hexplane", "embedding", "polynomial", "keyframe"}
    assert facts["frames"] == 30
