"""What tests share: the backend to run on; a data set of pictures."""

from pathlib import Path

import pytest
from backends import BACKENDS


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; a test with this argument runs once for each that this machine has."""
    return request.param


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three cameras with four pictures each."""
    import recordings  # here: its video encoder is not on every GPU machine

    return recordings.write_folders(tmp_path / "tiny")
