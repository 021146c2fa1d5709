"""How far a Gaussian's ellipse reaches down a column of pixels: what it is listed and evaluated for.

The ellipse is where alpha has fallen to the least that is drawn. With its half width w, its lean m (how far the middle
of its edges falls per pixel across) and its aspect k, its edges at dx from the centre are at
dy = m dx +- k sqrt(w^2 - dx^2), and its apex is the dx where the lower one is lowest; minus that is the upper one's.
"""

import math

import numpy as np

from moegs.kernels import inlined

ZERO, ONE = np.float32(0), np.float32(1)
SLACK, SLACK_PIXELS = np.float32(1e-3), np.float32(0.02)
"""Kept beyond the ellipse, so that rounding loses no pixel: of the exponent on its edge, as a share and as it is; and
pixels."""


@inlined
def edge_exponent(limit):
    """The exponent on the edge of the ellipse, from that at which alpha is the least that is drawn."""
    return limit * (ONE + SLACK) + SLACK


@inlined
def rows_between(y, ellipse, left, right, rows):
    """Of `rows` pixels below one another: the first that the ellipse may reach, and one after the last.

    `y` is its centre from that of the first pixel; the columns of pixels have their centres from `left` to `right`
    of its own. `ellipse`: half width, apex, lean and aspect. 0 and 0 if there is none.
    """
    half_width, apex, lean, aspect = ellipse
    left, right = left - SLACK_PIXELS, right + SLACK_PIXELS
    if left > half_width or right < -half_width:
        return 0, 0
    low, high = min(max(apex, left), right), min(max(-apex, left), right)
    bottom = y + lean * low + aspect * math.sqrt(max(ZERO, (half_width - low) * (half_width + low)))
    top = y + lean * high - aspect * math.sqrt(max(ZERO, (half_width - high) * (half_width + high)))
    first = math.ceil(max(top - SLACK_PIXELS, ZERO))
    last = math.floor(min(bottom + SLACK_PIXELS, np.float32(rows - 1)))
    return (first, last + 1) if last >= first else (0, 0)
