"""How every kernel here is compiled, and the one lock around calls to them.

numba keeps what it compiled in `__pycache__`, in its own folder of the user's caches where that cannot be written, or
in NUMBA_CACHE_DIR. It looks at a kernel's own file alone to see whether that is still valid, but constants and pieces
of other files are compiled into a kernel too: so a kernel is kept under a name that holds a hash of all of them.
"""

import hashlib
import inspect
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.codegen import JITCPUCodegen

FAST_MATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
"""Rounding may differ from the text, but not NaN and infinity: what is broken is told by comparisons that fail."""

SOURCES = (
    "kernels.py",
    "gaussians.py",
    "rotations.py",
    "rasterize/__init__.py",
    "rasterize/cpu/*.py",
    "router/*.py",
    "ssim/*.py",
)
"""In this package: the files that kernels, their pieces and their constants stand in."""

LOCK = threading.Lock()
"""Held around every kernel call: numba's "workqueue" threads abort the process when two Python threads use them."""


def inlined(function: Callable[..., Any]) -> Any:
    """A named piece of a kernel; costs nothing at run time."""
    return numba.njit(forceinline=True, fastmath=FAST_MATH, error_model="numpy")(_as_written(function))


def serial(function: Callable[..., Any]) -> Any:
    """A kernel for one thread, compiled once and cached on disk."""
    return _kernel(function)


def parallel(function: Callable[..., Any]) -> Any:
    """A kernel whose `prange` loops run on all threads, compiled once and cached on disk."""
    return _kernel(function, parallel=True)


def is_compiled(kernel: Any) -> bool:
    """Whether `kernel`, made of the files as they are, was compiled by this process or lies in numba's cache."""
    if kernel.signatures:
        return True
    function = kernel.py_func
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    index = f"*.{function.__qualname__}-{function.__code__.co_firstlineno}.{python}*.nbi"
    return any(Path(kernel.stats.cache_path).glob(index))


def _kernel(function: Callable[..., Any], **options: Any) -> Any:
    compiler = numba.njit(cache=True, nogil=True, fastmath=FAST_MATH, error_model="numpy", **options)
    written = _stamped(function)
    kernel: Any = compiler(written)
    kernel._cache = _Reloading(written, compiler(written))
    return kernel


class _Reloading(FunctionCache):
    """The cache of a kernel that is only ever run as it is loaded: the first process's pictures are the next one's.

    Where numba has just compiled a parallel kernel, its loop is linked as it was compiled by itself; in the file that
    numba keeps, it was optimised once more with what surrounds it, and rounds otherwise.
    """

    def __init__(self, written: Callable[..., Any], twin: Any) -> None:
        super().__init__(written)
        self._twin = twin
        """The same kernel, which is compiled into the file and never called."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """From the file, which is made where there is none; None where it cannot be written."""
        found = super().load_overload(sig, target_context)
        if found is not None:
            return found
        self._twin.compile(sig)
        own = target_context._internal_codegen
        target_context._internal_codegen = JITCPUCodegen("moegs")  # in the old one, names mean what was just compiled
        try:
            return super().load_overload(sig, target_context)
        finally:
            target_context._internal_codegen = own


def _hash_of_sources() -> str:
    """Of all that decides what a kernel does: the files and the compiler."""
    package = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(path for pattern in SOURCES for path in package.glob(pattern)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


_STAMP = _hash_of_sources()


def _stamped(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` under the name that numba caches it by: another one for other sources."""
    written = _as_written(function)
    written.__qualname__ += f"_{_STAMP}"
    return written


def _as_written(function: Callable[..., Any]) -> Callable[..., Any]:
    # The tests wrap every function of the package in a shape check, which numba could not compile.
    return inspect.unwrap(function)


@parallel
def touch(counts):
    """The smallest parallel kernel: adds one to every count."""
    for i in numba.prange(counts.shape[0]):
        counts[i] += 1
