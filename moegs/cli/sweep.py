"""moegs sweep: what pruning costs and gains at each ratio."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import OmitArgPrefixes, arg

from moegs import consoles, reports
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, load, refuse_loss, refuse_unwritable
from moegs.cli.progress import decode, progress, tell_compiling
from moegs.pruning import Criterion, Scope, kept
from moegs.system import Device

if TYPE_CHECKING:
    from moegs.sweep import Row


@dataclass(frozen=True)
class SweepOptions:
    """Which Gaussians go at each ratio, and what is measured."""

    criterion: Criterion = "contribution"
    """What ranks the Gaussians, as in moegs prune."""
    scope: Scope = "mixture"
    """Whether a ratio is of all Gaussians together, or of each expert's alike."""
    every: int = 1
    """Score each this many frames of the held-out cameras."""
    weigh_every: int = 1
    """Each so many frames of every training camera give the scores, where CKPT holds none."""

    def check(self) -> None:
        """Raises ValueError for what no sweep can be; not sooner, since the command line would tell it in a box."""
        for flag, every in (("--every", self.every), ("--weigh-every", self.weigh_every)):
            if every < 1:
                raise ValueError(f"{flag}: got {every}, expected 1 or more frames")


def sweep(
    path: CheckpointPath,
    /,
    data: Path,
    prune: Annotated[str, arg(metavar="FIRST:LAST:COUNT")] = "0:0.9:10",
    measuring: OmitArgPrefixes[SweepOptions] = SweepOptions(),
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    device: Device = "auto",
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Measure CKPT at several pruning ratios: PSNR on held-out cameras, Gaussians, MB, ms per frame.

    Gaussians are weighed once, on training cameras; scores that CKPT holds (moegs prune --ratio 0) are taken from it.
    Nothing is fine-tuned, and no checkpoint is written.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on.
        prune: The ratios, evenly spaced, both ends included.
        device: Where to compute.
        json: Also write the rows as JSON to this file; - writes JSON alone to standard output.
        force: Overwrite the file of --json.
    """
    from moegs import sweep as core
    from moegs.data import load_scene
    from moegs.training import pruning
    from moegs.training.progress import show

    measuring.check()
    steps = core.ratios(prune)
    refuse_loss((json,), (path,), force)
    loaded = load(path, device)
    scene = load_scene(dataset.of(data, loaded.provenance), with_points=False)
    pairs = core.held_out(loaded.mixture, scene, measuring.every)
    pruning.check_criterion(loaded.mixture, measuring.criterion)
    refuse_unwritable(json)
    decode(scene, loaded.mixture.rig.test)
    scores = loaded.importance
    if measuring.criterion not in loaded.criteria:
        with show() as on_event:
            scores = pruning.weighed(loaded.mixture, scene, measuring.weigh_every, on_event)
    else:
        tell_compiling(loaded.mixture.device)
        if measuring.weigh_every > 1:
            print(f"{path}: holds its scores already, so that --weigh-every is not used", file=sys.stderr)
    by = scores[measuring.criterion]
    console = consoles.console(stderr=str(json) == "-")
    console.print(HEAD, highlight=False)
    rows: list[Row] = []
    for ratio in steps:
        with progress(f"pictures at ratio {ratio:g}, {len(rows) + 1} of {len(steps)}") as advance:
            rows.append(core.measure(loaded.mixture, kept(by, ratio, measuring.scope), scene, pairs, advance))
        console.print(_line(rows[-1]), highlight=False)
    console.print(NOTES, highlight=False, soft_wrap=True)
    reports.tell(json, asdict(measuring) | {"rows": [asdict(row) for row in rows]}, lambda console: None)


HEAD = (
    f"{'ratio':>6}{'PSNR dB':>9}{'Gaussians':>11}{'MB':>8}"
    f"{'ms new':>9}{'faster new':>12}{'ms kept':>9}{'faster kept':>13}"
)
NOTES = """\
new: a frame at an instant not shown before; kept: at one whose Gaussians are kept.
faster: than the unpruned mixture, whose frames are drawn in turn with these: the
median of the pairs' ratios. The machine's own pace differs from row to row, so
that the ms of two rows do not give it."""


def _line(row: "Row") -> str:
    return (
        f"{row.ratio:>6.1%}{row.psnr:>9.3f}{row.gaussians:>11,}{row.megabytes:>8.2f}{row.ms:>9.1f}"
        f"{row.speedup:>11.2f}x{row.ms_kept:>9.1f}{row.speedup_kept:>12.2f}x"
    )
