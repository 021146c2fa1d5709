"""Reports: what the verbs found, as tables for people and as JSON for programs."""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from moegs import checkpoint, evaluation, views
from moegs.files import replacing


def tell(target: Path | None, facts: dict[str, Any], human: Callable[[Console], None]) -> None:
    """`facts` for people on stdout, and as JSON into `target`; where that is -, JSON alone goes to stdout.

    What is no number, such as the infinite PSNR of equal pictures, is null: JSON has no word for it.
    """
    alone = target is not None and str(target) == "-"
    if alone and sys.stdout is None:
        raise ValueError("--json -: standard output is closed; open it, or give a file")
    human(Console(stderr=alone))
    text = json.dumps(_finite(facts), indent=2, allow_nan=False)
    if alone:
        print(text)
    elif target is not None:
        with replacing(target) as place:
            place.write_text(text + "\n")


def _finite(value: Any) -> Any:
    """`value` with null in place of what is not finite."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def facts_of(path: Path) -> dict[str, Any]:
    """What is inside the checkpoint at `path`, as the JSON of `moegs info` has it."""
    loaded = checkpoint.load(path)
    mixture, rig = loaded.mixture, loaded.mixture.rig
    experts = zip(mixture.names, mixture.members, strict=True)
    return {
        "file": str(path),
        "bytes": path.stat().st_size,
        "experts": [
            {"name": name, "kind": expert.config.kind, "gaussians": len(expert), "step": expert.step}
            for name, expert in experts
        ],
        "router": None if mixture.router is None else {"temperature": mixture.temperature},
        "frames": rig.timeline.frames,
        "fps": rig.timeline.fps,
        "cameras": {"train": len(rig.train), "test": len(rig.test)},
        "size": [rig.cameras[0].width, rig.cameras[0].height],
        "views": views.ids(mixture),
        "scores": loaded.scores,
        "provenance": loaded.provenance,
    }


def print_facts(console: Console, path: Path, facts: dict[str, Any]) -> None:
    """`facts_of` for people."""
    table = Table(title=escape(f"{path}, {facts['bytes'] / 1e6:.1f} MB"))
    for column in ("expert", "kind", "Gaussians", "steps"):
        table.add_column(column, justify="left" if column in ("expert", "kind") else "right")
    for expert in facts["experts"]:
        table.add_row(escape(expert["name"]), expert["kind"], f"{expert['gaussians']:,}", f"{expert['step']:,}")
    console.print(table)
    router = facts["router"]
    width, height = facts["size"]
    cameras = facts["cameras"]
    rows = {
        "router": "none" if router is None else f"temperature {router['temperature']:g}",
        "time": f"{facts['frames']} frames at {facts['fps']:g} fps",
        "cameras": f"{cameras['train']} train, {cameras['test']} test, {width}x{height}",
        "views": " ".join(facts["views"]),
        **_origin(facts["provenance"], "training" if router is None else "router's training"),
        **_held_out(facts["scores"]),
    }
    console.print(two_columns(rows))


def _origin(provenance: dict[str, Any], phase: str) -> dict[str, str]:
    """What a line can hold of where a checkpoint comes from; its seconds are those of `phase`, its last, alone."""
    rows = {str(key): str(value) for key, value in provenance.items() if isinstance(value, str | int)}
    seconds = provenance.get("seconds")
    return rows | ({phase: f"{seconds / 60:.1f} minutes"} if isinstance(seconds, float) else {})


def _held_out(scores: dict[str, Any]) -> dict[str, str]:
    """The stored PSNRs in one line, where there are any."""
    match scores:
        case {"split": str(split), "pictures": int(pictures), "mixture": {"psnr": float(psnr)}}:
            return {"score": f"{psnr:.2f} dB on {pictures} pictures of the {split} split"}
        case _:
            return {}


def two_columns(rows: dict[str, Any]) -> Table:
    """Names and values side by side, without a frame."""
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{escape(name)}", escape(str(value)))
    return table


def score_table(scores: evaluation.Scores) -> Table:
    """A row for every expert, then for the mixture and for what it is measured against."""
    table = Table(title=f"{scores.split} split, {scores.pictures} pictures")
    for column in ("", "PSNR dB", "SSIM", "mean gate"):
        table.add_column(column, justify="right" if column else "left")
    for name, score in scores.experts.items():
        table.add_row(escape(name), f"{score.psnr:.2f}", f"{score.ssim:.4f}", f"{scores.gates[name]:.1%}")
    table.add_section()
    for name in ("mixture", "average", "oracle"):
        score = getattr(scores, name)
        table.add_row(name, f"{score.psnr:.2f}", f"{score.ssim:.4f}", "")
    return table
