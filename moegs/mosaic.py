"""Mosaic: several pictures of one size in a drawing of that size, and which pixel is seen where."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Tile:
    """Where a whole picture is seen within a drawing; edges in pixels of the drawing."""

    left: int
    top: int
    right: int
    bottom: int
    width: int
    """Of the picture itself, pixels."""
    height: int

    def holds(self, x: int, y: int) -> bool:
        """Whether column `x`, row `y` of the drawing lies in this tile."""
        return self.left <= x < self.right and self.top <= y < self.bottom

    def column(self, x: int) -> int:
        """The column of the picture that is seen in the middle of column `x` of the drawing."""
        return (2 * (x - self.left) + 1) * self.width // (2 * (self.right - self.left))

    def row(self, y: int) -> int:
        """The row of the picture that is seen in the middle of row `y` of the drawing."""
        return (2 * (y - self.top) + 1) * self.height // (2 * (self.bottom - self.top))

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of the drawing that show the point at the shares `x` and `y` of the picture's sides."""
        columns, rows = self.right - self.left, self.bottom - self.top
        return self.left + min(int(x * columns), columns - 1), self.top + min(int(y * rows), rows - 1)


def grid(count: int, width: int, height: int, below: int = 0) -> tuple[Tile, ...]:
    """`count` tiles with the proportions of a picture of `width` x `height`, row by row, as large as they fit.

    They leave `below` rows of the drawing free at its lower edge.
    """
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    free = height - below
    right = max(1, min(width // columns, width * free // (rows * height)))
    bottom = max(
        1, min(height // columns, free // rows)
    )  # no more rows than columns: but for `below`, the width decides
    left, above = (width - columns * right) // 2, max(0, (free - rows * bottom) // 2)
    places = [(left + number % columns * right, above + number // columns * bottom) for number in range(count)]
    return tuple(Tile(x, y, x + right, y + bottom, width, height) for x, y in places)
