"""Compare: two pictures of one camera and instant to one, both named with what they cost."""

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Float

from moegs import metrics, views
from moegs.data.scene import Rig
from moegs.legends import ERROR, SIGNED, Corner, Legend, colorize
from moegs.mixture import Mixture
from moegs.mosaic import Tile
from moegs.shots import Comparison, Mode, Shot
from moegs.views import Drawing, Pixels, Values

ERROR_RANGE = 0.2
"""Differences reach so far on the colour bar, of what a view's colours stand for, with a gain of 1."""
GAIN_HELP = (
    f"Amplifies the difference, whose colours reach to {ERROR_RANGE} / gain of what the view stands for, from 0 to 1: "
    "colours, gates, entropy, opacity; for depth its inverse, from far to near"
)
SAME_PLACE = 1e-3
"""Two cameras are one where their axes and focal lengths differ by less, and their places by less in scene extents."""
RECENT = 9
"""Of how many pictures a side's time is the median."""
RULE = 500
"""How many times the thickness of the divider the picture is high."""


class Pace:
    """How long the last pictures of one size took."""

    def __init__(self) -> None:
        self.size = (0, 0)
        """Width and height of those pictures, pixels."""
        self._seconds: deque[float] = deque(maxlen=RECENT)

    def took(self, seconds: float, size: tuple[int, int]) -> None:
        """Learns of one picture; those of another size are forgotten."""
        if size != self.size:
            self.size, self._seconds = size, deque(maxlen=RECENT)
        self._seconds.append(seconds)

    def clear(self) -> None:
        """Forgets all pictures."""
        self.size, self._seconds = (0, 0), deque(maxlen=RECENT)

    @property
    def seconds(self) -> float | None:
        """The median; None where there was no picture."""
        return statistics.median(self._seconds) if self._seconds else None


@dataclass(frozen=True)
class Budget:
    """What one side of a comparison costs."""

    name: str
    gaussians: int
    megabytes: float
    """Of its parameters in memory."""
    seconds: float | None
    """From the camera to 8-bit pixels at the size it is drawn in, legends aside; None before its first picture."""

    def plate(self, letter: str) -> Legend:
        """What is burnt into the picture, under the side's `letter`."""
        return Legend(f"{letter}  {self.name}", notes=tuple(filter(None, (self.size, self.speed))))

    @property
    def size(self) -> str:
        return f"{self.gaussians:,} Gaussians, {self.megabytes:.1f} MB"

    @property
    def speed(self) -> str:
        """Empty before the first picture."""
        if self.seconds is None:
            return ""
        milliseconds, fps = 1000 * self.seconds, 1 / self.seconds
        return f"{milliseconds:.{_decimals(milliseconds)}f} ms, {fps:.{_decimals(fps)}f} fps"


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


def draw(a: Side, b: Side, shot: Shot) -> Drawing:
    """The two pictures of `shot` as one, as its comparison asks: what the browser shows and the command line writes.

    B is drawn with A's muting where both have the same experts. Raises ValueError for a view that the two do not have,
    or that cannot be compared so.
    """
    comparison = shot.comparison
    assert comparison is not None
    first, second = ordered(a, b, comparison)
    known = views_of(first.mixture, second.mixture, comparison.mode)
    if shot.view not in known:
        raise ValueError(f"view '{shot.view}': '{a.name}' and '{b.name}' have {', '.join(known)} for {comparison.mode}")
    alone = replace(shot, comparison=None, kept=1.0)
    alike = a.mixture.names == b.mixture.names
    drawings = [each.draw(alone if each is a or alike else replace(alone, active=None)) for each in (first, second)]
    plates = [each.budget.plate(letter) for each, letter in ((first, "A"), (second, "B"))]
    drawing = COMPOSERS[comparison.mode](drawings[0], drawings[1], plates, shot)
    return replace(drawing, fresh=any(each.fresh for each in drawings))


Thing = TypeVar("Thing")


def ordered(a: Thing, b: Thing, comparison: Comparison) -> tuple[Thing, Thing]:
    """What stands under the letter A, and what under B."""
    return (b, a) if comparison.swapped else (a, b)


