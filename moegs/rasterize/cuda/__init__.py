"""The CUDA backend: gsplat's own steps, once for all experts, with the expert's number where gsplat has the image's.

Each expert's picture then has its own lists and its own transmittance, as in a render of its own. The layers become
batches of Gaussians to project together (batches.py), these the splats that reach the picture (splats.py), and they the
channels of E pictures (compositing.py); steps.py finds gsplat.
"""

from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.rasterize import ALPHA_MIN, Layer, RenderResult
from moegs.rasterize.cuda.batches import by_lowpass
from moegs.rasterize.cuda.compositing import check_numbers, composite
from moegs.rasterize.cuda.splats import merge, project
from moegs.rasterize.cuda.steps import Steps, kernels


def rasterize(layers: Sequence[Layer], camera: Camera) -> RenderResult:
    """All `layers` from one `camera` on their GPU, as `moegs.rasterize.rasterize` promises.

    `means2d`, `radii` and `rows` hold the Gaussians that reach the picture only. The host waits for nothing but the
    counts that gsplat reads. The first call of an installation compiles gsplat, which takes minutes.

    Raises ValueError for tensors that are not float32 on a GPU, for more pictures or pixels than gsplat can number, and
    where gsplat cannot be compiled.
    """
    for layer in layers:
        _refuse_other_types(layer)
    return draw(layers, camera, kernels())


def splat(layers: Sequence[Layer], camera: Camera) -> Float[Tensor, "E H W C"]:
    """The features of all `layers` from one `camera`, as `moegs.rasterize.splat` promises."""
    for layer in layers:
        _refuse_other_types(layer)
    return draw_features(layers, camera, kernels())


def _refuse_other_types(layer: Layer) -> None:
    named = {f.name: getattr(layer.gaussians, f.name) for f in fields(Gaussians) if f.name != "rows"}
    if layer.features is not None:
        named["features"] = layer.features
    for name, tensor in named.items():
        if tensor.dtype != torch.float32 or tensor.device.type != "cuda":
            raise ValueError(
                f"rasterize: {name} is {tensor.dtype} on {tensor.device}; the CUDA backend takes torch.float32 on cuda"
            )


def draw(layers: Sequence[Layer], camera: Camera, steps: Steps) -> RenderResult:
    """All `layers` from one `camera` by these `steps`, on whichever device both are made for."""
    check_numbers(len(layers), camera.width, camera.height)
    camera = camera.to(layers[0].gaussians.means.device)
    splats = merge([project(batch, camera, steps) for batch in by_lowpass(layers, camera)])
    channels, alphas = composite(splats, len(layers), camera, steps)
    colors, features, depths = channels.split([3, channels.shape[-1] - 4, 1], dim=-1)
    unseen = 1 - alphas
    return RenderResult(
        images=colors + unseen * _stacked([layer.background for layer in layers], colors),
        features=features + unseen * _stacked([layer.feature_background for layer in layers], features),
        alphas=alphas,
        depths=depths / alphas.clamp_min(ALPHA_MIN / 2),  # alpha is 0 or, up to rounding, at least ALPHA_MIN
        means2d=splats.means2d,
        radii=splats.radii,
        rows=splats.rows,
    )


def draw_features(layers: Sequence[Layer], camera: Camera, steps: Steps) -> Float[Tensor, "E H W C"]:
    """The features of all `layers` by these `steps`, on whichever device both are made for."""
    check_numbers(len(layers), camera.width, camera.height)
    still = [replace(layer, gaussians=layer.gaussians.detach()) for layer in layers]
    splats = merge([project(batch, camera, steps) for batch in by_lowpass(still, camera)])
    alone = replace(splats, channels=splats.channels[:, 3:-1].contiguous())
    channels, alphas = composite(alone, len(layers), camera, steps)
    return channels + (1 - alphas) * _stacked([layer.feature_background for layer in layers], channels)


def _stacked(
    backgrounds: Sequence[Float[Tensor, " D"] | None], pictures: Float[Tensor, "E H W D"]
) -> Float[Tensor, "E 1 1 D"]:
    """One background for each picture; None is zeros."""
    zeros = pictures.new_zeros(pictures.shape[-1])
    return torch.stack([zeros if color is None else color.to(zeros) for color in backgrounds])[:, None, None]
