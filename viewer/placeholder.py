"""Placeholder: what stands in while there is no picture."""

from html import escape

import numpy as np
import viser
from jaxtyping import UInt8

from moegs.legends import Legend


def placeholder(width: int, height: int, text: str) -> UInt8[np.ndarray, "H W 3"]:
    """A dark picture that says `text`."""
    shade = np.linspace(34, 16, height).astype(np.uint8)
    ground = np.repeat(np.stack([shade, shade, shade + 4], -1)[:, None], width, axis=1)
    return Legend(text).burn(ground)


def hold(client: viser.ClientHandle, text: str) -> None:
    """Fills the canvas of `client` with a placeholder that says `text`."""
    camera = client.camera
    client.scene.set_background_image(placeholder(camera.image_width, camera.image_height, f"{text} ..."))


def status(text: str) -> str:
    """A line of the panel on what the program is doing, as HTML."""
    return f'<div data-moegs="status" style="font-size:0.8em;padding:0.4em 0.85em">{escape(text)} &hellip;</div>'