def views_of(a: Mixture, b: Mixture, mode: Mode) -> list[str]:
    """The views that can be compared so: those of both, and for a difference those of numbers."""
    both = [view for view in views.ids(a) if view in views.ids(b)]
    if mode == "diff":
        return [view for view in both if views.numeric(view)]
    # Under a divider, tiles meet only where there are equally many.
    return [view for view in both if view != "gates" or mode == "side" or len(a.names) == len(b.names)]


def tiles(a: Mixture, b: Mixture, shot: Shot) -> tuple[Tile, ...]:
    """Where either picture is seen in the comparison of `shot`, as in `views.tiles`: of both, A's first."""
    comparison, width, height = shot.comparison, shot.camera.width, shot.camera.height
    assert comparison is not None
    first, second = ordered(a, b, comparison)
    ours = views.tiles(first, shot.view, width, height)
    across, down = comparison.panes
    if (across, down) == (1, 1):
        return ours
    x, y = width * (across - 1), height * (down - 1)
    theirs = views.tiles(second, shot.view, width, height)
    return ours + tuple(
        replace(tile, left=tile.left + x, right=tile.right + x, top=tile.top + y, bottom=tile.bottom + y)
        for tile in theirs
    )


def psnr(drawing: Drawing, view: str) -> float | None:
    """Peak signal-to-noise ratio between both sides of a comparison of `view`, of the numbers that the view shows, dB.

    Infinite where they are equal; None for a view whose colours stand for no numbers.
    """
    a, b = (views.values(side, view) for side in drawing.sides)
    return None if a is None or b is None else _psnr(a, b)


def check(a: Rig, b: Rig, names: tuple[str, str]) -> None:
    """Raises ValueError in one line, which calls them `names`, where two rigs do not show one scene at one time."""
    reason = _difference(a, b)
    if reason is not None:
        raise ValueError(f"'{names[0]}' and '{names[1]}': {reason}; compare mixtures of one data set")


def _difference(a: Rig, b: Rig) -> str | None:
    if a.timeline != b.timeline:
        spans = [f"{rig.timeline.frames} frames at {rig.timeline.fps:g} frames/s" for rig in (a, b)]
        if spans[0] == spans[1]:
            return "frames at other times"
        return f"different timelines, {spans[0]} and {spans[1]}"
    if a.names != b.names:
        strange = sorted(set(a.names) ^ set(b.names))
        return f"different cameras, '{strange[0]}' in one alone" if strange else "cameras in another order"
    for name, one, other in zip(a.names, a.cameras, b.cameras, strict=True):
        turn = float((one.viewmat[:3, :3] - other.viewmat[:3, :3]).abs().max())
        step = float((one.center - other.center).norm()) / max(a.extent, 1e-6)
        if turn > SAME_PLACE or step > SAME_PLACE:
            return f"different scenes, camera '{name}' stands elsewhere"
        zoom = float(one.K[1, 1]) / one.height / (float(other.K[1, 1]) / other.height)
        if abs(zoom - 1) > SAME_PLACE:
            return f"different cameras, '{name}' has another lens"
    return None


def _wipe(a: Drawing, b: Drawing, plates: list[Legend], shot: Shot) -> Drawing:
    """A's picture up to the divider and B's behind it, each with its own legend; what is not to be seen has no name."""
    comparison = shot.comparison
    assert comparison is not None
    axis = 0 if comparison.horizontal else 1
    length = a.pixels.shape[axis]
    edge = round(comparison.position * length)
    pixels = np.concatenate([np.split(a.pixels, [edge], axis)[0], np.split(b.pixels, [edge], axis)[1]], axis)
    flat = a.legend is not None and a.legend.flat  # along the whole edge, where it says the same for both
    corners: tuple[Corner, ...] = ("top", "bottom", "top-right", "bottom-right")
    if comparison.horizontal:
        corners = ("top", "top-right", "bottom-right", "bottom")
    first, second = edge > 0, edge < length
    texts = zip((plates[0], a.legend, plates[1], b.legend), (first, first, second, second), strict=True)
    placed: tuple[tuple[Corner, Legend], ...] = tuple(
        (corner, text)
        for corner, (text, seen) in zip(corners, texts, strict=True)
        if seen and text is not None and not text.flat
    )
    return Drawing(_ruled(pixels, edge, axis), a.legend if flat else None, a.mixture, a.render, placed, (a, b))


