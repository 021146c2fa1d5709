"""The router's network on a GPU, without gradients: rays and three layers fused, pixel by pixel."""

from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.rasterize.cuda.native import kernels
from moegs.rasterize.cuda.pictures import lens


def logits(
    features: Float[Tensor, "E H W 3"],
    camera: Camera,
    first: Float[Tensor, "6 8"],
    second: Float[Tensor, "3 6"],
    third: Float[Tensor, "1 3"],
) -> Float[Tensor, "E H W"]:
    """W + network(W_dir, W_time, camera centre, unit ray) of every pixel of every expert."""
    weights = (tensor.detach().contiguous() for tensor in (first, second, third))
    return kernels().logits(features.contiguous(), lens(camera), *weights)
