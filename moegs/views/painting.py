"""Each view's picture and legend, from a mixture's render; `number` is the expert's, where a view is of one."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from moegs.legends import DEPTH, HEAT, Legend, Swatch, colorize, expert_color, strip
from moegs.mixture import Mixture, MixtureRender
from moegs.mosaic import Tile, grid

Pixels = UInt8[np.ndarray, "H W 3"]
Values = Float[np.ndarray, "H W C"]
"""Numbers in [0, 1]."""

DEPTH_SPAN = 2.0
"""The colours of depth reach from half to twice the distance to the middle of the scene."""


def to_pixels(picture: Float[Tensor, "H W 3"]) -> Pixels:
    """8-bit pixels of a float picture, clamped to [0, 1] and rounded."""
    if picture.is_cuda:
        from moegs.rasterize.cuda.pictures import to_bytes

        return to_bytes(picture).numpy()
    return (picture.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()


def rgb(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, None]:
    """The mixture's picture."""
    return to_pixels(render.picture), None


def expert(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, None]:
    """The picture of one expert alone."""
    return to_pixels(render.images[number]), None


def gate(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """The gate of one expert, in [0, 1], as heat."""
    shares = render.gates[number].cpu().numpy()
    return colorize(shares, HEAT), _gate_legend(f"gate of {mixture.names[number]}", (f"mean {shares.mean():.1%}",))


def gate_grid(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """All gates as equal tiles with the picture's proportions, row by row in the experts' order, above the legend."""
    gates = render.gates.cpu().numpy()
    _, height, width = gates.shape
    pixels = np.zeros((height, width, 3), np.uint8)
    for name, gate, tile in zip(mixture.names, gates, gate_tiles(len(gates), width, height), strict=True):
        seen = gate[np.ix_(
            [tile.row(y) for y in range(tile.top, tile.bottom)], [tile.column(x) for x in range(tile.left, tile.right)]
        )]  # fmt: skip
        picture = _named(colorize(seen, HEAT), name, float(gate.mean()))
        pixels[tile.top : tile.bottom, tile.left : tile.right] = picture
    return pixels, replace(_gate_legend("gate", ()), flat=True)


def gate_tiles(experts: int, width: int, height: int) -> tuple[Tile, ...]:
    """Where `gate_grid` shows each expert's gate, pixels."""
    return grid(experts, width, height, below=strip(width, height))


def _named(tile: Pixels, name: str, mean: float) -> Pixels:
    return Legend(f"{name}  {mean:.0%}").burn(tile) if min(tile.shape[:2]) >= 60 else tile


def argmax(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
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


def entropy(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """Entropy of the gates over log E, in [0, 1], as heat."""
    doubt = gate_entropy(render.gates).cpu().numpy()
    legend = Legend(
        "how undecided the router is", HEAT, ("0 one expert", "1 all equal"), notes=(f"mean {doubt.mean():.2f}",)
    )
    return colorize(doubt, HEAT), legend


def gate_entropy(gates: Float[Tensor, "E H W"]) -> Float[Tensor, "H W"]:
    """Entropy of the gates over log E, in [0, 1]; 0 where one expert takes all, and for a single expert.

    Of their proportions: a muted expert's share that is lost makes nobody undecided. 0 where all gates are 0.
    """
    experts, total = len(gates), gates.sum(0)
    if experts == 1:
        return torch.zeros_like(total)
    shares = torch.where(total > 0, gates / total, 0.0)
    return torch.special.entr(shares).sum(0) / float(np.log(experts))


def depth(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """Inverse depth, so that what is near keeps its detail; black where nothing is hit.

    The scale depends on how far the camera stands from the middle of the scene and on nothing else, so that it does
    not flicker while time runs.
    """
    near, far = _range(render)
    pixels = colorize(nearness(render).cpu().numpy(), DEPTH)
    pixels[render.alpha[..., 0].cpu().numpy() <= 0.5] = 0
    center = 2 / (1 / near + 1 / far)
    ticks = (f"far {far:.3g}", f"{center:.3g}", f"{near:.3g} near")
    return pixels, Legend("depth, world units, inverse scale", DEPTH, ticks)


def _range(render: MixtureRender) -> tuple[float, float]:
    middle = max(render.distance, 1e-6)
    return middle / DEPTH_SPAN, middle * DEPTH_SPAN


def nearness(render: MixtureRender) -> Float[Tensor, "H W"]:
    """Inverse depth, 0 at the far end of the scale and 1 at its near end; 0 where nothing is hit."""
    near, far = _range(render)
    share = (1 / render.depth[..., 0].clamp_min(1e-6) - 1 / far) / (1 / near - 1 / far)
    return torch.where(render.alpha[..., 0] > 0.5, share, 0.0)


def alpha(mixture: Mixture, render: MixtureRender, number: int) -> tuple[Pixels, Legend]:
    """How much of the background each pixel hides, in [0, 1], as grey."""
    hidden = render.alpha[..., 0].cpu().numpy()
    return colorize(hidden, "gray"), Legend("alpha", "gray", ("0", "0.5", "1"), notes=(f"mean {hidden.mean():.1%}",))


def _gate_legend(title: str, notes: tuple[str, ...]) -> Legend:
    return Legend(title, HEAT, ("0", "0.5", "1"), notes=notes)
