"""Structural similarity (Wang et al. 2004) as 3D Gaussian Splatting computes it, in training and evaluation alike.

Means, variances and the covariance of both pictures under a Gaussian window of 11 x 11 pixels with sigma 1.5, zeros
beyond the picture's edge, for colours in [0, 1] (data range 1: C1 = 0.01^2, C2 = 0.03^2), each channel by itself.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW = 11
"""Pixels along each side."""
SIGMA = 1.5
"""Pixels."""
C1 = 1e-4
C2 = 9e-4

_BELL = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
WEIGHTS = tuple(value / sum(_BELL) for value in _BELL)
"""Of the window along one axis; the window is their product."""


def ssim(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
    """Mean structural similarity of `image` and `photo`, 1 where they are equal.

    On a CPU, in float32 and without a gradient for `photo`, one fused kernel gives value and gradient.
    """
    fused = image.device.type == "cpu" and image.dtype == photo.dtype == torch.float32 and not photo.requires_grad
    return _FusedSSIM.apply(image, photo) if fused else ssim_by_convolution(image, photo)  # type: ignore[return-value]


def ssim_map(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, "H W"]:
    """The structural similarity around each pixel, the mean over its channels."""
    return _likeness(image, photo).mean((0, 1))


def ssim_by_convolution(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
    """`ssim` on any device, in any precision, with gradients for both."""
    return _likeness(image, photo).mean()


def _likeness(image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, "3 1 H W"]:
    x, y = (picture.permute(2, 0, 1)[:, None] for picture in (image, photo))
    moments = _blur(torch.cat([x, y, x * x, y * y, x * y]))
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = moments.chunk(5)
    covariance = mean_xy - mean_x * mean_y
    variances = (mean_xx - mean_x.square()).clamp_min(0) + (mean_yy - mean_y.square()).clamp_min(
        0
    )  # rounding may be below
    likeness = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    return likeness / ((mean_x.square() + mean_y.square() + C1) * (variances + C2))


def _blur(planes: Float[Tensor, "B 1 H W"]) -> Float[Tensor, "B 1 H W"]:
    weights = planes.new_tensor(WEIGHTS)
    across = conv2d(planes, weights.view(1, 1, 1, WINDOW), padding=(0, WINDOW // 2))
    return conv2d(across, weights.view(1, 1, WINDOW, 1), padding=(WINDOW // 2, 0))


class _FusedSSIM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, image: Float[Tensor, "H W 3"], photo: Float[Tensor, "H W 3"]) -> Float[Tensor, ""]:
        from moegs.ssim import cpu

        x, y = (picture.detach().contiguous().numpy() for picture in (image, photo))
        if not ctx.needs_input_grad[0]:
            return image.new_tensor(cpu.ssim(x, y))
        value, gradient = cpu.ssim_and_gradient(x, y)
        ctx.save_for_backward(torch.from_numpy(gradient))
        return image.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Float[Tensor, ""]) -> tuple[Float[Tensor, "H W 3"], None]:
        (of_image,) = ctx.saved_tensors
        return gradients[0] * of_image, None
