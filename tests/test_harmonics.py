import math

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from moegs import harmonics


def directions(count: int) -> torch.Tensor:
    drawn = torch.randn(count, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=-1)


def test_the_bases_are_orthonormal_on_the_sphere() -> None:
    # Gauss-Legendre in z and even steps around it integrate polynomials of degree 6 exactly.
    heights, weights = np.polynomial.legendre.leggauss(8)
    angles = np.arange(16) * 2 * math.pi / 16
    grid = [
        (math.sqrt(1 - h * h) * math.cos(a), math.sqrt(1 - h * h) * math.sin(a), h, w * 2 * math.pi / 16)
        for h, w in zip(heights, weights, strict=True)
        for a in angles
    ]
    points = torch.tensor(grid, dtype=torch.float64)
    bases = harmonics.basis(points[:, :3], 3)
    assert_close(bases.T @ (bases * points[:, 3:]), torch.eye(16, dtype=torch.float64), atol=1e-9, rtol=0)


def test_each_degree_is_the_start_of_the_next() -> None:
    assert_close(harmonics.basis(directions(20), 3)[:, :4], harmonics.basis(directions(20), 1))
    assert_close(harmonics.basis(directions(20), 3)[:, :9], harmonics.basis(directions(20), 2))


def test_degree_one_is_brightest_along_its_axis() -> None:
    bases = harmonics.basis(torch.eye(3), 1)[:, 1:]
    expected = harmonics.BASIS_1 * torch.tensor([[0.0, 0, -1], [-1, 0, 0], [0, 1, 0]])  # -y, z, -x
    assert_close(bases, expected)


def test_color_is_clamped_at_black_only() -> None:
    sh = harmonics.from_color(torch.tensor([[[-0.5, 0.25, 1.5]]]))
    assert_close(harmonics.color(sh, torch.tensor([[0.0, 0, 1]])), torch.tensor([[0.0, 0.25, 1.5]]))


def test_other_degrees_are_refused() -> None:
    with pytest.raises(ValueError, match="degrees 0 to 3"):
        harmonics.basis(directions(1), 4)
