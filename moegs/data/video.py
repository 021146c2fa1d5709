"""Video files, read with the ffmpeg that imageio-ffmpeg brings."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from moegs.data.config import ColorMatrix
from moegs.data.footage import fingerprint

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi")
MATRICES = ("bt709", "bt470bg", "smpte170m", "fcc", "smpte240m", "bt2020nc")
"""What a video may say of its colours, in ffmpeg's words."""
EXACT = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""Without these, swscale rounds down: green ends about one level of 255 too dark."""


@dataclass(frozen=True)
class Video:
    """A video file."""

    path: Path
    width: int
    height: int
    frames: int
    """Counted, not computed from the duration."""
    fps: float
    matrix: str
    """In ffmpeg's words."""
    full_range: bool
    """Whether luma goes from 0 to 255 instead of 16 to 235."""

    @property
    def fingerprint(self) -> str:
        return f"{fingerprint(self.path)} {self.matrix} {self.full_range}"

    def decode(self, first: int, last: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """Decoded in sequence from the beginning: seeking would not be exact with frames that refer to later ones.

        Raises ValueError when the file does not give all of these frames.
        """
        colors = f"in_color_matrix={self.matrix}:in_range={'pc' if self.full_range else 'tv'}"
        filters = f"trim=start_frame={first}:end_frame={last},scale={colors}:flags={EXACT},format=rgb24"
        command = [*_ffmpeg(self.path, "-noautorotate"), "-fps_mode", "passthrough", "-vf", filters, "-f", "rawvideo"]
        size = self.width * self.height * 3
        with TemporaryFile() as log:
            process = subprocess.Popen([*command, "-"], stdout=subprocess.PIPE, stderr=log)
            assert process.stdout is not None
            try:
                for frame in range(first, last):
                    data = process.stdout.read(size)
                    if len(data) < size:
                        process.wait()
                        raise _unreadable(self.path, log, f"frame {frame} of {self.frames} cannot be decoded")
                    yield np.frombuffer(data, dtype=np.uint8).reshape(self.height, self.width, 3)
                if process.wait():
                    raise _unreadable(self.path, log, "damaged")
            finally:
                process.stdout.close()
                process.kill()
                process.wait()


def open_video(path: Path, matrix: ColorMatrix) -> Video:
    """The video at `path`, every packet of it counted, none decoded.

    Raises ValueError when it cannot be read to its end.
    """
    with TemporaryFile() as log:
        # A line per packet: ffmpeg's own count of frames is not printed by every version when it only copies.
        listing = subprocess.run(
            [*_ffmpeg(path), "-c", "copy", "-f", "framecrc", "-"], stdout=subprocess.PIPE, stderr=log, check=False
        )
        if listing.returncode:
            raise _unreadable(path, log, "no readable video")
        log.seek(0)
        told = log.read().decode(errors="replace")
    stream = re.search(r"Video: [^,]*, (\w+)(?:\(([^)]*)\))?, (\d+)x(\d+)", told)
    frames = sum(not line.startswith(b"#") for line in listing.stdout.splitlines())
    rate = re.search(r", ([\d.]+)(k?) fps", told)
    if not (stream and rate and frames):
        raise ValueError(f"{path}: no picture in this video; replace it")
    tags = [tag.split("/")[0] for tag in (stream[2] or "").split(", ")]
    tagged = next((tag for tag in tags if tag in MATRICES), "bt601")
    return Video(
        path=path,
        width=int(stream[3]),
        height=int(stream[4]),
        frames=frames,
        fps=float(rate[1]) * (1000 if rate[2] else 1),
        matrix=tagged if matrix == "auto" else matrix,
        full_range="pc" in tags or stream[1].startswith("yuvj"),
    )


def _ffmpeg(path: Path, *options: str) -> list[str]:
    """The beginning of a command that reads the first video stream of `path` and fails at the first error."""
    from imageio_ffmpeg import get_ffmpeg_exe

    return [get_ffmpeg_exe(), "-hide_banner", "-nostdin", "-xerror", *options, "-i", str(path), "-map", "0:v:0"]


def _unreadable(path: Path, log: IO[bytes], what: str) -> ValueError:
    log.seek(0)
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.startswith("[")]
    told = [re.sub(r"^\[[^]]*\] *", "", line) for line in lines]
    causes = [line for line in told if re.search("not found|nvalid|corrupt|rror", line)]
    reason = f" ({causes[0]})" if causes else ""
    return ValueError(f"{path}: {what}{reason}; copy the file again or encode it anew")
