"""Probe: what every expert and the router say at one pixel, from the tensors, never from screen colours."""

from dataclasses import dataclass

from moegs.mixture import Mixture, MixtureRender


@dataclass(frozen=True)
class ExpertReading:
    """One expert at one pixel."""

    name: str
    gate: float
    """Its share of the pixel, 0 to 1."""
    logit: float
    """What the softmax was taken of, before division by the temperature."""
    color: tuple[float, float, float]
    """RGB, not clamped."""
    alpha: float
    depth: float
    """World units along the camera's axis; 0 where the expert hits nothing."""


@dataclass(frozen=True)
class Reading:
    """A mixture at one pixel."""

    x: int
    """Column, counted from the left."""
    y: int
    """Row, counted from the top."""
    color: tuple[float, float, float]
    alpha: float
    depth: float
    experts: tuple[ExpertReading, ...]


def read(mixture: Mixture, render: MixtureRender, x: int, y: int) -> Reading:
    """The numbers of `render` at column `x` and row `y`; raises ValueError outside of the picture."""
    height, width = render.picture.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"pixel {x},{y}: outside of the picture of {width}x{height}; both are counted from 0")
    experts = tuple(
        ExpertReading(
            name=name,
            gate=float(render.gates[e, y, x]),
            logit=float(render.logits[e, y, x]),
            color=_rgb(render.images[e, y, x].tolist()),
            alpha=float(render.alphas[e, y, x, 0]),
            depth=float(render.depths[e, y, x, 0]),
        )
        for e, name in enumerate(mixture.names)
    )
    color = _rgb(render.picture[y, x].tolist())
    return Reading(x, y, color, float(render.alpha[y, x, 0]), float(render.depth[y, x, 0]), experts)


def _rgb(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
