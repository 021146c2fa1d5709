"""What tests share: which backends there are and the one place that skips the GPU's; a data set of pictures."""

from pathlib import Path

import pytest
import recordings
import torch

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
BACKENDS = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; a test with this argument runs once for each that this machine has."""
    return request.param


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three cameras with four pictures each."""
    return recordings.write_folders(tmp_path / "tiny")
