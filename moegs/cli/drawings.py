"""What a verb draws, as a file: one picture, or a video."""

import sys
from collections.abc import Callable
from pathlib import Path

from moegs import export, shots
from moegs.cli.files import want_suffix
from moegs.cli.progress import progress
from moegs.cli.shot_options import VideoOptions
from moegs.data.scene import Rig
from moegs.shots import Shot
from moegs.views import Drawing


def write(draw: Callable[[Shot], Drawing], rig: Rig, shot: Shot, out: Path, video: VideoOptions) -> str:
    """Writes what `draw` makes of `shot` to `out` (.png), or of its way through `video` (.mp4); says what was made."""
    tour = video.tour()
    if tour is None:
        want_suffix(out, ".png")
        export.write_png(draw(shot).burnt(), out, shot.to_json())
        return f"{out}: {shot.view}, {shot.size[0]}x{shot.size[1]}"
    want_suffix(out, ".mp4")
    shot, notes = shots.for_video(shot)
    for note in notes:
        print(note, file=sys.stderr)
    film = shots.film(rig, shot, tour)
    pictures = (draw(each).burnt() for each in film)
    with progress("frames") as advance:
        export.write_video(pictures, out, shot.size, video.fps, lambda done: advance(done, len(film)))
    return f"{out}: {shot.view}, {len(film)} frames of {shot.size[0]}x{shot.size[1]} at {video.fps:g} fps"
