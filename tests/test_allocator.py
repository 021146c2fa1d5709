"""Freed memory is kept for the next tensors, in our own processes and nowhere else, unless the user chose otherwise."""

import ctypes
import json
import os
import platform
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from moegs import allocator
from moegs.training.loop import OnEvent, TrainingError
from moegs.training.workers import run_side_by_side

ROOT = Path(__file__).parent.parent
on_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="another C library keeps its memory as it likes"
)
PAGES = """
import ctypes, resource, sys, threading
from moegs import allocator

size, libc = int(sys.argv[2]) << 20, ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

def frames(count):
    for _ in range(count):
        blocks = [libc.malloc(size) for _ in range(4)]
        for block in blocks:
            libc.memset(block, 1, size)
        for block in blocks:
            libc.free(block)

def measure():
    frames(3)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    frames(10)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)

if sys.argv[1] == "kept":
    allocator.keep_freed_memory()
thread = threading.Thread(target=measure)  # as the viewer draws
thread.start()
thread.join()
"""
"""Prints how many pages a frame of four large blocks asks the system for, in MiB each."""


def pages(how: str, size: int, **variables: str) -> float:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    command = [sys.executable, "-c", PAGES, how, str(size)]
    answer = subprocess.run(command, env=clean | variables, cwd=ROOT, capture_output=True, text=True, check=True)
    return float(answer.stdout)


@on_glibc
@pytest.mark.parametrize("size", [1, 20, 31])
def test_a_frame_asks_for_no_pages_that_the_one_before_had(size: int) -> None:
    assert pages("kept", size) < 20  # of 256 for each MiB; a few are the interpreter's


@on_glibc
def test_by_itself_glibc_gives_them_back() -> None:
    assert pages("as it came", 20) > 5000


@on_glibc
@pytest.mark.parametrize(
    "variables",
    [{"MALLOC_MMAP_THRESHOLD_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=65536"}],
    ids=["variable", "tunable"],
)
def test_what_the_user_has_set_stays(variables: dict[str, str]) -> None:
    assert pages("kept", 1, **variables) > 1000  # 4 MiB, mapped anew for each frame


@on_glibc
def test_commands_keep_it_and_say_so() -> None:
    command = [sys.executable, "-m", "moegs", "info", "--system", "--json", "-"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GLIBC_TUNABLES")}
    answer = subprocess.run(
        command, env=clean | {"MALLOC_ARENA_MAX": "3"}, cwd=ROOT, capture_output=True, text=True, check=True
    )
    told = json.loads(answer.stdout)["allocator"]
    assert told.startswith("glibc keeps freed memory: ")
    assert told.endswith("arenas by MALLOC_ARENA_MAX or GLIBC_TUNABLES")


def tell(on_event: OnEvent) -> None:
    """A job that fails with what it sees."""
    raise ValueError(allocator.state())


@on_glibc
def test_processes_that_train_keep_it() -> None:
    with pytest.raises(TrainingError, match="keeps freed memory"):
        run_side_by_side([partial(tell)], 1, 1, lambda event: None)


@pytest.mark.parametrize("library", ["missing", "without mallopt", "another allocator in front"])
def test_elsewhere_nothing_is_set(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    class Other:
        """A C library that is not glibc."""

        def __init__(self, name: str | None) -> None:
            if library == "missing":
                raise OSError(f"{name}: cannot open shared object file")
            front = library == "another allocator in front"
            self.malloc = ctypes.c_void_p(1 if front and name is None else 2)
            if front:
                self.mallopt = lambda number, value: pytest.fail("set in a library that does not serve")

    monkeypatch.setattr(ctypes, "CDLL", Other)
    monkeypatch.setattr(allocator, "_settled", [])
    allocator.keep_freed_memory()
    assert allocator.state() == "as it came, not glibc's"
