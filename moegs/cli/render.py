"""moegs render: one picture, or a video."""

from pathlib import Path

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from moegs import verification
from moegs.acceleration import Acceleration
from moegs.cli import drawings
from moegs.cli.files import CheckpointPath, load, refuse_loss
from moegs.cli.progress import progress, tell_compiling
from moegs.cli.shot_options import ShotOptions, VerifyGating, VideoOptions, check_gating
from moegs.lines import one_line
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
    verify_gating: VerifyGating = False,
    acceleration: OmitArgPrefixes[FlagCreatePairsOff[Acceleration]] = Acceleration(),
    device: Device = "auto",
    force: bool = False,
) -> None:
    """Draw one picture of CKPT into OUT (.png), or a video (.mp4): the same pixels as in the browser.

    Args:
        path: A trained mixture.
        out: The file to write; it must not exist unless --force.
        device: Where to compute.
        force: Overwrite OUT.
    """
    refuse_loss((out,), (path,), force)
    variants = Variants(load(path, device), path, acceleration=acceleration)
    wanted = shot.shot(variants.mixture)
    check_gating(verify_gating, wanted.skip_below, variants.mixture)
    tell_compiling(variants.mixture.device)
    drawn: list[Shot] = []

    def draw(each: Shot) -> Drawing:
        drawn.append(each)
        return variants.draw(each)

    print(one_line(drawings.write(draw, variants.mixture.rig, wanted, out, video)))
    if verify_gating:
        with progress("pictures verified") as advance:
            errors = verification.verify(variants.kept(wanted.kept).mixture, drawn, advance)
        print(errors.line())
