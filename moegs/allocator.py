"""Allocator: glibc keeps the memory of dropped tensors for the next ones, in processes that are ours.

A frame makes and drops tensors of megabytes. By itself glibc maps each large one anew, or gives its memory back, and
the system clears and hands out every page again, thousands in a frame. Nothing is set where we are only imported.
"""

import ctypes
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One number of glibc's allocator."""

    name: str
    number: int
    """In `malloc.h`, for mallopt."""
    value: int
    variable: str
    """Of the environment; who has set it, or the tunable, keeps what they chose."""
    tunable: str


MIB = 2**20
SETTINGS = (
    # Blocks below this come from the heap: the most that older versions take, and where glibc's own threshold stops
    # growing; the colours of 170,000 Gaussians. What is larger goes back to the system at once, as ever.
    Setting("mmap threshold", -3, 32 * MIB, "MALLOC_MMAP_THRESHOLD_", "glibc.malloc.mmap_threshold"),
    # So much may lie free at the heap's end; beyond it, all of that goes back. More than a frame drops at once.
    Setting("trim threshold", -1, 512 * MIB, "MALLOC_TRIM_THRESHOLD_", "glibc.malloc.trim_threshold"),
    # Threads share the one heap: those of their own are 64 MiB pieces that are given back whenever one is empty,
    # whatever the threshold, and the viewer draws in a thread.
    Setting("arenas", -8, 1, "MALLOC_ARENA_MAX", "glibc.malloc.arena_max"),
)

_settled: list[str] = []


def keep_freed_memory() -> None:
    """Sets for this process what the user has not set; does nothing where another C library or allocator serves."""
    libc = _glibc()
    if libc is None:
        return
    _settled[:] = [
        f"{setting.name} by {setting.variable} or GLIBC_TUNABLES"
        if _is_users(setting)
        else f"{setting.name} {_shown(setting.value)}"
        for setting in SETTINGS
        if _is_users(setting) or libc.mallopt(setting.number, setting.value)
    ]


def state() -> str:
    """Whether freed memory is kept in this process, in a few words."""
    if _settled:
        return f"glibc keeps freed memory: {', '.join(_settled)}"
    return "as it came" if _glibc() else "as it came, not glibc's"


def _glibc() -> ctypes.CDLL | None:
    """The library, where the allocator of this process is its own."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        ours = ctypes.cast(ctypes.CDLL(None).malloc, ctypes.c_void_p).value
        same = ours == ctypes.cast(libc.malloc, ctypes.c_void_p).value  # else one was put in front, as jemalloc is
        return libc if same and hasattr(libc, "mallopt") else None
    except (OSError, AttributeError):
        return None


def _is_users(setting: Setting) -> bool:
    tunables = os.environ.get("GLIBC_TUNABLES", "").split(":")
    return setting.variable in os.environ or any(tunable.startswith(f"{setting.tunable}=") for tunable in tunables)


def _shown(value: int) -> str:
    return f"{value // MIB} MiB" if value >= MIB else str(value)
