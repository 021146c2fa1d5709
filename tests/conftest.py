"""What tests of both backends share: which backends there are, and the one place that skips the GPU's."""

import pytest
import torch

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
BACKENDS = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; a test with this argument runs once for each that this machine has."""
    return request.param
