"""Losses against their definitions in float64, and their gradients against the slopes of these."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import Float64
from numpy import ndarray
from torch.testing import assert_close

from moegs import losses

SIZES = [(1, 1), (5, 7), (14, 23)]
"""Smaller than the window of 11, and larger."""


def pictures(height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An image and a photo of it, alike but not equal, float64."""
    random = np.random.default_rng(seed)
    photo = random.random((height, width, 3))
    image = photo + 0.2 * random.standard_normal(photo.shape)  # leaves [0, 1], as renders do
    return torch.tensor(image), torch.tensor(photo)


def reference_ssim(image: Float64[ndarray, "H W 3"], photo: Float64[ndarray, "H W 3"]) -> float:
    """Wang et al. 2004, one pixel at a time: an 11 x 11 window with sigma 1.5, zeros beyond the edge."""
    bell = np.array([math.exp(-((i - 5) ** 2) / (2 * 1.5**2)) for i in range(11)])
    window = (np.outer(bell, bell) / bell.sum() ** 2)[:, :, None]
    x, y = (np.pad(picture, ((5, 5), (5, 5), (0, 0))) for picture in (image, photo))
    values = []
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            a, b = x[row : row + 11, column : column + 11], y[row : row + 11, column : column + 11]
            mean_a, mean_b = (window * a).sum((0, 1)), (window * b).sum((0, 1))
            spread = (window * (a * a + b * b)).sum((0, 1)) - mean_a**2 - mean_b**2
            joint = (window * a * b).sum((0, 1)) - mean_a * mean_b
            likeness = (2 * mean_a * mean_b + 0.01**2) * (2 * joint + 0.03**2)
            values.append(likeness / ((mean_a**2 + mean_b**2 + 0.01**2) * (spread + 0.03**2)))
    return float(np.mean(values))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "convolutions"])
@pytest.mark.parametrize("size", SIZES)
def test_ssim_is_its_definition(size: tuple[int, int], dtype: torch.dtype) -> None:
    image, photo = pictures(*size)
    got = losses.ssim(image.to(dtype), photo.to(dtype))
    tolerance = 2e-5 if dtype == torch.float32 else 1e-12  # a variance of float32 is off by 1e-7, against C2 = 9e-4
    assert float(got) == pytest.approx(reference_ssim(image.numpy(), photo.numpy()), abs=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fused", "convolutions"])
def test_gradient_of_ssim_is_the_slope(dtype: torch.dtype) -> None:
    image, photo = pictures(6, 7)
    leaf = image.to(dtype, copy=True).requires_grad_()
    losses.ssim(leaf, photo.to(dtype)).backward()
    slopes, step = np.zeros(image.shape), 1e-5
    for place in np.ndindex(*image.shape):
        up, down = image.numpy().copy(), image.numpy().copy()
        up[place] += step
        down[place] -= step
        slopes[place] = (reference_ssim(up, photo.numpy()) - reference_ssim(down, photo.numpy())) / (2 * step)
    # Central differences of float64 are exact to step^2; what is left is float32's rounding.
    assert leaf.grad is not None
    assert_close(leaf.grad.double(), torch.tensor(slopes), rtol=1e-3, atol=1e-6)


def test_both_ways_of_ssim_agree_on_a_picture() -> None:
    image, photo = pictures(60, 83, seed=1)
    single, double = image.float().requires_grad_(), image.clone().requires_grad_()
    fused, by_convolution = losses.ssim(single, photo.float()), losses.ssim(double, photo)
    fused.backward()
    by_convolution.backward()
    assert_close(fused.double(), by_convolution, rtol=0, atol=1e-6)
    assert single.grad is not None
    assert double.grad is not None
    scale = float(double.grad.abs().max())
    assert_close(single.grad.double(), double.grad, rtol=1e-3, atol=1e-4 * scale)  # float32, as above


def test_ssim_without_a_gradient_is_the_same() -> None:
    image, photo = (picture.float() for picture in pictures(20, 30))
    with torch.no_grad():
        plain = losses.ssim(image, photo)
    assert not plain.requires_grad
    assert torch.equal(plain, losses.ssim(image.requires_grad_(), photo).detach())


def test_ssim_gives_a_gradient_to_a_photo_that_asks_for_it() -> None:
    image, photo = (picture.float() for picture in pictures(12, 13))
    photo.requires_grad_()
    losses.ssim(image, photo).backward()
    swapped = photo.detach().clone().requires_grad_()
    losses.ssim(swapped, image).backward()  # SSIM is symmetric
    assert photo.grad is not None
    assert swapped.grad is not None
    assert_close(photo.grad, swapped.grad, rtol=1e-3, atol=1e-6)


def test_ssim_of_a_view_that_is_not_contiguous() -> None:
    image, photo = (picture.float() for picture in pictures(16, 12))
    turned = image.transpose(0, 1).contiguous().transpose(0, 1)
    assert not turned.is_contiguous()
    assert torch.equal(losses.ssim(turned, photo), losses.ssim(image, photo))


def test_equal_pictures_are_alike() -> None:
    image = pictures(20, 20)[0].float()
    assert float(losses.ssim(image, image)) == pytest.approx(1, abs=1e-6)
    assert float(losses.photometric(image, image)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.2, 1.0])
def test_photometric_mixes_l1_and_ssim(weight: float) -> None:
    image, photo = pictures(15, 11)
    absolute = np.abs(image.numpy() - photo.numpy()).mean()
    expected = (1 - weight) * absolute + weight * (1 - reference_ssim(image.numpy(), photo.numpy()))
    assert float(losses.photometric(image, photo, weight)) == pytest.approx(expected, rel=1e-12)


def test_descending_the_loss_reaches_the_photo() -> None:
    image, photo = (picture.float() for picture in pictures(16, 16))
    image.requires_grad_()
    optimizer = torch.optim.Adam([image], lr=0.01)
    first = losses.photometric(image, photo).item()
    for _ in range(60):
        optimizer.zero_grad()
        losses.photometric(image, photo).backward()
        optimizer.step()
    assert losses.photometric(image, photo).item() < 0.1 * first
