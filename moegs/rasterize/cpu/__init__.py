"""The rasterizer for machines without a GPU: numba kernels with gradients of their own, for `moegs.rasterize`.

Projection, one sort by depth and lists per tile, blending: a file for each and for the gradients of each. autograd.py
makes two differentiable steps of them, `moegs.kernels` says how they are compiled. Backgrounds and cameras have no
gradient. Equal input gives equal bits for an equal number of threads.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moegs import kernels
from moegs.cameras import Camera, pinhole
from moegs.gaussians import Gaussians
from moegs.kernels import LOCK
from moegs.rasterize import Choose, Layer, Look, RenderResult, features_of, refuse_other_types
from moegs.rasterize.cpu import compositing, counting, tiles
from moegs.rasterize.cpu.autograd import KERNELS, Composite
from moegs.rasterize.cpu.layers import colors_of, joined, projected, view_of, without_broken
from moegs.rasterize.cpu.sampling import SIDE


def rasterize(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> RenderResult:
    """All `layers` from one `camera`, as `moegs.rasterize.rasterize` promises.

    `means2d` has a row for every Gaussian of the layers in order, whether drawn or not. Raises ValueError for a tensor
    that is not float32.
    """
    camera = camera.to("cpu")
    refuse_other_types(layers, "cpu")
    layers = [without_broken(layer) for layer in layers]
    view = view_of(layers, camera, choose)
    means2d, footprints, depths, bounds, radii = projected(layers, view)
    colors = joined([colors_of(layer.gaussians, camera) for layer in layers])
    features = joined([features_of(layer) for layer in layers])
    images, features, alphas, depths, pairs = Composite.apply(
        means2d, footprints, depths, bounds, radii, colors, features, view
    )
    return RenderResult(images, features, alphas, depths, means2d, radii, torch.arange(len(means2d)), pairs)


def splat(layers: Sequence[Layer], camera: Camera) -> Float[Tensor, "E H W C"]:
    """The features of all `layers` from one `camera`, as `moegs.rasterize.splat` promises.

    The first three channels take the colours' place, since a kernel without colours would be one more to keep.
    """
    camera = camera.to("cpu")
    refuse_other_types(layers, "cpu")
    layers = [without_broken(layer) for layer in layers]
    view = view_of(layers, camera, None)
    backgrounds = view.backgrounds[:, 3:]
    channels = backgrounds.shape[1]
    missing = max(0, 3 - channels)
    view = replace(view, backgrounds=np.ascontiguousarray(np.pad(backgrounds, ((0, 0), (0, missing)))))
    with torch.no_grad():
        footing = projected(layers, view)
    values = torch.nn.functional.pad(joined([features_of(layer) for layer in layers]), (0, missing))
    first, rest, *_ = Composite.apply(*footing, values[:, :3].contiguous(), values[:, 3:].contiguous(), view)
    return torch.cat([first, rest], dim=-1)[..., :channels] if channels != 3 else first


@torch.no_grad()
def count_pairs(layers: Sequence[Layer], camera: Camera) -> tuple[int, int, int, int]:
    """The numbers of `moegs.rasterize.pairs.Pairs`, in their order."""
    refuse_other_types(layers, "cpu")
    layers = [without_broken(layer) for layer in layers]
    view = view_of(layers, camera.to("cpu"), None)
    means2d, _, depths, bounds, radii = (array.numpy() for array in projected(layers, view))
    height, width = view.size
    with LOCK:
        order = tiles.depth_order(depths, radii)
        starts, _ = tiles.bin_by_tile(order, means2d, bounds, view.layer_of, (len(layers), height, width), 1)
        pixels, square_pixels, square_tiles = counting.count(order, means2d, bounds, width, height)
    return pixels, int(starts[-1]), square_pixels, square_tiles


def warm_up() -> None:
    """Compiles every kernel, or loads it from numba's cache; seconds the first time, less than one later."""
    one = Gaussians(
        means=torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
        scales=torch.full((1, 3), 0.1),
        opacities=torch.full((1,), 0.5),
        sh=torch.zeros(1, 1, 3),
    )
    with torch.enable_grad():  # whatever the caller has set
        rasterize([Layer(one)], pinhole(8, 8, 8.0), _everywhere).images.sum().backward()


def _everywhere(look: Look) -> Bool[Tensor, "E Y X"]:
    seen = look(None)
    return torch.ones(len(seen), seen.shape[1] // SIDE, seen.shape[2] // SIDE, dtype=torch.bool)


def start_threads() -> None:
    """Starts numba's threads, so that it can tell which threading layer it found."""
    with LOCK:
        kernels.touch(np.zeros(1, np.int64))


def is_compiled() -> bool:
    """Whether every kernel is compiled: a first picture then comes at once. Compiles nothing."""
    return all(kernels.is_compiled(kernel) for kernel in KERNELS)


def can_draw() -> bool:
    """Whether a picture that nothing learns from comes at once. Compiles nothing."""
    return kernels.is_compiled(compositing.composite)


def cache_state() -> str:
    """Whether the kernels are compiled, and where they are kept; compiles nothing."""
    folder = KERNELS[0].stats.cache_path
    return f"kernels compiled in {folder}" if is_compiled() else f"kernels not compiled yet, to be kept in {folder}"
