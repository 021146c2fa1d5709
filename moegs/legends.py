"""Legends: what the colours of a picture mean, drawn into it."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from moegs.lines import one_line

PALETTE = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66))
"""Colours of the experts in their order, told apart by the colour-blind too (Okabe and Ito)."""
HEAT = "viridis"
"""Matplotlib's name of the colour map of gates and entropy."""
DEPTH = "turbo"
"""Likewise of depth."""
ERROR, SIGNED = "inferno", "RdBu_r"
"""Likewise of how far two pictures are apart, and of which of the two has more."""

LETTERS = 42
"""How many times the height of a letter the picture is high, or would be where it is narrow."""
NARROW = 0.75
"""Of the width: no picture counts as higher."""
SMALLEST_LETTER = 9
"""Pixels."""
LOW = 10
"""How many times the height of a caption the picture is high, at least, or would be where it is narrow."""
SHRUNK = 2 / 3
"""Of the usual letter: so small a caption's letters become before a note is left out."""
CUT = "\N{HORIZONTAL ELLIPSIS}"
"""In the middle of a title for which a caption has no room: what tells two files apart is often at the end."""
SEGMENT = 4
"""How many times the height of a caption's letters the bar is long between two ticks."""
SMALLEST_WITH_STRIP = 120
"""Pixels: a lower picture has no room to spare for a flat legend, which then covers some of it."""


Corner = Literal["top", "bottom", "top-right", "bottom-right"]
"""Of a picture; without a word on it, the left one."""
Row = tuple[str | tuple[float, float], ...]
"""A caption's line: texts, and pieces of the colour bar from one value in [0, 1] to another."""


@dataclass(frozen=True)
class Swatch:
    """One colour of a categorical picture."""

    color: tuple[int, int, int]
    text: str


@dataclass(frozen=True)
class Legend:
    """What stands in a corner of a picture: a title, then a colour bar or swatches, then notes."""

    title: str
    colormap: str | None = None
    """Matplotlib's name of the bar's colours; None for no bar."""
    ticks: tuple[str, ...] = ()
    """Labels at even distances along the bar."""
    swatches: tuple[Swatch, ...] = ()
    notes: tuple[str, ...] = ()
    """Further lines: means, mute rule, what-if settings."""
    flat: bool = False
    """One line along the whole edge of the picture: a mosaic leaves it a strip of its own."""
    within: float | None = None
    """Share of the picture's width that a caption stays within, and within a tenth of the height: one or two lines, the
    bar beside its ticks, smaller letters where they are needed, and only as many of the notes as there is room for."""

    def burn(self, picture: UInt8[np.ndarray, "H W 3"], corner: Corner = "bottom") -> UInt8[np.ndarray, "H W 3"]:
        """A copy of `picture` with the legend in one of its corners, sized to the picture."""
        height, width = picture.shape[:2]
        plate = self._lined()._plate(width, height)[:height, :width]
        h, w = plate.shape[:2]
        burnt = picture.copy()
        top, left = 0 if corner.startswith("top") else height - h, width - w if corner.endswith("right") else 0
        place = burnt[top : top + h, left : left + w]
        opacity = plate[..., 3:].astype(np.float32) / 255
        place[:] = (place * (1 - opacity) + plate[..., :3] * opacity + 0.5).astype(np.uint8)
        return burnt

    def _plate(self, width: int, height: int) -> UInt8[np.ndarray, "h w 4"]:
        letter = _letter(width, height)
        if self.within is not None:
            return _caption(self, letter, int(self.within * width), int(min(height, NARROW * width) / LOW))
        return (_flat_plate if self.flat else _corner_plate)(self, letter, width)

    def _lined(self) -> "Legend":
        """With each of its texts in one line, since names may hold anything."""
        return replace(
            self,
            title=one_line(self.title),
            ticks=tuple(map(one_line, self.ticks)),
            swatches=tuple(replace(swatch, text=one_line(swatch.text)) for swatch in self.swatches),
            notes=tuple(map(one_line, self.notes)),
        )


