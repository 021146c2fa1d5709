"""Views: every picture there is to look at, by its id, with its legend."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from moegs.legends import DEPTH, HEAT, Corner, Legend, Swatch, colorize, expert_color, strip
from moegs.mixture import Mixture, MixtureRender
from moegs.mosaic import Tile, grid
from moegs.shots import Shot

Pixels = UInt8[np.ndarray, "H W 3"]
Values = Float[np.ndarray, "H W C"]
"""Numbers in [0, 1]."""

DEPTH_SPAN = 2.0
"""The colours of depth reach from half to twice the distance to the middle of the scene."""


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
    return _gate_tiles(len(mixture.names), width, height) if view == "gates" else grid(1, width, height)


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


@dataclass(frozen=True)
class View:
    """One entry of the registry; `paint` takes the mixture, its render and the expert's number."""

    id: str
    help: str
    paint: Callable[[Mixture, MixtureRender, int], tuple[Pixels, Legend | None]]
    values: Callable[[MixtureRender, int], Float[Tensor, "H W C"]] | None = None
    """The numbers in [0, 1] behind the colours, from the render and the expert's number; None where there are none."""
    scale: str = ""
    """What a difference of these numbers is of, where the view's id alone does not say it."""
    per_expert: bool = False
    needs_router: bool = False


