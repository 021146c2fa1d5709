"""Markup: the lines of the panel that are no widgets, as HTML."""

from collections.abc import Sequence
from html import escape

from moegs.compare import Budget
from moegs.legends import expert_color
from moegs.mixture import Mixture
from moegs.probe import Reading
from moegs.shots import Comparison
from moegs.variants import Variants
from moegs.views import Drawing
from viewer.exports import Progress
from viewer.state import ViewState
from viewer.worker import Frame

SMALL = "font-size:0.8em;line-height:1.45;padding:0 0.85em"
FAINT = "opacity:0.6"
ALARM = "margin:0.4em 0.85em;padding:0.5em 0.8em;border-radius:0.4em;background:#7c1d1d;color:#fff"
STATISTICS_HINT = (
    "fps: pictures per second that arrive here, while something moves. ms: the server's time for one picture, waiting "
    "for other tabs included. In view: Gaussians of all experts, muted ones too, that touch the picture."
)
SOFTWARE_HINT = (
    "Pictures are rendered by the server, but this browser shows them with WebGL in software, which costs it time. If "
    "it has a GPU, see whether hardware acceleration is enabled in its settings."
)
BUDGET_HINT = "ms: from the camera to pixels, the median of the last pictures of one size; MB: parameters in memory"
PRUNING_HINT = (
    "The least important Gaussians of all experts together go; ms as in a comparison, at the size that is shown"
)
SWITCHES_HINT = "mute leaves this expert out; solo leaves out all that are not soloed; what is muted stays out"
COLUMNS = {
    "gate": "This expert's share of the pixel",
    "logit": "What the router gives this expert here; gates are the softmax of logits over temperature",
    "colour": "Of this expert alone: red, green, blue, 0 to 255",
    "depth": "Along the camera's axis, world units",
}
"""Of the numbers at one pixel, each with what it is."""
NUMBER = "text-align:right;font-variant-numeric:tabular-nums;padding-left:0.7em"


def swatch(color: tuple[int, int, int], faint: bool = False) -> str:
    """A small square of `color`."""
    red, green, blue = color
    return (
        f'<span style="display:inline-block;width:0.8em;height:0.8em;border-radius:0.2em;margin-right:0.5em;'
        f'vertical-align:-0.05em;background:rgb({red},{green},{blue});opacity:{0.3 if faint else 1}"></span>'
    )


def hint(text: str) -> str:
    """A tooltip on the label of the widget that follows: viser's own is on the widget alone."""
    return (
        '<div style="position:relative;height:0"><div style="position:absolute;z-index:1;left:0.85em;width:6em;'
        f'height:1.9em;cursor:help" title="{escape(text)}"></div></div>'
    )


def banner(error: Exception) -> str:
    """Why there is no new picture."""
    cause = " ".join(str(error).split()) or "no further word"
    return (
        f'<div data-moegs="error" style="{SMALL};{ALARM}">'
        f"<b>Rendering failed</b>: {escape(type(error).__name__)}: {escape(cause)}<br>"
        "The last good picture stays; change a setting to try again.</div>"
    )


def software() -> str:
    """What the page shows where the browser has no GPU, and hides elsewhere."""
    return (
        f'<div data-moegs="software" title="{SOFTWARE_HINT}" style="{SMALL};{FAINT};cursor:help;padding-bottom:0.3em">'
        "This browser draws without a GPU, so it is slower</div>"
    )


def statistics(frame: Frame, rate: float | None) -> str:
    """Frames per second while something moves, milliseconds, resolution, Gaussians in view of all."""
    (width, height), canvas = frame.shot.size, frame.order.shot.size
    size = f"{width}&times;{height}"
    if width != canvas[0]:
        size += f" <span style='{FAINT}'>of {canvas[0]}&times;{canvas[1]}</span>"
    drawings = frame.drawing.sides or (frame.drawing,)
    letters = ("A ", "B ") if frame.drawing.sides else ("",)
    counts = ", ".join(_in_view(letter, drawing) for letter, drawing in zip(letters, drawings, strict=True))
    speed = "still" if rate is None else f"<b>{rate:.0f} fps</b>"
    return (
        f'<div data-moegs="statistics" title="{STATISTICS_HINT}" '
        f'style="{SMALL};font-variant-numeric:tabular-nums;padding-bottom:0.3em">'
        f"{speed} &middot; {1000 * frame.seconds:.0f} ms &middot; {size}<br>"
        f"{counts} <span style='{FAINT}'>Gaussians in view</span></div>"
    )


