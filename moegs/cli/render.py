"""moegs render: one picture, or a video."""

from pathlib import Path

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from moegs import verification
from moegs.acceleration import Acceleration
from moegs.cli import drawings
from moegs.cli.files import CheckpointPath, load, refuse_existing
from moegs.cli.shot_options import ShotOptions, VideoOptions
from moegs.shots import Shot
from moegs.system import Device
from moegs.variants import Variants
from moegs.views import Drawing


def render(
    path: CheckpointPath,
    /,
    out: Path,
    shot: OmitArgPrefixes[ShotOptions] = ShotOptions(),
    video: OmitArgPrefixes[VideoOptions] = VideoOptions(),
    verify_gating: FlagCreatePairsOff[bool] = False,
    acceleration: OmitArgPrefixes[FlagCreatePairsOff[Acceleration]] = Acceleration(),
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
    if verify_gating and not shot.skip_below:
        raise ValueError("--verify-gating: nothing is skipped; give --skip-below too, such as 0.02")
    variants = Variants(load(path, device), path, acceleration=acceleration)
    wanted = shot.shot(variants.mixture)
    drawn: list[Shot] = []

    def draw(each: Shot) -> Drawing:
        drawn.append(each)
        return variants.draw(each)

    print(drawings.write(draw, variants.mixture.rig, wanted, out, video))
    if verify_gating:
        print(verification.verify(variants.kept(wanted.kept).mixture, drawn).line())
