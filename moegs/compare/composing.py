"""From two drawings of one camera and instant to one: a wipe, both whole, or where they differ."""

import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from jaxtyping import Float

from moegs import metrics, views
from moegs.legends import ERROR, SIGNED, Corner, Legend, colorize
from moegs.shots import Comparison, Mode, Shot
from moegs.views import Drawing, Pixels, Values

ERROR_RANGE = 0.2
"""Differences reach so far on the colour bar, of what a view's colours stand for, with a gain of 1."""
GAIN_HELP = (
    f"Amplifies the difference, whose colours reach to {ERROR_RANGE} / gain of what the view stands for, from 0 to 1: "
    "colours, gates, entropy, opacity; for depth its inverse, from far to near"
)
RULE = 500
"""How many times the thickness of the divider the picture is high."""


def _wipe(a: Drawing, b: Drawing, plates: list[Legend], shot: Shot) -> Drawing:
    """A's picture up to the divider and B's behind it, each with its own legend; what is not to be seen has no name."""
    comparison = shot.comparison
    assert comparison is not None
    height, width = a.pixels.shape[:2]
    behind, first, second = _behind(comparison, width, height)
    pixels = cv2.copyTo(b.pixels, (behind > 0).view(np.uint8), a.pixels.copy())  # NumPy takes thirty times as long
    if first and second:
        _rule(pixels, behind)
    flat = a.legend is not None and a.legend.flat  # along the whole edge, where it says the same for both
    corners: tuple[Corner, ...] = ("top", "bottom", "top-right", "bottom-right")
    if comparison.horizontal:
        corners = ("top", "top-right", "bottom-right", "bottom")
    texts = zip((plates[0], a.legend, plates[1], b.legend), (first, first, second, second), strict=True)
    placed: tuple[tuple[Corner, Legend], ...] = tuple(
        (corner, text)
        for corner, (text, seen) in zip(corners, texts, strict=True)
        if seen and text is not None and not text.flat
    )
    return Drawing(pixels, a.legend if flat else None, a.mixture, a.render, placed, (a, b))


def _behind(comparison: Comparison, width: int, height: int) -> tuple[Float[np.ndarray, "H W"], bool, bool]:
    """How far behind a wipe's divider the middle of each pixel is, in pixels; and whether A, and B, are seen at all."""
    across, down = math.cos(math.radians(comparison.angle)), math.sin(math.radians(comparison.angle))
    length = width * abs(across) + height * abs(down)  # of the divider's way from one corner to the one opposite
    edge = round(comparison.position * length)
    x, y = (np.arange(count, dtype=np.float32) + np.float32(0.5 - count / 2) for count in (width, height))
    behind = np.add.outer(y * np.float32(down), x * np.float32(across)) + np.float32(length / 2 - edge)
    return behind, edge > 0, edge < round(length)


def _side_by_side(a: Drawing, b: Drawing, plates: list[Legend], shot: Shot) -> Drawing:
    """Both whole, each with its own legend."""
    assert shot.comparison is not None
    axis = 0 if shot.comparison.horizontal else 1
    second: Corner = "bottom-right" if shot.comparison.horizontal else "top-right"
    pixels = np.concatenate([a.burnt(), b.burnt()], axis)
    length = a.pixels.shape[axis]
    _rule(pixels, np.expand_dims(np.arange(0.5 - length, length), 1 - axis))
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
    told = ("equal",) if largest == 0 else (f"PSNR {decibels:.2f} dB", f"largest difference {largest:.3g}")
    colormap = SIGNED if comparison.signed else ERROR
    legend = Legend(f"{title}, gain {comparison.gain}", colormap, ticks, notes=told, within=1.0)
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


def psnr(drawing: Drawing, view: str) -> float | None:
    """Peak signal-to-noise ratio between both sides of a comparison of `view`, of the numbers that the view shows, dB.

    Infinite where they are equal; None for a view whose colours stand for no numbers.
    """
    a, b = (views.values(side, view) for side in drawing.sides)
    return None if a is None or b is None else _psnr(a, b)


def _psnr(a: Float[np.ndarray, "H W C"], b: Float[np.ndarray, "H W C"]) -> float:
    one, other = (torch.from_numpy(each).expand(-1, -1, 3) for each in (a, b))
    return float(metrics.psnr(one, other))


def _corners(plates: list[Legend], second: Corner) -> tuple[tuple[Corner, Legend], ...]:
    return (("top", plates[0]), (second, plates[1]))


def _rule(pixels: Pixels, away: Float[np.ndarray, "#H #W"]) -> None:
    """Draws the divider into `pixels`, whose middles are so many pixels `away` from it."""
    half, away = max(1, round(pixels.shape[0] / RULE)), np.broadcast_to(np.abs(away), pixels.shape[:2])
    near = np.nonzero(away < 2 * half)
    pixels[near] = np.where(away[near] < half, 255, 0)[:, None]
