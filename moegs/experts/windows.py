"""Windows of time, and which Gaussians can be seen in each: the others sleep, and nothing of them is computed.

A Gaussian whose opacity stays below the alpha floor adds nothing to any pixel, so a picture without it is the same.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moegs.fingerprints import Fingerprint
from moegs.gaussians import ALPHA_MIN

WINDOWS = 32
"""How many equal windows there are of the time that a group covers; a power of two, so that a time's is exact."""
WIDER = 1e-5
"""By this much of that time a window reaches out on either side, beyond what float32 makes of times in it."""
UNSEEN = ALPHA_MIN * (1 - 1e-3)
"""Below this a Gaussian sleeps: what float32 makes of its opacity then is below the floor too, since fading multiplies
relative errors of 1e-6 by less than 40 where it comes near the floor."""
WORTH = 0.1
"""Where a smaller share sleeps, to pick out the others costs more than it saves."""

Brightest = Callable[[float, float], Float[Tensor, " N"]]
"""Of each row of a group the largest opacity between two times, in float64."""


@dataclass(frozen=True)
class Awake:
    """The rows of a group that may be seen in one window."""

    rows: Mapping[str, Float[Tensor, "..."]]
    numbers: Int[Tensor, " M"] | None = None
    """Which of the group's they are; None: all."""


class Windows:
    """For each group, window by window, the rows that may be seen in it: found when first asked for, then kept as
    numbers; of the window asked for last the rows themselves, which are at most as large as the group."""

    def __init__(self) -> None:
        self._fingerprints: dict[str, Fingerprint] = {}
        self._numbers: dict[tuple[str, int], Int[Tensor, " M"] | None] = {}
        self._last: dict[str, tuple[int, Awake]] = {}

    def awake(
        self, group: str, t: float, rows: Mapping[str, Tensor], brightest: Brightest, also: Sequence[Tensor] = ()
    ) -> Awake:
        """Those `rows` of `group` that may be seen in the window of `t`, a share of the group's time.

        `also`: what `brightest` depends on beside the rows. Everything is made anew once any of both has changed.
        """
        tensors = [*rows.values(), *also]
        if group not in self._fingerprints or not self._fingerprints[group].fits(tensors):
            self.forget(group)
            self._fingerprints[group] = Fingerprint(tensors)
        number = min(max(math.floor(t * WINDOWS), 0), WINDOWS - 1)
        last, found = self._last.get(group, (None, None))
        if found is None or last != number:
            found = None
            self._last.pop(group, None)  # first, so that two windows never lie in memory
            found = self._picked(group, number, rows, brightest)
            self._last[group] = number, found
        return found

    def forget(self, group: str | None = None) -> None:
        """Drops what is kept of `group`, of all groups when None."""
        groups = list(self._fingerprints) if group is None else [group]
        for name in groups:
            self._fingerprints.pop(name, None)
            self._last.pop(name, None)
            self._numbers = {key: rows for key, rows in self._numbers.items() if key[0] != name}

    def _picked(self, group: str, number: int, rows: Mapping[str, Tensor], brightest: Brightest) -> Awake:
        if (group, number) not in self._numbers:
            largest = brightest(number / WINDOWS - WIDER, (number + 1) / WINDOWS + WIDER)
            seen = ~(largest < UNSEEN)  # what is no number is left to the rasterizer
            enough = int(seen.sum()) <= (1 - WORTH) * len(seen)
            self._numbers[group, number] = torch.where(seen)[0] if enough else None
        numbers = self._numbers[group, number]
        if numbers is None:
            return Awake(rows)
        return Awake({name: tensor.index_select(0, numbers) for name, tensor in rows.items()}, numbers)


def numbered(awake: Sequence[Int[Tensor, " _"] | None], counts: Sequence[int]) -> Int[Tensor, " M"] | None:
    """The rows that are `awake` in groups of `counts` rows, counted through all groups; None: all of them."""
    some = next((rows for rows in awake if rows is not None), None)
    if some is None:
        return None
    starts = [sum(counts[:number]) for number in range(len(counts))]
    return torch.cat([
        start + (torch.arange(count, device=some.device) if rows is None else rows)
        for rows, start, count in zip(awake, starts, counts, strict=True)
    ])  # fmt: skip
