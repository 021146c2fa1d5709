"""The rasterizer's backends, and the one place that skips the GPU's."""

import pytest
import torch

no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU here")
BACKENDS = ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])]
