"""Pictures without gradients: our own kernels, a handful of launches for all layers.

gsplat's steps are made for training: between them stand dozens of small torch operations, which take the host longer
than the pictures take the GPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from moegs.cameras import Camera
from moegs.rasterize import Choose, Layer, RenderResult, features_of
from moegs.rasterize.cuda.batches import stacked
from moegs.rasterize.cuda.native import kernels

MAX_FEATURES = 4
"""Channels beside colour and depth that the kernels have room for."""


@dataclass(frozen=True)
class Room:
    """For how many (Gaussian, tile) pairs each picture has room, in place of the host waiting for their number."""

    pairs: int | None
    """None: as many as there are, which the host waits for."""
    needed: list[Int[Tensor, " 1"]] = field(default_factory=list)
    """Of each picture so far: where there were more than `pairs`, it is wrong; negative: more than can be counted."""


_ROOM: ContextVar[Room | None] = ContextVar("room", default=None)


@contextmanager
def room_for(pairs: int | None) -> Iterator[Room]:
    """The room that pictures drawn in the block have."""
    room = Room(pairs)
    before = _ROOM.set(room)
    try:
        yield room
    finally:
        _ROOM.reset(before)


def draw(layers: Sequence[Layer], camera: Camera, choose: Choose | None) -> RenderResult:
    """All `layers` from one `camera`; float32 on one GPU, at most MAX_FEATURES channels.

    `means2d` has a row for every Gaussian of the layers in order, whether drawn or not.
    """
    backgrounds, behind = backdrops(layers)
    room = _ROOM.get()
    prepared = prepare(kernels(), layers, camera, room and room.pairs)
    if room is not None:
        room.needed.append(prepared.needed)
    live = None if choose is None else choose(lambda tiles: prepared.sample(behind)).contiguous()
    images, features, alphas, depths, pairs = prepared.composite(backgrounds, behind, live)
    rows = torch.arange(len(prepared.means2d), device=prepared.means2d.device)
    return RenderResult(images, features, alphas, depths, prepared.means2d, prepared.radii, rows, pairs)


def backdrops(layers: Sequence[Layer]) -> tuple[Float[Tensor, "E 3"], Float[Tensor, "E C"]]:
    """What lies behind the colours and behind the features of each of `layers`."""
    example = layers[0].gaussians.means
    backgrounds = stacked([layer.background for layer in layers], 3, example)
    return backgrounds, stacked([layer.feature_background for layer in layers], layers[0].channels, example)


def prepare(native: Any, layers: Sequence[Layer], camera: Camera, pairs: int | None) -> Any:
    """What the kernels `native` call Prepared: the splats of all `layers`, and each tile's list of them.

    `pairs`: as in `Room`.
    """
    where = lens(camera, layers[0].gaussians.means.device)
    return native.prepare([_as_taken(layer, native) for layer in layers], where, pairs)


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


def lens(camera: Camera, device: torch.device) -> object:
    """The camera as the kernels on `device` read it: its numbers in that device's memory.

    The host does not wait, whether they come from the CPU or lie there already.
    """
    return kernels().Lens(camera.viewmat, camera.K, camera.width, camera.height, device)


def _as_taken(layer: Layer, native: Any) -> object:
    g, lowpass = layer.gaussians, layer.lowpass
    tensors = g.means, g.quats, g.scales, g.opacities, g.sh, features_of(layer)
    return native.Layer(*tensors, lowpass.blur, layer.near, layer.far, lowpass.compensated)
