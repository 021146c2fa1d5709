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

from moegs import harmonics, kernels
from moegs.cameras import Camera, pinhole
from moegs.gaussians import Gaussians
from moegs.kernels import LOCK
from moegs.rasterize import Choose, Layer, Look, RenderResult, refuse_other_types, tensors
from moegs.rasterize.cpu import compositing, counting, tiles
from moegs.rasterize.cpu.autograd import KERNELS, Composite, Project, View
from moegs.rasterize.cpu.sampling import SIDE


def rasterize(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> RenderResult:
    """All `layers` from one `camera`, as `moegs.rasterize.rasterize` promises.

    `means2d` has a row for every Gaussian of the layers in order, whether drawn or not. Raises ValueError for a tensor
    that is not float32.
    """
    camera = camera.to("cpu")
    refuse_other_types(layers, "cpu")
    layers = [_without_broken(layer) for layer in layers]
    view = _view(layers, camera, choose)
    means2d, footprints, depths, bounds, radii = _projected(layers, view)
    colors = _joined([_colors(layer.gaussians, camera) for layer in layers])
    features = _joined([_features(layer) for layer in layers])
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
    layers = [_without_broken(layer) for layer in layers]
    view = _view(layers, camera, None)
    backgrounds = view.backgrounds[:, 3:]
    channels = backgrounds.shape[1]
    missing = max(0, 3 - channels)
    view = replace(view, backgrounds=np.ascontiguousarray(np.pad(backgrounds, ((0, 0), (0, missing)))))
    with torch.no_grad():
        footing = _projected(layers, view)
    values = torch.nn.functional.pad(_joined([_features(layer) for layer in layers]), (0, missing))
    first, rest, *_ = Composite.apply(*footing, values[:, :3].contiguous(), values[:, 3:].contiguous(), view)
    return torch.cat([first, rest], dim=-1)[..., :channels] if channels != 3 else first


@torch.no_grad()
def count_pairs(layers: Sequence[Layer], camera: Camera) -> tuple[int, int, int, int]:
    """The numbers of `moegs.rasterize.pairs.Pairs`, in their order."""
    refuse_other_types(layers, "cpu")
    layers = [_without_broken(layer) for layer in layers]
    view = _view(layers, camera.to("cpu"), None)
    means2d, _, depths, bounds, radii = (array.numpy() for array in _projected(layers, view))
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


def _without_broken(layer: Layer) -> Layer:
    """The layer, with opacity 0 and zeros for every Gaussian that has a NaN or infinity anywhere.

    So it is not drawn, and neither its values nor its gradients can spread.
    """
    named = tensors(layer)
    if all(tensor.detach().sum().isfinite() for tensor in named.values()):
        return layer  # a sum is finite only if all are, and costs a tenth of asking each
    sound: Bool[Tensor, " N"] = torch.stack(
        [tensor.detach().isfinite().view(len(tensor), -1).all(1) for tensor in named.values()]
    ).all(0)
    mended = {
        name: torch.where(sound.view(-1, *[1] * (tensor.dim() - 1)), tensor, 0.0) for name, tensor in named.items()
    }
    features = mended.pop("features", None)
    return replace(layer, gaussians=replace(layer.gaussians, **mended), features=features)


def _projected(layers: Sequence[Layer], view: View) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centres, footprints, depths, bounds and radii of the layers' Gaussians, one after the other."""
    gaussians = [layer.gaussians for layer in layers]
    return Project.apply(
        _joined([g.means for g in gaussians]),
        _joined([g.quats for g in gaussians]),
        _joined([g.scales for g in gaussians]),
        _joined([g.opacities for g in gaussians]),
        view,
    )  # type: ignore[return-value]


def _joined(parts: list[Tensor]) -> Tensor:
    """The parts' rows one after the other, contiguous; nothing is copied where one part is so already."""
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).contiguous()


def _colors(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "N 3"]:
    if gaussians.sh.shape[1] == 1:
        return harmonics.color(gaussians.sh, gaussians.means)  # a constant: the direction does not count
    return harmonics.color(gaussians.sh, torch.nn.functional.normalize(gaussians.means - camera.center, dim=-1))


def _features(layer: Layer) -> Float[Tensor, "N C"]:
    return layer.gaussians.means.new_zeros(len(layer.gaussians), 0) if layer.features is None else layer.features


def _view(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> View:
    K = camera.K.detach()
    channels = _features(layers[0]).shape[1]
    backgrounds = np.zeros((len(layers), 3 + channels), np.float32)
    for row, layer in zip(backgrounds, layers, strict=True):
        if layer.background is not None:
            row[:3] = layer.background.detach().numpy()
        if layer.feature_background is not None:
            row[3:] = layer.feature_background.detach().numpy()
    settings = [[layer.lowpass.blur, layer.lowpass.compensated, layer.near, layer.far] for layer in layers]
    pixels = [K[0, 0], K[1, 1], K[0, 2], K[1, 2], camera.width, camera.height]
    return View(
        viewmat=np.ascontiguousarray(camera.viewmat.detach().numpy(), np.float32),
        intrinsics=np.array([float(value) for value in pixels], np.float32),
        size=(camera.height, camera.width),
        layer_of=np.repeat(np.arange(len(layers), dtype=np.int32), [len(layer.gaussians) for layer in layers]),
        settings=np.array(settings, np.float32),
        backgrounds=backgrounds,
        choose=choose,
    )
