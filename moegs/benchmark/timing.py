"""Timing: contenders in turn, round after round in one run, since two runs on a shared machine do not compare."""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

Contenders = Mapping[str, Callable[[], object]]
"""What is timed, by name; each can be called again and again."""


@dataclass(frozen=True)
class Timing:
    """How long something took over all rounds, milliseconds."""

    median: float
    p95: float
    busy: float | None = None
    """Median of the CPU time that all threads spent: what other work on the machine delays, it does not count. None on
    a GPU, whose work it does not see."""


@dataclass(frozen=True)
class Rounds:
    """How often everything is timed."""

    count: int = 30
    warm_up: int = 5
    """Rounds before those that count."""

    def __post_init__(self) -> None:
        if self.count < 2 or self.warm_up < 0:
            raise ValueError(f"rounds: got {self.count} after {self.warm_up}; give at least 2, and 0 or more before")


def in_turn(
    contenders: Contenders,
    rounds: Rounds,
    device: torch.device,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Timing]:
    """How long each of `contenders` takes without gradients; a GPU's work is waited for."""
    taken = clocked(contenders, rounds, device, on_round=on_round)
    return {name: _timing(laps, device.type == "cuda") for name, laps in taken.items()}


@dataclass(frozen=True)
class Lap:
    """How long something took once, milliseconds."""

    passed: float
    busy: float
    """Of the CPU, by all threads."""


@torch.no_grad()
def clocked(
    contenders: Contenders,
    rounds: Rounds,
    device: torch.device,
    before_round: Callable[[int], object] = lambda number: None,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, list[Lap]]:
    """Each time that each of `contenders` took, in the rounds that count; `before_round` prepares one, unmeasured."""
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    taken: dict[str, list[Lap]] = {name: [] for name in contenders}
    total = rounds.warm_up + rounds.count
    for number in range(total):
        before_round(number)
        for name, contender in contenders.items():
            wait()
            begun, spent = time.perf_counter(), time.process_time()
            contender()
            wait()
            taken[name].append(Lap(1e3 * (time.perf_counter() - begun), 1e3 * (time.process_time() - spent)))
        on_round(number + 1, total)
    return {name: laps[rounds.warm_up :] for name, laps in taken.items()}


def _timing(laps: Sequence[Lap], on_gpu: bool) -> Timing:
    passed = [lap.passed for lap in laps]
    p95 = statistics.quantiles(passed, n=20, method="inclusive")[-1]
    return Timing(statistics.median(passed), p95, None if on_gpu else statistics.median(lap.busy for lap in laps))


def device_name(device: torch.device) -> str:
    """What the times are of."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def peak_bytes(device: torch.device) -> int | None:
    """Of GPU memory since it was last reset, else of the whole process so far; None where it is not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
