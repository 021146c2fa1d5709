"""What a kind does while it trains, beside gradient descent and density control: it watches, and it edits its rows."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from moegs.cameras import Camera


class Attention(IntEnum):
    """How closely a recipe watches a step; each costs more than the one before."""

    NONE = 0
    """`observe` is not called."""
    PICTURE = 1
    """It sees the picture beside its photo."""
    ROWS = 2
    """It is told besides what each row had to do with the errors: three more channels to render."""


@dataclass(frozen=True)
class Ground:
    """What a recipe knows of the scene from the start."""

    frames: int
    """Of the clip."""
    views: int
    """How many cameras train."""
    extent: float
    """Of the scene, world units."""


@dataclass(frozen=True)
class Seen:
    """One training picture beside its photo, before the parameters move; nothing in it has a gradient."""

    step: int
    """How many steps were done before it."""
    camera: Camera
    view: int
    """The training camera's number."""
    frame: int
    t: float
    picture: Float[Tensor, "H W 3"]
    photo: Float[Tensor, "H W 3"]
    """RGB in [0, 1]."""
    depths: Float[Tensor, "H W"]
    """Camera-space z, world units; 0 where nothing is hit."""
    ssims: Float[Tensor, "H W"]
    """Structural similarity around each pixel."""
    radii: Int[Tensor, " N"]
    """Of every row of the expert: its larger extent along the picture's axes, pixels; 0 where it was not drawn."""
    row_errors: Float[Tensor, "N 3"] | None = None
    """Of every row, summed over the pixels: its blending weight, and that times |picture - photo| (the mean over the
    channels) and times `ssims`. None unless the recipe asked for rows."""

    @cached_property
    def errors(self) -> Float[Tensor, "H W"]:
        """|picture - photo|, the mean over the channels."""
        return (self.picture - self.photo).abs().mean(-1)


@dataclass(frozen=True)
class Edit:
    """What is to become of one group. First values are rewritten, then rows leave, then rows join at the end."""

    group: str
    kept: Int[Tensor, " _"] | None = None
    """Rows that stay, in order; None: all."""
    added: Mapping[str, Float[Tensor, "..."]] = field(default_factory=dict)
    """New rows: every parameter of the group; empty: none."""
    rewritten: Mapping[str, Float[Tensor, "..."]] = field(default_factory=dict)
    """New values of whole parameters; the optimizer's moments of them start from zero."""
    anew: bool = False
    """Whether the optimizer also forgets how many steps it has done with what is rewritten, like a fresh one."""


class Recipe(ABC):
    """What training asks a kind: which frames to draw, how closely to look, what to change.

    A recipe has no say in the picture: what a trained expert shows depends on its own tensors and its step alone.
    """

    @property
    @abstractmethod
    def frames(self) -> int:
        """How many of the clip's first frames may be drawn now."""

    @abstractmethod
    def stage_start(self, step: int) -> int:
        """After how many steps the stage began that the last of `step` steps belongs to: density control counts
        from there."""

    @abstractmethod
    def attention(self, step: int) -> Attention:
        """How closely it wants to watch the next picture, after `step` steps."""

    @abstractmethod
    def observe(self, seen: Seen) -> None:
        """Called for every picture that it wanted to see."""

    @abstractmethod
    def edits(self, step: int) -> Iterator[Edit]:
        """What to change after `step` steps; each edit is made before the next is asked for."""

    @abstractmethod
    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """As `Expert.rows_changed`, which see."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on: tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what `state_dict` gave."""


class Plain(Recipe):
    """Nothing but gradient descent and density control.

    With `restart` there are two stages: after so many steps the optimizer forgets all that it knew of `groups`.
    """

    def __init__(self, ground: Ground, groups: nn.ModuleDict, restart: int | None = None) -> None:
        self.ground, self.groups, self.restart = ground, groups, restart

    @property
    def frames(self) -> int:
        return self.ground.frames

    def stage_start(self, step: int) -> int:
        return self.restart if self.restart is not None and step > self.restart else 0

    def attention(self, step: int) -> Attention:
        return Attention.NONE

    def observe(self, seen: Seen) -> None:
        raise AssertionError("a plain recipe watches nothing")

    def edits(self, step: int) -> Iterator[Edit]:
        if step == self.restart:
            for name in list(self.groups):
                group = self.groups[name]
                assert isinstance(group, nn.ParameterDict)
                yield Edit(name, rewritten=dict(group.items()), anew=True)

    def rows_changed(self, kept: Mapping[str, Int[Tensor, " _"]]) -> None:
        """It keeps nothing of the rows."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """It has no state."""


def follow(values: Float[Tensor, " N"], kept: Int[Tensor, " M"], new: float) -> Float[Tensor, " M"]:
    """What `values` of a group's rows are after a change, as `rows_changed` tells it; `new` for rows without a past."""
    followed = values.new_full(kept.shape, new)
    old = kept >= 0
    followed[old] = values[kept[old]]
    return followed


def due(step: int, start: int, every: int) -> bool:
    """Whether what is due each `every` steps, counted from 0, but only after `start`, is due after `step` steps."""
    return step > start and step % every == 0
