"""Losses: how far a picture is from its photo."""

from jaxtyping import Float
from torch import Tensor

from moegs.ssim import ssim

__all__ = ["distillation", "l1", "photometric", "ssim"]


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


def distillation(
    image: Float[Tensor, "H W 3"],
    photo: Float[Tensor, "H W 3"],
    mixture: Float[Tensor, "H W 3"],
    gate: Float[Tensor, "H W"],
    photo_share: float = 0.5,
    ssim_weight: float = 0.2,
) -> Float[Tensor, ""]:
    """s P(gate x image, gate x photo) + (1 - s) P((1 - gate) x image, (1 - gate) x mixture), P as in `photometric`.

    An expert learns from the photo where the router trusts it, and from the picture of the `mixture` elsewhere: the
    distillation of the MoE-GS paper, whose lambda is `photo_share`. `gate` and `mixture` are fixed targets.
    """
    own, rest = gate[..., None], 1 - gate[..., None]
    trusted = photometric(own * image, own * photo, ssim_weight)
    return photo_share * trusted + (1 - photo_share) * photometric(rest * image, rest * mixture, ssim_weight)