def _in_view(letter: str, drawing: Drawing) -> str:
    total = sum(len(expert) for expert in drawing.mixture.members)
    return f"{letter}{drawing.render.drawn:,} <span style='{FAINT}'>of {total:,}</span>"


def clock(state: ViewState, frame: float) -> str:
    """Frame number and seconds."""
    timeline = state.timeline
    return (
        f'<div data-moegs="clock" style="{SMALL};font-variant-numeric:tabular-nums">'
        f"frame <b>{round(frame)}</b> <span style='{FAINT}'>of 0 to {timeline.frames - 1}</span> &middot; "
        f"<b>{frame / timeline.fps:.2f} s</b> <span style='{FAINT}'>at {timeline.fps:g} frames/s</span></div>"
    )


def expert(mixture: Mixture, number: int, state: ViewState) -> str:
    """One expert: colour, name, kind where the name is another word, number of Gaussians; its buttons follow below."""
    member, name = mixture.members[number], mixture.names[number]
    live = state.active is None or state.active[number]
    flags = " data-muted" * state.muted[number] + " data-solo" * state.soloed[number]
    kind = "" if member.config.kind == name else f' <span style="{FAINT}">{escape(member.config.kind)}</span>'
    title = f"{swatch(expert_color(number), not live)}<b>{escape(name)}</b>{kind}"
    count = f'{len(member):,} <span style="{FAINT}">Gaussians</span>'
    look = f"{SMALL};display:flex;gap:0.8em;padding-bottom:0.25em;opacity:{1 if live else 0.5}"
    return (
        f'<div data-moegs="expert"{flags} title="{SWITCHES_HINT}" style="{look}">'
        f'<div style="flex:1;overflow-wrap:anywhere">{title}</div><div style="white-space:nowrap">{count}</div></div>'
    )


def progress(progress: Progress) -> str:
    """How far a video is."""
    left = ""
    if progress.done:
        minutes, seconds = divmod(round(progress.left), 60)
        left = f", about {minutes} min {seconds} s left" if minutes else f", about {seconds} s left"
    return f'<div data-moegs="progress" style="{SMALL}">frame {progress.done} of {progress.of}{left}</div>'


def readings(
    found: Sequence[tuple[str, Reading]],
    names: Sequence[str],
    live: tuple[bool, ...] | None,
    pixel: tuple[int, int],
) -> str:
    """The numbers of every expert at one pixel, of each mixture under its title.

    `names`: of the experts, in the order of their colours. `live`: which experts are, all where None. `pixel`: column
    and row in the picture at the canvas's size.
    """
    tables = "".join(_table(title, reading, names, live) for title, reading in found)
    return (
        f'<div data-moegs="reading" style="{SMALL}"><div>column <b>{pixel[0]}</b>, row <b>{pixel[1]}</b></div>'
        f"{tables}</div>"
    )


def _table(title: str, reading: Reading, names: Sequence[str], live: tuple[bool, ...] | None) -> str:
    own = [row.name for row in reading.experts]
    if live is None or list(names) != own:
        live = (True,) * len(own)
    colors = [expert_color(names.index(name) if name in names else e) for e, name in enumerate(own)]
    head = "".join(
        f'<th style="{NUMBER};font-weight:400;{FAINT};cursor:help" title="{escape(help)}">{name}</th>'
        for name, help in COLUMNS.items()
    )
    rows = "".join(
        f"<tr><td>{swatch(colors[e], not live[e])}{escape(row.name)}</td>"
        f'<td style="{NUMBER}"><b>{row.gate:.1%}</b></td><td style="{NUMBER}">{row.logit:.3f}</td>'
        f'<td style="{NUMBER}">{_color(row.color)}</td>'
        f'<td style="{NUMBER}">{_depth(row.depth)}</td></tr>'
        for e, row in enumerate(reading.experts)
    )
    total = (
        f"<tr><td>mixture</td><td></td><td></td>"
        f'<td style="{NUMBER}">{_color(reading.color)}</td>'
        f'<td style="{NUMBER}">{_depth(reading.depth)}</td></tr>'
    )
    above = f'<div style="padding-top:0.5em"><b>{escape(title)}</b></div>' if title else ""
    return f'{above}<table style="width:100%;border-collapse:collapse"><tr><th></th>{head}</tr>{rows}{total}</table>'


