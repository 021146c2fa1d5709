"""moegs bench: how long a checkpoint's frames take, stage by stage, and what makes them faster."""

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes

from moegs import checkpoint, evaluation, reports, verification
from moegs import compare as comparing
from moegs.acceleration import Acceleration
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, load, refuse_loss, refuse_unwritable
from moegs.cli.progress import progress, tell_compiling
from moegs.cli.repeated import Repeated, joined
from moegs.cli.shot_options import ShotOptions, check_gating
from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.system import Device

MAIN = "mixture"
"""What the checkpoint itself is called beside the others."""


@dataclass(frozen=True)
class BenchOptions:
    """What is timed."""

    camera: str = "test:0"
    """A camera of the data set: test:0, train:3 or its own name."""
    time: str = "0"
    """A frame number such as 12, or seconds such as 0.4s."""
    size: str | None = None
    """Of the picture, as 1280x720; the camera's own when left out."""
    skip_below: float = 0.02
    """Tile gating, where it is timed: an expert is left out in tiles where its gate is estimated below this."""
    rounds: int = 30
    """How often everything is timed, in turn."""
    warm_up: int = 5
    """Rounds before those that count."""
    against: Repeated[Path] = ()
    """Other checkpoints of the same scene, pruned or distilled ones for example, timed in the same rounds."""
    verify_gating: FlagCreatePairsOff[bool] = False
    """Also tell what tile gating drops wrongly, and how far off its picture is."""


def bench(
    path: CheckpointPath,
    /,
    timing: OmitArgPrefixes[BenchOptions] = BenchOptions(),
    acceleration: OmitArgPrefixes[FlagCreatePairsOff[Acceleration]] = Acceleration(),
    data: Path | None = None,
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    device: Device = "auto",
    json: Path | None = None,
    markdown: Path | None = None,
    force: bool = False,
) -> None:
    """Time the frames of CKPT: stages, separate passes as published, one pass, gated, culled, cached, experts alone.

    Args:
        path: A trained mixture, or one expert alone, for which what cannot be compared is left out.
        data: The folder of the data set that it was trained on: adds PSNRs against the photo of --camera at --time.
        device: Where to compute.
        json: Also write everything as JSON to this file; - writes JSON alone to standard output.
        markdown: Also write the tables in Markdown to this file; - writes them to standard output in place of others.
        force: Overwrite the files of --json and --markdown.
    """
    from moegs.benchmark import Rounds, View, measure, tables

    against = joined(timing.against, "--against")
    refuse_loss((json, markdown), (path, *against), force)
    if str(json) == "-" and str(markdown) == "-":
        raise ValueError("--json -, --markdown -: standard output can take one of them; name a file for the other")
    loaded = load(path, device)
    mixture = loaded.mixture
    shot = ShotOptions(camera=timing.camera, time=timing.time, size=timing.size, skip_below=timing.skip_below).shot(
        mixture
    )
    if timing.verify_gating:
        check_gating(True, timing.skip_below, mixture)
    others = _others(against, mixture, path)
    photo = None if data is None else _photo(loaded, shot, timing.camera, data, dataset)
    rounds = Rounds(timing.rounds, timing.warm_up)
    refuse_unwritable(json, markdown)
    tell_compiling(mixture.device)
    with progress("rounds") as advance:
        found = measure(
            mixture, View(shot.camera, shot.t, shot.skip_below, acceleration), rounds, others, photo, advance
        )
    facts: dict[str, Any] = {
        **asdict(found),
        "checkpoint": str(path),
        "command": shlex.join(["moegs", *sys.argv[1:]]),
        "gating": None,
    }
    if timing.verify_gating:
        facts["gating"] = asdict(errors := verification.verify(mixture, [shot]))
        print(errors.line(), file=sys.stderr if "-" in (str(json), str(markdown)) else sys.stdout)
    text = tables.markdown(facts)
    reports.tell(json, facts, lambda console: tables.show(console, facts) if str(markdown) != "-" else None)
    if markdown is not None:
        reports.write(markdown, text)


def _others(paths: Sequence[Path], mixture: Mixture, own: Path) -> dict[str, Mixture]:
    """The checkpoints at `paths` by their files' names, with a number where two are called alike.

    Raises ValueError where one does not show the scene of `mixture`, which was read from `own`.
    """
    found: dict[str, Mixture] = {}
    for path in paths:
        stem = path.stem.replace(":", "-")
        name, number = stem, 1
        while name in found or name == MAIN:
            number += 1
            name = f"{stem}-{number}"
        found[name] = checkpoint.load(path, mixture.device).mixture
        comparing.check(mixture.rig, found[name].rig, (str(own), str(path)))
    return found


def _photo(
    loaded: checkpoint.Checkpoint, shot: Shot, camera: str, data: Path, dataset: DataChoices
) -> Float[Tensor, "H W 3"]:
    """What the camera of `shot` filmed at its time; raises ValueError where there is no such photo."""
    from moegs.data import load_scene

    mixture, rig = loaded.mixture, loaded.mixture.rig
    number, frame = rig.find(camera), rig.timeline.frame(shot.t)
    own = rig.cameras[number]
    if (own.width, own.height) != (shot.camera.width, shot.camera.height):
        raise ValueError(f"--data: the photos are {own.width}x{own.height}; leave --size out")
    if abs(frame - round(frame)) > 1e-6:
        raise ValueError(f"--data: no photo at frame {frame:g}; give --time a whole frame")
    scene = load_scene(dataset.of(data, loaded.provenance), with_points=False)
    evaluation.check_data(mixture, scene)
    return scene.photo(number, round(frame), mixture.device)
