"""Layers as the kernels take them: without what is broken, all Gaussians one after the other."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moegs import harmonics
from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.rasterize import Choose, Layer, tensors
from moegs.rasterize.cpu.autograd import Project, View


def without_broken(layer: Layer) -> Layer:
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


def projected(layers: Sequence[Layer], view: View) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Centres, footprints, depths, bounds and radii of the layers' Gaussians, one after the other."""
    gaussians = [layer.gaussians for layer in layers]
    return Project.apply(
        joined([g.means for g in gaussians]),
        joined([g.quats for g in gaussians]),
        joined([g.scales for g in gaussians]),
        joined([g.opacities for g in gaussians]),
        view,
    )  # type: ignore[return-value]


def joined(parts: list[Tensor]) -> Tensor:
    """The parts' rows one after the other, contiguous; nothing is copied where one part is so already."""
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).contiguous()


def colors_of(gaussians: Gaussians, camera: Camera) -> Float[Tensor, "N 3"]:
    """The colour of each, RGB, as `camera` sees it."""
    if gaussians.sh.shape[1] == 1:
        return harmonics.color(gaussians.sh, gaussians.means)  # a constant: the direction does not count
    return harmonics.color(gaussians.sh, torch.nn.functional.normalize(gaussians.means - camera.center, dim=-1))


def view_of(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> View:
    """What all Gaussians of the layers share, from a `camera` on the CPU."""
    K = camera.K.detach()
    channels = layers[0].channels
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
