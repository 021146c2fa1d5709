"""From two drawings of one camera and instant to one: a wipe, both whole, or where they differ."""

from collections.abc import Callable

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
