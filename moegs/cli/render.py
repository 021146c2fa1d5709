"""moegs render: one picture, or a video."""

import sys
from pathlib import Path

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from moegs import export, shots, verification, views
from moegs.cli.files import CheckpointPath, load, refuse_existing, want_suffix
from moegs.cli.progress import progress
from moegs.cli.shot_options import ShotOptions, VideoOptions
from moegs.system import Device


def render(
    path: CheckpointPath,
    /,
    out: Path,
    shot: OmitArgPrefixes[ShotOptions] = ShotOptions(),
    video: OmitArgPrefixes[VideoOptions] = VideoOptions(),
    verify_gating: FlagCreatePairsOff[bool] = False,
    device: Device = "auto",
    force: bool = False,
) -> None:
    """Draw one picture of CKPT into OUT (.png), or a video (.mp4): the same pixels as in the browser.

    Args:
        path: A trained mixture.
        out: The file to write; it must not exist unless --force.
        verify_gating: With --skip-below, draw everything again without it and tell how far off the pictures are.
        device: Where to compute.
        force: Overwrite OUT.
    """
    refuse_existing(out, force, path)
    mixture = load(path, device).mixture
    wanted = shot.shot(mixture)
    tour = video.tour()
    if verify_gating and not wanted.skip_below:
        raise ValueError("--verify-gating: nothing is skipped; give --skip-below too, such as 0.02")
    if tour is None:
        want_suffix(out, ".png")
        export.write_png(views.draw(mixture, wanted).burnt(), out, wanted.to_json())
        print(f"{out}: {wanted.view}, {wanted.camera.width}x{wanted.camera.height}")
        if verify_gating:
            print(verification.verify(mixture, [wanted]).line())
        return
    want_suffix(out, ".mp4")
    wanted, notes = shots.for_video(wanted)
    for note in notes:
        print(note, file=sys.stderr)
    width, height = wanted.camera.width, wanted.camera.height
    film = shots.film(mixture.rig, wanted, tour)
    pictures = (views.draw(mixture, each).burnt() for each in film)
    with progress("frames") as advance:
        export.write_video(pictures, out, (width, height), video.fps, lambda done: advance(done, len(film)))
    print(f"{out}: {wanted.view}, {len(film)} frames of {width}x{height} at {video.fps:g} fps")
    if verify_gating:
        print(verification.verify(mixture, film).line())
