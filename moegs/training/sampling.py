"""Which pictures come next: the cameras and frames of each step."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moegs.data.scene import AHEAD, Scene
from moegs.schedules import Steps

UNKNOWN = 100.0
"""Stands for the error of a picture that was not drawn yet, so that it is; as published."""


class Sampler(ABC):
    """Draws pictures; all its chances come from torch's global generator."""

    frames: int
    """How many of the clip's first frames are drawn from."""
    listens = False
    """Whether it wants to be told the errors of what it drew."""
    held = False
    """Whether the pictures drawn last are of a frame that is seen from several cameras in a row."""

    @abstractmethod
    def draw(self, step: int) -> list[tuple[int, int]]:
        """The rig's numbers of the cameras, and the frames, of the pictures after `step` steps."""

    @abstractmethod
    def note(self, camera: int, frame: int, error: float) -> None:
        """Tells how far a picture is from its photo, mean absolute difference, where `listens`."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next draw depends on, but the generator."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""


@dataclass(frozen=True, kw_only=True)
class ShuffledConfig:
    """Each picture once in a random order, then again in another."""

    kind: Literal["shuffled"] = "shuffled"
    batch: int = 1
    """Pictures a step."""

    def __post_init__(self) -> None:
        _check_batch(self.batch)

    def start(self, scene: Scene) -> "Shuffled":
        """What draws so from the training cameras of `scene`."""
        return Shuffled(scene.pairs(scene.rig.train), self.batch, scene.expect)


class Shuffled(Sampler):
    """Pairs of camera and frame, each once in a random order, then again in another."""

    def __init__(
        self,
        pairs: Sequence[tuple[int, int]],
        batch: int = 1,
        expect: Callable[[Sequence[tuple[int, int]]], None] = lambda pairs: None,
    ) -> None:
        self.pairs, self.batch, self.expect = pairs, batch, expect
        """`expect` hears which pairs come next."""
        self.frames = self.dealt = 1 + max(frame for _, frame in pairs)
        """`dealt`: how many frames the present order deals out; those that join later come with the next."""
        self.order = torch.empty(0, dtype=torch.long)
        self.place = 0
        self._cut: tuple[int, list[tuple[int, int]]] | None = None

    def draw(self, step: int) -> list[tuple[int, int]]:
        return [self._next() for _ in range(self.batch)]

    def note(self, camera: int, frame: int, error: float) -> None:
        """The order is blind."""

    def state_dict(self) -> dict[str, Any]:
        return {"order": self.order, "place": self.place, "dealt": self.dealt, "frames": self.frames}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.order, self.place, self.dealt = state["order"], state["place"], state["dealt"]
        self.frames = state["frames"]

    def _next(self) -> tuple[int, int]:
        if self.place == len(self.order):
            self.dealt = self.frames
            self.order, self.place = torch.randperm(len(self._deck())), 0
        deck = self._deck()
        self.expect([deck[number] for number in self.order[self.place : self.place + AHEAD].tolist()])
        self.place += 1
        return deck[int(self.order[self.place - 1])]

    def _deck(self) -> Sequence[tuple[int, int]]:
        """The pairs that the present order deals out."""
        if self._cut is None or self._cut[0] != self.dealt:
            self._cut = self.dealt, [pair for pair in self.pairs if pair[1] < self.dealt]
        return self._cut[1]


@dataclass(frozen=True, kw_only=True)
class OneFrameConfig:
    """A random frame each step, seen by several cameras at once, as Spacetime Gaussians do."""

    kind: Literal["one_frame"] = "one_frame"
    batch: int = 2
    """Cameras a step; all, where there are fewer."""

    def __post_init__(self) -> None:
        _check_batch(self.batch)

    def start(self, scene: Scene) -> "OneFrame":
        """What draws so from the training cameras of `scene`; raises ValueError unless each filmed every frame."""
        _check_whole(scene, self.kind)
        return OneFrame(scene.rig.train, scene.rig.timeline.frames, self.batch)


class OneFrame(Sampler):
    """A random frame, and different random cameras."""

    def __init__(self, cameras: Sequence[int], frames: int, batch: int) -> None:
        self.cameras, self.frames, self.batch = tuple(cameras), frames, batch

    def draw(self, step: int) -> list[tuple[int, int]]:
        frame = int(torch.randint(self.frames, ()))
        chosen = torch.randperm(len(self.cameras))[: self.batch]
        return [(self.cameras[number], frame) for number in chosen.tolist()]

    def note(self, camera: int, frame: int, error: float) -> None:
        """Chance is blind."""

    def state_dict(self) -> dict[str, Any]:
        return {"frames": self.frames}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.frames = state["frames"]


@dataclass(frozen=True, kw_only=True)
class LossGuidedConfig:
    """A camera far from the last one; frames with large errors more often, after a while; as E-D3DGS does."""

    kind: Literal["loss_guided"] = "loss_guided"
    uniform_until: Steps = 10_000
    """Up to this step every frame is as likely; from it on, at each second one."""
    hold_every: int = 50
    """From it on, each so many steps ..."""
    hold_steps: int = 5
    """... so many of them keep the frame of the first, seen by other cameras; 0: none."""

    def __post_init__(self) -> None:
        if self.hold_every < 1 or not 0 <= self.hold_steps < self.hold_every:
            raise ValueError(
                f"hold_every, hold_steps: got {self.hold_every} and {self.hold_steps}; hold fewer steps than all"
            )

    def start(self, scene: Scene) -> "LossGuided":
        """What draws so from the training cameras of `scene`; raises ValueError unless each filmed every frame."""
        _check_whole(scene, self.kind)
        rig = scene.rig
        centers = torch.stack([rig.cameras[camera].center for camera in rig.train])
        return LossGuided(self, rig.train, rig.timeline.frames, centers)


class LossGuided(Sampler):
    """Remembers the last error of every picture; frames are drawn in proportion to their cameras' errors together."""

    listens = True

    def __init__(
        self, config: LossGuidedConfig, cameras: Sequence[int], frames: int, centers: Float[Tensor, "V 3"]
    ) -> None:
        self.config, self.cameras, self.frames = config, tuple(cameras), frames
        self.errors = torch.full((len(cameras), frames), UNKNOWN)
        self.far = _far_apart(centers)
        self.camera = 0
        """Place of the camera drawn last."""
        self.kept: int | None = None
        """The frame to go on with, while one is held."""

    def draw(self, step: int) -> list[tuple[int, int]]:
        iteration = step + 1  # as published, iterations count from 1
        guided = iteration >= self.config.uniform_until
        self.camera = self._camera()
        if self.kept is not None:
            frame = self.kept
        elif guided and iteration % 2 == 0:
            frame = self._bad_frame()
        else:
            frame = int(torch.randint(self.frames, ()))
        self.held = guided and iteration % self.config.hold_every < self.config.hold_steps
        self.kept = frame if self.held else None
        return [(self.cameras[self.camera], frame)]

    def note(self, camera: int, frame: int, error: float) -> None:
        self.errors[self.cameras.index(camera), frame] = error

    def state_dict(self) -> dict[str, Any]:
        return {"errors": self.errors, "camera": self.camera, "kept": self.kept, "frames": self.frames}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.errors, self.camera, self.kept = state["errors"], state["camera"], state["kept"]
        self.frames = state["frames"]

    def _camera(self) -> int:
        choice = torch.where(self.far[self.camera])[0]
        if not len(choice):
            return int(torch.randint(len(self.cameras), ()))
        return int(choice[int(torch.randint(len(choice), ()))])

    def _bad_frame(self) -> int:
        """A frame drawn in proportion to how much its errors, summed over the cameras, exceed the least."""
        sums = self.errors[:, : self.frames].double().sum(0)
        shares = sums - sums.min()
        if not float(shares.sum()) > 0:
            return int(torch.randint(self.frames, ()))
        return int(torch.multinomial(shares, 1))


Sampling = ShuffledConfig | OneFrameConfig | LossGuidedConfig
"""Told apart by `kind`."""


def _far_apart(centers: Float[Tensor, "V 3"]) -> Bool[Tensor, "V V"]:
    """Which other cameras stand at least the median of all different distances away from each."""
    distances = (centers[:, None].double() - centers[None]).norm(dim=-1)
    different = distances.unique()
    far = distances >= different[len(different) // 2]
    return far & ~torch.eye(len(centers), dtype=torch.bool)


def _check_whole(scene: Scene, kind: str) -> None:
    if scene.seen is not None:
        raise ValueError(
            f"sampling: '{kind}' needs cameras that filmed every frame, and some of these did not; use 'shuffled'"
        )


def _check_batch(batch: int) -> None:
    if batch < 1:
        raise ValueError(f"batch: got {batch}, expected at least 1 picture a step")
