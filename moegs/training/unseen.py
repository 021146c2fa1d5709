"""Unseen cameras: places between the cameras that filmed, where the mixture's picture stands for the photo."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import normalize

from moegs import rotations
from moegs.cameras import Camera
from moegs.data.scene import Photos, Rig, Scene
from moegs.training.sampling import Sampler, Shuffled

NEAR = 4
"""Between each camera and this many nearest to it, unseen ones stand."""


def between(rig: Rig, count: int, seed: int) -> Rig:
    """`rig` with `count` more cameras, in no split: each between a training camera and one of the nearest to it.

    Place, direction and lens lie at one random share of the way, the picture is as large as the first one's. Raises
    ValueError when the rig has no two training cameras.
    """
    if count and len(rig.train) < 2:
        raise ValueError(f"unseen: {len(rig.train)} training cameras; between them there is no place for another")
    generator = torch.Generator().manual_seed(seed)
    centers = torch.stack([rig.cameras[number].center for number in rig.train])
    made = []
    for number in range(count):
        first = number % len(rig.train)
        nearest = (centers - centers[first]).norm(dim=1).argsort()[1 : NEAR + 1]
        second = int(nearest[torch.randint(len(nearest), (), generator=generator)])
        share = float(torch.rand((), generator=generator))
        made.append(_amid(rig.cameras[rig.train[first]], rig.cameras[rig.train[second]], share))
    names = (f"unseen{number:03}" for number in range(count))
    return replace(rig, cameras=(*rig.cameras, *made), names=(*rig.names, *names))


def _amid(first: Camera, second: Camera, share: float) -> Camera:
    """The camera at `share` of the way from `first` to `second`."""
    ours, theirs = (rotations.from_matrix(camera.viewmat[:3, :3]) for camera in (first, second))
    theirs = theirs if float(ours @ theirs) >= 0 else -theirs  # the shorter way around
    turn = rotations.matrix(normalize((1 - share) * ours + share * theirs, dim=-1))
    viewmat = first.viewmat.clone()
    viewmat[:3, :3] = turn
    viewmat[:3, 3] = -turn @ ((1 - share) * first.center + share * second.center)
    K = (1 - share) * first.K + share * second.resized(first.width, first.height).K
    return replace(first, viewmat=viewmat, K=K)


@dataclass(frozen=True)
class _Stand(Photos):
    """The photos, and where there are none, what stands for them."""

    photos: Photos
    filmed: int
    picture: Callable[[int, int], Float[Tensor, "H W 3"]]

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        if camera < self.filmed:
            return self.photos.at(camera, frame)
        return (self.picture(camera, frame).clamp(0, 1) * 255).round().to(torch.uint8)


def widened(scene: Scene, rig: Rig, picture: Callable[[int, int], Float[Tensor, "H W 3"]]) -> Scene:
    """`scene` with the cameras of `rig`, which begin with its own; what each other sees at a frame is its `picture`."""
    filmed, frames = len(scene.rig.cameras), tuple(range(rig.timeline.frames))
    seen = scene.seen and (*scene.seen, *[frames] * (len(rig.cameras) - filmed))
    return replace(scene, rig=rig, photos=_Stand(scene.photos, filmed, picture), seen=seen)


class WithUnseen(Sampler):
    """What another sampler draws; but some steps, by chance, see one picture of an unseen camera."""

    def __init__(self, inner: Sampler, pairs: Sequence[tuple[int, int]], share: float) -> None:
        """`pairs`: of unseen cameras and frames. `share`: of the steps that see one of them."""
        self.inner, self.share = inner, share
        self.others = Shuffled(pairs)
        self.frames = inner.frames

    def draw(self, step: int) -> list[tuple[int, int]]:
        self.inner.frames = self.others.frames = self.frames
        unseen = float(torch.rand(())) < self.share
        pictures = self.others.draw(step) if unseen else self.inner.draw(step)
        self.listens, self.held = self.inner.listens and not unseen, self.inner.held and not unseen
        return pictures

    def note(self, camera: int, frame: int, error: float) -> None:
        self.inner.note(camera, frame, error)

    def state_dict(self) -> dict[str, Any]:
        return {"frames": self.frames, "inner": self.inner.state_dict(), "others": self.others.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.frames = state["frames"]
        self.inner.load_state_dict(state["inner"])
        self.others.load_state_dict(state["others"])
