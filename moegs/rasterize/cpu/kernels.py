"""How every kernel here is compiled, and the one lock around calls to them."""

import inspect
import threading
from collections.abc import Callable
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


def _as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    # The tests wrap every function of the package in a shape check, which numba could not compile.
    return inspect.unwrap(function)
