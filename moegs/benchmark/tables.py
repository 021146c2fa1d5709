"""Tables of a benchmark from its JSON: for a terminal, and in Markdown for pages such as docs/results.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from moegs import consoles
from moegs.consoles import escape
from moegs.lines import threshold

STAGES = ("project", "bin+sort", "project+bin+sort", "composite", "gate", "blend", "pixels", "encode")
WORDS = {
    "project": "projection, harmonics included",
    "bin+sort": "lists of each tile, and their sort",
    "project+bin+sort": "projection, lists of each tile, and their sort",
    "composite": "blending of Gaussians",
    "gate": "router's network and softmax",
    "blend": "blending of the experts' pictures",
    "pixels": "to 8-bit pixels",
    "encode": "to JPEG",
    "pass:one": "one pass",
    "pass:separate": "a colour and a weight pass per expert, as published",
    "pass:combined": "a pass per expert with both",
    "pass:gated": "one pass with tile gating",
    "frame:separate": "a colour and a weight pass per expert, as published",
    "frame:combined": "a pass per expert with both",
    "frame:one-pass": "one pass",
    "frame:gated": "one pass, gated",
    "frame:culled": "one pass, culled",
    "frame:cached": "one pass, cached",
    "frame:exact": "one pass, culled and cached: what is shown by default",
    "frame:all": "one pass, gated, culled and cached",
    "frame:graph": "the default, as a CUDA graph",
    "frame:graph-gated": "one pass, gated, culled and cached, as a CUDA graph",
    "frame:half": "the default, colours in half precision",
    "frame:compiled": "one pass, culled, networks compiled",
    "served": "the default, to the bytes of a JPEG",
    "culled": "one pass, culled",
    "exact": "one pass, culled and cached",
    "all": "one pass, gated, culled and cached",
}
"""What contenders are called in a table; other checkpoints' frames by the last part of their name."""
RATIOS = {
    "one_pass_over_separate": "rasterizer: one pass / separate passes",
    "gated_over_separate": "rasterizer: one gated pass / separate passes",
    "tight_pairs_over_3sigma": "Gaussians per pixel: tight / 3-sigma squares",
    "culled_over_unculled": "deformed, projected: awake / all Gaussians",
    "cached_over_live": "frame: kept instant / new instant",
    "frame_over_slowest_member": "frame, all options / slowest expert alone",
    "exact_frame_over_slowest_member": "default frame / slowest expert alone",
    "one_pass_frame_over_separate_frame": "frame: one pass / separate passes",
    "all_over_one_pass_frame": "frame: all options / one pass",
    "graph_over_exact_frame": "default frame: CUDA graph / without",
    "graph_gated_over_graph_frame": "CUDA graph: gated / not gated",
    "half_over_exact_frame": "default frame: half precision / full",
    "compiled_over_live_frame": "new instant: compiled networks / not",
    "tight_tiles_over_3sigma": "Gaussians per tile: tight / 3-sigma squares",
    "frame_over_frame": "frame: of another / of this",
}
"""What ratios are called on a terminal, without the name after a colon. Those of Gaussians are of counts, not times."""
HEADS = {
    "median": "median\nms",
    "p95": "p95\nms",
    "CPU time": "CPU\nms",
    "dB to exact": "dB to\nexact",
    "PSNR dB": "PSNR\ndB",
}
"""Narrow heads of columns, for a terminal."""


@dataclass(frozen=True)
class Section:
    """One table."""

    title: str
    columns: tuple[str, ...]
    """The first is text, the others are numbers."""
    rows: tuple[tuple[str, ...], ...]


def sections(facts: Mapping[str, Any]) -> list[Section]:
    """The tables of the JSON of `moegs bench`, ratios first."""
    found = [_compared(facts)]
    groups = {
        "Stages of one exact frame": ("deform:", *STAGES),
        "The rasterizer alone": ("pass:",),
        "Whole frames, to 8-bit pixels": ("frame:", "served"),
        "Experts alone, whole frames": ("member:", "member-live:"),
        "Deformation and projection": ("culled:", "unculled:"),
    }
    for title, prefixes in groups.items():
        names = [name for name in facts["stages"] if any(_belongs(name, prefix) for prefix in prefixes)]
        found.append(_timed(title, names, facts))
    for other in facts["memory"]:
        names = [name for name in facts["stages"] if name.startswith(f"against:{other}:")]
        found.append(_timed(f"Whole frames of {other}", names, facts))
    return [*(section for section in found if section.rows), _memory(facts)]


def markdown(facts: Mapping[str, Any]) -> str:
    """The tables in Markdown, under a line that says of what they are."""
    parts = [f"{title(facts)}.\n"]
    for section in sections(facts):
        rows = [section.columns, ("---", *("---:" for _ in section.columns[1:])), *section.rows]
        lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
        parts.append(f"**{section.title}**\n\n{lines}\n")
    return "\n".join([*parts, *(f"Note: {note}." for note in facts["notes"])]).rstrip() + "\n"


