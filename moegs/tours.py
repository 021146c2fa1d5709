"""Tours: how the camera goes through a video, around the scene or within what was filmed."""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch

from moegs.cameras import Camera, turned, turntable
from moegs.data.scene import Rig
from moegs.timeline import Timeline

SMALLEST_ARC = 0.1
"""Degrees; cameras within less stand in one place."""
MAX_FRAMES = 100_000
"""Of one video: almost an hour at 30 frames per second."""


@dataclass(frozen=True)
class Tour:
    """How a video is made of one shot."""

    degrees: float | None = None
    """How far the camera turns around the middle of the scene; None: it sways within the arc of the rig's cameras."""
    seconds: float = 6.0
    fps: float = 30.0
    """Frames per second of the video."""
    running: bool = False
    """Whether time goes on as fast as it was filmed, and starts again after the last frame; else it stands still."""

    @property
    def count(self) -> int:
        """How many frames the video has.

        Raises ValueError where it has none or too many, or a number is not finite.
        """
        if not all(map(math.isfinite, (self.degrees or 0.0, self.seconds, self.fps))) or self.fps <= 0:
            told = "" if self.degrees is None else f"{self.degrees:g} degrees, "
            raise ValueError(
                f"video: got {told}{self.seconds:g} s and {self.fps:g} fps; give finite numbers, fps above 0"
            )
        count = round(min(self.seconds * self.fps, 2.0 * MAX_FRAMES))
        if count < 1:
            raise ValueError(f"video: {self.seconds:g} s at {self.fps:g} fps has no frame; make it longer")
        if count > MAX_FRAMES:
            raise ValueError(
                f"video: {self.seconds:g} s at {self.fps:g} fps is more than {MAX_FRAMES} frames; make it shorter"
            )
        return count

    def cameras(self, rig: Rig, camera: Camera) -> list[Camera]:
        """The camera of every frame, from `camera` on; raises ValueError where there is no arc to sway in."""
        target, up = rig.target.to(camera.K), rig.up.to(camera.K)
        if self.degrees is not None:
            return turntable(camera, target, up, self.degrees, self.count)
        return [turned(camera, target, up, angle) for angle in sway(*arc(rig, camera), self.count)]

    def times(self, timeline: Timeline, t: float) -> list[float]:
        """The time of every frame, from `t` on."""
        start = timeline.frame(t)
        pace = timeline.fps / self.fps if self.running else 0.0
        # Rounded, so that the same frame has the same time each time round, and its Gaussians are kept.
        frames = (round((start + i * pace) % timeline.frames, 9) % timeline.frames for i in range(self.count))
        return [timeline.t(min(frame, timeline.frames - 1)) for frame in frames]


def arc(rig: Rig, camera: Camera) -> tuple[float, float]:
    """How far `camera` may turn around the middle of the scene, to its left (negative) and right, degrees.

    Up to the outermost of the rig's cameras on either side, where the widest gap between any two begins.
    """
    axis, target = rig.up.double().cpu(), rig.target.double().cpu()
    ahead = camera.center.double().cpu() - target
    side = torch.linalg.cross(axis, ahead)
    places = torch.stack([each.center.double().cpu() - target for each in rig.cameras])
    ahead = ahead - (ahead @ axis) * axis
    angles = sorted([0.0, *torch.rad2deg(torch.atan2(places @ side, places @ ahead)).tolist()])
    gaps = [after - before for before, after in pairwise([*angles, angles[0] + 360])]
    widest = gaps.index(max(gaps))
    first, last = angles[(widest + 1) % len(angles)], angles[widest]
    return (first if first <= 0 else first - 360), (last if last >= 0 else last + 360)


def sway(low: float, high: float, count: int) -> list[float]:
    """Angles in `count` steps from 0 to `high`, to `low` and back, slowing down at the ends, closed without a repeat.

    Raises ValueError where there is no arc between the two, which hold 0 between them.
    """
    if high - low < SMALLEST_ARC:
        raise ValueError("sway: all cameras of the data set stand in one direction; give degrees to turn instead")
    middle, reach = (low + high) / 2, (high - low) / 2
    begin = math.asin(min(max(-middle / reach, -1.0), 1.0))
    return [middle + reach * math.sin(begin + 2 * math.pi * step / count) for step in range(count)]
