"""One of the two that are compared: a mixture, what it is called, and what its pictures cost."""

import statistics
import time
from collections import deque
from dataclasses import dataclass, replace

from moegs import views
from moegs.legends import Legend
from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.views import Drawing

RECENT = 9
"""Of how many pictures a side's time is the median."""


class Pace:
    """How long the last pictures of one size took, but for the first ever of a size, which finds everything cold."""

    def __init__(self) -> None:
        self.size = (0, 0)
        """Width and height of those pictures, pixels."""
        self._seconds: deque[float] = deque(maxlen=RECENT)
        self._warm: set[tuple[int, int]] = set()
        """The sizes of which there was a picture."""

    def took(self, seconds: float, size: tuple[int, int]) -> None:
        """Learns of one picture; those of another size are forgotten."""
        if size != self.size:
            self.size, self._seconds = size, deque(maxlen=RECENT)
        if size in self._warm:
            self._seconds.append(seconds)
        self._warm.add(size)

    @property
    def seconds(self) -> float | None:
        """The median; None before the second picture of a size."""
        return statistics.median(self._seconds) if self._seconds else None


@dataclass(frozen=True)
class Budget:
    """What one side of a comparison costs."""

    name: str
    gaussians: int
    megabytes: float
    """Of its parameters in memory."""
    seconds: float | None
    """From the camera to 8-bit pixels at the size it is drawn in, legends aside; None before its second picture."""

    def plate(self, letter: str) -> Legend:
        """What is burnt into half of the picture, under the side's `letter`."""
        return Legend(f"{letter}  {self.name}", notes=(self.size, *self._speeds), within=0.5)

    @property
    def size(self) -> str:
        return f"{self.gaussians:,} Gaussians, {self.megabytes:.1f} MB"

    @property
    def speed(self) -> str:
        """Empty before the second picture."""
        return ", ".join(self._speeds)

    @property
    def _speeds(self) -> tuple[str, ...]:
        if self.seconds is None:
            return ()
        numbers = ((1000 * self.seconds, "ms"), (1 / self.seconds, "fps"))
        return tuple(f"{number:.{_decimals(number)}f} {unit}" for number, unit in numbers)


class Side:
    """One of the two: a mixture and what it is called. It remembers its last picture: a divider moves over it."""

    def __init__(self, name: str, mixture: Mixture) -> None:
        self.name, self.mixture = name, mixture
        self.pace = Pace()
        self._last: tuple[str, Drawing] | None = None

    def draw(self, shot: Shot) -> Drawing:
        """Its picture alone, the remembered one where that is of the same shot; how long it took is remembered too."""
        asked = shot.to_json()
        if self._last is not None and self._last[0] == asked:
            return replace(self._last[1], fresh=False)
        self._last = None  # a render is large
        begun = time.perf_counter()
        drawing = views.draw(self.mixture, shot)
        self.pace.took(time.perf_counter() - begun, (shot.camera.width, shot.camera.height))
        self._last = asked, drawing
        return drawing

    def forget(self) -> None:
        """Draws anew next time."""
        self._last = None

    @property
    def budget(self) -> Budget:
        gaussians = sum(len(expert) for expert in self.mixture.members)
        megabytes = sum(parameter.nbytes for parameter in self.mixture.parameters()) / 1e6
        return Budget(self.name, gaussians, megabytes, self.pace.seconds)


def _decimals(number: float) -> int:
    return 0 if number >= 10 else 1
