"""What to draw, as flags: every verb that draws takes the same ones."""

import sys
from dataclasses import dataclass
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, arg

from moegs import tours, views
from moegs.cli.repeated import Repeated, joined
from moegs.lines import threshold
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.shots import Comparison, Shot

SkipBelow = Annotated[
    float,
    arg(
        help="Tile gating: leave an expert out in tiles where its gate is estimated below this, such as 0.02; 0 is "
        "exact."
    ),
]
VerifyGating = Annotated[
    FlagCreatePairsOff[bool],
    arg(help="With --skip-below, draw everything again without it and tell how far off the pictures are."),
]


def check_gating(verify: bool, skip_below: float, mixture: Mixture) -> None:
    """Raises ValueError where tile gating is to be verified and there is none; a line on stderr where it is only asked
    for."""
    if verify and not skip_below:
        raise ValueError("--verify-gating: nothing is skipped; give --skip-below too, such as 0.02")
    reason = _ungated(skip_below, mixture)
    if reason and verify:
        raise ValueError(f"--verify-gating: nothing is skipped, since {reason}; leave it out")
    if reason and skip_below:
        print(f"--skip-below {threshold(skip_below)}: nothing is skipped, since {reason}", file=sys.stderr)


def _ungated(skip_below: float, mixture: Mixture) -> str:
    """Why tile gating leaves out nothing of `mixture`, if so."""
    router = mixture.router
    if router is None:
        return "this is one expert alone"
    if not router.sees_features_alone:
        return f"a router of kind {router.config.kind} has to see every expert's picture"
    if not len(router.feature_background) and skip_below <= 1 / len(mixture.names):
        return f"a router of kind {router.config.kind} gives every expert the same share"
    return ""


@dataclass(frozen=True)
class ShotOptions:
    """What to draw; the browser has a control for each."""

    camera: str = "test:0"
    """A camera of the data set: test:0, train:3 or its own name."""
    time: str = "0"
    """A frame number such as 12, or seconds such as 0.4s."""
    view: Annotated[str, arg(help=views.describe())] = "rgb"
    size: str | None = None
    """Of the picture, as 1280x720; the camera's own when left out (side by side, of each of the two)."""
    mute: Repeated[str] = ()
    """Names of experts to leave out."""
    solo: Repeated[str] = ()
    """Names of the only experts to keep."""
    mute_rule: MuteRule = "renormalize"
    """A muted expert's share is spread over the others, lost (keep), or given to the next best (reroute)."""
    temperature: float | None = None
    """Divides the router's logits; the router's own when left out."""
    skip_below: SkipBelow = 0.0
    kept: float = 1.0
    """Keep this share of the Gaussians, such as 0.45: those that matter most by the checkpoint's stored scores."""

    def shot(self, mixture: Mixture, comparison: Comparison | None = None) -> Shot:
        """The shot of `mixture` that these options describe; raises ValueError for what it does not have."""
        rig = mixture.rig
        camera = rig.cameras[rig.find(self.camera)]
        if self.size is not None:
            (width, height), (across, down) = _size(self.size), (1, 1) if comparison is None else comparison.panes
            if across * down > 1 and (width < across or height < down):
                raise ValueError(f"size '{self.size}': both pictures share it; give at least {across}x{down}")
            camera = camera.fitted(width // across, height // down)
        return Shot(
            camera=camera,
            t=rig.timeline.parse(self.time),
            view=self.view,
            active=self._active(mixture.names),
            mute_rule=self.mute_rule,
            temperature=self.temperature,
            skip_below=self.skip_below,
            kept=self.kept,
            comparison=comparison,
        )

    def _active(self, names: tuple[str, ...]) -> tuple[bool, ...] | None:
        mute, solo = joined(self.mute, "--mute"), joined(self.solo, "--solo")
        for name in (*mute, *solo):
            if name not in names:
                raise ValueError(f"expert '{name}': this checkpoint has {', '.join(names)}")
        if not mute and not solo:
            return None
        return tuple(name not in mute and (not solo or name in solo) for name in names)


@dataclass(frozen=True)
class VideoOptions:
    """A video (OUT.mp4, H.264) instead of one picture; outside the arc of the data set's cameras nothing was seen."""

    sway: FlagCreatePairsOff[bool] = False
    """Swing the camera there and back within the arc of the data set's cameras."""
    turntable: float | None = None
    """Degrees to turn around the middle of the scene, such as 360, also where nothing was filmed."""
    seconds: float = 6.0
    """How long the video is."""
    fps: float = 30.0
    """Frames per second of the video."""
    running: bool = False
    """Let time run on from --time, again from the start after the last frame; else it stands still."""

    def tour(self) -> tours.Tour | None:
        """The way of the camera, None for one picture; raises ValueError where two ways are asked for."""
        if self.sway and self.turntable is not None:
            raise ValueError("--sway and --turntable: the camera can go only one way; give one of the two")
        if not self.sway and self.turntable is None:
            return None
        return tours.Tour(self.turntable, self.seconds, self.fps, self.running)


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"size '{text}': give width and height in pixels, such as 1280x720")
    return int(width), int(height)
