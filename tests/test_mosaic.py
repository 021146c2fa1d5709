"""Mosaic: tiles that leave each other and the legend alone."""

import mixtures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moegs import views
from moegs.legends import strip
from moegs.mosaic import grid


@given(count=st.integers(1, 9), width=st.integers(60, 2000), height=st.integers(60, 2000), share=st.floats(0.0, 0.3))
def test_tiles_keep_the_proportions_and_the_rows_below_them(count: int, width: int, height: int, share: float) -> None:
    below = int(share * height)
    tiles = grid(count, width, height, below)
    assert len(tiles) == count
    for tile in tiles:
        wide, high = tile.right - tile.left, tile.bottom - tile.top
        assert 0 <= tile.left
        assert tile.right <= width
        assert 0 <= tile.top
        assert tile.bottom <= height - below
        assert abs(wide / width - high / height) <= max(1 / width, 1 / height), "to a pixel"
    corners = {(tile.left, tile.top) for tile in tiles}
    assert len(corners) == count


@pytest.mark.parametrize("size", [(320, 240), (956, 720), (1920, 1080)])
def test_the_gates_leave_their_legend_a_strip_of_its_own(size: tuple[int, int]) -> None:
    width, height = size
    tiles = views.tiles(mixtures.mixture(("poly", "key")), "gates", width, height)
    assert max(tile.bottom for tile in tiles) <= height - strip(width, height)
    assert strip(width, height) > 0
