"""Jobs side by side, each in a process of its own with its own number of threads, their events in one place."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from moegs import allocator
from moegs.training.events import Event
from moegs.training.loop import OnEvent, TrainingError

Job = Callable[[OnEvent], None]
"""What a process does: picklable, tells its events to what it is given."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def run_side_by_side(jobs: Sequence[Job], parallel: int, threads: int, on_event: OnEvent) -> None:
    """Does all `jobs`, `parallel` at a time with `threads` CPU threads each; they end with this process.

    Raises TrainingError with the reason when one fails; the others are then ended, too.
    """
    waiting = list(jobs)
    running: dict[Connection, BaseProcess] = {}
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                connection, process = _start(waiting.pop(0), threads)
                running[connection] = process
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                _listen(connection, running, on_event)
    finally:
        for process in running.values():
            process.terminate()
            process.join()


def _start(job: Job, threads: int) -> tuple[Connection, BaseProcess]:
    # A fresh interpreter: thread pools read their size once, when torch and numba are imported.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    with _threads(threads):
        process.start()
    theirs.close()
    return ours, process


def _listen(connection: Connection, running: dict[Connection, BaseProcess], on_event: OnEvent) -> None:
    try:
        message: Event | TrainingError | None = connection.recv()
    except EOFError:
        process = running[connection]
        process.join()
        raise TrainingError(
            f"a training process {_end(process.exitcode)}; --resume goes on from its last state"
        ) from None
    if isinstance(message, TrainingError):
        raise message
    if message is not None:
        on_event(message)
        return
    running.pop(connection).join()
    connection.close()


def _end(code: int | None) -> str:
    """How a process ended, from its exit code: that of what a signal ended is the signal's number below 0."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    told = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return (
        f"was ended by {told}, as the system does where memory is short"
        if told == "SIGKILL"
        else f"was ended by {told}"
    )


def _work(job: Job, connection: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    allocator.keep_freed_memory()
    try:
        job(connection.send)
    except (KeyboardInterrupt, BrokenPipeError):
        return  # whoever started this is gone, or asked it to end
    except (ValueError, OSError) as error:
        connection.send(TrainingError(str(error)))
    else:
        connection.send(None)


def _end_with_parent() -> None:
    """Ends this process when its parent is gone, however that ended: nobody is left to write in a run's folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value
