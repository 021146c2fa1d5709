"""Views: every picture there is to look at, by its id, with its legend."""

from dataclasses import dataclass, replace

import torch

from moegs.legends import Corner, Legend
from moegs.lines import threshold
from moegs.mixture import Mixture, MixtureRender
from moegs.mosaic import Tile, grid
from moegs.shots import Shot
from moegs.views.painting import DEPTH_SPAN, Pixels, Values, gate_entropy, gate_tiles, to_pixels
from moegs.views.registry import VIEWS, View

__all__ = [
    "DEPTH_SPAN",
    "VIEWS",
    "Drawing",
    "Pixels",
    "Values",
    "describe",
    "draw",
    "gate_entropy",
    "ids",
    "numeric",
    "scale",
    "tiles",
    "to_pixels",
    "values",
]


@dataclass(frozen=True)
class Drawing:
    """A picture ready to encode, and the numbers behind it."""

    pixels: Pixels
    """Without the legend."""
    legend: Legend | None
    mixture: Mixture
    """What was drawn."""
    render: MixtureRender
    plates: tuple[tuple[Corner, Legend], ...] = ()
    """Further legends, and where they stand."""
    sides: "tuple[Drawing, ...]" = ()
    """Of a comparison: A's own drawing and B's."""
    fresh: bool = True
    """Whether anything was rendered for it; else it was put together from pictures that were there."""

    def burnt(self) -> Pixels:
        """The picture with its legends in it, as it is exported."""
        burnt = self.pixels if self.legend is None else self.legend.burn(self.pixels)
        for corner, plate in self.plates:
            burnt = plate.burn(burnt, corner)
        return burnt


def draw(mixture: Mixture, shot: Shot) -> Drawing:
    """The picture of `mixture` that `shot` asks for, comparison and pruning aside: the one way from it to pixels.

    Raises ValueError for a view that the mixture does not have.
    """
    view, name = _parse(mixture, shot.view)
    with torch.no_grad():
        render = mixture.render(shot.camera, shot.t, **shot.options)
    number = mixture.names.index(name) if name else 0
    pixels, legend = view.paint(mixture, render, number)
    return Drawing(pixels, _annotated(legend, mixture, shot), mixture, render)


def values(drawing: Drawing, view: str) -> Values | None:
    """The numbers that the colours of `drawing`, made of `view`, stand for; None where they stand for none."""
    kind, name = _parse(drawing.mixture, view)
    if kind.values is None:
        return None
    return kind.values(drawing.render, drawing.mixture.names.index(name) if name else 0).cpu().numpy()


def numeric(view: str) -> bool:
    """Whether the colours of `view` stand for numbers, whose difference means something."""
    return any(each.id == view.partition(":")[0] and each.values is not None for each in VIEWS)


def scale(view: str) -> str:
    """What a difference of the numbers of `view` is of, where its id alone does not say it."""
    return next((each.scale for each in VIEWS if each.id == view.partition(":")[0]), "")


def tiles(mixture: Mixture, view: str, width: int, height: int) -> tuple[Tile, ...]:
    """Where the picture of `width` x `height` is seen in a drawing of `view`: once, or once per expert."""
    return gate_tiles(len(mixture.names), width, height) if view == "gates" else grid(1, width, height)


def ids(mixture: Mixture) -> list[str]:
    """Every view that `mixture` has, in the menu's order."""
    found = []
    for view in VIEWS:
        if view.needs_router and mixture.router is None:
            continue
        found += [f"{view.id}:{name}" for name in mixture.names] if view.per_expert else [view.id]
    return found


def describe() -> str:
    """All views there may be, each with what it shows: for help texts."""
    return "; ".join(f"{view.id}{':NAME' if view.per_expert else ''}: {view.help}" for view in VIEWS) + "."


def _parse(mixture: Mixture, text: str) -> tuple[View, str]:
    kind, _, name = text.partition(":")
    for view in VIEWS:
        fits = view.per_expert == bool(name) and not (view.needs_router and mixture.router is None)
        if view.id == kind and fits and (not name or name in mixture.names):
            return view, name
    raise ValueError(f"view '{text}': this checkpoint has {', '.join(ids(mixture))}")


def _annotated(legend: Legend | None, mixture: Mixture, shot: Shot) -> Legend | None:
    """`legend` with a line for everything that makes the picture differ from the mixture as it was trained."""
    notes = []
    active = shot.active or (True,) * len(mixture.names)
    if not any(active):
        notes.append("all experts muted: background only")
    elif not all(active):
        muted = ", ".join(name for name, live in zip(mixture.names, active, strict=True) if not live)
        notes.append(f"muted: {muted} ({shot.mute_rule})")
    if shot.temperature is not None and shot.temperature != mixture.temperature:
        notes.append(f"what-if: temperature {shot.temperature:g}")
    if shot.skip_below:
        notes.append(f"what-if: experts skipped below gate {threshold(shot.skip_below)}")
    if shot.kept != 1:
        notes.append(f"what-if: {100 * shot.kept:.3g}% of the Gaussians kept, not fine-tuned")
    if not notes:
        return legend
    legend = legend or Legend(title=shot.view)
    return replace(legend, notes=(*legend.notes, *notes))
