"""The command moegs-view, as a process."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import viewing
from browser_tab import BrowserTab

from moegs.checkpoint import Checkpoint, save
from moegs.timeline import Timeline

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("view") / "tiny.pt"
    save(Checkpoint(viewing.mixture()), path)
    return path


def command(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "viewer", *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, **environment},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


@contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process once its page is open, and its port; it is ended afterwards."""
    process = command(*arguments, **environment)
    assert process.stdout is not None
    try:
        lines = ""
        while (found := re.search(r"http://localhost:(\d+)", lines)) is None:
            line = process.stdout.readline()
            assert line, process.communicate()
            lines += line
        yield process, int(found[1])
    finally:
        process.kill()
        process.communicate()


def status(port: int, **headers: str) -> int:
    try:
        with urlopen(Request(f"http://127.0.0.1:{port}/", headers=headers), timeout=5) as answer:
            return answer.status
    except HTTPError as error:
        error.close()
        return error.code


def test_the_page_answers_at_once_and_the_picture_follows(saved: Path) -> None:
    with running(str(saved), "--port", "0") as (_, port):
        assert status(port) == 200
        with BrowserTab(port) as tab:
            tab.wait(lambda: tab.html("statistics"), 120)


@pytest.mark.parametrize("loaded", [False, True])
def test_ctrl_c_ends_it_at_once_and_cleanly(saved: Path, loaded: bool) -> None:
    with running(str(saved), "--port", "0") as (process, port):
        if loaded:
            with BrowserTab(port) as tab:
                tab.wait(lambda: tab.html("statistics"), 120)
                tab.command("Play or pause")
                begun = interrupt(process)
        else:
            begun = interrupt(process)
        output, errors = process.communicate(timeout=20)
        assert time.monotonic() - begun < 10  # a second on a quiet machine; what counts is that it does not hang
        assert process.returncode == 0
        assert output.endswith("moegs-view: stopped\n")
        assert errors == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_video_in_the_making_leaves_nothing(saved: Path, tmp_path: Path, number: signal.Signals) -> None:
    with running(str(saved), "--port", "0", TMPDIR=str(tmp_path)) as (process, port):
        with BrowserTab(port, 640, 480) as tab:
            tab.wait(lambda: tab.html("statistics"), 120)
            tab.set("Seconds", 600.0)
            tab.press("Video")
            tab.wait(lambda: list(tmp_path.rglob("*.part.mp4")))
            os.kill(process.pid, number)
            output, errors = process.communicate(timeout=20)
        assert (process.returncode, errors) == (0, "")
        assert output.endswith("moegs-view: stopped\n")
        assert list(tmp_path.iterdir()) == []


def interrupt(process: subprocess.Popen[str]) -> float:
    os.kill(process.pid, signal.SIGINT)
    return time.monotonic()


def test_foreign_pages_are_refused(saved: Path) -> None:
    with running(str(saved), "--port", "0") as (_, port):
        assert status(port, Origin="https://evil.example") == 403
        assert status(port, Origin="http://[::1") == 403
        assert status(port, Host=f"evil.example:{port}") == 403
        assert status(port, Origin=f"http://localhost:{port}") == 200


def test_a_taken_port_is_said_and_the_next_one_used(saved: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = command(str(saved), "--port", str(port))
        assert process.stdout is not None
        assert process.stdout.readline().startswith(f"Port {port} is taken")
        process.kill()
        process.communicate()


def test_what_is_no_checkpoint_ends_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.pt").write_text("hello")
    process = command(str(tmp_path / "notes.pt"), "--port", "0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"moegs-view: \S+notes\.pt: not a moegs checkpoint[^\n]*\n", errors)


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--port", "70000", "port 70000: no port of any machine; give 0 to 65535"),
        ("--host", "a..b", "host 'a..b', port 8080: not an address of this machine"),
    ],
)
def test_where_nobody_can_listen_is_one_line(saved: Path, option: str, value: str, told: str) -> None:
    process = command(str(saved), option, value)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith(f"moegs-view: {told}")
    assert errors.count("\n") == 1


def test_what_cannot_be_compared_ends_in_one_line(saved: Path, tmp_path: Path) -> None:
    other = viewing.mixture()
    other.rig = replace(other.rig, timeline=Timeline(9, 10.0))
    save(Checkpoint(other), tmp_path / "other.pt")
    process = command(str(saved), "--port", "0", "--compare", str(tmp_path / "other.pt"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.fullmatch(r"moegs-view: 'tiny' and '\S+other\.pt': different timelines, 6 frames[^\n]*\n", errors)


def test_wrong_usage_is_code_2() -> None:
    process = command("--prot", "8080")
    process.communicate(timeout=60)
    assert process.returncode == 2


def test_a_widened_host_is_warned_about(saved: Path) -> None:
    process = command(str(saved), "--host", "0.0.0.0", "--port", "0")
    assert process.stderr is not None
    warning = process.stderr.readline()
    process.kill()
    process.communicate()
    assert "lets everybody in" in warning
    assert "ssh -L" in warning
