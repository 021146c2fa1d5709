"""Markup: the lines of the panel that are no widgets, as HTML."""

from html import escape

from moegs.legends import expert_color
from moegs.mixture import Mixture
from moegs.probe import Reading
from viewer.state import ViewState
from viewer.worker import Frame

SMALL = "font-size:0.8em;line-height:1.45;padding:0 0.85em"
FAINT = "opacity:0.6"
ALARM = "margin:0.4em 0.85em;padding:0.5em 0.8em;border-radius:0.4em;background:#7c1d1d;color:#fff"
NUMBER = "text-align:right;font-variant-numeric:tabular-nums;padding-left:0.7em"


def swatch(color: tuple[int, int, int], faint: bool = False) -> str:
    """A small square of `color`."""
    red, green, blue = color
    return (
        f'<span style="display:inline-block;width:0.8em;height:0.8em;border-radius:0.2em;margin-right:0.5em;'
        f'vertical-align:-0.05em;background:rgb({red},{green},{blue});opacity:{0.3 if faint else 1}"></span>'
    )


def status(text: str) -> str:
    """A line on what the program is doing."""
    return f'<div style="{SMALL};padding-top:0.4em;padding-bottom:0.4em">{escape(text)}</div>'


def banner(error: Exception) -> str:
    """Why there is no new picture."""
    cause = " ".join(str(error).split()) or "no further word"
    return (
        f'<div data-moegs="error" style="{SMALL};{ALARM}">'
        f"<b>Rendering failed</b>: {escape(type(error).__name__)}: {escape(cause)}<br>"
        "The last good picture stays; change a setting to try again.</div>"
    )


def statistics(frame: Frame, rate: float | None, total: int) -> str:
    """Frames per second while something moves, milliseconds, resolution, Gaussians drawn of all."""
    camera, canvas = frame.shot.camera, frame.order.shot.camera
    size = f"{camera.width}&times;{camera.height}"
    if camera.width != canvas.width:
        size += f" <span style='{FAINT}'>of {canvas.width}&times;{canvas.height}</span>"
    speed = "still" if rate is None else f"<b>{rate:.0f} fps</b>"
    return (
        f'<div data-moegs="statistics" style="{SMALL};font-variant-numeric:tabular-nums;padding-bottom:0.3em">'
        f"{speed} &middot; {1000 * frame.seconds:.0f} ms &middot; {size}<br>"
        f"{frame.drawing.render.drawn:,} <span style='{FAINT}'>of {total:,} Gaussians drawn</span></div>"
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
    """One expert: colour, name, kind, number of Gaussians, and whether it is muted or solo.

    It lies beside the buttons that follow it, where they would have their label, and so has little height of its own.
    """
    member = mixture.members[number]
    live = state.active is None or state.active[number]
    word = "solo" if state.soloed[number] else "" if live else "muted"
    count = f"{len(member):,}"
    last = f"<b>{word}</b> &middot; {count}" if word else f'<span style="{FAINT}">{count} Gaussians</span>'
    return (
        f'<div data-moegs="expert" style="height:1.5em;position:relative">'
        f'<div style="position:absolute;left:0.85em;top:0.5em;width:7.2em;font-size:0.8em;line-height:1.3;'
        f'white-space:nowrap;overflow:hidden;text-overflow:ellipsis;opacity:{1 if live else 0.6}">'
        f"{swatch(expert_color(number), not live)}<b>{escape(mixture.names[number])}</b><br>"
        f'<span style="font-size:0.85em"><span style="{FAINT}">{escape(member.config.kind)}</span><br>{last}</span>'
        "</div></div>"
    )


def reading(reading: Reading, live: tuple[bool, ...] | None, pixel: tuple[int, int]) -> str:
    """The numbers of every expert at one pixel; `pixel` is its column and row in the picture at the canvas's size."""
    head = "".join(
        f'<th style="{NUMBER};font-weight:400;{FAINT}">{text}</th>' for text in ("gate", "logit", "colour", "depth")
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
