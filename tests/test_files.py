"""Files are whole or not there, and what the system refuses is one line."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from moegs.files import save_tensors

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
