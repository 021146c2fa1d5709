"""The one door to pictures of Gaussians: `rasterize` renders any number of experts in one pass.

The constants define the picture for both backends and for the float64 definition in the tests. They are those of
gsplat 1.5.3 (its 1.6.0 line caps alpha at 0.99).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from moegs.cameras import Camera
from moegs.gaussians import ALPHA_MIN as ALPHA_MIN
from moegs.gaussians import Gaussians, LowPass

ALPHA_MAX = 0.999
"""Alpha is capped here."""
TRANSMITTANCE_MIN = 1e-4
"""A pixel is finished before the Gaussian that would bring its transmittance to this or below; that one is left out."""
MAX_SIGMAS = 3.33
"""A Gaussian reaches min(this, sqrt(2 ln(opacity / ALPHA_MIN))) standard deviations along each image axis."""
JACOBIAN_MARGIN = 0.3
"""For the Jacobian alone, centres are clamped to the picture plus this share of the half field of view on each side."""

TILE = 16
"""Side of a tile, pixels: Gaussians are gathered tile by tile on both backends, from the picture's upper left."""

SAMPLE = 4
"""Pixels along each side of a square that has one sample in the first look."""

Backend = Literal["auto", "cpu", "cuda"]
Look = Callable[[Bool[Tensor, "Y X"] | None], Float[Tensor, "E h w C"]]
"""The features at one pixel of every SAMPLE x SAMPLE, over whole tiles: of the tiles asked for, all for None. What it
shows of the others means nothing."""
Choose = Callable[[Look], Bool[Tensor, "E Y X"]]
"""From a first look, as often as it likes, to which tiles of each layer are drawn."""
Stages = Mapping[str, Callable[[], object]]
"""The steps of a pass by name, in order; each can be run again and again."""


