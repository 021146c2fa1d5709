"""Timeline: frames, seconds and t."""

import math
import re
from dataclasses import dataclass

MAX_FRAMES = 10_000_000
"""Four days at 30 frames per second."""


@dataclass(frozen=True)
class Timeline:
    """When the frames of a scene were filmed."""

    frames: int
    """How many."""
    fps: float
    """Frames per second."""
    times: tuple[float, ...] | None = None
    """A data set's own t per frame, rising, in [0, 1]; None: frame k of n is at k / n, as in the experts' papers."""

    def __post_init__(self) -> None:
        if self.frames > MAX_FRAMES:
            raise ValueError(f"timeline: got more than {MAX_FRAMES} frames; give fewer")
        if self.frames < 1 or not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"timeline: got {self.frames} frames at {self.fps} fps; both must be positive")
        if self.times is None:
            return
        if len(self.times) != self.frames:
            raise ValueError(f"timeline: {self.frames} frames but {len(self.times)} times; give one time per frame")
        rising = all(a < b for a, b in zip(self.times, self.times[1:], strict=False))
        if not rising or not (0 <= self.times[0] and self.times[-1] <= 1):
            raise ValueError("timeline: the times of the frames must rise within [0, 1]")

    @property
    def seconds(self) -> float:
        """From the first frame to the end of the last."""
        return self.frames / self.fps

    def t(self, frame: int | float) -> float:
        """The time in [0, 1] of a frame number, which may lie between two frames."""
        if self.times is None:
            return frame / self.frames
        low = min(int(frame), self.frames - 1)
        high = min(low + 1, self.frames - 1)
        return self.times[low] + (frame - low) * (self.times[high] - self.times[low])

    def frame(self, t: float) -> float:
        """The frame number of a time in [0, 1], between two frames where `t` is."""
        if self.times is None:
            return t * self.frames
        for low, (start, end) in enumerate(zip(self.times, self.times[1:], strict=False)):
            if t < end:
                return max(0.0, low + (t - start) / (end - start))
        return float(self.frames - 1)

    def parse(self, text: str) -> float:
        """The time that `text` names: a frame number ("12") or seconds ("3.2s"), from the first frame to the last.

        Raises ValueError for anything else.
        """
        last = self.frames - 1
        in_seconds = text.endswith("s")
        try:
            frame = float(text[:-1]) * self.fps if in_seconds else float(text)
        except ValueError:
            raise ValueError(f"time '{text}': give a frame number such as 12, or seconds such as 0.4s") from None
        # The end is told in four digits, which may lie half a digit behind it.
        if not 0 <= frame <= last * (1 + (5e-4 if in_seconds else 0)) + 1e-6:
            raise ValueError(
                f"time '{text}': outside the scene; give a frame from 0 to {last}, or 0s to {last / self.fps:.4g}s"
            )
        return self.t(min(frame, last))

    def chosen(self, text: str) -> range:
        """The frames that `text` names: "all", one ("12"), or first:end:step as in Python ("0:30:5").

        Raises ValueError for anything else, and where none is chosen.
        """
        every, found = range(self.frames), range(0)
        if text == "all":
            found = every
        elif text.isdecimal():
            found = every[int(text) : int(text) + 1]
        elif match := re.fullmatch(r"(\d*):(\d*)(?::([1-9]\d*))?", text):
            found = every[slice(*(int(part) if part else None for part in match.groups()))]
        if not found:
            raise ValueError(
                f"frames '{text}': give all, one from 0 to {self.frames - 1}, or first:end:step such as 0:30:5"
            )
        return found
