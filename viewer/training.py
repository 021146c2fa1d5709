"""A training run as the panel tells it: its stage, what is learned how far, a curve, whether it is still at work."""

from html import escape
from pathlib import Path

from moegs.runs.status import Look, Phase, Standing
from viewer.markup import ALARM, FAINT, SMALL

WIDTH, HEIGHT = 260, 46
"""Of the curve, in units that the panel's width is divided into."""
CALM = ALARM.replace("#7c1d1d", "#24435c")
WORDS: dict[Standing, str] = {
    "running": "Training",
    "finished": "The training has ended well.",
    "stopped": "The training was stopped",
    "failed": "The training failed",
    "died": "The training died: no process is at work any more; moegs train with --resume goes on",
    "absent": "The run's folder is gone",
}


def waiting(path: Path, seen: Look) -> str:
    """What is waited for while there is nothing to be seen, as plain text."""
    if seen.standing == "absent":
        return f"No run in {path} yet: waiting for moegs train --out {path}"
    if seen.standing != "running":
        return f"{path}: {_verdict(seen)}; nothing to be seen yet"
    phase = next(iter(seen.said.phases), None)
    where = "getting ready" if phase is None else f"{phase.name}, step {phase.step:,} of {phase.steps:,}"
    return f"{path} is training ({where}): waiting for its first snapshot"


def line(seen: Look, shown: str | None) -> str:
    """How the run stands; `shown` names the phase whose picture is to be seen."""
    rows = "".join(_row(phase, phase.name == shown) for phase in seen.said.phases if phase.stage == seen.said.stage)
    phase = (shown and seen.said.find(shown)) or next(reversed(seen.said.phases), None)
    if seen.standing == "running":
        head = f"<b>Training</b> &middot; stage {escape(seen.said.stage)}"
    else:
        tone = ALARM if seen.standing in ("failed", "died") else CALM
        head = f'<div style="{tone};margin-left:0;margin-right:0">{escape(_verdict(seen))}</div>'
    curve = "" if phase is None else _curve(phase, seen.standing == "running")
    return (
        f'<div data-moegs="training" data-standing="{seen.standing}" style="{SMALL};padding-top:0.4em">{head}'
        f'<table style="width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums">{rows}</table>'
        f"{curve}</div>"
    )


def _verdict(seen: Look) -> str:
    message = seen.said.message
    if seen.standing == "finished" and seen.said.score is not None:
        return f"{WORDS['finished']} Mixture: {seen.said.score:.2f} dB on held-out cameras"
    return WORDS[seen.standing] + (f": {message}" if message and seen.standing in ("stopped", "failed") else "")


def _row(phase: Phase, shown: bool) -> str:
    name = f"<b>{escape(phase.name)}</b>" if shown else escape(phase.name)
    if phase.score is not None:
        result = f"held out {phase.score:.2f} dB"
    elif phase.curve:
        result = f"{phase.curve[-1].psnr:.2f} dB, loss {phase.curve[-1].loss:.4f}"
    else:
        result = ""
    return (
        f'<tr><td>{name}</td><td style="text-align:right">{phase.step:,} '
        f'<span style="{FAINT}">of {phase.steps:,}</span></td>'
        f'<td style="text-align:right;padding-left:0.7em">{result}</td></tr>'
    )


def _curve(phase: Phase, running: bool) -> str:
    """PSNR of the training pictures over the steps, from its lowest to its highest value; time left beneath it."""
    points = phase.curve
    if len(points) < 2:
        return ""
    low, high = min(point.psnr for point in points), max(point.psnr for point in points)
    span = max(high - low, 1e-6)
    places = " ".join(
        f"{WIDTH * point.step / phase.steps:.1f},{2 + (HEIGHT - 4) * (high - point.psnr) / span:.1f}"
        for point in points
    )
    left = phase.seconds / max(phase.step, 1) * (phase.steps - phase.step)
    ends = f", about {_duration(left)} left" if running and left and not phase.finished else ""
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" style="display:block;width:100%;height:3em">'
        f'<polyline points="{places}" fill="none" stroke="#5ab0e0" stroke-width="1.5" '
        f'vector-effect="non-scaling-stroke"/></svg><div style="{FAINT}">'
        f"training PSNR {low:.1f} to {high:.1f} dB{ends}</div>"
    )


def _duration(seconds: float) -> str:
    if seconds > 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
