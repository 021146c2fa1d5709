"""moegs prune: a mixture without the Gaussians that matter least."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.table import Table
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from moegs import checkpoint, consoles, reports
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, load, refuse_loss, refuse_unwritable, want_suffix
from moegs.cli.progress import tell_compiling
from moegs.consoles import escape
from moegs.program import resumable
from moegs.pruning import Criterion, Scope
from moegs.runs import RunFolder
from moegs.system import Device

if TYPE_CHECKING:
    from moegs.training.pruning import Pruning

MUCH = 1.0
"""Decibels; who loses more without fine-tuning is told of it."""


@dataclass(frozen=True)
class PruneOptions:
    """How many Gaussians go, by which score, and what is learned afterwards."""

    ratio: float | None = None
    """The share that goes, such as 0.55; 0 only stores the scores of all."""
    threshold: float | None = None
    """Those with a lower score go, such as 1e-9."""
    max_drop: Annotated[str | None, arg(metavar="DB")] = None
    """Find the largest ratio by which the PSNR on the training cameras falls no further than this, such as 0.05dB,
    before any fine-tuning."""
    criterion: Criterion = "contribution"
    """contribution: what a Gaussian adds to the mixture's pictures, the sum of gate x alpha x transmittance.
    gate-gradient: how much the gate of its expert depends on it, as in the MoE-GS paper."""
    scope: Scope = "mixture"
    """Whether the share is of all Gaussians together, or of each expert's alike."""
    finetune: int = 0
    """Steps that the router learns afterwards, on the training cameras."""
    finetune_experts: FlagCreatePairsOff[bool] = False
    """Let the experts learn with it."""
    weigh_every: int = 1
    """Each so many frames of every training camera give the scores; fewer are faster."""
    weigh_anew: FlagCreatePairsOff[bool] = False
    """Measure the scores also where CKPT holds them."""

    def settings(self) -> "Pruning":
        """What they ask for; raises ValueError where that is not one thing."""
        from moegs.training.pruning import Pruning

        ways = {"--ratio": self.ratio, "--threshold": self.threshold, "--max-drop": self.max_drop}
        given = [flag for flag, value in ways.items() if value is not None]
        if len(given) != 1:
            raise ValueError(f"prune: got {' and '.join(given) or 'none'} of {', '.join(ways)}; give one of them")
        if self.finetune_experts and not self.finetune:
            raise ValueError("--finetune-experts: without --finetune STEPS nothing learns; give it, or leave this out")
        return Pruning(
            ratio=self.ratio,
            threshold=self.threshold,
            max_drop=None if self.max_drop is None else decibels(self.max_drop),
            criterion=self.criterion,
            scope=self.scope,
            weigh_every=self.weigh_every,
            finetune=self.finetune,
            finetune_experts=self.finetune_experts,
        )


def prune(
    path: CheckpointPath,
    /,
    data: Path,
    out: Path,
    pruning: OmitArgPrefixes[PruneOptions] = PruneOptions(),
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    resume: FlagCreatePairsOff[bool] = False,
    device: Device = "auto",
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Write CKPT without the Gaussians that matter least into OUT: give --ratio, --threshold or --max-drop.

    Gaussians are weighed and fine-tuned on training cameras alone; the held-out ones, where there are any, are scored
    before and after. Meanwhile a folder named as OUT, but with .run in place of .pt, holds the state from which
    --resume goes on.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on.
        out: The checkpoint to write; it must not exist unless --force.
        resume: Go on with what an earlier, killed run of the same command left, if it left anything.
        device: Where to compute.
        json: Also write what was done as JSON to this file; - writes JSON alone to standard output.
        force: Overwrite OUT and the file of --json.
    """
    from moegs.training import recipes, thinning, workplace
    from moegs.training.progress import show, with_note
    from moegs.training.thinning import Thinning

    settings = pruning.settings()
    want_suffix(out, ".pt")
    work = out.with_suffix(workplace.SUFFIX)
    refuse_loss((out, work, json), (path, RunFolder(path.parent).config), force)
    whole = load(path, device)
    source = dataset.of(data.absolute(), whole.provenance)
    training, note = recipes.router(path, whole)
    refuse_unwritable(out, json)
    if not pruning.weigh_anew and settings.criterion in whole.criteria:
        tell_compiling(whole.mixture.device)  # weighing tells it itself
    wanted = Thinning(
        sha256=thinning.sha256(path), data=source, prune=settings, router=training, weigh_anew=pruning.weigh_anew
    )
    with resumable(), show() as on_event, workplace.claimed(work, wanted, resume) as folder:
        course, tell = thinning.alone(folder, settings.finetune), with_note(on_event, note if settings.finetune else "")
        thin = thinning.thinned(whole, path.name, wanted, course, tell)
        checkpoint.save(thin, out)
    folder.remove()
    facts = thin.provenance["pruned"] | {"bytes": {"before": path.stat().st_size, "after": out.stat().st_size}}
    reports.tell(json, facts, lambda console: _print(console, out, facts))


def decibels(text: str) -> float:
    """A number of dB, with or without the unit; raises ValueError for anything else."""
    try:
        return float(text.lower().removesuffix("db"))
    except ValueError:
        raise ValueError(f"--max-drop {text}: give a loss of PSNR in dB, such as 0.05dB") from None


def cut_too_deep(facts: dict[str, Any]) -> bool:
    """Whether what was pruned lost more than MUCH on held-out cameras, and nothing learned afterwards."""
    scores = facts.get("test_psnr")
    return bool(scores and scores["before"] - scores["after"] > MUCH and not facts["settings"]["finetune"])


def _print(console: Console, out: Path, facts: dict[str, Any]) -> None:
    settings = facts["settings"]
    done = f"{facts['share']:.1%} pruned" if facts["share"] else "nothing pruned, all weighed"
    table = Table(title=f"{done} by {settings['criterion']}")
    for column in ("", "before", "after", "change"):
        table.add_column(column, justify="right" if column else "left")
    before, after = (facts["gaussians"][when] for when in ("before", "after"))
    for name in before:
        change = after[name] / max(before[name], 1) - 1
        table.add_row(escape(name), f"{before[name]:,}", f"{after[name]:,}", f"{change:+.0%}")
    table.add_section()
    sizes = facts["bytes"]["before"], facts["bytes"]["after"]
    table.add_row("MB", *(f"{size / 1e6:.2f}" for size in sizes), f"{sizes[1] / sizes[0] - 1:+.0%}")
    for key, words in (("train_psnr", "training PSNR, dB"), ("test_psnr", "held-out PSNR, dB")):
        if key in facts:
            low, high = facts[key]["before"], facts[key]["after"]
            table.add_row(words, f"{low:.3f}", f"{high:.3f}", f"{high - low:+.3f} dB")
    console.print(table)
    if cut_too_deep(facts):
        consoles.say(console, "that is the cut alone; --finetune 500 --finetune-experts wins most of it back")
    consoles.say(console, f"{out}: look at it with: moegs-view {quote(str(out))}")
