"""Metrics on pictures whose score is known."""

import math

import pytest
import torch

from moegs import losses, lpips, metrics


@pytest.mark.parametrize(("error", "decibels"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_psnr_of_a_constant_error(error: float, decibels: float) -> None:
    photo = torch.full((4, 5, 3), 0.5)
    assert float(metrics.psnr(photo + error, photo)) == pytest.approx(decibels, abs=1e-4)  # float32


def test_psnr_takes_the_picture_as_it_is() -> None:
    white = torch.ones(2, 2, 3)
    assert float(metrics.psnr(white + 0.5, white)) == pytest.approx(-20 * math.log10(0.5), abs=1e-4)  # not clamped
    assert float(metrics.psnr(white - 1e-3, white)) == pytest.approx(60, abs=1e-3)  # below half a level of 255


def test_psnr_of_equal_pictures_is_infinite() -> None:
    photo = torch.rand(3, 3, 3)
    assert float(metrics.psnr(photo, photo)) == math.inf


def test_psnr_counts_every_channel_and_pixel_alike() -> None:
    photo = torch.zeros(2, 3, 3)
    image = photo.clone()
    image[1, 2, 0] = 1.0
    assert float(metrics.psnr(image, photo)) == pytest.approx(10 * math.log10(18), abs=1e-4)


def test_ssim_is_that_of_training() -> None:
    assert metrics.ssim is losses.ssim


def test_lpips_is_alexnets() -> None:
    assert metrics.lpips is lpips.lpips