def strip(width: int, height: int) -> int:
    """How many rows a flat legend takes of a picture of this size; 0 where it is too low to leave it any."""
    return 0 if height < SMALLEST_WITH_STRIP else 2 * _letter(width, height)


def expert_color(number: int) -> tuple[int, int, int]:
    """RGB of expert `number`; the palette repeats after its last."""
    return PALETTE[number % len(PALETTE)]


def colorize(values: Float[np.ndarray, "H W"], colormap: str) -> UInt8[np.ndarray, "H W 3"]:
    """`values` in [0, 1] in the colours of Matplotlib's `colormap`; outside values take the end colours."""
    steps = np.clip(np.nan_to_num(values) * 255 + 0.5, 0, 255).astype(np.uint8)
    return _colors(colormap)[steps]


def _letter(width: int, height: int) -> int:
    return max(SMALLEST_LETTER, round(min(height, NARROW * width) / LETTERS))


@lru_cache
def _colors(colormap: str) -> UInt8[np.ndarray, "256 3"]:
    table = matplotlib.colormaps[colormap](np.arange(256))[:, :3]
    return (table * 255 + 0.5).astype(np.uint8)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


@lru_cache(maxsize=64)
def _corner_plate(legend: Legend, size: int, width: int) -> UInt8[np.ndarray, "h w 4"]:
    """The legend on a dark half-transparent plate, letters `size` pixels high."""
    font, pad, line = _font(size), size // 2, round(size * 1.45)
    ticks = sum(round(font.getlength(tick)) + size for tick in legend.ticks)
    bar = max(1, min(max(12 * size, ticks), width - 4 * pad))
    texts = [legend.title, *legend.notes, *(swatch.text for swatch in legend.swatches)]
    inner = max([bar if legend.colormap else 0, *(round(font.getlength(text)) + line for text in texts)])
    lines = 1 + (2 if legend.colormap else 0) + len(legend.swatches) + len(legend.notes)
    image = Image.new("RGBA", (min(inner + 2 * pad, width), lines * line + 2 * pad), (12, 14, 18, 190))
    draw = ImageDraw.Draw(image)
    y = pad
    draw.text((pad, y), legend.title, font=font, fill="white")
    y += line
    if legend.colormap:
        _draw_bar(image, draw, legend, font, (pad, y, bar, line))
        y += 2 * line
    for swatch in legend.swatches:
        draw.rectangle((pad, y + 1, pad + size, y + 1 + size), fill=swatch.color)
        draw.text((pad + line, y), swatch.text, font=font, fill="white")
        y += line
    for note in legend.notes:
        draw.text((pad, y), note, font=font, fill=(210, 214, 220))
        y += line
    return np.asarray(image)


