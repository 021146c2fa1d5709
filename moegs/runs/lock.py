"""The lock on a run's folder: it dies with its process, however that ends."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from moegs.files import check_parents

TRIES, PAUSE = 20, 0.05
"""How often, and how many seconds apart, a lock is tried: someone who asks `held` has it for an instant."""


@contextmanager
def hold(path: Path) -> Iterator[None]:
    """Holds the lock in the file `path` for the length of the block.

    Raises ValueError in one line when another process holds it, `path` would lie in a file, or the file system has no
    locks.
    """
    check_parents(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:  # not inherited by child processes
        for left in reversed(range(TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    file.seek(0)
                    holder = file.read().strip() or "unknown"
                    raise ValueError(
                        f"{path.parent}: another run is at work there ({holder}); wait for its end or choose another "
                        "folder"
                    ) from None
                time.sleep(PAUSE)
            except OSError as error:
                raise ValueError(
                    f"{path.parent}: its file system offers no locks ({error.strerror}); choose a folder elsewhere"
                ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def held(path: Path) -> bool:
    """Whether a process holds the lock in the file `path`; nothing is written, and whoever holds it notices nothing."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
