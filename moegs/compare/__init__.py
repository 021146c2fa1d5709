"""Compare: two pictures of one camera and instant to one, both named with what they cost."""

from dataclasses import replace
from typing import TypeVar

from moegs import views
from moegs.compare.composing import COMPOSERS, ERROR_RANGE, GAIN_HELP, difference, psnr
from moegs.compare.scenes import check
from moegs.compare.sides import Budget, Pace, Side
from moegs.mixture import Mixture
from moegs.mosaic import Tile
from moegs.shots import Comparison, Mode, Shot
from moegs.views import Drawing

__all__ = [
    "ERROR_RANGE",
    "GAIN_HELP",
    "Budget",
    "Pace",
    "Side",
    "check",
    "difference",
    "draw",
    "ordered",
    "psnr",
    "tiles",
    "views_of",
]

Thing = TypeVar("Thing")


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