@lru_cache(maxsize=64)
def _flat_plate(legend: Legend, size: int, width: int) -> UInt8[np.ndarray, "h w 4"]:
    """Title, first tick, bar, last tick and notes side by side on a dark plate of the whole `width`."""
    font, gap = _font(size), size
    image = Image.new("RGBA", (width, 2 * size), (12, 14, 18, 255))
    draw = ImageDraw.Draw(image)
    x = gap // 2
    for number, text in enumerate((legend.title, *legend.ticks[:1], *legend.ticks[-1:], *legend.notes)):
        if number == 2 and legend.colormap:
            ramp = np.linspace(0, 1, 8 * size, dtype=np.float32)[None].repeat(size, 0)
            image.paste(Image.fromarray(colorize(ramp, legend.colormap)), (x, size // 2))
            x += 8 * size + gap // 2
        draw.text((x, size), text, font=font, fill="white", anchor="lm")
        x += round(font.getlength(text)) + (gap // 2 if number == 1 else gap)
    return np.asarray(image)


@lru_cache(maxsize=64)
def _caption(legend: Legend, size: int, width: int, height: int) -> UInt8[np.ndarray, "h w 4"]:
    """The legend in one or two lines on a plate within `width` x `height`, letters up to `size` pixels high."""
    letter, rows = _arranged(legend, size, width, height)
    font, line, gap = _font(letter), _line(letter), _gap(letter)
    beside, above = letter // 2, max(1, min(letter // 3, (height - len(rows) * line) // 2))
    image = Image.new(
        "RGBA",
        (max(_length(row, letter) for row in rows) + 2 * beside, len(rows) * line + 2 * above),
        (12, 14, 18, 190),
    )
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(rows):
        x, y = beside, above + number * line + line // 2
        for place, part in enumerate(row):
            if isinstance(part, str):
                fill = "white" if number == place == 0 else (210, 214, 220)
                draw.text((x, y), part, font=font, fill=fill, anchor="lm")
            elif legend.colormap:
                ramp = np.linspace(*part, SEGMENT * letter, dtype=np.float32)[None].repeat(round(0.8 * letter), 0)
                image.paste(Image.fromarray(colorize(ramp, legend.colormap)), (x, y - round(0.4 * letter)))
            x += _length((part,), letter) + gap
    return np.asarray(image)


def _arranged(legend: Legend, size: int, width: int, height: int) -> tuple[int, list[Row]]:
    """The letter and the lines of a caption: all that it has where that fits, else without its last notes; where the
    picture is too small for any of it, its title alone in the smallest letters."""
    ends = np.linspace(0, 1, len(legend.ticks)).tolist() if legend.colormap else []
    bar: Row = tuple(
        part for at, tick in enumerate(legend.ticks) for part in ((ends[at - 1], ends[at]), tick)[not at :]
    )
    least = max(SMALLEST_LETTER, round(SHRUNK * size))
    title = _cut(legend.title, least, width)
    for count in range(len(legend.notes), -1, -1):
        rest = [each for each in (bar, *((note,) for note in legend.notes[:count])) if each]
        for letter in range(size, least - 1, -1):
            for rows in _divided((title,), rest):
                high = len(rows) * _line(letter) + 2
                if high <= height and all(_length(row, letter) + 2 * (letter // 2) <= width for row in rows):
                    return letter, rows
    return SMALLEST_LETTER, [(_cut(legend.title, SMALLEST_LETTER, width),)]


def _cut(title: str, letter: int, width: int) -> str:
    """`title`, without its middle where it is wider than a caption of `width` holds."""
    shown, left = title, len(title)
    while left > 1 and _length((shown,), letter) + 2 * (letter // 2) > width:
        left -= 1
        shown = title[: left - left // 2] + CUT + title[len(title) - left // 2 :]
    return shown


def _divided(title: Row, rest: list[Row]) -> list[list[Row]]:
    """The ways to put `rest` below or beside the title, the best first."""
    if not rest:
        return [[title]]
    below, beside = sum(rest, ()), sum(rest[1:], title)
    return [
        [title, below],
        [beside, rest[0]],
        [title + rest[0], *([sum(rest[1:], ())] * bool(rest[1:]))],
        [title + below],
    ]


def _length(row: Row, letter: int) -> int:
    font = _font(letter)
    widths = (round(font.getlength(part)) if isinstance(part, str) else SEGMENT * letter for part in row)
    return sum(widths) + _gap(letter) * (len(row) - 1)


def _line(letter: int) -> int:
    """Height of a caption's line, pixels."""
    return round(1.2 * letter)


def _gap(letter: int) -> int:
    """Between two parts of a caption, pixels."""
    return round(0.8 * letter)


def _draw_bar(
    image: Image.Image,
    draw: ImageDraw.ImageDraw,
    legend: Legend,
    font: ImageFont.FreeTypeFont,
    place: tuple[int, int, int, int],
) -> None:
    x, y, length, line = place
    assert legend.colormap is not None
    ramp = np.linspace(0, 1, length, dtype=np.float32)[None].repeat(round(line * 0.6), 0)
    image.paste(Image.fromarray(colorize(ramp, legend.colormap)), (x, y + round(line * 0.2)))
    for number, tick in enumerate(legend.ticks):
        share = number / max(1, len(legend.ticks) - 1)
        text = font.getlength(tick)
        left = x + share * length - share * text
        draw.text((left, y + line), tick, font=font, fill="white")
