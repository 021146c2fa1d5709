"""Files are whole or not there, and what the system refuses is one line."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from moegs.files import new_folder, save_tensors

LARGE = {"a": torch.zeros(600_000)}


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file of this process may grow beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("contents", [{"a": 1}, LARGE], ids=["small", "large"])
def test_a_full_disk_is_one_line(contents: dict) -> None:
    with pytest.raises(ValueError, match=r"^/dev/full: cannot be written \(No space left on device\); choose another"):
        save_tensors(contents, Path("/dev/full"))


def test_a_write_that_fails_leaves_the_file_as_it_was_and_nothing_half_written(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_tensors({"a": 1}, path)
    with pytest.raises(ValueError, match=r"state\.pt: cannot be written \(File too large\)"), files_end_at(100_000):
        save_tensors(LARGE, path)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.load(path, weights_only=True) == {"a": 1}


def test_what_killed_processes_left_of_a_folder_is_swept_and_nothing_else(tmp_path: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = tmp_path / f".x[1].{gone.pid}.part"
    others = [tmp_path / f".x[1].{os.getppid()}.part", tmp_path / f".y.{gone.pid}.part", tmp_path / ".x[1].mine.part"]
    for folder in (left, *others):
        folder.mkdir()
        (folder / "frame_00000.ply").touch()
    with new_folder(tmp_path / "x[1]") as place:
        (place / "a").touch()
    assert {path.name for path in tmp_path.iterdir()} == {"x[1]", *(other.name for other in others)}
