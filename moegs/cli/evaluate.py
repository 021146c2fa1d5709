"""moegs eval: a checkpoint's scores on its data set."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from tyro.conf import OmitArgPrefixes

from moegs import consoles, evaluation, reports, rivals, verification
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, load, refuse_loss, refuse_unwritable
from moegs.cli.progress import decode, progress, tell_compiling
from moegs.cli.repeated import Repeated, joined
from moegs.cli.shot_options import SkipBelow, VerifyGating, check_gating
from moegs.lpips import Range as LpipsRange
from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.system import Device

if TYPE_CHECKING:
    from moegs.data.scene import Scene


@dataclass(frozen=True)
class EvalOptions:
    """What to score, and what to print beside."""

    split: evaluation.Split = "test"
    """Which cameras to score."""
    every: int = 1
    """Score each this many frames."""
    lpips: LpipsRange = "unit"
    """The range in which AlexNet gets the colours: [0, 1] as MoE-GS evaluates (unit), or [-1, 1] (signed)."""
    routers: Repeated[Path] = ()
    """Checkpoints, or folders of runs, with other routers over the same experts: scored side by side."""
    per_expert: bool = False
    """Also print where each expert is the best, what gate it gets, and what the router loses there."""
    skip_below: SkipBelow = 0.0
    verify_gating: VerifyGating = False


def evaluate(
    path: CheckpointPath,
    /,
    data: Path,
    scoring: OmitArgPrefixes[EvalOptions] = EvalOptions(),
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    device: Device = "auto",
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Score CKPT on its data set: every expert, the mixture, the plain average and the per-pixel oracle.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on.
        device: Where to compute.
        json: Also write the scores as JSON to this file, by camera, frame and picture too; - writes JSON alone to
            standard output.
        force: Overwrite the file of --json.
    """
    from moegs.data import load_scene

    routers = joined(scoring.routers, "--routers")
    refuse_loss((json,), (path, *(file for each in routers for file in rivals.files(each))), force)
    protocol = evaluation.Protocol(scoring.split, scoring.every, scoring.lpips, scoring.skip_below)
    loaded = load(path, device)
    mixture, settings = loaded.mixture, dataset.of(data, loaded.provenance)
    others = rivals.load(routers, mixture)
    scene = load_scene(settings, with_points=False)
    evaluation.check_data(mixture, scene)
    check_gating(scoring.verify_gating, scoring.skip_below, mixture)
    refuse_unwritable(json)
    decode(scene, protocol.cameras(mixture.rig))
    tell_compiling(mixture.device)
    with progress("pictures") as advance:
        rows = evaluation.measure(mixture, scene, protocol, others, advance)
    scores = evaluation.summary(mixture, rows, protocol)
    own = None if mixture.router is None else mixture.router.config.kind
    facts = reports.score_facts(mixture, scores, rows)
    errors = None
    if scoring.verify_gating:
        with progress("pictures verified") as advance:
            errors = verification.verify(mixture, _shots(mixture, scene, protocol), advance)
    facts["gating"] = None if errors is None else asdict(errors)

    def human(console: Console) -> None:
        reports.print_scores(console, scores, own, scoring.per_expert)
        if errors is not None:
            consoles.say(console, errors.line())

    reports.tell(json, facts, human)


def _shots(mixture: Mixture, scene: "Scene", protocol: evaluation.Protocol) -> list[Shot]:
    """The pictures of `mixture` that were scored."""
    rig = mixture.rig
    pairs = evaluation.chosen(rig, scene, protocol)
    return [Shot(rig.cameras[camera], rig.timeline.t(frame), skip_below=protocol.skip_below) for camera, frame in pairs]
