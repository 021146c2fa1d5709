"""HexPlane: features of a point in space and time from six planes at several resolutions."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import floor

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import grid_sample

PAIRS = tuple(combinations(range(4), 2))
"""The axes of each plane: xy, xz, xt, yz, yt, zt."""
TIME = 3


@dataclass(frozen=True, kw_only=True)
class PlanesConfig:
    """Sizes of the planes, and how smooth they are asked to be."""

    channels: int = 16
    """Of every plane."""
    resolution: tuple[int, int, int] = (64, 64, 64)
    """Cells along x, y and z at the first level."""
    time_resolution: int = 150
    """Rows along time, the same at every level; t in [0, 1] uses their upper half, as published."""
    levels: tuple[int, ...] = (1, 2)
    """What the spatial resolution is multiplied with, level by level."""
    smoothness: float = 2e-4
    """Weight of the squared second differences of xy, xz, yz."""
    time_smoothness: float = 1e-3
    """The same for xt, yt, zt along time."""
    time_sparsity: float = 1e-4
    """Weight of |1 - plane| of xt, yt, zt: without change in time they are 1."""

    def __post_init__(self) -> None:
        if min(*self.resolution, self.time_resolution) < 3 or self.channels < 1:  # roughness compares three
            raise ValueError("planes: give at least 3 cells along every axis and 1 channel")
        if not self.levels or min(self.levels) < 1:
            raise ValueError(f"levels: got {self.levels}, expected at least one level, each 1 or more")


class Planes(nn.Module):
    """Space-time features: in each level the samples of six planes are multiplied, the levels are joined."""

    box: Float[Tensor, "2 3"]
    """Greatest and smallest corner of what the planes cover, world units, in this order, as published: the axes of
    the planes run against the world's. Points outside take the value at the border."""

    def __init__(self, config: PlanesConfig, box: Float[Tensor, "2 3"]) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("box", box)
        self.planes = nn.ModuleList(
            nn.ParameterList(_new_plane(config, level, pair) for pair in PAIRS) for level in config.levels
        )

    @property
    def channels(self) -> int:
        """How many features a point has."""
        return self.config.channels * len(self.config.levels)

    def check(self) -> None:
        """Raises ValueError where the box has no inside."""
        if not bool((self.box[0] > self.box[1]).all()):
            raise ValueError(f"box: got corners {self.box.tolist()}, expected the greatest and then the smallest")

    def forward(self, points: Float[Tensor, "N 3"], t: float) -> Float[Tensor, "N C"]:
        """The features of `points` at `t`."""
        places = (points - self.box[0]) * (2 / (self.box[1] - self.box[0])) - 1
        return torch.cat([self._level(level, places, t) for level in range(len(self.planes))], dim=1)

    def penalty(self) -> Float[Tensor, ""]:
        """How rough the planes are, weighted; along each plane's second axis only, as published."""
        config, total = self.config, self.box.new_zeros(())
        for pair, plane in self._all():
            rough = torch.diff(plane, n=2, dim=2).square().mean()
            if TIME in pair:
                total = total + config.time_smoothness * rough + config.time_sparsity * (1 - plane).abs().mean()
            else:
                total = total + config.smoothness * rough
        return total

    def _all(self) -> Iterator[tuple[tuple[int, int], Tensor]]:
        for level in self.planes:
            yield from zip(PAIRS, level, strict=True)  # type: ignore[arg-type]

    def _level(self, level: int, places: Float[Tensor, "N 3"], t: float) -> Float[Tensor, "N C"]:
        product: Tensor | None = None
        for (first, second), plane in zip(PAIRS, self.planes[level], strict=True):  # type: ignore[arg-type]
            if second == TIME:
                plane, across = _row(plane, (t + 1) / 2), torch.zeros_like(places[:, 0])
            else:
                across = places[:, second]
            grid = torch.stack([places[:, first], across], dim=-1)[None, None]
            sample = grid_sample(plane, grid, padding_mode="border", align_corners=True)[0, :, 0]
            product = sample if product is None else product * sample
        assert product is not None
        return product.T


def _new_plane(config: PlanesConfig, level: int, pair: tuple[int, int]) -> nn.Parameter:
    sizes = [*(size * level for size in config.resolution), config.time_resolution]
    plane = torch.ones(1, config.channels, sizes[pair[1]], sizes[pair[0]])
    return nn.Parameter(plane if TIME in pair else plane.uniform_(0.1, 0.5))


def _row(plane: Float[Tensor, "1 C T R"], place: float) -> Float[Tensor, "1 C 1 R"]:
    """`plane` at `place` in [0, 1] along its second axis: at one time, a plane is a line."""
    last = plane.shape[2] - 1
    position = min(max(place, 0.0), 1.0) * last
    low = min(floor(position), last - 1)
    share = position - low
    return (1 - share) * plane[:, :, low : low + 1] + share * plane[:, :, low + 1 : low + 2]
