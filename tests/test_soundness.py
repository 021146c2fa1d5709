"""Finite parameters give finite gradients, however extreme they are, and what is not drawn none at all."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations, product

import pytest
import torch
from scenes import FIELDS, PICTURES, blobs, draw, learnable, pinhole, scalar
from small_experts import SMALL, stirred
from torch import Tensor
from torch.testing import assert_close

from moegs.experts import canonical
from moegs.experts.base import Expert
from moegs.experts.hexplane import HexPlaneExpert
from moegs.gaussians import Gaussians, LowPass
from moegs.losses import photometric, ssim
from moegs.rasterize import Layer, RenderResult
from moegs.rotations import SHORTEST, directed
from moegs.ssim import ssim_by_convolution

EXTREMES = (0.0, 1e-38, -1e-20, 20.0, -20.0, 90.0, -90.0, 1e6, -1e12, 1e20, -1e30, 3e38, -3e38)
PAIRED = (1e-20, 90.0, -90.0, 1e20)
LOWPASSES = (LowPass(0.3), LowPass(0.1, compensated=True), LowPass(0.0))
FIRST = 0
"""The row that is made extreme, of its group."""

Change = tuple[tuple[str, float], ...]
"""What the parameters so named are set to."""


def changes(expert: Expert) -> Iterator[Change]:
    """Every parameter of a group alone at each extreme, and every two of one group at those of PAIRED."""
    names = {group: [f"groups.{group}.{name}" for name in expert.group(group)] for group in expert.groups}
    for own in names.values():
        yield from (((name, value),) for name in own for value in EXTREMES)
        for one, other in combinations(own, 2):
            yield from (((one, a), (other, b)) for a, b in product(PAIRED, PAIRED))


def attempt(expert: Expert, t: float, lowpass: LowPass) -> tuple[Gaussians, RenderResult, Tensor]:
    """What is drawn, its picture and the training loss; the gradients of the Gaussians are kept."""
    camera, gaussians = pinhole(12, 8), expert.at(t)
    viewmat = camera.viewmat.clone()
    viewmat[2, 3] = 2.0
    for field in FIELDS:
        getattr(gaussians, field).retain_grad()
    result = draw([Layer(gaussians, lowpass=lowpass)], replace(camera, viewmat=viewmat), "cpu")
    photo = torch.rand(8, 12, 3, generator=torch.Generator().manual_seed(0))
    return gaussians, result, photometric(result.images[0], photo) + expert.penalty()


@pytest.mark.parametrize("kind", ["hexplane", "embedding", "polynomial", "keyframe"])
def test_extreme_parameters_have_finite_gradients(kind: str) -> None:
    """A loss that is not finite is another matter: it stops the training with a clear line, where squares overflow."""
    expert = stirred(SMALL[kind])
    parameters = dict(expert.named_parameters())
    for tried, change in enumerate(changes(expert)):
        before = {name: parameters[name].detach()[FIRST].clone() for name, _ in change}
        with torch.no_grad():
            for name, value in change:
                parameters[name][FIRST] = value
        expert.zero_grad()
        gaussians, result, loss = attempt(expert, (0.0, 0.4)[tried % 2], LOWPASSES[tried % 3])
        assert loss.isfinite() or max(abs(value) for _, value in change) >= 1e12, f"{change}: {loss}"
        if loss.isfinite():
            loss.backward()
            broken = [name for name, p in parameters.items() if p.grad is not None and not p.grad.isfinite().all()]
            assert not broken, f"{change}: {broken}"
            undrawn = (result.radii == 0).any(1)
            moved = [field for field in FIELDS if getattr(gaussians, field).grad[undrawn].any()]
            assert not moved, f"{change}: {moved}"
        with torch.no_grad():
            for name, value in before.items():
                parameters[name][FIRST] = value


def test_a_deformation_beyond_float32_is_not_drawn_and_leaves_the_network_sound() -> None:
    expert = stirred(SMALL["hexplane"])
    assert isinstance(expert, HexPlaneExpert)
    with torch.no_grad():
        expert.heads["log_scales"][-1].bias.fill_(500.0)  # type: ignore[index]
    _, result, loss = attempt(expert, 0.4, LowPass())
    loss.backward()
    assert not result.radii.any()
    assert all(p.grad.isfinite().all() for p in expert.parameters() if p.grad is not None)
    assert not expert.group("all")["log_scales"].grad.any()  # type: ignore[union-attr]


def test_a_size_is_the_exponential_up_to_what_float32_can_hold_products_of() -> None:
    logs = torch.tensor([-200.0, -3.0, 0.0, 40.0, canonical.MOST_LOG, 500.0], requires_grad=True)
    sizes = canonical.size(logs)
    assert_close(sizes[:4], torch.tensor([math.exp(log) for log in (-200, -3, 0, 40)]))
    assert sizes[4] == sizes[5] < torch.finfo(torch.float32).max ** 0.8
    sizes.sum().backward()
    assert_close(logs.grad, torch.cat([sizes[:5].detach(), torch.zeros(1)]))


@pytest.mark.parametrize("scales", [(0.0, 1e-30, 1e9), (0.0, 1e-20, 1.0), (1e8, 1e-30, 0.0), (1e19, 1e19, 1e19)])
@pytest.mark.parametrize("lowpass", LOWPASSES, ids=["plain", "compensated", "none"])
def test_needles_have_finite_gradients_and_centres(scales: tuple[float, float, float], lowpass: LowPass) -> None:
    """Density control reads the centres'; without a low-pass the inverse covariance of such a needle overflows."""
    gaussians = blobs(3, seed=1)
    gaussians.scales[0] = torch.tensor(scales)
    gaussians.means[0] = torch.tensor([0.05, 0.02, 2.0])
    gaussians.quats[0] = torch.tensor([0.3, 0.5, 0.1, 0.7])
    leaves = learnable(gaussians)
    result = draw([Layer(leaves, lowpass=lowpass)], pinhole(9, 7), "cpu")
    result.means2d.retain_grad()
    scalar([getattr(result, name) for name in PICTURES]).backward()
    assert all(getattr(result, name).isfinite().all() for name in PICTURES)
    assert all(getattr(leaves, field).grad.isfinite().all() for field in FIELDS)
    assert result.means2d.grad is not None
    assert result.means2d.grad.isfinite().all()


@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-18, 0.9 * SHORTEST])
def test_a_quaternion_too_short_to_measure_turns_nothing(length: float) -> None:
    quats = torch.tensor([[0.0, length, 0.0, 0.0], [0.0, 2e-15, 0.0, 0.0]], requires_grad=True)
    made = directed(quats)
    assert_close(made.detach(), torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 2e-15, 0.0, 0.0]]), rtol=0, atol=0)
    made.sum().backward()
    assert_close(quats.grad, torch.tensor([[0.0] * 4, [1.0] * 4]))


@pytest.mark.parametrize("way", [ssim, ssim_by_convolution])
def test_the_similarity_of_bright_flat_pictures_is_no_division_by_rounding(way: Callable[..., Tensor]) -> None:
    """The variance of a flat picture is 0, and its rounding far larger than the constant that it is added to."""
    photo = torch.rand(30, 40, 3, generator=torch.Generator().manual_seed(2))
    for level in (30.0, 100.0, 1e3, 3e4):
        picture = torch.full((30, 40, 3), level, requires_grad=True)
        value = way(picture, photo)
        value.backward()
        assert abs(value.item()) <= 1
        assert picture.grad is not None
        assert picture.grad.abs().max() < 0.01  # by the definition it falls with the brightness
