"""What is timed of one mixture from one camera at one time: stages, passes, whole frames, its members alone."""

from collections.abc import Callable, Mapping

import cv2
import torch

from moegs.benchmark.frames import (
    OPTIONS,
    Frame,
    View,
    can_be_parted,
    colors_of,
    combined,
    culling,
    frame,
    layers_at,
    separate,
)
from moegs.benchmark.timing import Contenders
from moegs.mixture import Mixture, blend
from moegs.rasterize import Layer, rasterize, stages
from moegs.router import Seen, gates
from moegs.router.gating import Gate
from moegs.views import Pixels, to_pixels

JPEG_QUALITY = 75

Named = dict[str, Callable[[], object]]


@torch.no_grad()
def contenders(mixture: Mixture, view: View, ways: Mapping[str, Frame]) -> Contenders:
    """All of them by name; `ways` are the frames of the mixture, which are timed up to their 8-bit pixels.

    `deform:NAME`, the rasterizer's own stages, `gate`, `blend`, `pixels`, `encode`; `pass:`, the rasterizer alone;
    `frame:`, from a camera to pixels, and `served`, to the bytes of a JPEG; `member:NAME`, an expert alone at a kept
    instant, `member-live:NAME`, its networks evaluated anew; `culled:NAME` and `unculled:NAME`, an expert deformed and
    projected.
    """
    layers = layers_at(mixture, view.t, culled=True)
    return {
        **{f"deform:{name}": _deform(mixture, number, view) for number, name in enumerate(mixture.names)},
        **stages(layers, view.camera),
        **_afterwards(mixture, layers, view),
        **_passes(mixture, layers, view),
        **{f"frame:{name}": pixels_of(way) for name, way in ways.items()},
        "served": lambda: _jpeg(to_pixels(ways["exact"]())),
        **_members(mixture, view),
        **_sleepers(mixture, view),
    }


def members(mixture: Mixture, view: View) -> dict[str, Frame]:
    """Each expert's own frame at a kept instant, exact; none for one alone, whose frame is the mixture's."""
    everyone = enumerate(mixture.names if mixture.router is not None else ())
    return {name: frame(mixture.alone(number), view, OPTIONS["exact"]) for number, name in everyone}


def _members(mixture: Mixture, view: View) -> Named:
    found: Named = {f"member:{name}": pixels_of(way) for name, way in members(mixture, view).items()}
    for number, name in enumerate(mixture.names if found else ()):
        found[f"member-live:{name}"] = pixels_of(frame(mixture.alone(number), view, OPTIONS["culled"]))
    return found


def _deform(mixture: Mixture, number: int, view: View) -> Callable[[], object]:
    return lambda: mixture.members[number].at(view.t)


def _afterwards(mixture: Mixture, layers: list[Layer], view: View) -> Named:
    """What follows the rasterizer."""
    whole = rasterize(layers, view.camera)
    router, found = mixture.router, {}
    picture = whole.images[0]
    if router is not None:
        seen = Seen(layers, whole.images, whole.features, view.camera, view.t)
        share = gates(router.judge(seen).logits, mixture.temperature)
        picture, *_ = blend(share, whole)
        found["gate"] = lambda: gates(router.judge(seen).logits, mixture.temperature)
        if router.blends:
            found["blend"] = lambda: blend(share, whole)
    pixels = to_pixels(picture)
    return found | {"pixels": lambda: to_pixels(picture), "encode": lambda: _jpeg(pixels)}


def _passes(mixture: Mixture, layers: list[Layer], view: View) -> Named:
    """The rasterizer alone, at a kept instant."""
    found: Named = {"pass:one": lambda: rasterize(layers, view.camera)}
    if not can_be_parted(mixture):
        return found
    assert mixture.router is not None, "it can be parted"
    gate = Gate(mixture.router, view.camera, mixture.temperature, None, "renormalize", view.skip_below)
    return found | {
        "pass:separate": lambda: separate(layers, view.camera),
        "pass:combined": lambda: combined(layers, view.camera),
        "pass:gated": lambda: rasterize(layers, view.camera, choose=gate),
    }


def _sleepers(mixture: Mixture, view: View) -> Named:
    """Deformation and projection of the experts of which something sleeps, with and without those that do."""
    found: Named = {}
    for number, name in enumerate(mixture.names):
        expert = mixture.members[number]
        if expert.at(view.t).rows is None:
            continue
        for culled, word in ((True, "culled"), (False, "unculled")):
            found[f"{word}:{name}"] = _projected(mixture.alone(number), view, culled)
    return found


def _projected(one: Mixture, view: View, culled: bool) -> Callable[[], object]:
    def deform_and_project() -> object:
        one.instants.forget()
        with culling(one, culled):
            layers = [colors_of(layer) for layer in one.layers(one.at(view.t), view.t)]
        return rasterize_first(layers, view)

    return deform_and_project


def rasterize_first(layers: list[Layer], view: View) -> object:
    """The first of the rasterizer's stages: projection, and what cannot be parted from it."""
    first, *_ = stages(layers, view.camera).values()
    return first()


def pixels_of(way: Frame) -> Callable[[], Pixels]:
    """A frame up to its 8-bit pixels."""
    return lambda: to_pixels(way())


def _jpeg(pixels: Pixels) -> object:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
