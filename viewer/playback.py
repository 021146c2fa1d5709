"""Playback: which frame is on at what moment of the wall clock."""

import math
from dataclasses import dataclass, replace

from moegs.timeline import Timeline


@dataclass(frozen=True)
class Playback:
    """A position in time that stands still or runs with the clock; what cannot be drawn in time is left out."""

    timeline: Timeline
    start: float = 0.0
    """Frame number at the moment `since`."""
    since: float | None = None
    """Clock in seconds when it began to run; None while it stands."""
    speed: float = 1.0
    """Of 1 is as fast as it was filmed."""
    loop: bool = True
    smooth: bool = False
    """Whether the times between two frames are shown too."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.speed) and self.speed > 0):
            raise ValueError(
                f"playback: got frame {self.start} and speed {self.speed}, expected numbers, speed above 0"
            )

    @property
    def playing(self) -> bool:
        return self.since is not None

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return self.timeline.frames - 1

    def frame(self, now: float) -> float:
        """The frame number at clock `now`, never beyond the last frame; whole while it runs, unless it is smooth."""
        place = self.place(now)
        return place if self.since is None or self.smooth else float(math.floor(place))

    def place(self, now: float) -> float:
        """Where between the first frame and the last it is at clock `now`."""
        if self.since is None:
            return self.start
        frame = self.start + (now - self.since) * self.timeline.fps * self.speed
        return min(frame % self.timeline.frames if self.loop else frame, float(self.last))

    def ended(self, now: float) -> bool:
        """Whether it ran into the end, which only happens without loop."""
        return self.playing and not self.loop and self.frame(now) >= self.last

    def play(self, now: float) -> "Playback":
        """Runs from here, or from the first frame where it stands on the last and does not loop.

        A film of one frame stands.
        """
        if self.last == 0:
            return self
        frame = self.place(now)
        return replace(self, start=0.0 if frame >= self.last and not self.loop else frame, since=now)

    def pause(self, now: float) -> "Playback":
        """Stands on the whole frame that is on at `now`."""
        return replace(self, start=float(round(self.frame(now))), since=None)

    def seek(self, frame: float, now: float) -> "Playback":
        """Goes to `frame`, kept between the first and the last, and runs on from there if it ran."""
        return replace(self, start=min(max(frame, 0.0), float(self.last)), since=now if self.playing else None)

    def paced(
        self, now: float, *, speed: float | None = None, loop: bool | None = None, smooth: bool | None = None
    ) -> "Playback":
        """Goes on from where it is at `now` at another speed, looping or not, smooth or not."""
        wishes = {"speed": speed, "loop": loop, "smooth": smooth}
        chosen = {name: value for name, value in wishes.items() if value is not None}
        return replace(self.seek(self.place(now), now), **chosen)
