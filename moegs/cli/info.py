"""moegs info: what a checkpoint holds, or what this machine offers."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from moegs import demo, reports, system
from moegs.cli.files import refuse_loss


def info(
    path: Positional[Annotated[Path | None, arg(metavar="[CKPT]")]] = None,
    /,
    machine: Annotated[bool, arg(name="system")] = False,
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Tell what is inside CKPT (the bundled demo when left out), or with --system what this machine offers.

    Args:
        path: A trained mixture.
        machine: Report Python, torch, CUDA, nvcc, gsplat, numba and their caches instead.
        json: Also write the facts as JSON to this file; - writes JSON alone to standard output.
        force: Overwrite the file of --json.
    """
    place = demo.path() if path is None and not machine else path
    refuse_loss((json,), (place,), force)
    if machine:
        facts = system.report()
        reports.tell(json, facts, lambda console: console.print(reports.two_columns(facts)))
        return
    assert place is not None
    contents = reports.facts_of(place)
    reports.tell(json, contents, lambda console: reports.print_facts(console, place, contents))
