"""Program: how a command of ours ends, whatever happens to it; light, so that it stands before anything heavy."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from moegs import allocator
from moegs.lines import one_line

STOPPED = 130
"""The exit code of what was asked to stop."""
CALLBACKS = frozenset(("_raw_object_cache_notify", "_raw_object_cache_getbuffer"))
"""What LLVM calls while numba compiles or loads a kernel (llvmlite's names): an exception there is printed and lost."""
AGAIN = 0.02
"""Seconds after which a signal that came there is heard again."""


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM: everything ends as it does on KeyboardInterrupt. Its text, if any, is what to do next."""


def run(name: str, command: Callable[[], None]) -> None:
    """Runs `command`, its freed memory kept, and says in one line on stderr why it ended where it did not end well.

    Exit codes: 0 done, 1 an expected failure, 2 wrong usage, 130 stopped by Ctrl-C or SIGTERM.
    """
    allocator.keep_freed_memory()
    with stoppable() as stopped:
        try:
            command()
            if sys.stdout is not None:
                sys.stdout.flush()
        except BaseException as error:
            if stopped():  # an interrupted import may raise anything
                _end(STOPPED, f"{name}: stopped" + (f"; {error}" if isinstance(error, Stopped) and str(error) else ""))
            if isinstance(error, BrokenPipeError):  # who read it has seen enough, as `head` has
                _end(1)
            if isinstance(error, OSError):
                where = error.filename or "standard output"
                _end(1, f"{name}: {where}: {error.strerror or error}; choose another place, or make room there")
            if isinstance(error, ValueError):
                _end(1, f"{name}: {error}")
            raise


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Makes SIGINT and SIGTERM raise Stopped inside the block; gives whether one has come.

    A signal that this program was started to ignore stays ignored.
    """
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if _within_callback(frame):
            later = threading.Timer(AGAIN, signal.raise_signal, (number,))
            later.daemon = True
            later.start()
            return
        raise Stopped

    numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _within_callback(frame: FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_name not in CALLBACKS:
        frame = frame.f_back
    return frame is not None


@contextmanager
def resumable() -> Iterator[None]:
    """For what goes on with --resume: where the block is stopped, the program's last line says so."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("the same command with --resume goes on") from None


def _end(code: int, line: str = "") -> None:
    """Ends the program after `line`, which is one whatever names hold; what is still unwritten on stdout is lost."""
    if line and sys.stderr is not None:
        print(one_line(line), file=sys.stderr)
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        _drop_stdout()
    sys.exit(code)


def _drop_stdout() -> None:
    """Lets the interpreter flush into nothing: it would fail again, and say so at length."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, sys.stdout.fileno())
    os.close(devnull)
