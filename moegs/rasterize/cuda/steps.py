"""The functions of gsplat that the CUDA backend is made of, and how they are found."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch


@dataclass(frozen=True)
class Steps:
    """What gsplat does, in order; its slow versions in plain torch can take the places of its kernels."""

    project: Callable[..., Any]
    """`fully_fused_projection`: Gaussians to centres, radii, depths and conics in the picture."""
    intersect: Callable[..., Any]
    """`isect_tiles`: keys (picture, tile, depth) in order, and which splat each is of."""
    encode: Callable[..., Any]
    """`isect_offset_encode`: where each tile's keys begin."""
    composite: Callable[..., Any]
    """`rasterize_to_pixels`: each tile's splats blended front to back."""


def kernels() -> Steps:
    """gsplat's CUDA kernels; compiles them where that has not been done yet, which takes minutes.

    Raises ValueError when they cannot be had.
    """
    steps = _load()
    if isinstance(steps, str):
        raise ValueError(
            f"rasterize: gsplat's CUDA extension cannot be used ({steps}); install the CUDA {torch.version.cuda} "
            "toolkit with nvcc and a C++ compiler, set CUDA_HOME to it and start again, or use --device cpu"
        )
    return steps


@cache
def _load() -> Steps | str:
    """gsplat's kernels, or in one line why there are none: a failure is remembered, for every try may take minutes."""
    try:
        with contextlib.redirect_stdout(sys.stderr):  # gsplat announces its build; stdout is for results
            from gsplat.cuda import _backend, _wrapper
    except (ImportError, OSError, RuntimeError) as error:
        return (str(error).strip() or type(error).__name__).splitlines()[0]
    if _backend._C is None:
        return "no CUDA toolkit found"
    return Steps(
        project=_wrapper.fully_fused_projection,
        intersect=_wrapper.isect_tiles,
        encode=_wrapper.isect_offset_encode,
        composite=_wrapper.rasterize_to_pixels,
    )
