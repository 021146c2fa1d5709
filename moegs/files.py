"""Files that are whole or not there, and what is told of those that cannot be read."""

import glob
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAME_KEPT = 40
"""Letters of a file's name in that of its temporary file, which may be as long as any on disk."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes its place when the block ends well.

    After an exception, an interruption too, `path` is as it was and the temporary file is gone. Where `path` is a link,
    what it leads to is replaced; what is no ordinary file, such as a pipe, is `path` itself, written directly.
    Raises ValueError when the folder cannot be made or written, the disk is full, or `path` is a folder itself.
    """
    try:
        place = Path(os.path.realpath(path))
        if place.is_dir():
            raise ValueError(f"{path}: is a folder; give a file")
        if is_device(place):
            yield place
            return
        check_parents(path)
        temporary = place.with_name(f".{place.stem[:NAME_KEPT]}.{os.getpid()}.part{place.suffix}")
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch()
        try:
            yield temporary
            os.replace(temporary, place)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place, or make room there"
        ) from None


def publish(made: Path, path: Path) -> None:
    """Moves the file `made` to `path`, whole or not at all, as `replacing` does; to another disk too."""
    with replacing(path) as temporary:
        shutil.copyfile(made, temporary)
    made.unlink()


def save_tensors(contents: Mapping[str, Any], path: Path) -> None:
    """Writes `contents` as torch does, whole or not at all. Raises ValueError in one line as `replacing` does."""
    import torch  # here: not everyone who replaces a file waits for it

    with replacing(path) as temporary:
        try:
            with temporary.open("wb") as file:  # given the path itself, torch would not say what the system refused
                torch.save(contents, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def altered(path: Path) -> str | None:
    """What of the zip at `path`, as torch writes them, is not what was written, by its checksum: torch does not ask.

    None where all is. Raises what zipfile does where it is no zip.
    """
    with zipfile.ZipFile(path) as parts:
        return parts.testzip()


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that takes its name when the block ends well; else it is gone, and all in it.

    What killed processes left of theirs for the same `path` is removed.

    Raises ValueError when `path` is there already, its folder cannot be made or written, or the disk is full.
    """
    if os.path.lexists(path):
        raise ValueError(f"{path}: exists already; choose another name for the folder")
    check_parents(path)
    place = Path(os.path.realpath(path))
    start = f".{place.name[:NAME_KEPT]}."
    temporary = place.with_name(f"{start}{os.getpid()}.part")
    try:
        for left in place.parent.glob(f"{glob.escape(start)}*.part"):
            process = left.name.removeprefix(start).removesuffix(".part")
            if process.isdecimal() and not _runs(int(process)):
                shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            os.rename(temporary, place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise ValueError(
            f"{path}: cannot be written ({error.strerror or error}); choose another place, or make room there"
        ) from None


def _runs(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def is_device(path: Path) -> bool:
    """Whether `path` is there and neither a file nor a folder, such as a pipe: it takes what it is given."""
    with reading(path):
        return path.exists() and not path.is_file() and not path.is_dir()


def check_parents(path: Path) -> None:
    """Raises ValueError where `path` would lie in what is a file."""
    with reading(path):
        for parent in path.parents:
            if parent.exists():
                if not parent.is_dir():
                    raise ValueError(f"{path}: {parent} is a file, not a folder; choose another place")
                return


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Makes what the system refuses inside the block a ValueError in one line, which names the file, or `path`."""
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise ValueError(f"{where}: cannot be reached ({error.strerror or error}); allow it, or give another") from None