def show(console: Console, facts: Mapping[str, Any]) -> None:
    """The tables for people: what a frame takes, then where it goes, the ratios last; they fit 80 columns."""
    consoles.say(console, title(facts))
    _, *parts = sections(facts)
    for section in (_overview(facts), *parts, _compared(facts, in_words=True)):
        table = Table(title=f"\n{section.title}", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for number, column in enumerate(section.columns):
            table.add_column(HEADS.get(column, column), justify="right" if number else "left", no_wrap=number > 0)
        for row in section.rows:
            table.add_row(*(escape(cell.replace("`", "")) for cell in row))
        console.print(table)
    for note in facts["notes"]:
        consoles.say(console, f"Note: {note}.")


def title(facts: Mapping[str, Any]) -> str:
    """Of what and how the times are."""
    width, height = facts["size"]
    command = f"`{facts['command']}`: " if "command" in facts else ""
    return (
        f"{command}{width}x{height}, t {facts['t']:g}, tile gating below {threshold(facts['skip_below'])}, "
        f"{facts['rounds']} rounds in turn on {facts['device']}; milliseconds"
    )


def _overview(facts: Mapping[str, Any]) -> Section:
    """What is asked first: the default frame, beside separate passes and the experts alone."""
    stages = facts["stages"]
    ways = {"frame:exact": "the mixture, by default", "frame:all": "... and with tile gating"}
    ways["frame:separate"] = "... in separate passes, as published"
    ways |= {name: f"{name.partition(':')[2]} alone" for name in stages if name.startswith("member:")}
    default = stages["frame:exact"]["median"]
    times = {words: stages[name]["median"] for name, words in ways.items() if name in stages}
    rows = [(words, f"{ms:.2f}", f"{1000 / ms:.1f}", f"{ms / default:.2f}") for words, ms in times.items()]
    return Section("What a frame takes", ("", "ms", "per second", "of the default"), tuple(rows))


def _compared(facts: Mapping[str, Any], in_words: bool = False) -> Section:
    """Ratios of times that passed and, on a CPU, of times that the threads were busy, which a count has none of."""
    named = {"ratio": facts["ratios"], **({"of CPU time": facts["busy_ratios"]} if facts["busy_ratios"] else {})}
    rows = [
        (
            _ratio(name) if in_words else f"`{name}`",
            f"{value:.2f}",
            *(_cell(name, each[name]) for each in list(named.values())[1:]),
        )
        for name, value in facts["ratios"].items()
        if value is not None
    ]
    explained = ": the first over the second, below 1 is faster" if in_words else ""
    return Section(f"Ratios of medians{explained}", ("", *named), tuple(rows))


def _ratio(name: str) -> str:
    key, _, of = name.partition(":")
    return RATIOS[key] + (f", {of}" if of else "")


def _cell(name: str, busy: float | None) -> str:
    return "" if busy is None or name.startswith("tight_") else f"{busy:.2f}"


def _belongs(name: str, prefix: str) -> bool:
    return name.startswith(prefix) if prefix.endswith(":") else name == prefix


def _timed(title: str, names: Sequence[str], facts: Mapping[str, Any]) -> Section:
    """Medians and 95th percentiles, and of pictures what they lose."""
    pictures = facts["pictures"]
    seen = [pictures[name] for name in names if name in pictures]
    with_photo = any(picture["psnr"] is not None for picture in seen)
    busy = facts["busy_ratios"] is not None
    columns = [
        "",
        "median",
        "p95",
        *(["CPU time"] if busy else []),
        *(["dB to exact"] if seen else []),
        *(["PSNR dB", "change"] if with_photo else []),
    ]
    rows = []
    for name in names:
        timing, picture = facts["stages"][name], pictures.get(name)
        row = [
            _words(name),
            f"{timing['median']:.2f}",
            f"{timing['p95']:.2f}",
            *([f"{timing['busy']:.2f}"] if busy else []),
        ]
        if seen:
            row.append("" if picture is None else _decibels(picture["psnr_exact"], picture["largest_error"]))
        if with_photo:
            row += ["", ""] if picture is None else [f"{picture['psnr']:.2f}", f"{picture['psnr_change']:+.3f}"]
        rows.append(tuple(row))
    return Section(title, tuple(columns), tuple(rows))


def _words(name: str) -> str:
    if name in WORDS:
        return WORDS[name]
    kind, _, rest = name.partition(":")
    match kind:
        case "deform":
            return f"networks and paths of {rest}"
        case "member":
            return f"{rest}, cached"
        case "member-live":
            return f"{rest}, networks evaluated"
        case "culled" | "unculled":
            return f"{rest}, {kind}"
    return WORDS[rest.rpartition(":")[2]]


def _decibels(psnr: float | None, largest_error: float) -> str:
    """Equal pictures have no PSNR: JSON has no word for infinity."""
    return "equal" if largest_error == 0 or psnr is None else f"{psnr:.1f}"


def _memory(facts: Mapping[str, Any]) -> Section:
    rows = []
    for name, held in facts["memory"].items():
        rows.append((
            name, f"{sum(held['gaussians'].values()):,}", f"{sum(held['awake'].values()):,}",
            f"{sum(held['parameters'].values()) / 1e6:.1f}", f"{held['instant'] / 1e6:.1f}",
        ))  # fmt: skip
    if facts["peak_bytes"] is not None:
        rows.append(("peak while all was timed", "", "", f"{facts['peak_bytes'] / 1e6:.0f}", ""))
    return Section("Memory", ("", "Gaussians", "awake", "MB", "MB of one kept time"), tuple(rows))
