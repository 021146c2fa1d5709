"""Legends: colours that mean what their bar says."""

import itertools

import numpy as np
import pytest

from moegs.legends import PALETTE, Legend, Swatch, colorize, expert_color, strip


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
