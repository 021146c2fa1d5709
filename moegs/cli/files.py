"""What every verb does with the files it is given: opens them, never loses one."""

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


def refuse_existing(out: Path | None, force: bool, source: Path | None) -> None:
    """Raises ValueError where writing `out` would lose what is there: always for `source`, which is read."""
    if out is None or str(out) == "-":
        return
    with files.reading(out):
        if not out.is_file():  # a pipe or a device takes what it is given, and a folder is refused when it is written
            return
        if source is not None and source.exists() and out.samefile(source):
            raise ValueError(f"{out}: is the file that is read; choose another name")
    if not force:
        raise ValueError(f"{out}: exists already; choose another name or add --force")


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
            if out.exists() and not out.is_file():  # a pipe or a device takes what it is given
                continue
            out.parent.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=out.resolve().parent):
                pass
        except OSError as error:
            raise ValueError(f"{out}: cannot be written ({error.strerror or error}); choose another place") from None


def want_suffix(out: Path, suffix: str) -> None:
    """Raises ValueError where `out` is named as another kind of file than the `suffix` that is written."""
    if out.suffix.lower() != suffix:
        raise ValueError(f"{out}: this writes a {suffix} file; name it {out.with_suffix(suffix).name}")
