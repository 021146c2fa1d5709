"""Placeholder: the picture that stands in while there is none."""

import numpy as np
from jaxtyping import UInt8

from moegs.legends import Legend


def placeholder(width: int, height: int, text: str) -> UInt8[np.ndarray, "H W 3"]:
    """A dark picture that says `text`."""
    shade = np.linspace(34, 16, height).astype(np.uint8)
    ground = np.repeat(np.stack([shade, shade, shade + 4], -1)[:, None], width, axis=1)
    return Legend(text).burn(ground)
