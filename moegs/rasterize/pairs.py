"""How much a picture is to evaluate: pairs of Gaussian and pixel or tile, with tight spans and with squares."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from moegs.cameras import Camera
from moegs.rasterize import Layer, backend_for, tensors


@dataclass(frozen=True)
class Pairs:
    """Of all Gaussians that are drawn, none of them hidden behind others."""

    tight_pixels: int
    """Pixels whose centre lies where the Gaussian's alpha is at least ALPHA_MIN."""
    tight_tiles: int
    """Tiles that list the Gaussian."""
    square_pixels: int
    """Pixels whose centre lies in the square around three standard deviations of the longest axis, as 3D Gaussian
    Splatting has it for every opacity."""
    square_tiles: int
    """Tiles that it lists the Gaussian in."""


def count_pairs(layers: Sequence[Layer], camera: Camera) -> Pairs:
    """The pairs of all `layers` from one `camera`; counted on the CPU, whatever device they are on.

    Raises ValueError as `rasterize` does.
    """
    layers = [_on_cpu(layer) for layer in layers]
    return Pairs(*backend_for(layers, "cpu").count_pairs(layers, camera))


def _on_cpu(layer: Layer) -> Layer:
    moved = {name: tensor.detach().cpu() for name, tensor in tensors(layer).items()}
    backgrounds = {
        name: None if value is None else value.detach().cpu()
        for name, value in (("background", layer.background), ("feature_background", layer.feature_background))
    }
    features = moved.pop("features", None)
    return replace(layer, gaussians=replace(layer.gaussians, **moved), features=features, **backgrounds)
