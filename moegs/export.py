"""Pictures and videos as files: whole or not there."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, PngImagePlugin

from moegs.files import replacing

SHOT_KEY = "moegs-shot"
"""The PNG text entry that holds the shot a picture was made from."""


def write_png(pixels: UInt8[np.ndarray, "H W 3"], path: Path, shot: str) -> None:
    """Writes `pixels` as a PNG with `shot`, the JSON of what it shows, in its text."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(SHOT_KEY, shot)
    with replacing(path) as temporary:
        Image.fromarray(pixels).save(temporary, pnginfo=notes)


def even(width: int, height: int) -> tuple[int, int]:
    """The size with both sides rounded up to even numbers, as yuv420p video wants them."""
    return width + width % 2, height + height % 2


def write_video(
    pictures: Iterable[UInt8[np.ndarray, "H W 3"]],
    path: Path,
    size: tuple[int, int],
    fps: float,
    on_frame: Callable[[int], None] = lambda done: None,
) -> None:
    """Writes `pictures` as an H.264 video (yuv420p, plays in a browser); `size` is width and height, both even.

    `on_frame` hears how many frames are done. Whatever it or `pictures` raises ends the video and leaves nothing.
    Raises ValueError when the encoder gives up.
    """
    from imageio_ffmpeg import write_frames

    with replacing(path) as temporary:
        writer = write_frames(
            str(temporary),
            size,
            fps=fps,  # type: ignore[arg-type] (its hint says int, its code takes any number)
            codec="libx264",
            macro_block_size=2,
            output_params=["-preset", "veryfast", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
        try:
            writer.send(None)
            for done, picture in enumerate(pictures, start=1):
                writer.send(np.ascontiguousarray(picture))
                on_frame(done)
        except OSError as error:
            raise ValueError(f"{path}: the video encoder gave up ({error}); try another size") from None
        finally:
            writer.close()
