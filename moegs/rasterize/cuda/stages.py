"""The steps of one pass, each to be run by itself over what those before it made: for the benchmark."""

from collections.abc import Sequence
from functools import cache, partial

from moegs.cameras import Camera
from moegs.rasterize import Layer, Stages
from moegs.rasterize.cuda import pictures
from moegs.rasterize.cuda.native import kernels


def stages(layers: Sequence[Layer], camera: Camera) -> Stages:
    """Two: our kernels project, list and sort in one call of the host."""
    backgrounds, behind = pictures.backdrops(layers)
    prepare = partial(pictures.prepare, kernels(), layers, camera, None)
    prepared = cache(prepare)
    return {
        "project+bin+sort": prepare,
        "composite": lambda: prepared().composite(backgrounds, behind, None),
    }
