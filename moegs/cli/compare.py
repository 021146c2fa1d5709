"""moegs compare: two mixtures in one picture, or in one video."""

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional, arg

from moegs import compare as comparing
from moegs import system
from moegs.cli import drawings
from moegs.cli.files import load, refuse_loss
from moegs.cli.progress import tell_compiling
from moegs.cli.shot_options import ShotOptions, VideoOptions, check_gating
from moegs.compare import Side
from moegs.lines import one_line
from moegs.shots import Comparison, Gain, Mode, Shot
from moegs.system import Device
from moegs.variants import Variants
from moegs.views import Drawing

ROUNDS = 3
"""How often a single picture is drawn, so that the time that is burnt into it is that of a warm machine."""


@dataclass(frozen=True)
class CompareOptions:
    """How the two become one picture; the browser has a control for each."""

    mode: Mode = "wipe"
    """One over the other up to a divider, both whole side by side, or where they differ."""
    position: float = 0.5
    """Of the divider: the share of its way across the picture, at 0 all is B's and at 1 all A's."""
    horizontal: FlagCreatePairsOff[bool] = False
    """The divider lies, and A is above B."""
    tilt: float = 0.0
    """Degrees to turn the divider of a wipe clockwise, -45 to 45."""
    gain: Annotated[Gain, arg(help=f"{comparing.GAIN_HELP}.")] = 1
    signed: FlagCreatePairsOff[bool] = False
    """Let the difference tell which of the two has more."""
    swap: FlagCreatePairsOff[bool] = False
    """Let A and B change places."""
    names: tuple[str, str] | None = None
    """What A and B are called in the picture; their files' names when left out."""

    def against(self, other: str) -> Comparison:
        """With `other` as B; raises ValueError for what cannot go together."""
        if self.signed and self.mode != "diff":
            raise ValueError(
                f"--signed: is of the difference, not of --mode {self.mode}; give --mode diff, or leave it out"
            )
        if self.tilt and self.mode != "wipe":
            raise ValueError(
                f"--tilt: is of a divider, and --mode {self.mode} has none; give --mode wipe, or leave it out"
            )
        return Comparison(
            other, self.mode, self.position, self.horizontal, self.gain, self.signed, self.swap, self.tilt
        )


def compare(
    path: Positional[Annotated[Path, arg(metavar="A")]],
    other: Positional[Annotated[str, arg(metavar="B")]],
    /,
    out: Path,
    comparison: OmitArgPrefixes[CompareOptions] = CompareOptions(),
    shot: OmitArgPrefixes[ShotOptions] = ShotOptions(),
    video: OmitArgPrefixes[VideoOptions] = VideoOptions(),
    device: Device = "auto",
    force: bool = False,
) -> None:
    """Draw A and B in one picture OUT (.png) or video (.mp4), the same as in the browser, and print the PSNR between.

    Both are named in it, with their Gaussians, megabytes of parameters, and milliseconds from camera to pixels.

    Args:
        path: A trained mixture.
        other: Another checkpoint of the same data set, or expert:NAME, one expert of A alone, or kept:SHARE, A pruned
            by its stored scores, such as kept:0.45.
        out: The file to write; it must not exist unless --force.
        device: Where to compute.
        force: Overwrite OUT.
    """
    refuse_loss((out,), (path, Path(other)), force)
    known = Variants(load(path, device), path)
    known.open(other, system.device(device))
    wanted = shot.shot(known.mixture, comparison.against(other))
    check_gating(False, wanted.skip_below, known.mixture)
    tell_compiling(known.mixture.device)
    a, b = known.sides(wanted)
    if comparison.names is not None:
        a, b = (Side(name, each.mixture) for name, each in zip(comparison.names, (a, b), strict=True))
    _warm_up(a, b, wanted, ROUNDS if video.tour() is None else 0)
    decibels: list[float | None] = []

    def draw(each: Shot) -> Drawing:
        drawing = comparing.draw(a, b, each)
        decibels.append(comparing.psnr(drawing, each.view))
        return drawing

    print(one_line(drawings.write(draw, known.mixture.rig, wanted, out, video)))
    for letter, side in zip("AB", comparing.ordered(a, b, comparison.against(other)), strict=True):
        print(one_line(f"{letter}  {side.name}: {side.budget.size}, {side.budget.speed}"))
    print(_verdict(wanted.view, decibels))


def _warm_up(a: Side, b: Side, shot: Shot, rounds: int) -> None:
    """Draws it as often as its time is to be the median of, after a first time that does not count."""
    comparing.draw(a, b, shot)
    for _ in range(rounds):
        for side in (a, b):
            side.forget()
        comparing.draw(a, b, shot)


def _verdict(view: str, decibels: list[float | None]) -> str:
    found = [each for each in decibels if each is not None]
    if not found:
        return f"view '{view}': its colours stand for no numbers, so there is no PSNR between A and B"
    if all(math.isinf(each) for each in found):
        return "A and B are equal"
    mean = statistics.fmean(found)
    over = f", the mean over {len(found)} frames" if len(found) > 1 else ""
    return f"PSNR between A and B: {mean:.2f} dB{over}"
