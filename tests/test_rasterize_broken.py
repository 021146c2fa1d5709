"""The rasterizers on Gaussians that are broken, extreme or nowhere to be seen, and what they refuse."""

from dataclasses import replace

import pytest
import torch
from scenes import FIELDS, PICTURES, assert_defined, blobs, draw, featured, learnable, pinhole, scalar
from torch.testing import assert_close

from moegs.gaussians import LowPass
from moegs.rasterize import Layer, rasterize

BROKEN = {
    "NaN centre": ("means", float("nan")),
    "infinite centre": ("means", float("inf")),
    "NaN rotation": ("quats", float("nan")),
    "infinite scale": ("scales", float("inf")),
    "NaN opacity": ("opacities", float("nan")),
    "NaN colour": ("sh", float("nan")),
    "colour of minus infinity": ("sh", float("-inf")),
    "centre out of float32's square": ("means", 1e30),
    "scale out of float32's square": ("scales", 1e30),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_gaussian_is_left_out(backend: str, case: str) -> None:
    field, value = BROKEN[case]
    camera, sound = pinhole(20, 12), blobs(5, seed=30)
    broken = replace(sound, **{field: getattr(sound, field).clone()})
    getattr(broken, field)[2] = value
    leaves, without = learnable(broken), learnable(sound.select(torch.tensor([0, 1, 3, 4])))
    result, expected = draw([Layer(leaves)], camera, backend), draw([Layer(without)], camera, backend)
    assert_close(result.images, expected.images, atol=1e-6, rtol=0)
    scalar([result.images, result.depths]).backward()
    scalar([expected.images, expected.depths]).backward()
    for name in FIELDS:
        gradient = getattr(leaves, name).grad
        assert gradient[2].abs().sum() == 0
        assert_close(gradient[[0, 1, 3, 4]], getattr(without, name).grad, rtol=1e-4, atol=1e-5)


def test_a_broken_feature_leaves_its_gaussian_out(backend: str) -> None:
    layer, camera = featured(5, seed=31), pinhole(20, 12)
    features = layer.features.clone()  # type: ignore[union-attr]
    features[1, 0] = float("nan")
    layer = replace(layer, features=features)
    assert_defined(draw([layer], camera, backend), [layer], camera)


def test_extreme_gaussians_have_finite_pictures_and_gradients(backend: str) -> None:
    gaussians = learnable(blobs(6, seed=32))
    with torch.no_grad():
        gaussians.scales[0] = 1e5  # covers everything
        gaussians.scales[1] = 0.0  # a point: the low-pass alone is seen
        gaussians.scales[2] = torch.tensor([1e4, 1e-6, 0.0])  # a needle
        gaussians.quats[3] = 0.0
        gaussians.means[4] = torch.tensor([0.0, 0.0, 0.0101])  # just behind the near plane
        gaussians.means[5] = torch.tensor([1e6, -1e6, 0.02])
    for lowpass in (LowPass(0.3), LowPass(0.1, compensated=True), LowPass(0.0)):
        result = draw([Layer(gaussians, lowpass=lowpass)], pinhole(21, 13), backend)
        scalar([getattr(result, name) for name in PICTURES]).backward()
        assert all(getattr(result, name).isfinite().all() for name in PICTURES)
        assert all(getattr(gaussians, field).grad.isfinite().all() for field in FIELDS)


@pytest.mark.parametrize("degenerate", ["scales", "quats"])
def test_a_gaussian_without_extent_or_rotation(backend: str, degenerate: str) -> None:
    """A point shows as the low-pass; a zero quaternion turns nothing."""
    gaussians = blobs(4, seed=33)
    if degenerate == "scales":
        gaussians.scales[1] = 0
    else:
        gaussians.quats[2] = 0
    layer, camera = Layer(gaussians), pinhole(20, 12)
    assert_defined(draw([layer], camera, backend), [layer], camera)


def test_nothing_to_draw_is_the_background(backend: str) -> None:
    red = torch.tensor([1.0, 0.0, 0.0])
    behind = blobs(3, seed=34)
    behind = learnable(replace(behind, means=-behind.means))
    layers = [Layer(blobs(0, seed=0), background=red), Layer(behind, background=red)]
    result = draw(layers, pinhole(5, 3), backend)
    assert torch.equal(result.images.detach(), red.expand(2, 3, 5, 3))
    assert result.alphas.abs().sum() == 0
    assert result.depths.abs().sum() == 0
    assert result.radii.sum() == 0
    (result.images.sum() + result.depths.sum()).backward()
    assert behind.means.grad is not None
    assert behind.means.grad.abs().sum() == 0


def test_other_number_types_are_refused() -> None:
    gaussians = blobs(2, seed=37)
    with pytest.raises(ValueError, match=r"rasterize: scales is torch\.float64 on cpu; the CPU backend takes torch\.f"):
        rasterize([Layer(replace(gaussians, scales=gaussians.scales.double()))], pinhole(4, 4))


def test_the_door_refuses_what_it_cannot_draw() -> None:
    with pytest.raises(ValueError, match="no layers given; pass at least one"):
        rasterize([], pinhole(4, 4))
    with pytest.raises(ValueError, match=r"layers with \[0, 2\] feature channels; give all of them the same number"):
        rasterize([Layer(blobs(2, seed=0)), featured(2, seed=1)], pinhole(4, 4))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"opacities": torch.ones(4)}, r"opacities of shape \(4,\), expected \(5,\) for 5 Gaussians"),
        ({"quats": torch.ones(4, 4)}, r"quats of shape \(4, 4\), expected \(5, 4\)"),
        ({"sh": torch.zeros(5, 2, 3)}, "sh with 2 bases, expected 1, 4, 9 or 16"),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(change: dict[str, torch.Tensor], reason: str) -> None:
    gaussians = blobs(5, seed=1)
    for name, tensor in change.items():
        object.__setattr__(gaussians, name, tensor)  # past the shape checks that only the tests have
    with pytest.raises(ValueError, match=reason):
        rasterize([Layer(gaussians)], pinhole(8, 8))
