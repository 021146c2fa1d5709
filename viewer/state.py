"""ViewState: everything that one tab has chosen, as one frozen value."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.shots import Comparison, Shot
from moegs.timeline import Timeline
from moegs.tours import Tour
from moegs.variants import Variants
from viewer.navigation import Flight
from viewer.playback import Playback

Extent = Literal["canvas", "data set", "1280x720", "1920x1080"]
Way = Literal["sway", "turntable"]


@dataclass(frozen=True)
class ExportOptions:
    """How files are made: the picture's size, and the way of the camera through a video."""

    size: Extent = "canvas"
    way: Way = "sway"
    degrees: float = 360.0
    """Of a turntable."""
    seconds: float = 6.0
    fps: float = 30.0
    running: bool = True
    """Whether time goes on in the video."""

    def __post_init__(self) -> None:
        for name, kind in (("size", Extent), ("way", Way)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {' or '.join(get_args(kind))}")
        for name in ("degrees", "seconds", "fps"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name}: got {getattr(self, name)}, expected a number")

    def tour(self) -> Tour:
        """The way of the camera, as the command line would name it."""
        return Tour(None if self.way == "sway" else self.degrees, self.seconds, self.fps, self.running)

    def frame_size(self, camera: Camera, canvas: tuple[int, int], panes: tuple[int, int] = (1, 1)) -> tuple[int, int]:
        """Width and height in pixels of each of `panes` pictures; `camera` is one of the data set."""
        if self.size == "data set":
            return camera.width, camera.height
        width, height = canvas if self.size == "canvas" else map(int, self.size.split("x"))
        return width // panes[0], height // panes[1]


@dataclass(frozen=True)
class ViewState:
    """A shot but for the free camera, which the browser holds; and what only a live view has."""

    playback: Playback
    muted: tuple[bool, ...]
    soloed: tuple[bool, ...]
    """Where any is, the others are silent; a muted one is silent in any case."""
    view: str = "rgb"
    mute_rule: MuteRule = "renormalize"
    skip_below: float = 0.0
    """Tile gating: an expert is left out where its gate is estimated below this; 0 is exact."""
    kept: float = 1.0
    """The share of the Gaussians that is left."""
    comparison: Comparison = field(default_factory=Comparison)
    """What stands beside it, and how; nothing where its `other` is empty."""
    turned: bool = False
    """Whether the other side of a wipe or a difference is shown in its place."""
    flight: Flight | None = None
    """The camera of the data set that it looks through; None: the mouse leads."""
    frustums: bool = False
    """Whether the data set's cameras are drawn into the scene."""
    picked: tuple[float, float] | None = None
    """The pixel that is being read, as shares of the picture's width and height from its left and upper edge."""
    export: ExportOptions = ExportOptions()

    def __post_init__(self) -> None:
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept: got {self.kept:g}, expected a share of the Gaussians, more than 0 and up to 1")

    @staticmethod
    def of(mixture: Mixture, beside: str = "") -> "ViewState":
        """Where a tab starts, compared with `beside`, if anything."""
        none = (False,) * len(mixture.names)
        start = Playback(mixture.rig.timeline)
        return ViewState(start, muted=none, soloed=none, comparison=Comparison(beside))

    def carried_to(self, variants: Variants) -> "ViewState":
        """The same for `variants`, with other experts of the same scene: none is muted or set beside."""
        none = (False,) * len(variants.mixture.names)
        return replace(self, muted=none, soloed=none, comparison=Comparison()).fitted(variants)

    def fitted(self, variants: Variants) -> "ViewState":
        """The same with a view that there is, on both sides of a comparison, and pruned only where there are scores.

        Raises ValueError for a comparison with what is not there.
        """
        view = self.view if self.view in variants.views(self.compared) else "rgb"
        return replace(self, view=view, kept=self.kept if variants.prunable else 1.0)

    @property
    def compared(self) -> Comparison | None:
        """The comparison that is shown; None for one picture alone."""
        return self.comparison if self.comparison.other else None

    @property
    def _seen(self) -> Comparison | None:
        """The comparison as it is drawn: turned to the other side, B alone; or A alone where B is seen alone."""
        asked = self.compared
        if asked is None or not self.turned or asked.mode == "side":
            return asked
        if asked.mode == "diff":
            return replace(asked, mode="wipe", position=0.0, horizontal=False)
        return replace(asked, position=float(asked.position == 0))

    @property
    def panes(self) -> tuple[int, int]:
        """Of how many whole pictures what is shown is made, across and down."""
        return (1, 1) if self.compared is None else self.compared.panes

    @property
    def timeline(self) -> Timeline:
        return self.playback.timeline

    @property
    def active(self) -> tuple[bool, ...] | None:
        """Which experts are live; None for all."""
        chosen = self.soloed if any(self.soloed) else (True,) * len(self.soloed)
        live = tuple(solo and not mute for solo, mute in zip(chosen, self.muted, strict=True))
        return None if all(live) else live

    def shot(self, camera: Camera, frame: float) -> Shot:
        """What to draw from `camera` at `frame`."""
        return Shot(
            camera, self.timeline.t(frame), self.view, self.active, self.mute_rule,
            skip_below=self.skip_below, kept=self.kept, comparison=self._seen,
        )  # fmt: skip

    def toggled_mute(self, expert: int) -> "ViewState":
        """The same with expert number `expert` muted, or no longer."""
        return replace(self, muted=_flipped(self.muted, expert))

    def toggled_solo(self, expert: int) -> "ViewState":
        """The same with expert number `expert` soloed, or no longer."""
        return replace(self, soloed=_flipped(self.soloed, expert))


def _flipped(flags: tuple[bool, ...], number: int) -> tuple[bool, ...]:
    return tuple(flag != (i == number) for i, flag in enumerate(flags))
