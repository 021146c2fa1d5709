"""Shots: all that decides a picture, to and from JSON; and a film's, one after the other."""

import json
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

import torch

from moegs import config
from moegs.cameras import Camera
from moegs.data.scene import Rig
from moegs.router import MuteRule
from moegs.tours import Tour

MAX_PIXELS = 2**26
"""Of one picture, 8192 x 8192: with all that belongs to a pixel, more would hardly fit any memory."""

MAX_TILT = 45
"""Of a divider, degrees: one that is turned further lies, or stands."""

Mode = Literal["wipe", "side", "diff"]
Gain = Literal[1, 2, 4, 8, 16, 32]


@dataclass(frozen=True)
class Comparison:
    """How a second picture, B, of the same camera and instant stands beside the first, A."""

    other: str = ""
    """What B is, as `moegs.variants` reads it: expert:NAME, kept:SHARE or a checkpoint file."""
    mode: Mode = "wipe"
    """One over the other up to a divider; both whole, side by side; or where they differ."""
    position: float = 0.5
    """Of a wipe's divider: the share of its way across the picture, on which nothing and then all is A's."""
    horizontal: bool = False
    """Whether the divider lies, and A is above B."""
    gain: Gain = 1
    """How many times a difference is amplified."""
    signed: bool = False
    """Whether a difference tells which of the two has more."""
    swapped: bool = False
    """Whether both change places, and names."""
    tilt: float = 0.0
    """Of a wipe's divider: degrees that it is turned clockwise, no further than 45 either way."""

    def __post_init__(self) -> None:
        if not 0 <= self.position <= 1:
            raise ValueError(f"position: got {self.position:g}, expected a share of the picture, 0 to 1")
        if not -MAX_TILT <= self.tilt <= MAX_TILT:
            raise ValueError(f"tilt: got {self.tilt:g}, expected {-MAX_TILT} to {MAX_TILT} degrees")
        for name, known in (("mode", get_args(Mode)), ("gain", get_args(Gain))):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, expected {' or '.join(map(str, known))}")

    @property
    def angle(self) -> float:
        """Of a wipe: the direction from A to B, degrees clockwise from rightwards."""
        return self.tilt + 90 * self.horizontal

    @property
    def panes(self) -> tuple[int, int]:
        """Of how many whole pictures it is made, across and down."""
        if self.mode != "side":
            return 1, 1
        return (1, 2) if self.horizontal else (2, 1)


@dataclass(frozen=True)
class Shot:
    """All that decides a picture of a mixture: the browser's controls and the command line's flags both make one."""

    camera: Camera
    """Its size is the picture's size; side by side, that of each of the two."""
    t: float
    view: str = "rgb"
    active: tuple[bool, ...] | None = None
    """Which experts are live; None for all."""
    mute_rule: MuteRule = "renormalize"
    temperature: float | None = None
    """None for the router's own."""
    skip_below: float = 0.0
    """Tile gating: an expert is left out in tiles where its gate is estimated below this; 0 is exact."""
    kept: float = 1.0
    """The share of the Gaussians that is left, the least important ones being left out."""
    comparison: Comparison | None = None
    """None for one picture alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.skip_below < 1:
            raise ValueError(f"skip_below: got {self.skip_below}, expected a share of the gate in [0, 1)")
        width, height = self.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"size: a picture of {width}x{height} has more than {MAX_PIXELS} pixels; make it smaller")
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept: got {self.kept:g}, expected a share of the Gaussians, more than 0 and up to 1")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture, pixels."""
        across, down = (1, 1) if self.comparison is None else self.comparison.panes
        return across * self.camera.width, down * self.camera.height

    @property
    def options(self) -> dict[str, Any]:
        """What `Mixture.render` is to be told beside camera and time."""
        return {name: getattr(self, name) for name in ("active", "mute_rule", "temperature", "skip_below")}

    def to_json(self) -> str:
        """The shot as one JSON object, from which `from_json` makes it again, to the last bit."""
        camera = self.camera
        plain = {f.name: config.dump(getattr(self, f.name)) for f in fields(self) if f.name != "camera"}
        place = {"viewmat": camera.viewmat.tolist(), "K": camera.K.tolist()}
        return json.dumps({"camera": {**place, "width": camera.width, "height": camera.height}, **plain})

    @staticmethod
    def from_json(text: str) -> "Shot":
        """The shot that `text` describes; raises ValueError in one line where it describes none."""
        try:
            values: dict[str, Any] = json.loads(text)
            place = values.pop("camera")
            camera = Camera(
                torch.tensor(place["viewmat"]), torch.tensor(place["K"]), int(place["width"]), int(place["height"])
            )
            hints = get_type_hints(Shot)
            return Shot(camera, **{key: config.build(hints[key], value, key) for key, value in values.items()})
        except (KeyError, TypeError, AttributeError, ValueError, RuntimeError, ArithmeticError) as error:
            raise ValueError(f"shot: not the JSON of one ({error.__class__.__name__}: {error})") from None


def for_video(shot: Shot) -> tuple[Shot, tuple[str, ...]]:
    """`shot` with both sides rounded up to even numbers, as H.264 wants them (yuv420p), and what to say of it."""
    width, height = shot.camera.width, shot.camera.height
    size = width + width % 2, height + height % 2
    if size == (width, height):
        return shot, ()
    note = f"{width}x{height} is odd, which H.264 cannot hold: rounded to {size[0]}x{size[1]}"
    return replace(shot, camera=shot.camera.fitted(*size)), (note,)


def film(rig: Rig, shot: Shot, tour: Tour) -> list[Shot]:
    """`shot` on `tour`: one shot per video frame, the first of them as it is.

    Raises ValueError where the tour has no frame, or no arc to sway in.
    """
    cameras, times = tour.cameras(rig, shot.camera), tour.times(rig.timeline, shot.t)
    return [replace(shot, camera=camera, t=t) for camera, t in zip(cameras, times, strict=True)]
