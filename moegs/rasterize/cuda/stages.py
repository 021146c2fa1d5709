"""The steps of one pass, each to be run by itself over what those before it made: for the benchmark."""

from collections.abc import Sequence
from functools import cache

from moegs.cameras import Camera
from moegs.rasterize import Layer, Stages
from moegs.rasterize.cuda import pictures
from moegs.rasterize.cuda.native import kernels


def stages(layers: Sequence[Layer], camera: Camera) -> Stages:
    """Two: our kernels project, list and sort in one call of the host."""
    native, example = kernels(), layers[0].gaussians.means
    channels = 0 if layers[0].features is None else layers[0].features.shape[1]
    backgrounds = pictures._stacked([layer.background for layer in layers], 3, example)
    behind = pictures._stacked([layer.feature_background for layer in layers], channels, example)

    def prepare() -> object:
        lens = pictures.lens(camera, example.device)
        return native.prepare([pictures._native(layer, native) for layer in layers], lens, None)

    prepared = cache(prepare)
    return {
        "project+bin+sort": prepare,
        "composite": lambda: prepared().composite(backgrounds, behind, None),  # type: ignore[attr-defined]
    }
