"""How a keyframe Gaussian fades in and out, and how much of it shows at most in a stretch of time."""

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.experts.canonical import size

FULL_WIDTH = 2.36
"""Of a normal curve at half its height, in standard deviations."""

FARTHEST = 1e18
"""From a centre a Gaussian fades no further than this, in intervals: the square would overflow."""


def fade(
    place: float, centers: Float[Tensor, "N 2"], log_widths: Float[Tensor, "N 2"], least: float
) -> Float[Tensor, " N"]:
    """How much each Gaussian shows at `place`, all in intervals: 1 between its two centres, less outside.

    Before and after, the distance is measured from the later centre, as published: before the earlier one, what is
    seen jumps. A place equal to a centre counts as neither between nor after it. `least`: full width at half height
    of the shortest fade.
    """
    instant = centers.new_tensor(place)  # ties with stored centres are real: compare at their precision
    first, last = centers.amin(dim=1), centers.amax(dim=1)
    between = (instant > first) & (instant < last)
    log_width = torch.where(instant > first, log_widths[:, 1], log_widths[:, 0])
    squared = ((instant - last).clamp(-FARTHEST, FARTHEST) / (size(log_width) + least / FULL_WIDTH)).square()
    return torch.where(between, torch.ones_like(squared), torch.exp(-squared))


def brightest(
    places: tuple[float, float], centers: Float[Tensor, "N 2"], log_widths: Float[Tensor, "N 2"], least: float
) -> Float[Tensor, " N"]:
    """The largest `fade` of each Gaussian from one place to another."""
    low, high = places
    first, last = centers.amin(dim=1), centers.amax(dim=1)
    widths = size(log_widths) + least / FULL_WIDTH
    # Before, the later centre is nearest from where it ends: at the earlier centre, or the end of the stretch.
    before = torch.where(
        low <= first, torch.exp(-((last - first.clamp_max(high)).clamp_max(FARTHEST) / widths[:, 0]).square()), 0.0
    )
    after = torch.where(high >= last, torch.exp(-((low - last).clamp(0, FARTHEST) / widths[:, 1]).square()), 0.0)
    between = (low < last) & (high > first)
    return torch.maximum(torch.maximum(before, after), between.to(before))