def to_pixels(picture: Float[Tensor, "H W 3"]) -> Pixels:
    """8-bit pixels of a float picture, clamped to [0, 1] and rounded."""
    if picture.is_cuda:
        from moegs.rasterize.cuda.pictures import to_bytes

        return to_bytes(picture).numpy()
    return (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


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
        notes.append(f"what-if: experts skipped below gate {shot.skip_below:g}")
    if shot.kept != 1:
        notes.append(f"what-if: {100 * shot.kept:.3g}% of the Gaussians kept, not fine-tuned")
    if not notes:
        return legend
    legend = legend or Legend(title=shot.view)
    return replace(legend, notes=(*legend.notes, *notes))


def _rgb(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, None]:
    return to_pixels(render.picture), None


def _expert(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, None]:
    return to_pixels(render.images[number]), None


def _gate(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    gate = render.gates[number].cpu().numpy()
    return colorize(gate, HEAT), _gate_legend(f"gate of {mixture.names[number]}", (f"mean {gate.mean():.1%}",))


def _gate_grid(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """All gates as equal tiles with the picture's proportions, row by row in the experts' order, above the legend."""
    gates = render.gates.cpu().numpy()
    _, height, width = gates.shape
    pixels = np.zeros((height, width, 3), np.uint8)
    for name, gate, tile in zip(mixture.names, gates, _gate_tiles(len(gates), width, height), strict=True):
        seen = gate[np.ix_(
            [tile.row(y) for y in range(tile.top, tile.bottom)], [tile.column(x) for x in range(tile.left, tile.right)]
        )]  # fmt: skip
        picture = _named(colorize(seen, HEAT), name, float(gate.mean()))
        pixels[tile.top : tile.bottom, tile.left : tile.right] = picture
    return pixels, replace(_gate_legend("gate", ()), flat=True)


def _gate_tiles(experts: int, width: int, height: int) -> tuple[Tile, ...]:
    return grid(experts, width, height, below=strip(width, height))


def _named(tile: Pixels, name: str, mean: float) -> Pixels:
    return Legend(f"{name}  {mean:.0%}").burn(tile) if min(tile.shape[:2]) >= 60 else tile


def _argmax(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """Each pixel in the colour of the expert with the largest gate; the nearer the second, the darker.

    Where no expert has a share, nobody wins: black.
    """
    gates = render.gates.cpu().numpy()
    winners = np.where(gates.sum(0) > 0, gates.argmax(0), -1)
    ordered = np.sort(gates, axis=0)
    margin = ordered[-1] - (ordered[-2] if len(gates) > 1 else 0)
    colors = np.array([expert_color(e) for e in range(len(gates))], np.float32)
    pixels = (colors[winners] * (0.35 + 0.65 * margin[..., None]) + 0.5).astype(np.uint8)
    pixels[winners < 0] = 0
    coverage = [float((winners == e).mean()) for e in range(len(gates))]
    swatches = tuple(
        Swatch(expert_color(e), f"{name} {share:.0%}")
        for e, (name, share) in enumerate(zip(mixture.names, coverage, strict=True))
    )
    return pixels, Legend("largest gate", swatches=swatches, notes=("darker: smaller margin",))


def _entropy(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    entropy = gate_entropy(render.gates).cpu().numpy()
    legend = Legend(
        "how undecided the router is", HEAT, ("0 one expert", "1 all equal"), notes=(f"mean {entropy.mean():.2f}",)
    )
    return colorize(entropy, HEAT), legend


def gate_entropy(gates: Float[Tensor, "E H W"]) -> Float[Tensor, "H W"]:
    """Entropy of the gates over log E, in [0, 1]; 0 where one expert takes all, and for a single expert.

    Of their proportions: a muted expert's share that is lost makes nobody undecided. 0 where all gates are 0.
    """
    experts, total = len(gates), gates.sum(0)
    if experts == 1:
        return torch.zeros_like(total)
    shares = torch.where(total > 0, gates / total, 0.0)
    return torch.special.entr(shares).sum(0) / float(np.log(experts))


def _depth(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """Inverse depth, so that what is near keeps its detail; black where nothing is hit.

    The scale depends on how far the camera stands from the middle of the scene and on nothing else, so that it does
    not flicker while time runs.
    """
    near, far = _range(render)
    pixels = colorize(_nearness(render).cpu().numpy(), DEPTH)
    pixels[render.alpha[..., 0].cpu().numpy() <= 0.5] = 0
    center = 2 / (1 / near + 1 / far)
    ticks = (f"far {far:.3g}", f"{center:.3g}", f"{near:.3g} near")
    return pixels, Legend("depth, world units, inverse scale", DEPTH, ticks)


def _range(render: MixtureRender) -> tuple[float, float]:
    middle = max(render.distance, 1e-6)
    return middle / DEPTH_SPAN, middle * DEPTH_SPAN


def _nearness(render: MixtureRender) -> Float[Tensor, "H W"]:
    """Inverse depth, 0 at the far end of the scale and 1 at its near end; 0 where nothing is hit."""
    near, far = _range(render)
    share = (1 / render.depth[..., 0].clamp_min(1e-6) - 1 / far) / (1 / near - 1 / far)
    return torch.where(render.alpha[..., 0] > 0.5, share, 0.0)


def _alpha(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    alpha = render.alpha[..., 0].cpu().numpy()
    return colorize(alpha, "gray"), Legend("alpha", "gray", ("0", "0.5", "1"), notes=(f"mean {alpha.mean():.1%}",))


def _gate_legend(title: str, notes: tuple[str, ...]) -> Legend:
    return Legend(title, HEAT, ("0", "0.5", "1"), notes=notes)


VIEWS = (
    View("rgb", "the mixture", _rgb, lambda render, number: render.picture.clamp(0, 1), "mean of RGB"),
    View(
        "expert",
        "one expert's own picture",
        _expert,
        lambda render, number: render.images[number].clamp(0, 1),
        "mean of RGB",
        per_expert=True,
    ),
    View(
        "gate",
        "one expert's share of each pixel, 0 to 1",
        _gate,
        lambda render, number: render.gates[number][..., None],
        per_expert=True,
        needs_router=True,
    ),
    View("gates", "all gates side by side", _gate_grid, needs_router=True),
    View("gate-argmax", "which expert has the largest gate", _argmax, needs_router=True),
    View(
        "gate-entropy",
        "how undecided the router is: entropy of the gates over its largest, 0 to 1",
        _entropy,
        lambda render, number: gate_entropy(render.gates)[..., None],
        needs_router=True,
    ),
    View(
        "depth",
        "distance along the camera's axis; black where there is nothing",
        _depth,
        lambda render, number: _nearness(render).clamp(0, 1)[..., None],
        "inverse, 0 far to 1 near",
    ),
    View("alpha", "how opaque the mixture is", _alpha, lambda render, number: render.alpha),
)
"""The registry: it serves the browser's menu, the command line, the help texts and the tests."""
