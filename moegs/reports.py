"""Reports: what the verbs found, as tables for people and as JSON for programs."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Any

from rich.console import Console
from rich.table import Table

from moegs import checkpoint, config, consoles, evaluation, views
from moegs.consoles import escape
from moegs.files import replacing
from moegs.lines import threshold
from moegs.mixture import Mixture
from moegs.quantisation import Packing


def tell(target: Path | None, facts: dict[str, Any], human: Callable[[Console], None]) -> None:
    """`facts` for people on stdout, and as JSON into `target`; where that is -, JSON alone goes to stdout.

    What is no number, such as the infinite PSNR of equal pictures, is null: JSON has no word for it.
    """
    alone = target is not None and str(target) == "-"
    if alone and sys.stdout is None:
        raise ValueError("--json -: standard output is closed; open it, or give a file")
    human(consoles.console(stderr=alone))
    text = json.dumps(_finite(facts), indent=2, allow_nan=False)
    if alone:
        print(text)
    elif target is not None:
        write(target, text + "\n")


def write(target: Path, text: str) -> None:
    """`text` as the file `target`, which is whole or not there; to standard output where that is -."""
    if str(target) == "-":
        print(text, end="")
        return
    with replacing(target) as place:
        place.write_text(text)


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
            {
                "name": name,
                "kind": expert.config.kind,
                "gaussians": len(expert),
                "megabytes": sum(parameter.nbytes for parameter in expert.parameters()) / 1e6,
                "step": expert.step,
            }
            for name, expert in experts
        ],
        "router": None if mixture.router is None else config.dump(mixture.router.config),
        "frames": rig.timeline.frames,
        "fps": rig.timeline.fps,
        "cameras": {"train": len(rig.train), "test": len(rig.test)},
        "size": [rig.cameras[0].width, rig.cameras[0].height],
        "views": views.ids(mixture),
        "scores": loaded.scores,
        "importance": list(loaded.criteria),
        "provenance": loaded.provenance,
    }


def print_facts(console: Console, path: Path, facts: dict[str, Any]) -> None:
    """`facts_of` for people."""
    table = Table(title=escape(f"{path}, {facts['bytes'] / 1e6:.1f} MB"))
    for column in ("expert", "kind", "Gaussians", "MB", "steps"):
        table.add_column(column, justify="left" if column in ("expert", "kind") else "right")
    for expert in facts["experts"]:
        counts = f"{expert['gaussians']:,}", f"{expert['megabytes']:.1f}", f"{expert['step']:,}"
        table.add_row(escape(expert["name"]), expert["kind"], *counts)
    console.print(table)
    router = facts["router"]
    width, height = facts["size"]
    cameras = facts["cameras"]
    rows = {
        "router": "none" if router is None else f"{router['kind']}, temperature {router['temperature']:g}",
        "time": f"{facts['frames']} frames at {facts['fps']:g} fps",
        "cameras": f"{cameras['train']} train, {cameras['test']} test, {width}x{height}",
        "views": " ".join(facts["views"]),
        **_origin(facts["provenance"], "training" if router is None else "router's training"),
        **_pruned(facts["provenance"].get("pruned")),
        **_compact(facts["provenance"].get("compact")),
        **_weighed(facts["importance"]),
        **_held_out(facts["scores"]),
    }
    console.print(two_columns(rows))


def _origin(provenance: dict[str, Any], phase: str) -> dict[str, str]:
    """What a line can hold of where a checkpoint comes from; its seconds are those of `phase`, its last, alone."""
    rows = {str(key): str(value) for key, value in provenance.items() if isinstance(value, str | int)}
    seconds, choices = provenance.get("seconds"), provenance.get("choices")
    if isinstance(choices, dict) and choices:
        rows["data read with"] = " ".join(f"{key}={value}" for key, value in choices.items())
    return rows | ({phase: f"{seconds / 60:.1f} minutes"} if isinstance(seconds, float) else {})


def _pruned(told: Any) -> dict[str, str]:
    """What was taken away last, in one line, where anything was: of a checkpoint that was only weighed, what was taken
    from it before."""
    match told:
        case {"share": float(share), "from": str(origin), "settings": {"criterion": str(criterion)}} if share > 0:
            return {"pruned": f"{share:.1%} of the Gaussians of {origin}, by {criterion}"}
        case {"earlier": earlier}:
            return _pruned(earlier)
        case _:
            return {}


def _compact(told: Any) -> dict[str, str]:
    """What was kept in fewer bits, in one line, where anything was."""
    match told:
        case {"from": str(origin), "loss": float(loss), "loss_is": str(how)}:
            return {"compact": f"{origin} in fewer bits, {loss:.3f} dB lost, {how}"}
        case _:
            return {}


def _weighed(criteria: Sequence[str]) -> dict[str, str]:
    """By which scores it can be pruned without its data, in one line."""
    if not criteria:
        return {"weighed": "no: it holds no scores of importance, which moegs prune --ratio 0 gives it"}
    return {"weighed": f"every Gaussian has its score by {' and by '.join(criteria)}"}


def _held_out(scores: dict[str, Any]) -> dict[str, str]:
    """The stored PSNRs in one line, where there are any."""
    match scores:
        case {"split": str(split), "pictures": int(pictures), "mixture": {"psnr": float(psnr)}} if math.isfinite(psnr):
            return {"score": f"{psnr:.2f} dB on {pictures} pictures of the {split} split"}
        case _:
            return {}


def two_columns(rows: dict[str, Any]) -> Table:
    """Names and values side by side, without a frame."""
    table = Table(show_header=False, box=None)
    for name, value in rows.items():
        table.add_row(f"[bold]{escape(name)}", escape(str(value)))
    return table


def bits(packing: Packing) -> dict[str, dict[str, str]]:
    """For each expert, and for the router, how each of its tensors is stored; what is not told is as it was."""
    parts = {**packing.experts, **({"router": packing.router} if packing.router else {})}
    return {name: dict(schemes) for name, schemes in parts.items()}


def score_facts(
    mixture: Mixture, scores: evaluation.Scores, rows: Sequence[evaluation.PictureScores]
) -> dict[str, Any]:
    """The scores as the JSON of `moegs eval` has them: means, then by camera, by frame, and of each picture."""
    cameras, frames = (list(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("camera", "frame"))

    def mean(key: str, value: Any) -> dict[str, Any]:
        chosen = evaluation.means([row.scores for row in rows if getattr(row, key) == value])
        return {name: asdict(score) for name, score in chosen.items()}

    return {
        **asdict(scores),
        "router": None if mixture.router is None else config.dump(mixture.router.config),
        "per_camera": {camera: mean("camera", camera) for camera in cameras},
        "per_frame": [{"frame": frame, **mean("frame", frame)} for frame in frames],
        "per_picture": [asdict(row) for row in rows],
    }


def print_scores(console: Console, scores: evaluation.Scores, own: str | None, per_expert: bool) -> None:
    """`scores` for people; `own` is the kind of the mixture's router, printed beside its rivals where there are any."""
    console.print(score_table(scores))
    if per_expert:
        console.print(expert_table(scores))
    if own is not None and scores.rivals:
        console.print(router_table(scores, own))
    for name, words in scores.protocol.items():
        consoles.say(console, f"{name.upper()}: {words}")


