"""CUDA graphs of frames: the launches of one are recorded, then played for other cameras and other times.

A mixture's frame is some fifty launches, and to ask for them takes a host longer than a GPU needs for most. A recording
reads and writes the same memory whenever it is played: what differs between frames, the Gaussians and the camera, is
copied there first, and the lists of tiles have a room of fixed size, so that the host waits for no count within.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import fields, replace
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from moegs.cameras import Camera
from moegs.fingerprints import Fingerprint
from moegs.gaussians import Gaussians
from moegs.rasterize import Layer
from moegs.rasterize import tensors as tensors_of
from moegs.rasterize.cuda.pictures import room_for

KEPT = 4
"""Recordings of one mixture: of its sizes on the screen and its settings, those used last."""
SPARE, LEAST = 1.5, 4096
"""How much more room a recording has than what it was made for needs; of pairs, so many at least."""

Frame = TypeVar("Frame")
Draw = Callable[[Sequence[Layer], Camera], Frame]
"""Rasterizes once, without gradients, waits for nothing that is on the GPU, and gives a dataclass."""


class Graphs(Generic[Frame]):
    """What was recorded of one mixture's frames."""

    def __init__(self) -> None:
        self._kept: OrderedDict[Hashable, _Recording[Frame]] = OrderedDict()
        self._last: Hashable = None

    def play(self, draw: Draw[Frame], layers: Sequence[Layer], camera: Camera, key: Hashable) -> Frame:
        """What `draw` gives of `layers` from `camera`; `key` is all else that it depends on.

        What is asked for once is drawn as it is; a recording is made when it is asked for again.
        Raises ValueError where there are more pairs of Gaussians and tiles than can be counted.
        """
        key = key, camera.width, camera.height, *(_constants(layer) for layer in layers)
        kept, again = self._kept.pop(key, None), key == self._last
        self._last = key
        frame = None
        if kept is not None and kept.fits(layers):
            self._kept[key] = kept
            frame = kept.play(layers, camera)
        if frame is not None:
            return frame
        if kept is None and not again:
            return draw(layers, camera)
        self._kept[key] = made = _Recording(draw, layers, camera)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        frame = made.play(layers, camera)
        assert frame is not None, "it has room for what it was made for"
        return frame

    def __len__(self) -> int:
        """How many recordings are kept."""
        return len(self._kept)


class _Recording(Generic[Frame]):
    """One, of `draw` with room for somewhat more than these `layers` from this `camera`."""

    def __init__(self, draw: Draw[Frame], layers: Sequence[Layer], camera: Camera) -> None:
        device = layers[0].gaussians.means.device
        self._layers = [_roomy(layer) for layer in layers]
        self._pose = torch.empty(25, device=device)
        self._pose_here = torch.empty(25, pin_memory=True)
        self._needed_here = torch.empty(1, dtype=torch.int32, pin_memory=True)
        self._loaded = Fingerprint([])
        self._load(layers, camera)
        there = replace(camera, viewmat=self._pose[:16].view(4, 4), K=self._pose[16:].view(3, 3))

        aside = torch.cuda.Stream(device)
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            with room_for(None) as room:
                draw(self._layers, there)
            (needed,) = room.needed
            self._room = max(math.ceil(SPARE * int(needed)), LEAST)
            with room_for(self._room):
                draw(self._layers, there)  # a kernel that was never launched cannot be recorded
        torch.cuda.current_stream(device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"), room_for(self._room) as room:
            self._frame: Any = draw(self._layers, there)
            self._needed_here.copy_(room.needed[0], non_blocking=True)

    def fits(self, layers: Sequence[Layer]) -> bool:
        """Whether there is room for the Gaussians of `layers`."""
        return all(
            len(layer.gaussians) <= len(roomy.gaussians) for layer, roomy in zip(layers, self._layers, strict=True)
        )

    def play(self, layers: Sequence[Layer], camera: Camera) -> Frame | None:
        """The frame of these, in memory of its own; None where there is no room for all of its pairs."""
        self._load(layers, camera)
        self._graph.replay()
        found = _copied(self._frame)
        torch.cuda.current_stream().synchronize()
        return found if 0 <= int(self._needed_here) <= self._room else None

    def _load(self, layers: Sequence[Layer], camera: Camera) -> None:
        """The Gaussians and the camera to where the recording reads them."""
        pose = torch.cat([camera.viewmat.flatten(), camera.K.flatten()])
        if pose.is_cuda:
            self._pose.copy_(pose)
        else:
            self._pose_here.copy_(pose)
            self._pose.copy_(self._pose_here, non_blocking=True)
        sources = [tensor for layer in layers for tensor in tensors_of(layer).values()]
        if self._loaded.fits(sources):
            return
        targets = [
            tensor[: len(layer.gaussians)]
            for layer, roomy in zip(layers, self._layers, strict=True)
            for tensor in tensors_of(roomy).values()
        ]
        torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]  (one launch, not dozens)
        for layer, roomy in zip(layers, self._layers, strict=True):
            roomy.gaussians.opacities[len(layer.gaussians) :] = 0  # the rest is not drawn
        self._loaded = Fingerprint(sources)


def _constants(layer: Layer) -> tuple[Hashable, ...]:
    """What of a layer is recorded as it is."""
    colors = [color for color in (layer.background, layer.feature_background) if color is not None]
    sh, channels = layer.gaussians.sh, 0 if layer.features is None else layer.features.shape[1]
    return (
        sh.shape[1],
        sh.dtype,
        channels,
        layer.lowpass,
        layer.near,
        layer.far,
        *(color.data_ptr() for color in colors),
    )


def _roomy(layer: Layer) -> Layer:
    """Memory for the Gaussians of `layer` and some more."""
    rows = math.ceil(SPARE * len(layer.gaussians))

    def room(tensor: Tensor) -> Tensor:
        return tensor.new_zeros(rows, *tensor.shape[1:])

    gaussians = {f.name: room(getattr(layer.gaussians, f.name)) for f in fields(Gaussians) if f.name != "rows"}
    return replace(
        layer,
        gaussians=Gaussians(**gaussians),
        features=None if layer.features is None else room(layer.features),
    )


def _copied(frame: Any) -> Any:
    """The dataclass `frame` with copies of its tensors: the recording writes its own anew when it is played again."""
    copies = {f.name: value.clone() for f in fields(frame) if isinstance(value := getattr(frame, f.name), Tensor)}
    return replace(frame, **copies)
