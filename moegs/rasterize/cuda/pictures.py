"""Pictures without gradients: our own kernels, a handful of launches for all layers.

gsplat's steps are made for training: between them stand dozens of small torch operations, which take the host longer
than the pictures take the GPU.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from moegs.cameras import Camera
from moegs.rasterize import Choose, Layer, RenderResult
from moegs.rasterize.cuda.native import kernels

MAX_FEATURES = 4
"""Channels beside colour and depth that the kernels have room for."""


def draw(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> RenderResult:
    """All `layers` from one `camera`; float32 on one GPU, at most MAX_FEATURES channels.

    `means2d` has a row for every Gaussian of the layers in order, whether drawn or not.
    """
    native = kernels()
    example = layers[0].gaussians.means
    channels = 0 if layers[0].features is None else layers[0].features.shape[1]
    backgrounds = _stacked([layer.background for layer in layers], 3, example)
    behind = _stacked([layer.feature_background for layer in layers], channels, example)
    prepared = native.prepare([_native(layer, native) for layer in layers], lens(camera))
    live = None if choose is None else choose(lambda tiles: prepared.sample(behind)).contiguous()
    images, features, alphas, depths, pairs = prepared.composite(backgrounds, behind, live)
    rows = torch.arange(len(prepared.means2d), device=example.device)
    return RenderResult(images, features, alphas, depths, prepared.means2d, prepared.radii, rows, pairs)


def blend(
    gates: Float[Tensor, "E H W"], result: RenderResult
) -> tuple[Float[Tensor, "H W 3"], Float[Tensor, "H W 1"], Float[Tensor, "H W 1"]]:
    """Picture, alpha and depth of a mixture, as `moegs.mixture.blend` defines them."""
    tensors = (gates, result.images, result.alphas, result.depths)
    return tuple(kernels().blend(*(tensor.detach().contiguous() for tensor in tensors)))


def to_bytes(picture: Float[Tensor, "H W 3"]) -> UInt8[Tensor, "H W 3"]:
    """`picture` as 8-bit pixels on the host, as `moegs.views.to_pixels` defines them."""
    pixels = kernels().quantize(picture.contiguous())
    here = torch.empty(pixels.shape, dtype=pixels.dtype, pin_memory=True)  # which the GPU writes into by itself
    return here.copy_(pixels)


def lens(camera: Camera) -> object:
    """The camera as the kernels read it: numbers of the host, so a camera on the CPU is not waited for."""
    native, at = kernels(), camera.to("cpu")
    K = at.K.tolist()
    center = at.center.tolist()
    return native.Lens(
        at.viewmat[:3].flatten().tolist(), [K[0][0], K[1][1], K[0][2], K[1][2]], center, at.width, at.height
    )


def _native(layer: Layer, native: object) -> object:
    g, lowpass = layer.gaussians, layer.lowpass
    features = g.means[:, :0] if layer.features is None else layer.features
    tensors = [t.detach().contiguous() for t in (g.means, g.quats, g.scales, g.opacities, g.sh, features)]
    return native.Layer(*tensors, lowpass.blur, layer.near, layer.far, lowpass.compensated)  # type: ignore[attr-defined]


def _stacked(
    colors: Sequence[Float[Tensor, " D"] | None], size: int, example: Float[Tensor, "..."]
) -> Float[Tensor, "E D"]:
    """One background for each picture; None is zeros."""
    if all(color is None for color in colors):
        return example.new_zeros(len(colors), size)
    return torch.stack([example.new_zeros(size) if color is None else color.to(example) for color in colors])
