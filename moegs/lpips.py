"""LPIPS: how far apart two pictures are to AlexNet's features (Zhang et al. 2018, version 0.1, linear heads).

Both pictures go through AlexNet's five convolutions. At each, the feature vectors of a pixel are scaled to length 1,
subtracted, squared, and summed over channels with the head's weights; the mean over pixels is the layer's distance, and
the sum over the five layers the metric: 0 for equal pictures. The weights lie beside this file in half precision, which
moves a score by about 1e-5; whose they are says lpips.LICENSES.
"""

from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, normalize

Range = Literal["unit", "signed"]
"""What AlexNet sees of colours in [0, 1]: themselves (`unit`, as MoE-GS and some of its experts evaluate), or scaled to
[-1, 1] (`signed`, as the authors of LPIPS define it). Scores of the two do not compare."""

SMALLEST = 31
"""Pixels along a side; of less nothing would be left at the last layers."""
WEIGHTS = Path(__file__).with_name("lpips.npz")
STRIDES, PADDINGS = (4, 1, 1, 1, 1), (2, 2, 1, 1, 1)
POOLED = (1, 2)
"""The convolutions before which 3x3 maxima are taken at every other pixel."""
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class _Layer(NamedTuple):
    weight: Float[Tensor, "O I h w"]
    bias: Float[Tensor, " O"]
    head: Float[Tensor, " O"]


@torch.no_grad()
def lpips(images: Float[Tensor, "B H W 3"], photo: Float[Tensor, "H W 3"], fed: Range = "unit") -> Float[Tensor, " B"]:
    """The distance of each of the `images` from `photo`, for colours in [0, 1] that are not clamped.

    `fed`: the range in which AlexNet gets them.
    Raises ValueError for pictures with a side of less than 31 pixels.
    """
    if min(photo.shape[:2]) < SMALLEST:
        height, width = photo.shape[:2]
        raise ValueError(f"lpips: a picture of {width}x{height}; give at least {SMALLEST} pixels along each side")
    planes = torch.cat([photo[None], images]).permute(0, 3, 1, 2)
    planes = planes if fed == "unit" else 2 * planes - 1
    planes = (planes - planes.new_tensor(SHIFT)[:, None, None]) / planes.new_tensor(SCALE)[:, None, None]
    total = planes.new_zeros(len(images))
    for number, layer in enumerate(_layers(planes.device)):
        if number in POOLED:
            planes = max_pool2d(planes, 3, stride=2)
        planes = conv2d(planes, layer.weight, layer.bias, STRIDES[number], PADDINGS[number]).relu()
        features = normalize(planes, dim=1, eps=1e-10)
        apart = (features[1:] - features[:1]).square()
        total += (apart * layer.head[:, None, None]).sum(1).mean((1, 2))
    return total


@cache
def _layers(device: torch.device) -> list[_Layer]:
    with np.load(WEIGHTS, allow_pickle=False) as file:
        tensors = {name: torch.from_numpy(array).to(device, torch.float32) for name, array in file.items()}
    return [_Layer(tensors[f"conv{i}_weight"], tensors[f"conv{i}_bias"], tensors[f"head{i}"]) for i in range(5)]
