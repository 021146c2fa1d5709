"""Pictures and videos as files: whole or not there."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen

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
    with replacing(path) as temporary:
        encoder = Popen(_encoder(size, fps, temporary), stdin=PIPE, stderr=PIPE)
        assert encoder.stdin is not None
        try:
            with suppress(BrokenPipeError):  # it gave up, and says below why
                for done, picture in enumerate(pictures, start=1):
                    encoder.stdin.write(np.ascontiguousarray(picture).data)
                    on_frame(done)
            words = encoder.communicate()[1].decode(errors="replace").split()
        finally:
            if encoder.poll() is None:
                encoder.kill()
                encoder.communicate()
        if encoder.returncode:
            raise ValueError(f"{path}: the video encoder gave up ({' '.join(words) or encoder.returncode})")


def _encoder(size: tuple[int, int], fps: float, path: Path) -> list[str]:
    """The command that makes an H.264 video at `path` of the raw pictures on its standard input."""
    from imageio_ffmpeg import get_ffmpeg_exe

    taken = f"-f rawvideo -pix_fmt rgb24 -s {size[0]}x{size[1]} -r {fps:g} -i -"
    made = "-c:v libx264 -preset veryfast -crf 18 -pix_fmt yuv420p -movflags +faststart"
    return [get_ffmpeg_exe(), "-y", "-loglevel", "error", *taken.split(), *made.split(), str(path)]
