"""What every verb does with the files it is given: opens them, never loses one."""

import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated

from tyro.conf import Positional, arg

from moegs import checkpoint, files, system
from moegs.system import Device

CheckpointPath = Positional[Annotated[Path, arg(metavar="CKPT")]]


def load(path: Path, where: Device) -> checkpoint.Checkpoint:
    """The checkpoint at `path`, on the device that `where` chooses."""
    return checkpoint.load(path, system.device(where))


def refuse_loss(outs: Sequence[Path | None], sources: Sequence[Path | None], force: bool) -> None:
    """Raises ValueError where writing the files or folders `outs` would lose anything, whatever their paths look like.

    That is where one is one of the `sources`, which are read, where two are one or lie in each other, and, without
    `force`, where one is a file that exists. Standard output (-) and None are no files; a pipe or a device takes what
    it is given.
    """
    chosen = [out for out in outs if out is not None and str(out) != "-" and not files.is_device(out)]
    for number, out in enumerate(chosen):
        files.check_parents(out)
        for source in sources:
            if source is not None and _same(out, source):
                raise ValueError(f"{out}: is the file that is read; choose another name")
        for other in chosen[:number]:
            if _same(out, other):
                raise ValueError(f"{out}: is written as {other} too; choose another name for one of them")
            if _within(out, other) or _within(other, out):
                raise ValueError(f"{out}: {other} is written too, and one cannot lie in the other; choose another name")
    for out in chosen:
        with files.reading(out):
            if out.is_file() and not force:  # a folder is refused when it is written
                raise ValueError(f"{out}: exists already; choose another name or add --force")


def _same(a: Path, b: Path) -> bool:
    """Whether both are one file, or will be."""
    with files.reading(a):
        if os.path.realpath(a) == os.path.realpath(b):
            return True
        return a.is_file() and b.is_file() and a.samefile(b)


def _within(inner: Path, outer: Path) -> bool:
    return Path(os.path.realpath(outer)) in Path(os.path.realpath(inner)).parents


def refuse_unwritable(*outs: Path | None) -> None:
    """Raises ValueError where one of the files `outs` could not be written, before there is anything to lose.

    Its folder is made where it is not there, as when it is written. Standard output (-) and None are no files.
    """
    for out in outs:
        if out is None or str(out) == "-":
            continue
        try:
            if out.is_dir():
                raise ValueError(f"{out}: is a folder; give a file")
            if files.is_device(out):
                continue
            files.check_parents(out)
            out.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out.resolve().parent):
                pass
        except OSError as error:
            raise ValueError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from None


def want_suffix(out: Path, suffix: str) -> None:
    """Raises ValueError where `out` is named as another kind of file than the `suffix` that is written."""
    if out.suffix.lower() != suffix:
        raise ValueError(f"{out}: this writes a {suffix} file; name it {out.with_suffix(suffix).name}")
