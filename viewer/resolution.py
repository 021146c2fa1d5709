"""Resolution: how large a picture may be so that motion stays fluid."""

from dataclasses import dataclass

import numpy as np

FRAME_BUDGET = 1 / 20
"""Seconds that a picture may take while something moves, from the request to its arrival in the browser."""
STEP = 2**-0.25
"""Each smaller size has this share of the width and height of the one before."""
SMALLEST_SHARE = 0.5
"""Of the canvas's width and height while something moves."""
SMALLEST_HEIGHT = 360
"""Pixels: a large canvas may go below the smallest share down to this."""
MEMORY = 0.9
"""How much a measurement counts when the next one comes."""
SLACK = 0.8
"""A larger picture is tried again once it would take less than this share of the budget: no flicker between two."""


class CostModel:
    """Seconds per picture = a + b * pixels, fitted to what recent pictures took."""

    def __init__(self) -> None:
        self._moments = np.zeros((2, 2))
        self._products = np.zeros(2)

    def measured(self, pixels: int, seconds: float) -> None:
        """Learns from one picture."""
        row = np.array([1.0, pixels / 1e6])
        self._moments = MEMORY * self._moments + np.outer(row, row)
        self._products = MEMORY * self._products + row * seconds

    def seconds(self, pixels: int) -> float:
        """What a picture of so many pixels should take; 0 before the first measurement.

        Until two sizes were seen, all of the cost is thought to grow with the pixels.
        """
        weight = self._moments[0, 0]
        if weight == 0:
            return 0.0
        mean_pixels, mean_seconds = self._moments[0, 1] / weight, self._products[0] / weight
        spread = self._moments[1, 1] / weight - mean_pixels**2
        through_origin = mean_seconds / mean_pixels
        slope = through_origin
        if spread > 1e-3 * mean_pixels**2:
            slope = (self._products[1] / weight - mean_pixels * mean_seconds) / spread
        slope = min(max(slope, 0.0), through_origin)
        return float(mean_seconds + slope * (pixels / 1e6 - mean_pixels))


@dataclass(frozen=True)
class Size:
    """Of a picture, in pixels."""

    width: int
    height: int

    @property
    def pixels(self) -> int:
        return self.width * self.height

    def scaled(self, share: float) -> "Size":
        """Both sides times `share`, at least one pixel each."""
        return Size(max(1, round(self.width * share)), max(1, round(self.height * share)))


def ladder(canvas: Size) -> list[float]:
    """The shares of `canvas` to choose from while something moves, from 1 down to the smallest allowed."""
    smallest = min(SMALLEST_SHARE, SMALLEST_HEIGHT / canvas.height)
    shares = [1.0]
    while shares[-1] * STEP > smallest * 1.001:
        shares.append(shares[-1] * STEP)
    return [*shares, smallest]


class Resolution:
    """Chooses the size of the next picture of one client."""

    def __init__(self, budget: float = FRAME_BUDGET) -> None:
        self._budget = budget
        self._cost = CostModel()
        self._rung = 0

    def measured(self, size: Size, seconds: float) -> None:
        """Learns what a picture of `size` took."""
        self._cost.measured(size.pixels, seconds)

    def moving(self, canvas: Size) -> Size:
        """The size of a picture while something moves: the largest that keeps to the budget."""
        rungs = ladder(canvas)
        rung = min(self._rung, len(rungs) - 1)
        while rung + 1 < len(rungs) and self._seconds(canvas, rungs[rung]) > self._budget:
            rung += 1
        while rung > 0 and self._seconds(canvas, rungs[rung - 1]) < SLACK * self._budget:
            rung -= 1
        self._rung = rung
        return canvas.scaled(rungs[rung])

    def _seconds(self, canvas: Size, share: float) -> float:
        return self._cost.seconds(canvas.scaled(share).pixels)
