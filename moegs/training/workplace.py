"""The folder of what is made of a finished mixture outside its run: claimed, and gone on with after a kill."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moegs.runs import RunFolder, lock
from moegs.training.config import claim

SUFFIX = ".run"
"""What the name of the folder ends with, beside the file that is made in it."""


@contextmanager
def claimed(work: Path, settings: Any, resume: bool, last: Path | None = None) -> Iterator[RunFolder]:
    """The folder `work` as that of `settings`, a config; `last`: the file in it that is there when all is done.

    A start that fails before there is anything to go on from leaves `work` as it was. Raises ValueError in one line
    where it holds what is another's, is used and not to be resumed, or another process is at work there.
    """
    folder, made = RunFolder(work), not work.exists()
    if others := folder.others():
        raise ValueError(f"{work}: is no run's folder, and holds {others[0]}; move it, or choose another name")
    fresh = not folder.config.exists()
    with lock.hold(folder.lock):
        claim(folder, settings, resume, whole=last is not None and last.exists())
        folder.sweep()
        try:
            yield folder
        except BaseException:
            if fresh and not folder.begun:
                folder.clear()
                if made:
                    work.rmdir()
            raise
