"""Metrics: how good a picture is, as the experts' papers measure it."""

from jaxtyping import Float
from torch import Tensor

from moegs.lpips import lpips
from moegs.ssim import ssim

__all__ = ["lpips", "psnr", "ssim"]


def psnr(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
    """Peak signal-to-noise ratio of one picture, dB, for colours in [0, 1]; infinite where both are equal.

    The published protocol: from the mean squared error over all pixels and channels, with `image` neither clamped nor
    quantised; a score of many pictures is the mean of their dB.
    """
    return -10 * (image - photo).square().mean().log10()
