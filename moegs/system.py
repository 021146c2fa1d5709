"""What this machine offers, and which device to compute on."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata, util
from pathlib import Path
from typing import Literal

import torch

import moegs
from moegs import allocator

Device = Literal["auto", "cuda", "cpu"]


def device(name: Device) -> torch.device:
    """The device called `name`; "auto" is CUDA where there is a GPU. Raises ValueError for CUDA without one."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device cuda: torch sees no CUDA GPU here; use --device cpu, or install a CUDA build of torch")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def memory_told(who: str = "", do: str = "make the picture smaller") -> Iterator[None]:
    """Makes a lack of memory inside the block, on the GPU or beside it, a ValueError in one line: of whom, if that
    says more, and what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not (isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in text):
            raise
        place = "GPU memory" if isinstance(error, torch.OutOfMemoryError) else "memory"
        reason = " ".join(text.split())[:120]
        raise ValueError(
            f"{who}{': ' * bool(who)}not enough {place} ({reason}); {do}, or choose another --device"
        ) from None


def report() -> dict[str, str]:
    """The facts that decide whether and how fast moegs runs here, each under its name."""
    return {
        "moegs": moegs.__version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "cpus": str(os.cpu_count()),
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "thread pools": _thread_pools(),
        "allocator": allocator.state(),
        "cuda": _cuda(),
        "nvcc": _nvcc(),
        "gsplat": _gsplat(),
        "numba": _numba(),
        "opencv": _version("opencv-python-headless"),
        "viser": _version("viser"),
    }


def _thread_pools() -> str:
    settings = {name: os.environ.get(name) for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    text = ", ".join(f"{name}={value}" for name, value in settings.items())
    return text + ("; torch was imported before moegs: they have no effect" if moegs.TORCH_CAME_FIRST else "")


def _cuda() -> str:
    if not torch.cuda.is_available():
        return f"none (torch built {'for CUDA ' + str(torch.version.cuda) if torch.version.cuda else 'without CUDA'})"
    return f"{torch.cuda.get_device_name()}, torch built for CUDA {torch.version.cuda}"


def _nvcc() -> str:
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return "not found; needed once, when gsplat is first used on a GPU"
    lines = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=False).stdout.splitlines()
    return f"{lines[-1] if lines else 'no version'} at {nvcc}"


def _gsplat() -> str:
    """Whether gsplat's CUDA extension is there, without importing what would start to build it."""
    if util.find_spec("gsplat") is None:
        return "not installed"
    from torch.utils.cpp_extension import _get_build_directory

    built = util.find_spec("gsplat.csrc") is not None
    if not built and torch.cuda.is_available():
        built = any(Path(_get_build_directory("gsplat_cuda", False)).glob("*.so"))
    return f"{_version('gsplat')}, CUDA extension {'built' if built else 'not built yet'}"


def _numba() -> str:
    """Version, threading layer and where compiled kernels are kept; its threads are started to learn the layer."""
    import numba
    from numba.np.ufunc.parallel import threading_layer

    from moegs.rasterize import cpu

    cpu.start_threads()
    threads = numba.get_num_threads()
    return f"{numba.__version__}, {threads} threads, layer {threading_layer()}, {cpu.cache_state()}"


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
