"""Legends: colours that mean what their bar says."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from moegs.legends import PALETTE, SMALLEST_LETTER, Corner, Legend, Swatch, colorize, expert_color, strip


def test_colours_come_from_the_ends_and_the_middle_of_the_map() -> None:
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan]], np.float32)
    colors = colorize(values, "gray")[0]
    assert colors[:, 0].tolist() == [0, 0, 128, 255, 255, 0]


def test_heat_rises_in_brightness_so_that_it_reads_without_hue() -> None:
    ramp = colorize(np.linspace(0, 1, 64, dtype=np.float32)[None], "viridis")[0].astype(float)
    assert (np.diff(ramp @ (0.2126, 0.7152, 0.0722)) > 0).all()


def test_experts_are_told_apart_and_the_palette_repeats() -> None:
    assert len(set(PALETTE)) == len(PALETTE)
    for a, b in itertools.combinations(PALETTE, 2):
        assert np.linalg.norm(np.subtract(a, b)) > 60
    assert expert_color(len(PALETTE)) == expert_color(0)


@pytest.mark.parametrize("corner", ["top", "bottom"])
def test_it_is_burnt_into_a_copy_in_its_corner_alone(corner: str) -> None:
    picture = np.full((240, 400, 3), 200, np.uint8)
    burnt = Legend("gate", "viridis", ("0", "1"), notes=("mean 12%",)).burn(picture, corner)  # type: ignore[arg-type]
    assert (picture == 200).all()
    rows, columns = np.nonzero((burnt != 200).any(-1))
    assert columns.min() == 0
    assert columns.max() < 250
    assert rows.min() == (0 if corner == "top" else 240 - (rows.max() - rows.min() + 1))


def test_the_bar_shows_the_map_from_end_to_end() -> None:
    burnt = Legend("gate", "viridis", ("0", "1")).burn(np.zeros((360, 640, 3), np.uint8))
    for end in (0.0, 0.5, 1.0):
        color = colorize(np.array([[end]], np.float32), "viridis")[0, 0]
        assert (np.abs(burnt.astype(int) - color).max(-1) <= 2).any()


def test_a_swatch_has_its_colour() -> None:
    burnt = Legend("largest", swatches=(Swatch((230, 159, 0), "a"),)).burn(np.zeros((360, 640, 3), np.uint8))
    assert ((burnt == (230, 159, 0)).all(-1)).sum() >= 64


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (17, 19)])
def test_a_picture_too_small_for_it_keeps_its_size(size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    assert Legend("a long title", "viridis", ("0", "1")).burn(picture).shape == picture.shape


@pytest.mark.parametrize("size", [(240, 320), (720, 956), (1080, 1596), (120, 160)])
def test_a_flat_one_fills_its_strip_and_nothing_else(size: tuple[int, int]) -> None:
    picture = np.full((*size, 3), 200, np.uint8)
    burnt = Legend("gate", "viridis", ("0", "0.5", "1"), notes=("muted: a",), flat=True).burn(picture)
    changed = (burnt != 200).any(-1)
    assert strip(size[1], size[0]) < size[0] / 6
    assert changed.any(1).nonzero()[0].tolist() == list(range(size[0] - strip(size[1], size[0]), size[0]))
    for end in (0.0, 1.0):
        color = colorize(np.array([[end]], np.float32), "viridis")[0, 0]
        assert (np.abs(burnt.astype(int) - color).max(-1) <= 2).any()


SIDE = Legend("B  demo, 45% kept", notes=("35,978 Gaussians, 4.9 MB", "112 ms", "9.0 fps"), within=0.5)
APART = Legend("|A \N{MINUS SIGN} B| of rgb", "inferno", ("0", "0.1", "0.2"), notes=("PSNR 27.1 dB",), within=1.0)


def covered(legend: Legend, width: int, height: int, corner: Corner = "top") -> tuple[int, int]:
    """Columns and rows of a picture that `legend` covers."""
    burnt = legend.burn(np.full((height, width, 3), 255, np.uint8), corner)
    rows, columns = np.nonzero((burnt != 255).any(-1))
    return columns.max() - columns.min() + 1, rows.max() - rows.min() + 1


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (956, 720), (1920, 1080), (3840, 2160), (240, 426)])
@pytest.mark.parametrize("legend", [SIDE, APART, replace(SIDE, title="B  " + 30 * "long ")])
def test_a_caption_takes_a_tenth_of_the_height_and_its_share_of_the_width(
    legend: Legend, size: tuple[int, int]
) -> None:
    assert legend.within is not None
    width, height = covered(legend, *size)
    assert height <= size[1] / 10
    assert width <= legend.within * size[0]


@pytest.mark.parametrize("size", [(320, 240), (640, 480), (1920, 1080)])
def test_a_caption_says_all_that_there_is_room_for_and_first_its_title(size: tuple[int, int]) -> None:
    shorter = [replace(SIDE, notes=SIDE.notes[:count]) for count in range(4)]
    spans = [covered(each, *size) for each in shorter]
    assert spans[1][1] > spans[0][1], "a second line"
    told = [legend.burn(np.full((*size[::-1], 3), 255, np.uint8)) for legend in shorter]
    assert not np.array_equal(told[2], told[1]), "the time of a picture stands there too"
    assert np.array_equal(told[3], told[2]) == (size == (320, 240)), "but frames per second only where they fit"


def test_a_title_that_is_too_long_loses_its_middle_and_nothing_else_its_place() -> None:
    white = np.full((240, 320, 3), 255, np.uint8)
    long = "B  " + 20 * "long-" + "{}" + 20 * "-name" + " tuned"
    one, same, other = (
        replace(SIDE, title=title).burn(white) for title in (long.format(1), long.format(2), long.format(1) + " twice")
    )
    assert np.array_equal(one, same), "what differs is left out"
    assert not np.array_equal(one, other)
    heights = [covered(replace(SIDE, title=long, notes=notes), 320, 240)[1] for notes in ((), SIDE.notes)]
    assert heights[1] > heights[0], "the Gaussians stand below all the same"


def test_a_caption_in_the_smallest_picture_is_the_beginning_of_its_title() -> None:
    width, height = covered(SIDE, 96, 64)
    assert width <= 48
    assert height <= 2 * SMALLEST_LETTER


def test_the_bar_of_a_caption_shows_the_map_from_end_to_end() -> None:
    burnt = APART.burn(np.zeros((240, 320, 3), np.uint8))
    for end in (0.0, 0.25, 0.5, 0.75, 1.0):
        color = colorize(np.array([[end]], np.float32), "inferno")[0, 0]
        assert (np.abs(burnt[-24:].astype(int) - color).max(-1) <= 4).any()
