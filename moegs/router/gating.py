"""Tile gating: where an expert's gate is next to nothing, its Gaussians are not drawn.

A first look samples the router's weights, one pixel of every 4x4; the largest gate among the samples of a tile and of
the tiles around it bounds the gate in it. What is dropped is renormalised away, so with exact bounds no pixel changes
by more than (E - 1) x threshold x the largest difference between the experts' colours there; black is one of them
where the rule `keep` leaves it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from moegs.cameras import Camera
from moegs.rasterize import SAMPLE, TILE, Look, sampled, tile_grid
from moegs.router import MuteRule, Router, Seen, gates

LOOK_COST = 0.25
"""Of a look at all tiles on a CPU, as a share of drawing them."""


@dataclass(frozen=True)
class Gate:
    """What decides, after a first look, which tiles of each expert are drawn: for `rasterize`.

    An estimate: a gate that peaks between the samples may be missed.
    """

    router: Router
    camera: Camera
    temperature: float
    active: Bool[Tensor, " E"] | None
    """Which experts are live, all when None."""
    rule: MuteRule
    skip_below: float
    """An expert is drawn in a tile only if its gate's bound there is at least this."""

    @torch.no_grad()
    def __call__(self, look: Look) -> Bool[Tensor, "E Y X"]:
        """Which tiles are drawn.

        One gate of at least `skip_below` keeps a tile and all around it. So on a CPU, where a look costs what it shows,
        one tile in nine is looked at first, and then those that decide on what it leaves open, unless that is less work
        than looking: then all is drawn. A GPU looks at all at once.
        """
        if self.router.feature_background.is_cuda:
            from moegs.router import cuda

            logits = self._logits(look(None))
            return cuda.decide(logits, self.temperature, self.active, self.rule, self.skip_below)
        few = one_in_nine(*tile_grid(self.camera.width, self.camera.height))
        shares = self.bounds(look(few), few)
        undecided = shares < self.skip_below
        deciding = _spread(undecided.any(0, keepdim=True).float())[0] > 0
        if undecided.float().mean() <= LOOK_COST * deciding.float().mean():
            return torch.ones_like(undecided)
        return wanted(self.bounds(look(deciding), deciding), self.skip_below) | ~undecided.any(0)

    def bounds(
        self, features: Float[Tensor, "E h w C"], seen: Bool[Tensor, "Y X"] | None = None
    ) -> Float[Tensor, "E Y X"]:
        """The largest of what every expert `matters` among the samples of each tile and of those around it.

        `features`: what a look shows; `seen`: of which tiles, all when None. What it shows of others does not count;
        where none around a tile was seen, minus infinity.
        """
        samples = matters(self._logits(features), self.temperature, self.active, self.rule)
        shares = max_pool2d(samples[None], TILE // SAMPLE)[0]
        return _spread(shares if seen is None else shares.masked_fill(~seen, -torch.inf))

    def _logits(self, features: Float[Tensor, "E h w C"]) -> Float[Tensor, "E h w"]:
        return self.router.judge(Seen((), None, features, sampled(self.camera), t=0.0)).logits


def matters(
    logits: Float[Tensor, "E H W"], temperature: float, active: Bool[Tensor, " E"] | None, rule: MuteRule
) -> Float[Tensor, "E H W"]:
    """How much of a pixel goes another way without an expert, at most: its gate.

    Muted ones matter too unless the rule is `renormalize`: `keep` and `reroute` share among all. Under `reroute`, what
    they have goes to the live expert that is best at that pixel, so it matters as much as all of them and itself.
    """
    if rule == "renormalize":
        return gates(logits, temperature, active)
    shares = gates(logits, temperature)
    return shares if rule == "keep" else shares.maximum(gates(logits, temperature, active, rule))


def wanted(bounds: Float[Tensor, "E Y X"], skip_below: float) -> Bool[Tensor, "E Y X"]:
    """Tiles where the gate's bound is at least `skip_below`, and of each tile the expert with the largest bound."""
    return (bounds >= skip_below).scatter(0, bounds.argmax(0, keepdim=True), True)


def one_in_nine(rows: int, columns: int) -> Bool[Tensor, "Y X"]:
    """The fewest of so many tiles that have one of them beside or at every tile."""
    few = torch.zeros(rows, columns, dtype=torch.bool)
    down, across = (torch.arange(1, count + 1, 3).clamp_max(count - 1) for count in (rows, columns))
    few[down[:, None], across] = True
    return few


def over_pixels(tiles: Bool[Tensor, "E Y X"], width: int, height: int) -> Bool[Tensor, "E H W"]:
    """For each pixel whether its tile is among `tiles`."""
    experts, rows, columns = tiles.shape
    whole = tiles[:, :, None, :, None].expand(-1, -1, TILE, -1, TILE).reshape(experts, rows * TILE, columns * TILE)
    return whole[:, :height, :width]


def _spread(tiles: Float[Tensor, "E Y X"]) -> Float[Tensor, "E Y X"]:
    """The largest number of each tile and the tiles around it."""
    return max_pool2d(tiles[None], 3, stride=1, padding=1)[0]
