"""moegs render: one picture, or a video."""

from pathlib import Path

from tyro.conf import OmitArgPrefixes

from moegs.cli import drawings
from moegs.cli.files import CheckpointPath, load, refuse_existing
from moegs.cli.shot_options import ShotOptions, VideoOptions
from moegs.system import Device
from moegs.variants import Variants


def render(
    path: CheckpointPath,
    /,
    out: Path,
    shot: OmitArgPrefixes[ShotOptions] = ShotOptions(),
    video: OmitArgPrefixes[VideoOptions] = VideoOptions(),
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
    refuse_existing(out, force, path)
    variants = Variants(load(path, device), path)
    wanted = shot.shot(variants.mixture)
    print(drawings.write(variants.draw, variants.mixture.rig, wanted, out, video))
