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

KEPT = 12
"""Recordings of one mixture: as many sizes and settings as a tab goes through, those used last."""
SPARE, LEAST, MOST = 1.5, 4096, 2**31 - 1
"""How much more room there is than what it was made for needs; of pairs, so many at least and at most."""

Frame = TypeVar("Frame")
Draw = Callable[[Sequence[Layer], Camera], Frame]
"""Rasterizes once, without gradients, waits for nothing that is on the GPU, and gives a dataclass."""


class Graphs(Generic[Frame]):
    """What was recorded of one mixture's frames. One frame is drawn at a time.

    On the GPU it holds the Gaussians of one instant with half as much room again, the pictures of each recording, and
    what the largest of them works with.
    """

    def __init__(self) -> None:
        self._place: _Place | None = None
        self._kept: OrderedDict[Hashable, _Recording[Frame]] = OrderedDict()
        self._asked: set[Hashable] = set()
        self._too_large: set[Hashable] = set()
        self.played = 0
        """How many frames came from a recording."""

    def play(self, draw: Draw[Frame], layers: Sequence[Layer], camera: Camera, key: Hashable) -> Frame:
        """What `draw` gives of `layers` from `camera`; `key` is all else that it depends on.

        What is asked for once is drawn as it is; a recording is made when it is asked for again, where the GPU has the
        memory. Raises ValueError where there are more pairs of Gaussians and tiles than can be counted.
        """
        with torch.cuda.device(layers[0].gaussians.means.device):
            key = key, camera.width, camera.height
            if key not in self._asked or key in self._too_large:
                self._asked.add(key)
                return draw(layers, camera)
            try:
                frame = self._played(draw, layers, camera, key)
            except torch.OutOfMemoryError:
                self._kept.pop(key, None)
                self._too_large.add(key)
                return draw(layers, camera)
            self.played += 1
            return frame

    def _played(self, draw: Draw[Frame], layers: Sequence[Layer], camera: Camera, key: Hashable) -> Frame:
        if self._place is None or not self._place.fits(layers):
            self._kept.clear()  # they read from where the place was
            self._place = _Place(layers)
        self._place.load(layers, camera)
        recording = self._kept.pop(key, None) or _Recording(draw, self._place, camera)
        frame = recording.play()
        if frame is None:
            recording = _Recording(draw, self._place, camera)
            frame = recording.play()
        assert frame is not None, "it has room for what it was made for"
        self._kept[key] = recording
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return frame


class _Place:
    """Where all recordings of a mixture read the Gaussians and the camera."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        """With room for somewhat more than these `layers`."""
        self.layers = [_roomy(layer) for layer in layers]
        self._constants = [_constants(layer) for layer in layers]
        self._pose = torch.empty(25, device=layers[0].gaussians.means.device)
        self._pose_here = torch.empty(25, pin_memory=True)
        self._loaded = Fingerprint([])
        self.pool = torch.cuda.graph_pool_handle()
        """Of the recordings' memory: they are played one after the other, and what each gives is copied at once."""

    def fits(self, layers: Sequence[Layer]) -> bool:
        """Whether these are such layers, and there is room for their Gaussians."""
        return [_constants(layer) for layer in layers] == self._constants and all(
            len(layer.gaussians) <= len(roomy.gaussians) for layer, roomy in zip(layers, self.layers, strict=True)
        )

    def seen_by(self, camera: Camera) -> Camera:
        """A camera of the size of `camera` that stands where the one stood that was loaded last."""
        return replace(camera, viewmat=self._pose[:16].view(4, 4), K=self._pose[16:].view(3, 3))

    def load(self, layers: Sequence[Layer], camera: Camera) -> None:
        """Copies what is to be drawn."""
        pose = torch.cat([camera.viewmat.flatten(), camera.K.to(camera.viewmat.device).flatten()])
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
            for layer, roomy in zip(layers, self.layers, strict=True)
            for tensor in tensors_of(roomy).values()
        ]
        _copy_all(targets, sources)
        for layer, roomy in zip(layers, self.layers, strict=True):
            roomy.gaussians.opacities[len(layer.gaussians) :] = 0  # the rest is not drawn
        self._loaded = Fingerprint(sources)


class _Recording(Generic[Frame]):
    """One, of `draw` at the size of one camera, with room for somewhat more pairs than there are now."""

    def __init__(self, draw: Draw[Frame], place: _Place, camera: Camera) -> None:
        there = place.seen_by(camera)
        aside, here = torch.cuda.Stream(), torch.cuda.current_stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            with room_for(None) as room:
                draw(place.layers, there)
            (needed,) = room.needed
            self._room = min(max(math.ceil(SPARE * int(needed)), LEAST), MOST)
            with room_for(self._room):
                draw(place.layers, there)  # a kernel that was never launched cannot be recorded
        here.wait_stream(aside)
        self._needed_here = torch.empty(1, dtype=torch.int32, pin_memory=True)
        self._graph = torch.cuda.CUDAGraph()
        recording = torch.cuda.graph(self._graph, pool=place.pool, capture_error_mode="thread_local")
        with recording, room_for(self._room) as room:
            self._frame: Any = draw(place.layers, there)
            self._needed_here.copy_(room.needed[0], non_blocking=True)

    def play(self) -> Frame | None:
        """The frame of what is loaded, in memory of its own; None where there is no room for all of its pairs."""
        self._graph.replay()
        found = _copied(self._frame)
        torch.cuda.current_stream().synchronize()
        return found if 0 <= int(self._needed_here) <= self._room else None


def _constants(layer: Layer) -> tuple[Hashable, ...]:
    """What of a layer is recorded as it is."""
    colors = [color for color in (layer.background, layer.feature_background) if color is not None]
    sh = layer.gaussians.sh
    return (
        sh.shape[1],
        sh.dtype,
        layer.channels,
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
    features = None if layer.features is None else room(layer.features)
    return replace(layer, gaussians=Gaussians(**gaussians), features=features)


def _copied(frame: Any) -> Any:
    """The dataclass `frame` with copies of its tensors: the recording writes its own anew when it is played again."""
    theirs = {f.name: value for f in fields(frame) if isinstance(value := getattr(frame, f.name), Tensor)}
    ours = {name: torch.empty_like(tensor) for name, tensor in theirs.items()}
    for dtype in {tensor.dtype for tensor in theirs.values()}:
        alike = [name for name, tensor in theirs.items() if tensor.dtype == dtype]
        _copy_all([ours[name] for name in alike], [theirs[name] for name in alike])
    return replace(frame, **ours)


def _copy_all(targets: list[Tensor], sources: list[Tensor]) -> None:
    """One launch, not dozens, for tensors of one type."""
    torch._foreach_copy_(targets, sources)  # pyright: ignore[reportPrivateImportUsage]
