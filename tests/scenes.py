"""Tiny made scenes."""

import math
from collections.abc import Sequence
from dataclasses import replace

import reference
import torch
from torch import Tensor
from torch.testing import assert_close

from moegs import cameras, harmonics
from moegs.cameras import Camera
from moegs.gaussians import Gaussians
from moegs.rasterize import Choose, Layer, RenderResult, rasterize

FIELDS = ("means", "quats", "scales", "opacities", "sh")
PICTURES = ("images", "features", "alphas", "depths")
ROUNDING = 2e-5
"""float32 carries 6e-8 of each of a few dozen terms, and exp its own 1e-6; depths (2 to 4 units) four times that."""


def pinhole(width: int, height: int) -> Camera:
    """A camera at the origin that looks along z over 53 degrees from side to side."""
    return cameras.pinhole(width, height, focal=float(width))


def tilted(width: int, height: int) -> Camera:
    """A camera beside the origin, turned about a skew axis, with its principal point off the middle."""
    center = torch.tensor([0.3, -0.2, -0.4])
    viewmat = cameras.look_at(center, torch.tensor([0.1, 0.0, 3.0]), torch.tensor([0.2, -1.0, 0.1]))
    K = torch.tensor([[1.1 * width, 0.0, 0.45 * width], [0.0, 1.2 * width, 0.6 * height], [0.0, 0.0, 1.0]])
    return Camera(viewmat, K, width, height)


def blobs(n: int, seed: int, degree: int = 1) -> Gaussians:
    """`n` Gaussians of all shapes and colours before `pinhole` and `tilted`, 2 to 4 units away, 0.1 to 0.6 opaque."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    z = uniform(2, 4, n, 1)
    return Gaussians(
        means=torch.cat([uniform(-0.4, 0.4, n, 1) * z, uniform(-0.3, 0.3, n, 1) * z, z], dim=1),
        quats=torch.randn(n, 4, generator=generator),
        scales=uniform(math.log(0.05), math.log(0.5), n, 3).exp(),
        opacities=uniform(0.1, 0.6, n),
        sh=uniform(-0.5, 0.5, n, harmonics.count(degree), 3),
    )


def learnable(gaussians: Gaussians) -> Gaussians:
    """Fresh leaves of the autograd graph with the same values."""
    return replace(gaussians, **{name: getattr(gaussians, name).detach().clone().requires_grad_() for name in FIELDS})


def draw(layers: Sequence[Layer], camera: Camera, backend: str, choose: Choose | None = None) -> RenderResult:
    """What `rasterize` gives on `backend`; tensors come from the CPU, and the result's pictures go back to it."""
    moved = [
        replace(
            layer,
            gaussians=replace(layer.gaussians, **{name: getattr(layer.gaussians, name).to(backend) for name in FIELDS}),
            features=None if layer.features is None else layer.features.to(backend),
        )
        for layer in layers
    ]
    result = rasterize(moved, camera.to(backend), backend=backend, choose=choose)  # type: ignore[arg-type]
    return replace(result, **{name: getattr(result, name).cpu() for name in PICTURES})


def featured(n: int, seed: int, channels: int = 2, degree: int = 1, **options: object) -> Layer:
    """A layer of blobs with feature channels over coloured backgrounds."""
    generator = torch.Generator().manual_seed(seed + 1000)
    return Layer(
        blobs(n, seed, degree),
        features=torch.randn(n, channels, generator=generator),
        background=torch.rand(3, generator=generator),
        feature_background=torch.rand(channels, generator=generator),
        **options,  # type: ignore[arg-type]
    )


def scalar(pictures: list[Tensor]) -> Tensor:
    """A sum of all pictures with weights drawn once, so that no two errors cancel."""
    generator = torch.Generator().manual_seed(77)
    return sum((p * torch.randn(p.shape, generator=generator).to(p)).sum() for p in pictures)  # type: ignore[return-value]


def assert_defined(result: RenderResult, layers: list[Layer], camera: Camera) -> None:
    """That every picture of `result` is what the definition gives."""
    for e, layer in enumerate(layers):
        expected = reference.render(layer, camera)
        for name, array in zip(
            PICTURES, (expected.image, expected.features, expected.alpha, expected.depth), strict=True
        ):
            picture = getattr(result, name)[e].detach().double()
            assert_close(picture, torch.from_numpy(array), atol=4 * ROUNDING if name == "depths" else ROUNDING, rtol=0)
