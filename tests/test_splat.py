"""Features without colours are the features that a whole rendering gives, and so are their gradients."""

from dataclasses import replace

import gsplat_torch
import pytest
import torch
from scenes import FIELDS, featured, tilted
from torch import Tensor
from torch.testing import assert_close

from moegs.gaussians import LowPass
from moegs.rasterize import Layer, cuda, rasterize, splat

CAMERA = tilted(40, 28)


def layers(channels: int, backend: str) -> list[Layer]:
    """Two experts of different low-pass and SH degree, whose features learn."""
    made = [featured(30, 1, channels), featured(20, 2, channels, degree=0, lowpass=LowPass(0.1, compensated=True))]
    moved = []
    for layer in made:
        assert layer.features is not None
        gaussians = replace(layer.gaussians, **{name: getattr(layer.gaussians, name).to(backend) for name in FIELDS})
        moved.append(replace(layer, gaussians=gaussians, features=layer.features.to(backend).requires_grad_()))
    return moved


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_so_are_those_of_the_cuda_backend_over_gsplats_torch_code(channels: int) -> None:
    made = layers(channels, "cpu")
    leaves = [layer.features for layer in made if layer.features is not None]
    ours = cuda.draw_features(made, CAMERA, gsplat_torch.STEPS)
    theirs = cuda.draw(made, CAMERA, gsplat_torch.STEPS).features
    assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    for one, other in zip(*(torch.autograd.grad(each.square().sum(), leaves) for each in (ours, theirs)), strict=True):
        assert_close(one, other, atol=1e-5, rtol=1e-4)
    made[0].gaussians.means.requires_grad_()
    frozen = [replace(layer, features=leaf.detach()) for layer, leaf in zip(made, leaves, strict=True)]
    assert not cuda.draw_features(frozen, CAMERA, gsplat_torch.STEPS).requires_grad


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_features_and_their_gradients_are_those_of_a_whole_rendering(backend: str, channels: int) -> None:
    made = layers(channels, backend)
    leaves = [layer.features for layer in made if layer.features is not None]
    weights = torch.randn(2, 28, 40, channels, generator=torch.Generator().manual_seed(3)).to(backend)

    def gradients(features: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((features * weights).sum(), leaves)

    alone, whole = splat(made, CAMERA), rasterize(made, CAMERA).features
    assert_close(alone, whole, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(gradients(alone), gradients(whole), strict=True):
        assert bool(ours.any())
        assert_close(ours, theirs, atol=1e-5, rtol=1e-4)  # sums over pixels in another order


def test_geometry_gets_no_gradient(backend: str) -> None:
    made = layers(3, backend)
    means = made[0].gaussians.means.requires_grad_()
    (gradient,) = torch.autograd.grad(splat(made, CAMERA).sum(), [means], allow_unused=True)
    assert gradient is None or not bool(gradient.any())


def test_no_channels_are_no_work(backend: str) -> None:
    made = [replace(layer, features=None) for layer in layers(3, backend)]
    assert splat(made, CAMERA).shape == (2, 28, 40, 0)


def test_what_cannot_be_rendered_is_refused_alike() -> None:
    first, second = layers(3, "cpu")
    with pytest.raises(ValueError, match="no layers given"):
        splat([], CAMERA)
    with pytest.raises(ValueError, match=r"layers with \[0, 3\] feature channels"):
        splat([first, replace(second, features=None)], CAMERA)
