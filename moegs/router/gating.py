"""Tile gating: where an expert's gate is next to nothing, its Gaussians are not drawn.

A first look samples the router's weights, one pixel of every 4x4; the largest gate among the samples of a tile and of
the tiles around it bounds the gate in it. What is dropped is renormalised away, so with exact bounds no pixel changes
by more than (E - 1) x threshold x the largest difference between the experts' colours there.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import max_pool2d

from moegs.cameras import Camera
from moegs.rasterize import SAMPLE, TILE, sampled
from moegs.router import MuteRule, Router, Seen, gates


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

    def __call__(self, look: Float[Tensor, "E h w C"]) -> Bool[Tensor, "E Y X"]:
        """Which tiles are drawn."""
        with torch.no_grad():
            logits = self.router.judge(Seen((), None, look, sampled(self.camera), t=0.0)).logits
            if logits.is_cuda:
                from moegs.router import cuda

                return cuda.decide(logits, self.temperature, self.active, self.rule == "renormalize", self.skip_below)
            share = gates(logits, self.temperature, self.active if self.rule == "renormalize" else None)
            return wanted(
                _largest(share), None if self.active is None else _largest(logits), self.active, self.skip_below
            )


def wanted(
    bounds: Float[Tensor, "E Y X"],
    logits: Float[Tensor, "E Y X"] | None,
    active: Bool[Tensor, " E"] | None,
    skip_below: float,
) -> Bool[Tensor, "E Y X"]:
    """Tiles where the gate's bound is at least `skip_below`, and of each tile the expert with the largest bound.

    And of those that are `active`, where not all are, the one with the largest logit: the rule `reroute` gives it what
    the muted ones had.
    """
    live = bounds >= skip_below
    live = live.scatter(0, bounds.argmax(0, keepdim=True), True)
    if active is not None and logits is not None and bool(active.any()):
        best = logits.masked_fill(~active[:, None, None], -torch.inf).argmax(0, keepdim=True)
        live = live.scatter(0, best, True)
    return live


def over_pixels(tiles: Bool[Tensor, "E Y X"], width: int, height: int) -> Bool[Tensor, "E H W"]:
    """For each pixel whether its tile is among `tiles`."""
    experts, rows, columns = tiles.shape
    whole = tiles[:, :, None, :, None].expand(-1, -1, TILE, -1, TILE).reshape(experts, rows * TILE, columns * TILE)
    return whole[:, :height, :width]


def _largest(samples: Float[Tensor, "E h w"]) -> Float[Tensor, "E Y X"]:
    """The largest sample in each tile and the tiles around it."""
    own = max_pool2d(samples[None], TILE // SAMPLE)
    return max_pool2d(own, 3, stride=1, padding=1)[0]
