"""How large a picture may be while something moves."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.resolution import CostModel, Resolution, Size, ladder


def test_the_cost_model_finds_a_and_b() -> None:
    cost = CostModel()
    for pixels in (50_000, 200_000, 100_000, 230_000):
        cost.measured(pixels, 0.02 + pixels * 3e-7)
    assert cost.seconds(150_000) == pytest.approx(0.02 + 0.045, rel=1e-6)


def test_one_size_alone_is_taken_for_proportional_and_nothing_for_free() -> None:
    cost = CostModel()
    assert cost.seconds(10**6) == 0
    cost.measured(100_000, 0.04)
    assert cost.seconds(50_000) == pytest.approx(0.02)


@given(width=st.integers(64, 4000), height=st.integers(64, 2200))
def test_never_below_half_nor_360_rows_on_a_large_canvas(width: int, height: int) -> None:
    shares = ladder(Size(width, height))
    assert shares[0] == 1
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] == min(0.5, 360 / height)


def test_it_takes_the_largest_size_within_the_budget() -> None:
    resolution, canvas = Resolution(budget=0.05), Size(1280, 720)
    for _ in range(30):
        size = resolution.moving(canvas)
        resolution.measured(size, 0.01 + size.pixels * 1e-7)
    # 0.01 + p * 1e-7 within 0.05: 400,000 pixels, a share of 0.66 of each side; the rung below that is 0.595
    assert size == canvas.scaled(2**-0.75)


def test_noise_makes_it_no_flicker() -> None:
    resolution, canvas = Resolution(budget=0.05), Size(1280, 720)
    noise = np.random.default_rng(0).uniform(0.95, 1.05, 200)
    sizes = []
    for factor in noise:
        sizes.append(resolution.moving(canvas))
        resolution.measured(sizes[-1], factor * (0.01 + sizes[-1].pixels * 1e-7))
    assert len(set(sizes[50:])) == 1


def test_a_hopeless_scene_stops_at_the_smallest() -> None:
    resolution, canvas = Resolution(budget=0.05), Size(640, 360)
    for _ in range(10):
        size = resolution.moving(canvas)
        resolution.measured(size, 2.0)
    assert size == Size(320, 180)