def _side_by_side(a: Drawing, b: Drawing, plates: list[Legend], shot: Shot) -> Drawing:
    """Both whole, each with its own legend."""
    assert shot.comparison is not None
    axis = 0 if shot.comparison.horizontal else 1
    second: Corner = "bottom-right" if shot.comparison.horizontal else "top-right"
    pixels = _ruled(np.concatenate([a.burnt(), b.burnt()], axis), a.pixels.shape[axis], axis)
    return Drawing(pixels, None, a.mixture, a.render, _corners(plates, second), (a, b))


def _differing(a: Drawing, b: Drawing, plates: list[Legend], shot: Shot) -> Drawing:
    comparison = shot.comparison
    assert comparison is not None
    one, other = views.values(a, shot.view), views.values(b, shot.view)
    assert one is not None
    assert other is not None
    reach = ERROR_RANGE / comparison.gain
    pixels = difference(one, other, comparison)
    title = "A \N{MINUS SIGN} B" if comparison.signed else "|A \N{MINUS SIGN} B|"
    scale = views.scale(shot.view)
    title += f" of {shot.view}" + (f", {scale}" if scale else "")
    ticks = (f"\N{MINUS SIGN}{reach:.3g}", "0", f"+{reach:.3g}")
    if not comparison.signed:
        ticks = ("0", f"{reach / 2:.3g}", f"{reach:.3g}")
    decibels, largest = _psnr(one, other), float(np.abs(one - other).max())
    told = "equal" if largest == 0 else f"PSNR {decibels:.2f} dB, largest difference {largest:.3g}"
    legend = Legend(f"{title}, gain {comparison.gain}", SIGNED if comparison.signed else ERROR, ticks, notes=(told,))
    return Drawing(pixels, legend, a.mixture, a.render, _corners(plates, "top-right"), (a, b))


COMPOSERS: dict[Mode, Callable[[Drawing, Drawing, list[Legend], Shot], Drawing]] = {
    "wipe": _wipe,
    "side": _side_by_side,
    "diff": _differing,
}


def difference(a: Values, b: Values, comparison: Comparison) -> Pixels:
    """How far `a` and `b` are apart, the mean over channels, in colours that reach up to the error range over the gain.

    Absolute: dark where they are equal. Signed: of a minus b, light where they are equal.
    """
    reach = ERROR_RANGE / comparison.gain
    if comparison.signed:
        return colorize(((a - b).mean(2) / (2 * reach) + 0.5).astype(np.float32), SIGNED)
    return colorize((np.abs(a - b).mean(2) / reach).astype(np.float32), ERROR)


def _decimals(number: float) -> int:
    return 0 if number >= 10 else 1


def _psnr(a: Float[np.ndarray, "H W C"], b: Float[np.ndarray, "H W C"]) -> float:
    one, other = (torch.from_numpy(each).expand(-1, -1, 3) for each in (a, b))
    return float(metrics.psnr(one, other))


def _corners(plates: list[Legend], second: Corner) -> tuple[tuple[Corner, Legend], ...]:
    return (("top", plates[0]), (second, plates[1]))


def _ruled(pixels: Pixels, edge: int, axis: int) -> Pixels:
    """`pixels` with the divider drawn at `edge`; nothing at either end, where one picture is whole."""
    length = pixels.shape[axis]
    if not 0 < edge < length:
        return pixels
    half = max(1, round(pixels.shape[0] / RULE))
    lines = np.moveaxis(pixels, axis, 0)  # a view: what is written into it is in `pixels`
    lines[max(0, edge - half) : edge + half] = 255
    for dark in (slice(max(0, edge - 2 * half), max(0, edge - half)), slice(edge + half, edge + 2 * half)):
        lines[dark] = 0
    return pixels
