"""The table of controls: one row per widget, from its label to how it reads and writes the state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from moegs import views
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.variants import Variants
from viewer.state import Extent, ViewState, Way

FREE = "free"
"""What the list of cameras says while the mouse leads."""
SPEEDS = ("0.25x", "0.5x", "1x", "2x", "4x")

Write = Callable[[ViewState, Any, float], ViewState]
"""The state after the widget got a value at a moment of the clock."""
Shown = Callable[[ViewState], bool]
"""Whether a widget matters now."""


def always(state: ViewState) -> bool:
    return True


@dataclass(frozen=True)
class Choice:
    """A dropdown."""

    label: str
    options: Callable[[Variants, ViewState], Sequence[str]]
    read: Callable[[ViewState], str]
    write: Write
    hint: str | None = None
    shown: Shown = always


@dataclass(frozen=True)
class Switch:
    """A check box."""

    label: str
    read: Callable[[ViewState], bool]
    write: Write
    hint: str | None = None
    shown: Shown = always


@dataclass(frozen=True)
class Number:
    """A field for a number between two bounds."""

    label: str
    low: float
    high: float
    read: Callable[[ViewState], float]
    write: Write
    hint: str | None = None
    shown: Shown = always


@dataclass(frozen=True)
class FrameSlider:
    """The time slider, from the first frame to the last; moving it is motion."""

    label: str
    read: Callable[[ViewState], int]
    write: Write
    hint: str | None = None


@dataclass(frozen=True)
class Percent:
    """A slider up to 100, a whole per cent at a step."""

    label: str
    low: int
    read: Callable[[ViewState], int]
    write: Write
    shown: Shown = always
    hint: str | None = None
    motion: bool = True
    """Whether moving it changes what is rendered."""


@dataclass(frozen=True)
class Command:
    """What a key does, and the command palette (Ctrl+K) too."""

    label: str
    hotkey: Literal["space", "J", "L", "V", "X", "home", "end", "escape"]
    change: Callable[[ViewState, float], ViewState]
    modifier: Literal["shift"] | None = None


Control = Choice | Switch | Number | FrameSlider | Percent


def cameras(mixture: Mixture) -> dict[str, int]:
    """The number of each camera of the data set by its label, test cameras first."""
    rig = mixture.rig
    found = {}
    for split in ("test", "train"):
        for place, number in enumerate(getattr(rig, split)):
            found[f"{split}:{place}  {rig.names[number]}"] = number
    return found


def step(state: ViewState, frames: int, now: float) -> ViewState:
    """Stands `frames` further on, around the ends where it loops."""
    standing = state.playback.pause(now)
    frame = standing.start + frames
    if state.playback.loop:
        frame %= state.timeline.frames
    return replace(state, playback=standing.seek(frame, now))


def play_or_pause(state: ViewState, now: float) -> ViewState:
    playback = state.playback
    return replace(state, playback=playback.pause(now) if playback.playing else playback.play(now))


def seek(state: ViewState, frame: float, now: float) -> ViewState:
    return replace(state, playback=state.playback.seek(frame, now))


def unpick(state: ViewState, now: float) -> ViewState:
    """Reads no pixel any more."""
    return replace(state, picked=None)


def _export(name: str, convert: Callable[[Any], Any] = lambda value: value) -> Write:
    def write(state: ViewState, value: Any, now: float) -> ViewState:
        return replace(state, export=replace(state.export, **{name: convert(value)}))

    return write


def _speed(state: ViewState, text: str, now: float) -> ViewState:
    return replace(state, playback=state.playback.paced(now, speed=float(text.removesuffix("x"))))


TIME: tuple[Control, ...] = (
    Choice(
        "Speed",
        lambda variants, state: SPEEDS,
        lambda state: f"{state.playback.speed:g}x",
        _speed,
        "1x: as fast as filmed",
    ),
    Switch(
        "Loop",
        lambda state: state.playback.loop,
        lambda state, on, now: replace(state, playback=state.playback.paced(now, loop=on)),
    ),
    Switch(
        "Between frames",
        lambda state: state.playback.smooth,
        lambda state, on, now: replace(state, playback=state.playback.paced(now, smooth=on)),
        "Show the times between frames too; slower, since only whole frames are kept for the next time round",
    ),
)
VIEW: tuple[Control, ...] = (
    Choice(
        "View",
        lambda variants, state: variants.views(state.compared),
        lambda state: state.view,
        lambda state, view, now: replace(state, view=view),
        views.describe(),
    ),
)
FRAME = FrameSlider("Frame", lambda state: round(state.playback.start), seek)
MUTING: tuple[Control, ...] = (
    Choice(
        "Muted share",
        lambda variants, state: get_args(MuteRule),
        lambda state: state.mute_rule,
        lambda state, rule, now: replace(state, mute_rule=rule),
        "Where a muted expert's share goes. renormalize: the live experts decide among themselves; "
        "keep: it stays black; reroute: to the live expert wanted most",
    ),
)
GATING: tuple[Control, ...] = (
    Number(
        "Skip below",
        0.0,
        0.999,
        lambda state: state.skip_below,
        lambda state, value, now: replace(state, skip_below=float(value)),
        "Faster: an expert is not drawn in tiles where its gate is estimated below this, such as 0.02; 0 is exact",
    ),
)
FRUSTUMS = Switch(
    "Show cameras",
    lambda state: state.frustums,
    lambda state, on, now: replace(state, frustums=on),
    "Draw the data set's cameras into the scene: test orange, train grey",
)
EXPORT: tuple[Control, ...] = (
    Choice("Size", lambda variants, state: get_args(Extent), lambda state: state.export.size, _export("size")),
    Choice(
        "Camera way",
        lambda variants, state: get_args(Way),
        lambda state: state.export.way,
        _export("way"),
        "sway: there and back within the arc of the data set's cameras; turntable: around the middle of the scene, "
        "also where nothing was filmed",
    ),
    Number(
        "Degrees",
        -3600,
        3600,
        lambda state: state.export.degrees,
        _export("degrees", float),
        "How far the turntable turns",
        lambda state: state.export.way == "turntable",
    ),
    Number("Seconds", 0.1, 600, lambda state: state.export.seconds, _export("seconds", float)),
    Number("Frames/s", 1, 120, lambda state: state.export.fps, _export("fps", float)),
    Switch(
        "Time runs",
        lambda state: state.export.running,
        _export("running", bool),
        "Off: the scene stands still while the camera moves",
    ),
)


# As in video editors; the arrows and WASD move viser's camera already.
COMMANDS: tuple[Command, ...] = (
    Command("Play or pause", "space", play_or_pause),
    Command("Next frame", "L", lambda state, now: step(state, 1, now)),
    Command("Previous frame", "J", lambda state, now: step(state, -1, now)),
    Command("Ten frames on", "L", lambda state, now: step(state, 10, now), "shift"),
    Command("Ten frames back", "J", lambda state, now: step(state, -10, now), "shift"),
    Command("First frame", "home", lambda state, now: seek(state, 0, now)),
    Command("Last frame", "end", lambda state, now: seek(state, state.playback.last, now)),
    Command("Close the pixel's numbers", "escape", unpick),
)
