"""The one door to pictures of Gaussians: `rasterize` renders any number of experts in one pass.

The constants define the picture for both backends and for the float64 definition in the tests. They are those of
gsplat 1.5.3 (its 1.6.0 line caps alpha at 0.99).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from moegs.cameras import Camera
from moegs.gaussians import Gaussians, LowPass

ALPHA_MIN = 1 / 255
"""A Gaussian adds nothing to a pixel below this alpha."""
ALPHA_MAX = 0.999
"""Alpha is capped here."""
TRANSMITTANCE_MIN = 1e-4
"""A pixel is finished before the Gaussian that would bring its transmittance to this or below; that one is left out."""
MAX_SIGMAS = 3.33
"""A Gaussian reaches min(this, sqrt(2 ln(opacity / ALPHA_MIN))) standard deviations along each image axis."""
JACOBIAN_MARGIN = 0.3
"""For the Jacobian alone, centres are clamped to the picture plus this share of the half field of view on each side."""

Backend = Literal["auto", "cpu", "cuda"]


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


def rasterize(layers: Sequence[Layer], camera: Camera, *, backend: Backend = "auto") -> RenderResult:
    """All `layers` from one `camera` in one pass, each with a transmittance of its own.

    Equal to E separate calls with one layer each. Differentiable in means, quats, scales, opacities, sh and features.
    A Gaussian with a NaN or infinity anywhere is left out. "auto" follows the device of the tensors.

    Raises ValueError for no layers, for layers with different numbers of feature channels, or for a backend that is
    unknown or cannot run here.
    """
    return _backend(layers, backend).rasterize(layers, camera.to(layers[0].gaussians.means.device))


def splat(layers: Sequence[Layer], camera: Camera, *, backend: Backend = "auto") -> Float[Tensor, "E H W C"]:
    """The `features` that `rasterize` gives, without the colours: for a router that learns over known pictures.

    Differentiable in the features alone. Raises ValueError as `rasterize` does.
    """
    found = _backend(layers, backend)
    if not _channels(layers[0]):
        return layers[0].gaussians.means.new_zeros(len(layers), camera.height, camera.width, 0)
    return found.splat(layers, camera.to(layers[0].gaussians.means.device))


def _channels(layer: Layer) -> int:
    return 0 if layer.features is None else layer.features.shape[1]


def _backend(layers: Sequence[Layer], backend: Backend) -> ModuleType:
    """The module that renders `layers`."""
    if not layers:
        raise ValueError("rasterize: no layers given; pass at least one")
    channels = {_channels(layer) for layer in layers}
    if len(channels) > 1:
        raise ValueError(
            f"rasterize: layers with {sorted(channels)} feature channels; give all of them the same number"
        )
    if backend == "auto":
        backend = "cuda" if layers[0].gaussians.means.is_cuda else "cpu"
    if backend not in ("cpu", "cuda"):
        raise ValueError(f"rasterize: backend '{backend}'; choose auto, cpu or cuda")
    if backend == "cuda" and not torch.cuda.is_available():
        raise ValueError("rasterize: backend 'cuda' needs a CUDA GPU and a CUDA build of torch; use --device cpu")
    return import_module(f"moegs.rasterize.{backend}")
