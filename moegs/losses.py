"""Losses: how far a picture is from its photo."""

from jaxtyping import Float
from torch import Tensor

from moegs.ssim import ssim

__all__ = ["l1", "photometric", "ssim"]


def l1(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
    """Mean absolute difference over pixels and channels."""
    return (image - photo).abs().mean()


def photometric(
    image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"], ssim_weight: float = 0.2
) -> Float[Tensor, ""]:
    """(1 - w) L1 + w (1 - SSIM), for colours in [0, 1]: the loss of 3D Gaussian Splatting, where w is 0.2."""
    if not ssim_weight:
        return l1(image, photo)
    return (1 - ssim_weight) * l1(image, photo) + ssim_weight * (1 - ssim(image, photo))
