"""Scene: what was filmed, from where and when; the part of it that a checkpoint carries is the Rig."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from moegs.cameras import Camera
from moegs.gaussians import Points
from moegs.timeline import Timeline

SPLITS = ("train", "test")
LARGEST = 1e15
"""World units; squares of what is larger, and their sums, would not fit float32."""
ONE_PLACE = 1e-6
"""World units; cameras no further apart stand in one place."""
AHEAD = 4
"""How many photos a scene is told of before they are asked for."""
UNIT = 1e-3
"""How far a direction may be from length 1: far more than float32 makes of it."""


@dataclass(frozen=True)
class Rig:
    """The cameras around a scene and its time: all that viewing needs of a data set."""

    cameras: tuple[Camera, ...]
    """Every camera, in the data set's order."""
    names: tuple[str, ...]
    """The data set's name of each camera."""
    train: tuple[int, ...]
    """Which cameras train."""
    test: tuple[int, ...]
    """Which cameras are held out."""
    timeline: Timeline
    up: Float[Tensor, " 3"]
    """Unit direction against gravity, world axes."""
    bounds: Float[Tensor, "2 3"]
    """Smallest and largest corner of the filmed space, world units."""
    background: Float[Tensor, " 3"]
    """Colour in [0, 1] behind everything."""

    def __post_init__(self) -> None:
        if not self.cameras or len(self.cameras) != len(self.names):
            raise ValueError(f"rig: got {len(self.cameras)} cameras and {len(self.names)} names; give one name each")
        outside = [i for i in (*self.train, *self.test) if not 0 <= i < len(self.cameras)]
        if outside:
            raise ValueError(f"rig: a split names camera {outside[0]}, but there are {len(self.cameras)}")
        placed = [*self.train, *self.test]
        twice = [i for i in placed if placed.count(i) > 1]
        if twice:
            raise ValueError(f"rig: camera {twice[0]} is in the splits twice; train on it or hold it out, once")
        self._check_space()

    def _check_space(self) -> None:
        """Raises ValueError for numbers that make no space, or one too large for float32."""
        far = [name for name, camera in zip(self.names, self.cameras, strict=True) if not _within(camera.viewmat)]
        if far:
            raise ValueError(
                f"rig: camera '{far[0]}' is further away than {LARGEST:g}, or nowhere; scale the scene down"
            )
        if not _within(self.bounds) or bool((self.bounds[0] > self.bounds[1]).any()):
            raise ValueError(
                f"rig: got bounds {self.bounds.tolist()}, expected a smallest and a largest corner within {LARGEST:g}"
            )
        if not abs(float(self.up.norm()) - 1) < UNIT:
            raise ValueError(f"rig: got up {self.up.tolist()}, expected a direction of length 1")
        if not bool(((self.background >= 0) & (self.background <= 1)).all()):
            raise ValueError(f"rig: got background {self.background.tolist()}, expected RGB in [0, 1]")

    @cached_property  # every picture asks for it
    def target(self) -> Float[Tensor, " 3"]:
        """The point nearest to all cameras' lines of sight, kept inside the bounds: where to orbit around."""
        point = meeting_point(self.cameras)
        inside = torch.minimum(torch.maximum(point, self.bounds[0]), self.bounds[1])
        return torch.where(point.isfinite(), inside, self.bounds.mean(0))

    @property
    def extent(self) -> float:
        """1.1 times the largest distance of a training camera from their mean (3D Gaussian Splatting), world units.

        Where all stand in one place, half the diagonal of the bounds: rates are per unit of it, and with 0 nothing
        would learn.
        """
        centers = torch.stack([self.cameras[i].center for i in self.train or range(len(self.cameras))])
        spread = 1.1 * float((centers - centers.mean(0)).norm(dim=1).max())
        if spread > ONE_PLACE:
            return spread
        return float((self.bounds[1] - self.bounds[0]).norm()) / 2 or 1.0

    def find(self, text: str) -> int:
        """The number of the camera that `text` names: "test:0", "train:3" or the data set's own name.

        Raises ValueError for anything else.
        """
        split, _, number = text.partition(":")
        if split in SPLITS and number.isdecimal():
            members: tuple[int, ...] = getattr(self, split)
            if int(number) < len(members):
                return members[int(number)]
            raise ValueError(f"camera '{text}': the {split} split has {len(members)} cameras, counted from 0")
        if text in self.names:
            return self.names.index(text)
        raise ValueError(f"camera '{text}': give test:0, train:0 and so on, or a name: {', '.join(self.names)}")


def _within(values: Float[Tensor, "..."]) -> bool:
    return bool((values.abs() <= LARGEST).all())


def meeting_point(cameras: Sequence[Camera]) -> Float[Tensor, " 3"]:
    """The point nearest to all lines of sight, world units; not finite or far away where these are parallel."""
    normals = torch.stack([torch.eye(3).to(c.forward) - torch.outer(c.forward, c.forward) for c in cameras])
    centers = torch.stack([c.center for c in cameras])
    return torch.linalg.lstsq(normals.sum(0), (normals @ centers[:, :, None]).sum(0)).solution[:, 0]


@runtime_checkable
class Photos(Protocol):
    """The pictures of every camera, decoded when asked for."""

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        """The photo of the rig's camera number `camera` at `frame`, RGB; may be asked by several threads at once."""
        ...


OnPrepared = Callable[[str, int, int], None]
"""Hears what is being prepared, how much of it is done, and of how many."""


def _nothing(pairs: Sequence[tuple[int, int]]) -> None:
    pass


def _at_hand(cameras: Sequence[int], on_prepared: OnPrepared) -> None:
    pass


@dataclass(frozen=True)
class Scene:
    """A data set: cameras, time, photos and the points to start from."""

    rig: Rig
    photos: Photos
    points: Points
    seen: tuple[tuple[int, ...], ...] | None = None
    """The frames that each camera has a photo of, rising; None: every camera has all."""
    expect: Callable[[Sequence[tuple[int, int]]], None] = _nothing
    """To be told which photos (camera, frame) will be asked for next; they are then read in the meantime."""
    prepare: Callable[[Sequence[int], OnPrepared], None] = _at_hand
    """Decodes what is kept on disk of these cameras and not there yet, which else comes a camera at a time, when its
    photos are first asked for. Raises ValueError first where there is no room for all."""
    summary: str = ""
    """What was read, in one line for people."""
    warnings: tuple[str, ...] = ()
    """What makes training from it worse than it could be, a line each."""
    first_points: Points | None = None
    """`points` but for those that were found at later frames than the first; None: none were."""

    def frames(self, camera: int) -> Sequence[int]:
        """The frames that there is a photo of from `camera`."""
        return range(self.rig.timeline.frames) if self.seen is None else self.seen[camera]

    def pairs(self, cameras: Sequence[int]) -> list[tuple[int, int]]:
        """Camera and frame of every photo of `cameras`, camera by camera."""
        return [(camera, frame) for camera in cameras for frame in self.frames(camera)]

    def in_turn(self, pairs: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Each of `pairs` (camera, frame), in order; while one is at hand, the photos of the next are read."""
        for place, pair in enumerate(pairs):
            self.expect(pairs[place : place + AHEAD])
            yield pair

    def photo(self, camera: int, frame: int, device: torch.device | str = "cpu") -> Float[Tensor, "H W 3"]:
        """The photo of the rig's camera number `camera` at `frame`, RGB in [0, 1]."""
        return self.photos.at(camera, frame).to(device).to(torch.float32) / 255  # bytes travel, not floats
