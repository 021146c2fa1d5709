"""A mixture of experts that had a share of the training, against the best single expert that had all of it.

    python benchmarks/budget.py [CONFIG] [--share 0.2] [--out benchmarks/out/budget] [--set key=value ...]

Trains both, side by side as the config says, and prints what each scores on the held-out cameras. Killed and started
again, it goes on where it was.
"""

from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table
from tyro.conf import Positional, arg

from moegs import checkpoint, config
from moegs.runs import RunFolder
from moegs.schedules import scaled
from moegs.training import Sitting, TrainConfig, train
from moegs.training.progress import show

ROOT = Path(__file__).parent.parent


def main(
    path: Positional[Annotated[Path, arg(metavar="[CONFIG]")]] = ROOT / "configs" / "demo.yaml",
    /,
    share: float = 0.2,
    out: Path = ROOT / "benchmarks" / "out" / "budget",
    set: tuple[str, ...] = (),
) -> None:
    """Trains the experts of CONFIG in full, and all of it at `share`, into two folders of `out`; prints the scores."""
    settings = config.load(TrainConfig, path, set)
    full, short = RunFolder(out / "full"), RunFolder(out / f"at-{share:g}")
    with show() as on_event:
        train(settings, path.parent, full.path, on_event, Sitting(resume=True, stop_after="experts"))
        train(scaled(settings, share), path.parent, short.path, on_event, Sitting(resume=True))
    table = Table("", "full", f"at {share:g}")
    names = [expert.name for expert in settings.experts]
    single = {name: [_score(run.expert(name)) for run in (full, short)] for name in names}
    for name, scores in single.items():
        table.add_row(name, *(f"{score['psnr']:.2f} dB" for score in scores))
    mixture, best = _score(short.mixture), max(scores[0]["psnr"] for scores in single.values())
    table.add_row("mixture", "", f"{mixture['psnr']:.2f} dB")
    table.add_row("training", *(f"{_seconds(run, names) / 60:.1f} min" for run in (full, short)))
    Console().print(table)
    print(f"mixture at {share:g} against the best expert in full: {mixture['psnr'] - best:+.2f} dB")


def _score(path: Path) -> dict[str, Any]:
    return checkpoint.load(path).scores["mixture"]


def _seconds(run: RunFolder, names: list[str]) -> float:
    """That all phases of `run` took, one after the other."""
    paths = [run.expert(name) for name in names] + [run.mixture] * run.mixture.exists()
    return sum(checkpoint.load(path).provenance["seconds"] for path in paths)


if __name__ == "__main__":
    tyro.cli(main)
