"""How every kernel here is compiled, and the one lock around calls to them.

numba keeps what it compiled in `__pycache__` and compiles anew when the kernel's own file has changed, but not when a
piece from another file has: after changing a piece that another file imports, remove the *.nbi files there.
"""

import inspect
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

FAST_MATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Rounding may differ from the text, but not NaN and infinity: what is broken is told by comparisons that fail."""

LOCK = threading.Lock()
"""Held around every kernel call: numba's "workqueue" threads abort the process when two Python threads use them."""


def inlined(function: Callable[..., Any]) -> Any:
    """A named piece of a kernel; costs nothing at run time."""
    return numba.njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")(_as_written(function))


def serial(function: Callable[..., Any]) -> Any:
    """A kernel for one thread, compiled once and cached on disk."""
    return numba.njit(cache=True, nogil=True, fastmath=FAST_MATH, error_model="numpy")(_as_written(function))


def parallel(function: Callable[..., Any]) -> Any:
    """A kernel whose `prange` loops run on all threads, compiled once and cached on disk."""
    return numba.njit(cache=True, nogil=True, parallel=True, fastmath=FAST_MATH, error_model="numpy")(
        _as_written(function)
    )


def is_compiled(kernel: Any) -> bool:
    """Whether `kernel` was compiled by this process, or lies in numba's cache and is newer than its source."""
    if kernel.signatures:
        return True
    function = kernel.py_func
    written = Path(function.__code__.co_filename).stat().st_mtime
    index = f"*{function.__qualname__}-{function.__code__.co_firstlineno}.*.nbi"
    return any(entry.stat().st_mtime > written for entry in Path(kernel.stats.cache_path).glob(index))


def _as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    # The tests wrap every function of the package in a shape check, which numba could not compile.
    return inspect.unwrap(function)


@parallel
def touch(counts):
    """The smallest parallel kernel: adds one to every count."""
    for i in numba.prange(counts.shape[0]):
        counts[i] += 1
