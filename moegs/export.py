"""Pictures and videos as files: whole or not there."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from moegs.cameras import turntable
from moegs.files import replacing
from moegs.mixture import Mixture
from moegs.views import Shot, draw

SHOT_KEY = "moegs-shot"
"""The PNG text entry that holds the shot a picture was made from."""


class Cancelled(Exception):
    """The user asked to stop."""


def write_png(mixture: Mixture, shot: Shot, path: Path) -> None:
    """Draws `shot` into a PNG at `path`, with its legend in it and the shot itself as JSON in the PNG's text."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(SHOT_KEY, shot.to_json())
    with replacing(path) as temporary:
        Image.fromarray(draw(mixture, shot).burnt()).save(temporary, pnginfo=notes)


def even(width: int, height: int) -> tuple[int, int]:
    """The size with both sides rounded up to even numbers, as yuv420p video wants them."""
    return width + width % 2, height + height % 2


def turntable_shots(
    mixture: Mixture, shot: Shot, degrees: float, seconds: float, fps: float, running: bool
) -> list[Shot]:
    """`shot` carried around the middle of the scene: one shot per video frame.

    `running`: time goes on from the shot's own at the speed it was filmed at, and starts again after the last frame;
    else it stands still. Raises ValueError when there is no frame to draw.
    """
    count = round(seconds * fps)
    if count < 1:
        raise ValueError(f"turntable: {seconds:g} s at {fps:g} fps has no frame; make it longer")
    rig, timeline = mixture.rig, mixture.rig.timeline
    cameras = turntable(shot.camera, rig.target.to(shot.camera.K), rig.up.to(shot.camera.K), degrees, count)
    start = timeline.frame(shot.t)
    frames = [(start + i * timeline.fps / fps) % timeline.frames if running else start for i in range(count)]
    return [
        replace(shot, camera=camera, t=timeline.t(min(frame, timeline.frames - 1)))
        for camera, frame in zip(cameras, frames, strict=True)
    ]


def write_video(
    mixture: Mixture,
    shots: Sequence[Shot],
    fps: float,
    path: Path,
    on_frame: Callable[[int], None] = lambda done: None,
) -> None:
    """Draws `shots` into an H.264 video at `path` (yuv420p, plays in a browser); all must have one even size.

    `on_frame` hears how many frames are done, and may raise Cancelled: then nothing is left.
    """
    pictures = (draw(mixture, shot).burnt() for shot in shots)
    encode(pictures, (shots[0].camera.width, shots[0].camera.height), fps, path, on_frame)


def encode(
    pictures: Iterator[UInt8[np.ndarray, "H W 3"]],
    size: tuple[int, int],
    fps: float,
    path: Path,
    on_frame: Callable[[int], None],
) -> None:
    """Writes `pictures` of (width, height) `size` as an H.264 video; raises ValueError when the encoder gives up."""
    import imageio_ffmpeg

    with replacing(path) as temporary:
        writer = imageio_ffmpeg.write_frames(
            str(temporary), size, fps=fps, codec="libx264", pix_fmt_out="yuv420p", quality=None, macro_block_size=2,
            output_params=["-preset", "veryfast", "-crf", "18", "-movflags", "+faststart"], ffmpeg_log_level="error",
        )  # fmt: skip
        try:
            writer.send(None)
            for done, picture in enumerate(pictures, start=1):
                writer.send(np.ascontiguousarray(picture))
                on_frame(done)
        except OSError as error:
            raise ValueError(f"{path}: the video encoder gave up ({error}); try another size") from None
        finally:
            writer.close()
