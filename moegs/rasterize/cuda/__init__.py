"""The CUDA backend: all experts at once, each with lists and a transmittance of its own.

With gradients it is made of gsplat's own steps, with the expert's number where gsplat has the image's: the layers
become batches of Gaussians to project together (batches.py), these the splats that reach the picture (splats.py), and
they the channels of E pictures (compositing.py); steps.py finds gsplat. Without gradients our own kernels draw the same
pictures in a tenth of the launches (pictures.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from moegs.cameras import Camera
from moegs.rasterize import ALPHA_MIN, SAMPLE, TILE, Choose, Layer, RenderResult, refuse_other_types, tensors, tile_grid
from moegs.rasterize.cuda import pictures
from moegs.rasterize.cuda.batches import by_lowpass, stacked
from moegs.rasterize.cuda.compositing import check_numbers, composite
from moegs.rasterize.cuda.splats import merge, project
from moegs.rasterize.cuda.steps import Steps, kernels


def rasterize(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> RenderResult:
    """All `layers` from one `camera` on their GPU, as `moegs.rasterize.rasterize` promises.

    With gradients `means2d`, `radii` and `rows` hold the Gaussians that reach the picture only. The host waits for
    nothing but counts. The first call of an installation compiles kernels: a minute's work for pictures alone, more for
    gsplat.

    Without gradients `sh` may be in half precision. Raises ValueError for other tensors that are not float32 on a GPU,
    for more pictures or pixels than can be numbered, and where the kernels cannot be compiled.
    """
    ours = layers[0].channels <= pictures.MAX_FEATURES and not _asks_for_gradients(layers)
    refuse_other_types(layers, "cuda", halves=ours)
    check_numbers(len(layers), camera.width, camera.height)
    if ours:
        return pictures.draw(layers, camera, choose)
    return draw(layers, camera, kernels(), choose)


def splat(layers: Sequence[Layer], camera: Camera) -> Float[Tensor, "E H W C"]:
    """The features of all `layers` from one `camera`, as `moegs.rasterize.splat` promises."""
    refuse_other_types(layers, "cuda")
    check_numbers(len(layers), camera.width, camera.height)
    return draw_features(layers, camera, kernels())


def _asks_for_gradients(layers: Sequence[Layer]) -> bool:
    return torch.is_grad_enabled() and any(t.requires_grad for layer in layers for t in tensors(layer).values())


def draw(layers: Sequence[Layer], camera: Camera, steps: Steps, choose: Choose | None = None) -> RenderResult:
    """All `layers` from one `camera` by these `steps`, on whichever device both are made for."""
    camera = camera.to(layers[0].gaussians.means.device)
    splats = merge([project(batch, camera, steps) for batch in by_lowpass(layers, camera)])
    channels, alphas, pairs = composite(splats, len(layers), camera, steps)
    sizes = [3, channels.shape[-1] - 4, 1]
    backgrounds = stacked([layer.background for layer in layers], 3, channels)[:, None, None]
    behind = stacked([layer.feature_background for layer in layers], sizes[1], channels)[:, None, None]
    if choose is not None:  # gsplat lists all tiles: what it drew too much is taken out
        drawn = _chosen(channels[..., 3:-1] + (1 - alphas) * behind, choose)[..., None]
        channels, alphas = channels * drawn, alphas * drawn
    colors, features, depths = channels.split(sizes, dim=-1)
    unseen = 1 - alphas
    return RenderResult(
        images=colors + unseen * backgrounds,
        features=features + unseen * behind,
        alphas=alphas,
        depths=depths / alphas.clamp_min(ALPHA_MIN / 2),  # alpha is 0 or, up to rounding, at least ALPHA_MIN
        means2d=splats.means2d,
        radii=splats.radii,
        rows=splats.rows,
        pairs=torch.tensor(pairs),
    )


def draw_features(layers: Sequence[Layer], camera: Camera, steps: Steps) -> Float[Tensor, "E H W C"]:
    """The features of all `layers` by these `steps`, on whichever device both are made for."""
    camera = camera.to(layers[0].gaussians.means.device)
    with torch.no_grad():
        splats = merge([project(batch, camera, steps, features_alone=True) for batch in by_lowpass(layers, camera)])
    features = torch.cat([layer.features for layer in layers if layer.features is not None])
    alone = replace(splats, channels=features[splats.rows])
    channels, alphas, _ = composite(alone, len(layers), camera, steps)
    behind = stacked([layer.feature_background for layer in layers], channels.shape[-1], channels)
    return channels + (1 - alphas) * behind[:, None, None]


def _chosen(features: Float[Tensor, "E H W C"], choose: Choose) -> Bool[Tensor, "E H W"]:
    """Which pixels lie in tiles that are drawn."""
    height, width = features.shape[1:3]
    rows, columns = tile_grid(width, height)
    whole = pad(features, (0, 0, 0, columns * TILE - width, 0, rows * TILE - height))
    look = whole[:, SAMPLE // 2 :: SAMPLE, SAMPLE // 2 :: SAMPLE].detach()
    return choose(lambda tiles: look).repeat_interleave(TILE, 1)[:, :height].repeat_interleave(TILE, 2)[:, :, :width]
