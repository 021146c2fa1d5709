"""Picking: from a click on the canvas to a pixel of the picture, and back to where it is marked."""

import cv2
import numpy as np
from jaxtyping import UInt8

from moegs.mosaic import Tile

Pixels = UInt8[np.ndarray, "H W 3"]
Point = tuple[float, float]
"""Shares of the picture's width and height, from its left and upper edge."""


def point_under(at: Point, size: tuple[int, int], tiles: tuple[Tile, ...]) -> Point | None:
    """The middle of the picture's pixel seen at `at`, in shares of a canvas of `size` with `tiles`; None beside all."""
    column, row = pixel_at(at, *size)
    for tile in tiles:
        if tile.holds(column, row):
            return (tile.column(column) + 0.5) / tile.width, (tile.row(row) + 0.5) / tile.height
    return None


def pixel_at(point: Point, width: int, height: int) -> tuple[int, int]:
    """Column and row of the pixel that holds `point` in a picture of `width` x `height`."""
    return min(max(int(point[0] * width), 0), width - 1), min(max(int(point[1] * height), 0), height - 1)


def marked(pixels: Pixels, point: Point, tiles: tuple[Tile, ...]) -> Pixels:
    """A copy of `pixels` with a ring around `point` in each of its `tiles`, seen on dark and on bright ground."""
    ringed = np.ascontiguousarray(pixels).copy()
    radius, line = max(5, round(pixels.shape[0] / 70)), max(1, round(pixels.shape[0] / 500))
    for tile in tiles:
        for color, thickness in (((0, 0, 0), 3 * line), ((255, 255, 255), line)):
            cv2.circle(ringed, tile.place(*point), radius, color, thickness, cv2.LINE_AA)
    return ringed
