"""Marker: the ring around the pixel that is being read, and the picture that stands in while there is none."""

import cv2
import numpy as np
from jaxtyping import UInt8

from moegs.legends import Legend

Pixels = UInt8[np.ndarray, "H W 3"]


def ringed(pixels: Pixels, x: int, y: int) -> Pixels:
    """A copy of `pixels` with a ring around column `x` and row `y`, seen on dark and on bright ground."""
    marked = np.ascontiguousarray(pixels).copy()
    radius = max(4, round(pixels.shape[0] / 60))
    for color, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.circle(marked, (x, y), radius, color, thickness, cv2.LINE_AA)
    return marked


def placeholder(width: int, height: int, text: str) -> Pixels:
    """A dark picture that says `text`."""
    shade = np.linspace(34, 16, height).astype(np.uint8)
    ground = np.repeat(np.stack([shade, shade, shade + 4], -1)[:, None], width, axis=1)
    return Legend(text).burn(ground)
