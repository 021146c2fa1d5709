"""The steps of one pass, each to be run by itself over what those before it made: for the benchmark."""

from collections.abc import Sequence
from functools import cache

import numba
import numpy as np
import torch

from moegs.cameras import Camera
from moegs.kernels import LOCK
from moegs.rasterize import Layer, Stages, features_of
from moegs.rasterize.cpu import compositing, tiles
from moegs.rasterize.cpu.autograd import MAX_LANES, empty_pictures
from moegs.rasterize.cpu.compositing import Pictures
from moegs.rasterize.cpu.layers import colors_of, joined, projected, view_of


def stages(layers: Sequence[Layer], camera: Camera) -> Stages:
    """Projection with the colours' harmonics, lists per tile with their sort, blending."""
    camera = camera.to("cpu")
    view, lanes = view_of(layers, camera, None), min(numba.get_num_threads(), MAX_LANES)
    shape = (len(layers), *view.size)

    def project() -> tuple[torch.Tensor, ...]:
        colors = joined([colors_of(layer.gaussians, camera) for layer in layers])
        features = joined([features_of(layer) for layer in layers])
        return *projected(layers, view), colors, features

    @cache
    def footing() -> list[np.ndarray]:
        return [tensor.numpy() for tensor in project()]

    def bin_and_sort() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        means2d, footprints, depths, bounds, radii, colors, features = footing()
        with LOCK:
            order = tiles.depth_order(depths, radii)
            starts, rows = tiles.bin_by_tile(order, means2d, bounds, view.layer_of, shape, lanes)
            return starts, rows, compositing.pack(means2d, footprints, bounds, colors, features, depths)

    listed = cache(bin_and_sort)

    def composite() -> Pictures:
        starts, rows, splats = listed()
        pictures, live = empty_pictures(view), np.ones(len(starts) - 1, bool)
        with LOCK:
            compositing.composite(starts, rows, splats, view.backgrounds, live, pictures, lanes)
        return pictures

    return {"project": project, "bin+sort": bin_and_sort, "composite": composite}
