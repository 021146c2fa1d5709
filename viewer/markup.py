"""Markup: the lines of the panel that are no widgets, as HTML."""

from html import escape

from moegs.legends import expert_color
from moegs.mixture import Mixture
from moegs.probe import Reading
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


def statistics(frame: Frame, rate: float | None, total: int) -> str:
    """Frames per second while something moves, milliseconds, resolution, Gaussians in view of all."""
    camera, canvas = frame.shot.camera, frame.order.shot.camera
    size = f"{camera.width}&times;{camera.height}"
    if camera.width != canvas.width:
        size += f" <span style='{FAINT}'>of {canvas.width}&times;{canvas.height}</span>"
    speed = "still" if rate is None else f"<b>{rate:.0f} fps</b>"
    return (
        f'<div data-moegs="statistics" title="{STATISTICS_HINT}" '
        f'style="{SMALL};font-variant-numeric:tabular-nums;padding-bottom:0.3em">'
        f"{speed} &middot; {1000 * frame.seconds:.0f} ms &middot; {size}<br>"
        f"{frame.drawing.render.drawn:,} <span style='{FAINT}'>of {total:,} Gaussians in view</span></div>"
    )


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


def reading(reading: Reading, live: tuple[bool, ...] | None, pixel: tuple[int, int]) -> str:
    """The numbers of every expert at one pixel; `pixel` is its column and row in the picture at the canvas's size."""
    head = "".join(
        f'<th style="{NUMBER};font-weight:400;{FAINT};cursor:help" title="{escape(help)}">{name}</th>'
        for name, help in COLUMNS.items()
    )
    rows = "".join(
        f"<tr><td>{swatch(expert_color(e), live is not None and not live[e])}{escape(row.name)}</td>"
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
    return (
        f'<div data-moegs="reading" style="{SMALL}"><div>column <b>{pixel[0]}</b>, row <b>{pixel[1]}</b></div>'
        f'<table style="width:100%;border-collapse:collapse"><tr><th></th>{head}</tr>{rows}{total}</table></div>'
    )


def _depth(depth: float) -> str:
    return f"{depth:#.3g}".rstrip(".") if depth > 0 else "&ndash;"


def _color(color: tuple[float, float, float]) -> str:
    red, green, blue = (int(min(max(value, 0.0), 1.0) * 255 + 0.5) for value in color)
    return f"{swatch((red, green, blue))}{red}&nbsp;{green}&nbsp;{blue}"
