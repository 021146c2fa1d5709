"""From a click on the canvas to the pixel that is seen there."""

import math

import numpy as np
import pytest
import viewing
from hypothesis import given
from hypothesis import strategies as st

from moegs import views
from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.mosaic import grid
from moegs.shots import Shot
from moegs.views import Drawing
from viewer.picking import marked, pixel_at, point_under
from viewer.resolution import Size


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


@given(count=st.integers(1, 9), width=st.integers(12, 90), height=st.integers(12, 90), data=st.data())
def test_a_click_on_any_tile_finds_the_pixel_that_is_seen_there(
    count: int, width: int, height: int, data: st.DataObject
) -> None:
    tiles = grid(count, width, height)
    tile = data.draw(st.sampled_from(tiles))
    x = data.draw(st.integers(tile.left, tile.right - 1))
    y = data.draw(st.integers(tile.top, tile.bottom - 1))
    point = point_under(((x + 0.5) / width, (y + 0.5) / height), (width, height), tiles)
    assert point is not None
    assert pixel_at(point, width, height) == (tile.column(x), tile.row(y))
    column, row = tile.place(*point)
    assert (tile.column(column), tile.row(row)) == (tile.column(x), tile.row(y)), "marked where it is seen"


def test_a_click_beside_all_tiles_picks_nothing() -> None:
    assert point_under((0.9, 0.9), (60, 60), grid(3, 60, 60)) is None


@given(x=st.floats(0, 1), y=st.floats(0, 1), share=st.sampled_from([1.0, 0.5, 0.84]))
def test_a_smaller_picture_is_read_where_it_shows_the_same_point(x: float, y: float, share: float) -> None:
    small = Size(640, 360).scaled(share)
    column, row = pixel_at((x, y), small.width, small.height)
    assert column <= x * small.width <= column + 1
    assert row <= y * small.height <= row + 1


def test_the_ring_goes_around_the_pixel_and_leaves_it_as_it_is() -> None:
    pixels = np.full((60, 80, 3), 128, np.uint8)
    ringed = marked(pixels, (40.5 / 80, 30.5 / 60), grid(1, 80, 60))
    assert (ringed[30, 40] == 128).all()
    assert (ringed != pixels).any()
    changed = np.argwhere((ringed != pixels).any(-1))
    np.testing.assert_allclose(changed.mean(0), (30, 40), atol=0.5)


def test_the_gates_view_keeps_the_pictures_proportions(mixture: Mixture) -> None:
    drawing: Drawing = views.draw(mixture, Shot(_canvas(mixture.rig.cameras[0]), 0.0, "gates"))
    for tile in views.tiles(mixture, "gates", 90, 60):
        assert math.isclose((tile.right - tile.left) / (tile.bottom - tile.top), 1.5)
    assert drawing.pixels.shape == (60, 90, 3)


def _canvas(camera: Camera) -> Camera:
    return camera.fitted(90, 60)
