"""Gaussians at one instant: what an expert returns at a time, and all that the rasterizer needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ALPHA_MIN = 1 / 255
"""A Gaussian adds nothing to a pixel below this alpha; of gsplat 1.5.3, as all constants of `moegs.rasterize` are."""


@dataclass(frozen=True)
class LowPass:
    """The blur that keeps a Gaussian at least about a pixel wide: the published experts differ in it."""

    blur: float = 0.3
    """Added to the diagonal of the 2D covariance, px^2."""
    compensated: bool = False
    """Whether opacity falls by sqrt(det before / det after), so that blurring adds no light."""

    def __post_init__(self) -> None:
        if not 0 <= self.blur < math.inf:
            raise ValueError(f"blur: got {self.blur:g}, expected a finite number of px^2, 0 or more")


@dataclass(frozen=True)
class Points:
    """Where training starts: coloured points with the time they were seen at."""

    means: Float[Tensor, "P 3"]
    """World units."""
    colors: Float[Tensor, "P 3"]
    """RGB in [0, 1]."""
    times: Float[Tensor, " P"]
    """t in [0, 1] of the frame that each was triangulated from."""


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians at one instant, activated and ready to render."""

    means: Float[Tensor, "N 3"]
    """Centres, world units."""
    quats: Float[Tensor, "N 4"]
    """Rotations (w, x, y, z): a direction, never zero; the rasterizer normalises."""
    scales: Float[Tensor, "N 3"]
    """Standard deviations along the own axes, world units."""
    opacities: Float[Tensor, " N"]
    """In [0, 1], the temporal factor included."""
    sh: Float[Tensor, "N K 3"]
    """Spherical harmonics of the colour, K = (degree + 1)^2 bases; colour = sum + 0.5, clamped at 0."""
    rows: Int[Tensor, " N"] | None = None
    """Which row of the expert's concatenated groups each one is; None when all are here in order."""

    def __len__(self) -> int:
        return self.means.shape[0]

    def select(self, index: Bool[Tensor, " N"] | Int[Tensor, " M"]) -> "Gaussians":
        """The Gaussians at `index` (a mask or row numbers), which remember their rows."""
        rows = torch.arange(len(self), device=self.means.device) if self.rows is None else self.rows
        return Gaussians(
            **{f.name: getattr(self, f.name)[index] for f in fields(self) if f.name != "rows"}, rows=rows[index]
        )


def concatenate(parts: Sequence[Gaussians]) -> Gaussians:
    """All Gaussians of `parts` in order, over the same number of SH bases, without their rows."""
    if not parts:
        raise ValueError("concatenate: no Gaussians given; pass at least one part")
    return Gaussians(
        **{f.name: torch.cat([getattr(part, f.name) for part in parts]) for f in fields(Gaussians) if f.name != "rows"}
    )