def divider(comparison: Comparison) -> str:
    """Where the divider of a wipe is, for the page's script: not to be seen."""
    place = f'data-at="{comparison.position:g}" data-angle="{comparison.angle:g}"'
    return f'<div data-moegs="divider" {place} style="display:none"></div>'


def turned() -> str:
    """Where the check box is that a held key ticks, for the page's script: not to be seen."""
    return '<div data-moegs="turned" style="display:none"></div>'


def budgets(a: Budget, b: Budget) -> str:
    """What both sides of a comparison cost, and how B's differs from A's."""
    rows = [
        ("Gaussians", a.gaussians, b.gaussians, ",.0f"),
        ("MB", a.megabytes, b.megabytes, ".1f"),
    ]
    if a.seconds is not None and b.seconds is not None:
        rows += [("ms", 1000 * a.seconds, 1000 * b.seconds, ".1f"), ("fps", 1 / a.seconds, 1 / b.seconds, ".1f")]
    lines = "".join(
        f'<tr><td>{name}</td><td style="{NUMBER}">{one:{form}}</td><td style="{NUMBER}">{other:{form}}</td>'
        f'<td style="{NUMBER};{FAINT}">{100 * (other / one - 1):+.0f}%</td></tr>'
        for name, one, other, form in rows
    )
    names = "".join(
        f'<div style="overflow-wrap:anywhere"><b>{letter}</b> {escape(each.name)}</div>'
        for letter, each in (("A", a), ("B", b))
    )
    head = f'<tr style="{FAINT}"><td></td><td style="{NUMBER}">A</td><td style="{NUMBER}">B</td><td></td></tr>'
    return (
        f'<div data-moegs="budget" title="{BUDGET_HINT}" style="{SMALL};padding-bottom:0.4em">{names}'
        f'<table style="width:100%;border-collapse:collapse">{head}{lines}</table></div>'
    )


def pruning(variants: Variants, share: float) -> str:
    """How many Gaussians of each expert are left and what a picture takes; or how to get the scores to prune by."""
    if not variants.prunable:
        return f'<div data-moegs="pruning" style="{SMALL};overflow-wrap:anywhere">{escape(variants.how_to_score)}</div>'
    whole, left = variants.kept(1.0), variants.kept(share)
    rows = [
        (f"{swatch(expert_color(e))}{escape(name)}", len(some), len(every))
        for e, (name, some, every) in enumerate(
            zip(whole.mixture.names, left.mixture.members, whole.mixture.members, strict=True)
        )
    ]
    rows.append(("all", left.budget.gaussians, whole.budget.gaussians))
    lines = "".join(
        f'<tr><td>{name}</td><td style="{NUMBER}"><b>{some:,}</b></td>'
        f'<td style="{NUMBER};{FAINT}">of {every:,}</td><td style="{NUMBER}">{some / max(1, every):.0%}</td></tr>'
        for name, some, every in rows
    )
    costs = f"{left.budget.megabytes:.1f} of {whole.budget.megabytes:.1f} MB"
    if left.pace.seconds is not None:
        costs += f" &middot; <b>{left.budget.speed}</b>"
    if left is not whole and left.pace.size == whole.pace.size:
        costs += f" <span style='{FAINT}'>unpruned {whole.budget.speed}</span>"
    note = "" if share == 1 else f'<div style="{FAINT}">By {variants.criterion}; no fine-tuning has been done.</div>'
    return (
        f'<div data-moegs="pruning" title="{PRUNING_HINT}" style="{SMALL};padding-bottom:0.4em">'
        f'<table style="width:100%;border-collapse:collapse">{lines}</table><div>{costs}</div>{note}</div>'
    )


def _depth(depth: float) -> str:
    return f"{depth:#.3g}".rstrip(".") if depth > 0 else "&ndash;"


def _color(color: tuple[float, float, float]) -> str:
    red, green, blue = (int(min(max(value, 0.0), 1.0) * 255 + 0.5) for value in color)
    return f"{swatch((red, green, blue))}{red}&nbsp;{green}&nbsp;{blue}"
