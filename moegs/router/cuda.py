"""The router on a GPU, without gradients: its network fused pixel by pixel, and what a first look decides."""

from jaxtyping import Bool, Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.rasterize.cuda.native import kernels
from moegs.rasterize.cuda.pictures import lens
from moegs.router.gates import MuteRule


def logits(
    features: Float[Tensor, "E H W 3"],
    camera: Camera,
    first: Float[Tensor, "6 8"],
    second: Float[Tensor, "3 6"],
    third: Float[Tensor, "1 3"],
) -> Float[Tensor, "E H W"]:
    """W + network(W_dir, W_time, camera centre, unit ray) of every pixel of every expert."""
    weights = (tensor.detach().contiguous() for tensor in (first, second, third))
    return kernels().logits(features.contiguous(), lens(camera, features.device), *weights)


def decide(
    logits: Float[Tensor, "E h w"],
    temperature: float,
    active: Bool[Tensor, " E"] | None,
    rule: MuteRule,
    skip_below: float,
) -> Bool[Tensor, "E Y X"]:
    """Which tiles are drawn, as `moegs.router.gating.Gate` defines it, from the samples' logits."""
    return kernels().decide(
        logits.contiguous(), active, temperature, skip_below, rule == "renormalize", rule == "reroute"
    )