def score_table(scores: evaluation.Scores) -> Table:
    """A row for every expert, then, where there are several, for the mixture and for what it is measured against."""
    gating = f", tile gating below {threshold(scores.skip_below)}" if scores.skip_below else ""
    table = _scoring(f"{scores.split} split, {scores.pictures} pictures{gating}", "mean gate")
    for name, score in scores.experts.items():
        table.add_row(escape(name), *_numbers(score), f"{scores.gates[name]:.1%}")
    table.add_section()
    for name in evaluation.BESIDES if len(scores.experts) > 1 else ():
        table.add_row(name, *_numbers(getattr(scores, name)), "")
    return table


def print_distilled(console: Console, facts: dict[str, Any]) -> None:
    """What an expert became that learned from its mixture, beside what it is measured against."""
    table = Table(title=escape(f"{facts['expert']}, test split"))
    for column in ("", "PSNR dB", "SSIM", "LPIPS", "against it before"):
        table.add_column(column, justify="left" if not column else "right")
    for name, score in facts["scores"].items():
        gain = score["psnr"] - facts["scores"][facts["expert"]]["psnr"]
        table.add_row(escape(name), *_numbers(evaluation.Score(**score)), f"{gain:+.2f} dB")
    if facts["scores"]:
        console.print(table)
    ways = "from the mixture", "its twin, from photos alone"
    for place, way in zip(facts["files"], ways, strict=False):
        words = f"{place}: {facts['expert']} distilled {way}" if way == ways[0] else f"{place}: {way}"
        consoles.say(console, f"{words}; look at it with: moegs-view {quote(place)}")


def expert_table(scores: evaluation.Scores) -> Table:
    """What each expert is worth, and what the router makes of it."""
    table = _scoring("each expert", "best in", "mean gate", "regret x 1e-4")
    for name, score in scores.experts.items():
        shares = f"{scores.best[name]:.1%}", f"{scores.gates[name]:.1%}"
        table.add_row(escape(name), *_numbers(score), *shares, f"{1e4 * scores.regret[name]:.3f}")
    table.add_section()
    table.add_row("mixture", *_numbers(scores.mixture), "", "", f"{1e4 * sum(scores.regret.values()):.3f}")
    table.caption = (
        "best in: the share of pixels in which the expert is the nearest to the photo. regret: the mixture's squared "
        "error minus the oracle's in these pixels, per pixel of the whole picture"
    )
    return table


def router_table(scores: evaluation.Scores, own: str) -> Table:
    """Routers over the same experts side by side, between the plain average and the per-pixel oracle."""
    table = _scoring("routers over these experts")
    table.add_row("uniform", *_numbers(scores.average))
    for name, score in {**scores.rivals, f"{own}, this one": scores.mixture}.items():
        table.add_row(escape(name), *_numbers(score))
    table.add_row("oracle", *_numbers(scores.oracle))
    return table


def _scoring(title: str, *more: str) -> Table:
    table = Table(title=title, caption_justify="left")
    for column in ("", "PSNR dB", "SSIM", "LPIPS", *more):
        table.add_column(column, justify="right" if column else "left")
    return table


def _numbers(score: evaluation.Score) -> tuple[str, str, str]:
    return f"{score.psnr:.2f}", f"{score.ssim:.4f}", "-" if score.lpips is None else f"{score.lpips:.4f}"
