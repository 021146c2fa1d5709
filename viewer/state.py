"""ViewState: everything that one tab has chosen, as one frozen value."""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from moegs import views
from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.shots import Shot
from moegs.timeline import Timeline
from moegs.tours import Tour
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

    def frame_size(self, camera: Camera, canvas: tuple[int, int]) -> tuple[int, int]:
        """Width and height in pixels; `camera` is one of the data set."""
        if self.size == "canvas":
            return canvas
        if self.size == "data set":
            return camera.width, camera.height
        width, height = self.size.split("x")
        return int(width), int(height)


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
    flight: Flight | None = None
    """The camera of the data set that it looks through; None: the mouse leads."""
    frustums: bool = False
    """Whether the data set's cameras are drawn into the scene."""
    picked: tuple[float, float] | None = None
    """The pixel that is being read, as shares of the picture's width and height from its left and upper edge."""
    export: ExportOptions = ExportOptions()

    @staticmethod
    def of(mixture: Mixture) -> "ViewState":
        """Where a tab starts."""
        none = (False,) * len(mixture.names)
        return ViewState(Playback(mixture.rig.timeline), muted=none, soloed=none)

    def carried_to(self, mixture: Mixture) -> "ViewState":
        """The same for `mixture`, with other experts of the same scene: none is muted, the view stays if it can."""
        view = self.view if self.view in views.ids(mixture) else "rgb"
        none = (False,) * len(mixture.names)
        return replace(self, view=view, muted=none, soloed=none)

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
        t = self.timeline.t(frame)
        return Shot(camera, t, self.view, self.active, self.mute_rule, skip_below=self.skip_below)

    def toggled_mute(self, expert: int) -> "ViewState":
        """The same with expert number `expert` muted, or no longer."""
        return replace(self, muted=_flipped(self.muted, expert))

    def toggled_solo(self, expert: int) -> "ViewState":
        """The same with expert number `expert` soloed, or no longer."""
        return replace(self, soloed=_flipped(self.soloed, expert))


def _flipped(flags: tuple[bool, ...], number: int) -> tuple[bool, ...]:
    return tuple(flag != (i == number) for i, flag in enumerate(flags))
