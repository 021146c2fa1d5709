"""Whole frames, from a camera and a time to a picture: as published, in one pass, and with what makes it faster."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Float
from torch import Tensor

from moegs.acceleration import Acceleration
from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.rasterize import Layer, RenderResult, rasterize, splat
from moegs.router import Seen, gates

Frame = Callable[[], Float[Tensor, "H W 3"]]


@dataclass(frozen=True)
class View:
    """What all frames of one run have in common."""

    camera: Camera
    t: float
    skip_below: float
    """The threshold of the gated ones."""
    acceleration: Acceleration = Acceleration()
    """Of its parts, those that are measured too, each by itself."""


@dataclass(frozen=True)
class Options:
    """What makes a frame faster; with none of it, networks are evaluated for each and all Gaussians are drawn."""

    gated: bool = False
    culled: bool = False
    """Gaussians that sleep are left out."""
    cached: bool = False
    """The Gaussians of this time are there already."""
    acceleration: Acceleration = Acceleration()


OPTIONS = {
    "one-pass": Options(),
    "gated": Options(gated=True),
    "culled": Options(culled=True),
    "cached": Options(cached=True),
    "exact": Options(culled=True, cached=True),
    "all": Options(gated=True, culled=True, cached=True),
}
"""`exact`: all that changes no picture, which is what the viewer does without being told."""

ACCELERATED = {
    "graph": Options(culled=True, cached=True, acceleration=Acceleration(cuda_graph=True)),
    "graph-gated": Options(gated=True, culled=True, cached=True, acceleration=Acceleration(cuda_graph=True)),
    "half": Options(culled=True, cached=True, acceleration=Acceleration(half=True)),
    "compiled": Options(culled=True, acceleration=Acceleration(compile=True)),
}
"""Ways that are measured where their acceleration is asked for."""


def frames(mixture: Mixture, view: View) -> dict[str, Frame]:
    """Each way to a frame of `mixture` that there is, by name: `separate` and `combined` where a router is splatted."""
    ways: dict[str, Frame] = {}
    if can_be_parted(mixture):
        ways["separate"] = lambda: _blended(mixture, view, separate)
        ways["combined"] = lambda: _blended(mixture, view, combined)
    asked = {name: options for name, options in ACCELERATED.items() if _among(options, view.acceleration)}
    for name, options in (OPTIONS | asked).items():
        if not options.gated or can_be_parted(mixture):
            ways[name] = frame(mixture, view, options)
    return ways


def frame(mixture: Mixture, view: View, options: Options) -> Frame:
    """The frame of `mixture` with `options`, which keeps its own instants."""
    own = deepcopy(mixture.twin()) if options.acceleration.compile else mixture.twin()
    options.acceleration.apply(own)
    skip_below = view.skip_below if options.gated else 0.0

    def draw() -> Float[Tensor, "H W 3"]:
        if not options.cached:
            own.instants.forget()
        with culling(own, options.culled):
            return own.render(view.camera, view.t, skip_below=skip_below).picture

    return draw


def _among(options: Options, asked: Acceleration) -> bool:
    """Whether all that `options` accelerate with is `asked` for."""
    return all(getattr(asked, f.name) >= getattr(options.acceleration, f.name) for f in fields(Acceleration))


def can_be_parted(mixture: Mixture) -> bool:
    """Whether the router judges by splatted channels alone: by passes of their own, and by a first look."""
    return mixture.router is not None and mixture.router.sees_features_alone


@contextmanager
def culling(mixture: Mixture, culled: bool) -> Iterator[None]:
    """Whether the experts leave out what sleeps in the block."""
    before = [expert.culled for expert in mixture.members]
    for expert in mixture.members:
        expert.culled = culled
    try:
        yield
    finally:
        for expert, value in zip(mixture.members, before, strict=True):
            expert.culled = value


def layers_at(mixture: Mixture, t: float, culled: bool) -> list[Layer]:
    """The layers of `mixture`, evaluated now."""
    own = mixture.twin()
    with torch.no_grad(), culling(mixture, culled):
        return own.layers(own.at(t), t)


def separate(layers: list[Layer], camera: Camera) -> tuple[Tensor, Tensor]:
    """Pictures and router channels by a pass each for every expert, as published.

    On a GPU the pass of the channels draws colours too: the kernels there have no pass without.
    """
    images = [rasterize([colors_of(layer)], camera).images for layer in layers]
    if layers[0].gaussians.means.is_cuda:
        features = [rasterize([layer], camera).features for layer in layers]
    else:
        features = [splat([layer], camera) for layer in layers]
    return torch.cat(images), torch.cat(features)


def combined(layers: list[Layer], camera: Camera) -> tuple[Tensor, Tensor]:
    """Pictures and router channels by one pass for each expert."""
    results: list[RenderResult] = [rasterize([layer], camera) for layer in layers]
    return torch.cat([result.images for result in results]), torch.cat([result.features for result in results])


def colors_of(layer: Layer) -> Layer:
    """The layer without the router's channels."""
    return replace(layer, features=None, feature_background=None)


Passes = Callable[[list[Layer], Camera], tuple[Tensor, Tensor]]


def _blended(mixture: Mixture, view: View, passes: Passes) -> Float[Tensor, "H W 3"]:
    """The mixture's picture, blended from the pictures and channels that `passes` draw."""
    assert mixture.router is not None, "there is a router to part from its experts"
    layers = layers_at(mixture, view.t, culled=False)
    images, features = passes(layers, view.camera)
    logits = mixture.router.judge(Seen(layers, images, features, view.camera, view.t)).logits
    return (gates(logits, mixture.temperature)[..., None] * images).sum(0)
