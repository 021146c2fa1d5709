"""Kernels of our own for pictures without gradients, compiled for this machine's GPU when first used."""

import contextlib
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch

SOURCES = (
    "bindings.cpp",
    "lens.cu",
    "project.cu",
    "pairs.cu",
    "sample.cu",
    "composite.cu",
    "route.cu",
    "decide.cu",
    "blend.cu",
)


def kernels() -> Any:
    """The compiled module, which bindings.cpp describes; compiling takes about a minute, once.

    Raises ValueError when it cannot be had.
    """
    module = _load()
    if isinstance(module, str):
        raise ValueError(
            f"rasterize: the CUDA kernels cannot be compiled ({module}); install the CUDA {torch.version.cuda} toolkit "
            "with nvcc and a C++ compiler, set CUDA_HOME to it and start again, or use --device cpu"
        )
    return module


@cache
def _load() -> Any:
    """The module, or in one line why there is none: a failure is remembered, for every try takes a while."""
    from torch.utils.cpp_extension import load

    folder = Path(__file__).parent
    try:
        with contextlib.redirect_stdout(sys.stderr), _for_this_gpu():
            return load(
                name="moegs_kernels",
                sources=[str(folder / source) for source in SOURCES],
                extra_cflags=["-O3"],
                extra_cuda_cflags=["-O3"],
            )
    except (ImportError, OSError, RuntimeError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextlib.contextmanager
def _for_this_gpu() -> Iterator[None]:
    """Compiles for the GPU that is here unless the user has named others."""
    if "TORCH_CUDA_ARCH_LIST" in os.environ:
        yield
        return
    os.environ["TORCH_CUDA_ARCH_LIST"] = ".".join(map(str, torch.cuda.get_device_capability()))
    try:
        yield
    finally:
        del os.environ["TORCH_CUDA_ARCH_LIST"]