def tile_grid(width: int, height: int) -> tuple[int, int]:
    """How many rows and columns of tiles cover a picture."""
    return -(-height // TILE), -(-width // TILE)


def sampled(camera: Camera) -> Camera:
    """The camera whose pixels are the samples of the first look at `camera`'s picture, ray by ray."""
    rows, columns = tile_grid(camera.width, camera.height)
    K = camera.K / SAMPLE
    K[:2, 2] = (camera.K[:2, 2] - 0.5) / SAMPLE  # pixel i's centre, i + 0.5, is at SAMPLE i + SAMPLE / 2 + 0.5
    K[2, 2].fill_(1)  # what is assigned is copied from the host
    return replace(camera, K=K, width=columns * TILE // SAMPLE, height=rows * TILE // SAMPLE)


@dataclass(frozen=True)
class Layer:
    """One expert's Gaussians and how they are to be rendered."""

    gaussians: Gaussians
    features: Float[Tensor, "N C"] | None = None
    """More channels to composite with the colour's own footprint, router weights for one; None for no channels."""
    lowpass: LowPass = LowPass()
    near: float = 0.01
    """Gaussians whose centre is nearer than this along the camera's z are left out, world units."""
    far: float = 1e10
    """Likewise farther than this."""
    background: Float[Tensor, " 3"] | None = None
    """Colour behind everything; None is black."""
    feature_background: Float[Tensor, " C"] | None = None
    """Feature values behind everything; None is 0."""

    @property
    def channels(self) -> int:
        """How many feature channels it has."""
        return 0 if self.features is None else self.features.shape[1]


@dataclass(frozen=True)
class RenderResult:
    """What E experts look like from one camera; a single expert is the case E = 1."""

    images: Float[Tensor, "E H W 3"]
    """Colour over the background, not clamped."""
    features: Float[Tensor, "E H W C"]
    """The extra channels over their background."""
    alphas: Float[Tensor, "E H W 1"]
    """1 - transmittance."""
    depths: Float[Tensor, "E H W 1"]
    """Expected camera-space z, world units; 0 where nothing is hit."""
    means2d: Float[Tensor, "M 2"]
    """Projected centres, pixels; part of the graph, so that `retain_grad` gives density control its gradients."""
    radii: Int[Tensor, "M 2"]
    """Extent along the image axes, pixels; 0 for a Gaussian that is not drawn."""
    rows: Int[Tensor, " M"]
    """Which Gaussian of the concatenated layers each of the M is."""
    pairs: Int[Tensor, ""]
    """How many (Gaussian, tile) pairs were composited."""
    tiles: Bool[Tensor, "E Y X"] | None = None
    """Which tiles were drawn, where not all were asked for."""


def rasterize(
    layers: Sequence[Layer], camera: Camera, *, backend: Backend = "auto", choose: Choose | None = None
) -> RenderResult:
    """All `layers` from one `camera` in one pass, each with a transmittance of its own.

    `choose` may have a first look and says which tiles are drawn; elsewhere a layer shows what is behind everything.

    Equal to E separate calls with one layer each. Differentiable in means, quats, scales, opacities, sh and features.
    A Gaussian with a NaN or infinity anywhere is left out. "auto" follows the device of the tensors.

    Raises ValueError for no layers, for tensors whose rows do not belong together, for layers with different numbers of
    feature channels, or for a backend that is unknown or cannot run here.
    """
    draw = backend_for(layers, backend).rasterize
    if choose is None:
        return draw(layers, camera, None)
    chosen: list[Bool[Tensor, "E Y X"]] = []

    def noted(look: Look) -> Bool[Tensor, "E Y X"]:
        chosen.append(choose(look))
        grid = (len(layers), *tile_grid(camera.width, camera.height))
        if chosen[0].shape != grid:
            raise ValueError(f"rasterize: tiles of shape {tuple(chosen[0].shape)} were chosen, there are {grid}")
        return chosen[0]

    return replace(draw(layers, camera, noted), tiles=chosen[0])


def splat(layers: Sequence[Layer], camera: Camera, *, backend: Backend = "auto") -> Float[Tensor, "E H W C"]:
    """The `features` that `rasterize` gives, without the colours: for a router that learns over known pictures.

    Differentiable in the features alone. Raises ValueError as `rasterize` does.
    """
    found = backend_for(layers, backend)
    if not layers[0].channels:
        return layers[0].gaussians.means.new_zeros(len(layers), camera.height, camera.width, 0)
    return found.splat(layers, camera)


@torch.no_grad()
def stages(layers: Sequence[Layer], camera: Camera) -> Stages:
    """The steps of `rasterize` without gradients, as far as the backend of the tensors' device can part them.

    They are for measuring, on layers without NaN or infinity; call them without gradients. Raises ValueError as
    `rasterize` does.
    """
    backend = backend_for(layers, "auto")
    return import_module(f"{backend.__name__}.stages").stages(layers, camera)


def backend_for(layers: Sequence[Layer], backend: Backend) -> ModuleType:
    """The module that renders `layers`; raises ValueError where `rasterize` says so."""
    if not layers:
        raise ValueError("rasterize: no layers given; pass at least one")
    channels = {layer.channels for layer in layers}
    if len(channels) > 1:
        raise ValueError(
            f"rasterize: layers with {sorted(channels)} feature channels; give all of them the same number"
        )
    for layer in layers:
        _refuse_misshapen(layer)
    if backend == "auto":
        backend = "cuda" if layers[0].gaussians.means.is_cuda else "cpu"
    if backend not in ("cpu", "cuda"):
        raise ValueError(f"rasterize: backend '{backend}'; choose auto, cpu or cuda")
    if backend == "cuda" and not torch.cuda.is_available():
        raise ValueError("rasterize: backend 'cuda' needs a CUDA GPU and a CUDA build of torch; use --device cpu")
    return import_module(f"moegs.rasterize.{backend}")


def tensors(layer: Layer) -> dict[str, Tensor]:
    """What has a row for each Gaussian of the layer, by name."""
    named = {f.name: getattr(layer.gaussians, f.name) for f in fields(Gaussians) if f.name != "rows"}
    return named if layer.features is None else named | {"features": layer.features}


def features_of(layer: Layer) -> Float[Tensor, "N C"]:
    """The features of the layer; no channels for None."""
    return layer.gaussians.means.new_zeros(len(layer.gaussians), 0) if layer.features is None else layer.features


def refuse_other_types(layers: Sequence[Layer], device: Literal["cpu", "cuda"], halves: bool = False) -> None:
    """Raises ValueError for a tensor that the backend of `device` does not take; with `halves`, it takes `sh` in half
    precision too."""
    for layer in layers:
        for name, tensor in tensors(layer).items():
            half = halves and name == "sh" and tensor.dtype == torch.float16
            if not (half or tensor.dtype == torch.float32) or tensor.device.type != device:
                raise ValueError(
                    f"rasterize: {name} is {tensor.dtype} on {tensor.device}; the {device.upper()} backend takes "
                    f"torch.float32 on {device}"
                )


def _refuse_misshapen(layer: Layer) -> None:
    g = layer.gaussians
    n, bases = len(g), g.sh.shape[1] if g.sh.ndim == 3 else 0
    wanted = {"means": (n, 3), "quats": (n, 4), "scales": (n, 3), "opacities": (n,), "sh": (n, bases, 3)}
    for name, shape in wanted.items():
        if (got := tuple(getattr(g, name).shape)) != shape:
            raise ValueError(f"rasterize: {name} of shape {got}, expected {shape} for {n} Gaussians")
    if bases not in (1, 4, 9, 16):
        raise ValueError(f"rasterize: sh with {bases} bases, expected 1, 4, 9 or 16")
    if layer.features is not None and len(layer.features) != n:
        raise ValueError(f"rasterize: features of {len(layer.features)} rows for {n} Gaussians")
