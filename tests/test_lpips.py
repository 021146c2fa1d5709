"""LPIPS against its published value and its definition."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d
from torch.testing import assert_close

from moegs import lpips as weights
from moegs.lpips import Range, lpips

EXAMPLE = Path(__file__).parent / "assets" / "lpips_example.npz"


def example() -> tuple[Tensor, Tensor]:
    with np.load(EXAMPLE) as file:
        a, b = (torch.from_numpy(file[name]).float() / 255 for name in ("a", "b"))
    return a, b


@pytest.mark.parametrize(("fed", "published"), [("signed", 0.02733), ("unit", 0.02354)])
def test_the_example_scores_as_with_the_published_weights(fed: Range, published: float) -> None:
    a, b = example()
    assert float(lpips(a[None], b, fed)) == pytest.approx(published, abs=1e-4)  # ours are rounded to half precision


def test_it_is_its_definition_layer_by_layer() -> None:
    """In float64, one pixel's unit vectors at a time, with the weights as they lie in the file."""
    a, b = (picture[:40, :33].double() for picture in example())
    with np.load(weights.WEIGHTS) as file:
        stored = {name: torch.from_numpy(array).double() for name, array in file.items()}
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x = torch.stack([(picture - shift) / scale for picture in (a, b)]).permute(0, 3, 1, 2)
    total = 0.0
    for number, (stride, padding) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)]):
        x = max_pool2d(x, 3, 2) if number in (1, 2) else x
        x = torch.relu(conv2d(x, stored[f"conv{number}_weight"], stored[f"conv{number}_bias"], stride, padding))
        height, width = x.shape[2:]
        sums = 0.0
        for row in range(height):
            for column in range(width):
                one, other = x[:, :, row, column]
                apart = one / max(float(one.norm()), 1e-10) - other / max(float(other.norm()), 1e-10)
                sums += float((stored[f"head{number}"] * apart**2).sum())
        total += sums / (height * width)
    got = lpips(a.float()[None], b.float())
    assert float(got) == pytest.approx(total, rel=1e-4)  # float32 through five layers


def test_equal_pictures_are_no_distance_apart_and_each_picture_has_its_own() -> None:
    a, b = example()
    together = lpips(torch.stack([b, a]), b)
    assert float(together[0]) == 0.0
    assert_close(together[1], lpips(a[None], b)[0], rtol=1e-4, atol=0)
    assert_close(lpips(b[None], a)[0], together[1], rtol=1e-4, atol=0)  # symmetric


@pytest.mark.parametrize("size", [(30, 64), (64, 30)])
def test_a_picture_too_small_for_the_last_layers_is_refused(size: tuple[int, int]) -> None:
    photo = torch.zeros(*size, 3)
    with pytest.raises(ValueError, match=rf"a picture of {size[1]}x{size[0]}; give at least 31 pixels along each side"):
        lpips(photo[None], photo)
    smallest = torch.rand(31, 31, 3)
    assert math.isfinite(float(lpips(smallest[None] * 0.9, smallest)))


def test_both_notices_are_shipped() -> None:
    notices = weights.WEIGHTS.with_suffix(".LICENSES").read_text()
    assert "Soumith Chintala" in notices
    assert "Richard Zhang, Phillip Isola" in notices
