"""The two steps of a rendering as torch sees them: projecting, then compositing.

Two, so that the projected centres between them are a tensor of the graph, whose gradient density control reads.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int32, Int64
from torch import Tensor

from moegs.kernels import LOCK
from moegs.rasterize import Choose, tile_grid
from moegs.rasterize.cpu import compositing, compositing_backward, projection, projection_backward, sampling, tiles
from moegs.rasterize.cpu.compositing import Pictures

MAX_LANES = 16
"""Threads that composite: in the backward pass each holds a gradient of every Gaussian, so more would cost memory."""


KERNELS = (
    projection.project,
    tiles.depth_order,
    tiles.bin_by_tile,
    compositing.pack,
    sampling.sample,
    compositing.composite,
    compositing_backward.composite_backward,
    compositing_backward.unpack,
    projection_backward.project_backward,
)
"""Everything that is compiled, in the order of use."""


@dataclass(frozen=True)
class View:
    """What all Gaussians of one call share."""

    viewmat: Float32[np.ndarray, "4 4"]
    intrinsics: Float32[np.ndarray, " 6"]
    """fx, fy, cx, cy, width, height; pixels."""
    size: tuple[int, int]
    """Height and width, pixels."""
    layer_of: Int32[np.ndarray, " N"]
    settings: Float32[np.ndarray, "E 4"]
    """Each layer's blur (px^2), whether it is compensated (0 or 1), near and far (world units)."""
    backgrounds: Float32[np.ndarray, "E B"]
    """Each layer's background: three of colour, then its feature values."""
    choose: Choose | None
    """What says, after a first look, which tiles are drawn; None: all."""


class Project(torch.autograd.Function):
    """means, quats, scales, opacities, view -> what `projection.project` returns."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, quats: Tensor, scales: Tensor, opacities: Tensor, view: View) -> Any:
        with LOCK:
            arrays = projection.project(
                means.numpy(),
                quats.numpy(),
                scales.numpy(),
                opacities.numpy(),
                view.layer_of,
                view.settings,
                view.viewmat,
                view.intrinsics,
            )
        means2d, footprints, depths, bounds, radii = map(torch.from_numpy, arrays)
        ctx.save_for_backward(means, quats, scales, footprints, radii)
        ctx.view = view
        ctx.mark_non_differentiable(bounds, radii)
        return means2d, footprints, depths, bounds, radii

    @staticmethod
    def backward(ctx: Any, *v_outputs: Tensor) -> Any:
        v_means2d, v_footprints, v_depths = (v.contiguous().numpy() for v in v_outputs[:3])
        means, quats, scales, footprints, radii = (saved.numpy() for saved in ctx.saved_tensors)
        view = ctx.view
        with LOCK:
            gradients = projection_backward.project_backward(
                means,
                quats,
                scales,
                view.layer_of,
                view.settings,
                view.viewmat,
                view.intrinsics,
                footprints,
                radii,
                v_means2d,
                v_footprints,
                v_depths,
            )
        return *map(torch.from_numpy, gradients), None


class Composite(torch.autograd.Function):
    """means2d, footprints, depths, bounds, radii, colors, features, view -> images, features, alphas, depths, pairs."""

    @staticmethod
    def forward(
        ctx: Any,
        means2d: Tensor,
        footprints: Tensor,
        depths: Tensor,
        bounds: Tensor,
        radii: Tensor,
        colors: Tensor,
        features: Tensor,
        view: View,
    ) -> Any:
        lanes = min(numba.get_num_threads(), MAX_LANES)
        shape = (len(view.settings), *view.size)
        with LOCK:
            order = tiles.depth_order(depths.numpy(), radii.numpy())
            starts, rows = tiles.bin_by_tile(order, means2d.numpy(), bounds.numpy(), view.layer_of, shape, lanes)
            splats = compositing.pack(
                means2d.numpy(), footprints.numpy(), bounds.numpy(), colors.numpy(), features.numpy(), depths.numpy()
            )
        live = _live(starts, rows, splats, view, lanes)
        pictures = empty_pictures(view)
        with LOCK:
            ends = compositing.composite(starts, rows, splats, view.backgrounds, live, pictures, lanes)
        outputs = tuple(map(torch.from_numpy, pictures))
        ctx.save_for_backward(*outputs)
        ctx.set_materialize_grads(False)
        ctx.walk = (starts, ends, rows, splats, view.backgrounds)
        ctx.lanes = lanes
        pairs = torch.tensor(int(np.diff(starts)[live].sum()))
        ctx.mark_non_differentiable(pairs)
        return *outputs, pairs

    @staticmethod
    def backward(ctx: Any, *v_outputs: Tensor | None) -> Any:
        v_outputs = v_outputs[: len(Pictures._fields)]
        pictures = Pictures(*(saved.numpy() for saved in ctx.saved_tensors))
        v_pictures = Pictures(
            *(
                np.zeros_like(picture) if v is None else v.contiguous().numpy()
                for v, picture in zip(v_outputs, pictures, strict=True)
            )
        )
        wanted = (ctx.needs_input_grad[0], ctx.needs_input_grad[0] and v_outputs[3] is not None)
        with LOCK:
            v_splats = compositing_backward.composite_backward(*ctx.walk, pictures, v_pictures, wanted, ctx.lanes)
            gradients = compositing_backward.unpack(v_splats, pictures.features.shape[3])
        v_means2d, v_footprints, v_colors, v_features, v_depths = map(torch.from_numpy, gradients)
        return v_means2d, v_footprints, v_depths, None, None, v_colors, v_features, None


def _live(
    starts: Int64[np.ndarray, " _"],
    rows: Int32[np.ndarray, " M"],
    splats: Float32[np.ndarray, "N D"],
    view: View,
    lanes: int,
) -> Bool[np.ndarray, " S"]:
    """Which tiles are drawn, layer by layer."""
    if view.choose is None:
        return np.ones(len(starts) - 1, bool)
    down, across = tile_grid(view.size[1], view.size[0])
    layers, channels = view.backgrounds.shape
    features = np.zeros((layers, down * sampling.SIDE, across * sampling.SIDE, channels - 3), np.float32)

    def look(tiles: Bool[Tensor, "Y X"] | None) -> Float[Tensor, "E h w C"]:
        asked = np.ones(down * across, bool) if tiles is None else tiles.numpy().ravel()
        with LOCK:
            sampling.sample(starts, rows, splats, view.backgrounds, asked, features, lanes)
        return torch.from_numpy(features)

    return view.choose(look).numpy().ravel()


def empty_pictures(view: View) -> Pictures:
    """Memory for colours, features, alphas and depths, E H W of each; what is in it is yet to come."""
    layers, channels = view.backgrounds.shape
    return Pictures(*(np.empty((layers, *view.size, count), np.float32) for count in (3, channels - 3, 1, 1)))
