"""Shots: all that decides a picture, to and from JSON; and a film's, one after the other."""

import json
from dataclasses import dataclass, replace
from typing import Any, get_type_hints

import torch

from moegs import config
from moegs.cameras import Camera
from moegs.data.scene import Rig
from moegs.router import MuteRule
from moegs.tours import Tour

MAX_PIXELS = 2**26
"""Of one picture, 8192 x 8192: with all that belongs to a pixel, more would hardly fit any memory."""


@dataclass(frozen=True)
class Shot:
    """All that decides a picture of a mixture: the browser's controls and the command line's flags both make one."""

    camera: Camera
    """Its size is the picture's size."""
    t: float
    view: str = "rgb"
    active: tuple[bool, ...] | None = None
    """Which experts are live; None for all."""
    mute_rule: MuteRule = "renormalize"
    temperature: float | None = None
    """None for the router's own."""
    skip_below: float = 0.0
    """Tile gating: an expert is left out in tiles where its gate is estimated below this; 0 is exact."""

    def __post_init__(self) -> None:
        if not 0 <= self.skip_below < 1:
            raise ValueError(f"skip_below: got {self.skip_below}, expected a share of the gate in [0, 1)")
        if self.camera.width * self.camera.height > MAX_PIXELS:
            raise ValueError(
                f"size: a picture of {self.camera.width}x{self.camera.height} has more than {MAX_PIXELS} pixels; "
                "make it smaller"
            )

    @property
    def options(self) -> dict[str, Any]:
        """What `Mixture.render` is to be told beside camera and time."""
        return {name: getattr(self, name) for name in ("active", "mute_rule", "temperature", "skip_below")}

    def to_json(self) -> str:
        """The shot as one JSON object, from which `from_json` makes it again, to the last bit."""
        camera = self.camera
        plain = {name: config.dump(value) for name, value in {"t": self.t, "view": self.view, **self.options}.items()}
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
