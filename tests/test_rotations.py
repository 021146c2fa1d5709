import math

import pytest
import torch
from torch.testing import assert_close

from moegs import rotations


@pytest.fixture
def quats() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(50, 4, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_a_quarter_turn_about_z_takes_x_to_y() -> None:
    quarter = torch.tensor([math.cos(math.pi / 4), 0, 0, math.sin(math.pi / 4)])
    assert_close(rotations.matrix(quarter) @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_matrices_are_rotations(quats: torch.Tensor) -> None:
    matrices = rotations.matrix(3 * quats)
    assert_close(matrices @ matrices.mT, torch.eye(3).expand(50, 3, 3))
    assert_close(torch.linalg.det(matrices), torch.ones(50))


def test_the_zero_quaternion_rotates_nothing() -> None:
    assert_close(rotations.matrix(torch.zeros(4)), torch.eye(3))


def test_the_product_of_quaternions_is_that_of_matrices(quats: torch.Tensor) -> None:
    a, b = quats[:25], quats[25:]
    assert_close(rotations.matrix(rotations.product(a, b)), rotations.matrix(a) @ rotations.matrix(b))


def test_from_matrix_undoes_matrix_up_to_sign(quats: torch.Tensor) -> None:
    half_turns = torch.eye(4)
    quats = torch.cat([quats, half_turns])
    cosines = (rotations.from_matrix(rotations.matrix(quats)) * quats).sum(-1).abs()
    assert_close(cosines, torch.ones(54))


def test_slerp_goes_evenly_along_the_arc(quats: torch.Tensor) -> None:
    a, b = quats[:25], quats[25:]
    b = torch.where((a * b).sum(-1, keepdim=True) < 0, -b, b)
    whole = torch.acos((a * b).sum(-1).clamp(-1, 1))
    third = rotations.slerp(a, b, 1 / 3)
    # The published division by the sum of the weights keeps the direction; 1e-3 is the clamp of the cosine.
    assert_close(torch.acos((a * third).sum(-1).clamp(-1, 1)), whole / 3, atol=1e-3, rtol=1e-3)
    assert_close(rotations.slerp(a, b, 0.0), a, atol=1e-6, rtol=0)
    assert_close(rotations.slerp(a, b, 1.0), b, atol=1e-6, rtol=0)


def test_slerp_between_equal_rotations_is_finite(quats: torch.Tensor) -> None:
    assert_close(rotations.slerp(quats, quats, 0.4), quats)
