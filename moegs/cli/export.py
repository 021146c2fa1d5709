"""moegs export: a checkpoint in fewer bytes, or as PLY files for other programs."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from moegs import checkpoint, compact, consoles, evaluation, fusion, reports
from moegs.checkpoint import Checkpoint
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, load, refuse_loss, refuse_unwritable, want_suffix
from moegs.cli.progress import decode, progress, tell_compiling
from moegs.gaussians import Gaussians
from moegs.mixture import Mixture
from moegs.ply import write_plys
from moegs.system import Device

if TYPE_CHECKING:
    from moegs.data import DataConfig

COMPARED = 12
"""Pictures on which full and compact are compared."""
SPARE = 0.5
"""Of the loss that is allowed: what is aimed at, since it is only known afterwards."""
UNSCORED = 36.0
"""dB: what a checkpoint without scores is taken to reach; more than most do, so that it loses less."""


@dataclass(frozen=True)
class CompactOptions:
    """A checkpoint in fewer bits."""

    compact: FlagCreatePairsOff[bool] = False
    """Write the checkpoint OUT with every tensor in as few bits as its pictures stand. It opens everywhere."""
    out: Path | None = None
    """The compact checkpoint to write (.pt); it must not exist unless --force."""
    max_loss: float = 0.1
    """dB: what the mixture may lose against the photos; without --data this is estimated from its stored score and the
    PSNR between both."""


@dataclass(frozen=True)
class PlyOptions:
    """Gaussians frame by frame, for viewers that read 3D Gaussian Splatting (SuperSplat, gsplat's)."""

    ply: Annotated[Path | None, arg(metavar="DIR")] = None
    """A new folder for one PLY per frame: of --expert, or of all experts fused. Fused, each Gaussian's opacity is
    multiplied by the router's share of it: the gate of its expert, averaged over the pixels that show it, from four
    training cameras spread evenly. That loses what makes a mixture: the router no longer chooses for each pixel and
    direction, half-trusted surfaces let more shine through, and the background goes. Any PLY loses the experts' own
    low-pass: other viewers blur by 0.3 px, without compensation, so what is smaller than a pixel looks brighter."""
    expert: str | None = None
    """The name of the expert to write alone."""
    frames: str = "all"
    """Which: all, one such as 12, or first:end:step such as 0:30:5."""


def export(
    path: CheckpointPath,
    /,
    compact: OmitArgPrefixes[CompactOptions] = CompactOptions(),
    ply: OmitArgPrefixes[PlyOptions] = PlyOptions(),
    data: Path | None = None,
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    device: Device = "auto",
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Write CKPT as a compact checkpoint (--compact --out small.pt), or as PLY files (--ply DIR), or both.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on: measures what a compact checkpoint loses.
        device: Where to compute.
        json: Also write what the compact file costs and saves, and what the PLY files hold, as JSON to this file; -
            writes JSON alone to standard output.
        force: Overwrite OUT and the file of --json.
    """
    if not compact.compact and ply.ply is None:
        raise ValueError("export: nothing to write; give --compact --out FILE, or --ply DIR")
    if compact.out is not None and not compact.compact:
        raise ValueError(
            "--out: names the compact checkpoint; give --compact too (the folder of PLYs is that of --ply)"
        )
    if ply.ply is not None and ply.ply.exists():
        raise ValueError(f"{ply.ply}: exists already; choose another name for the folder")
    refuse_loss((compact.out, ply.ply, json), (path,), force)
    if compact.compact:
        if compact.out is None:
            raise ValueError("--compact: give the file to write with --out")
        if not 0 < compact.max_loss < 10:
            raise ValueError(f"--max-loss: got {compact.max_loss:g}, expected a number of dB above 0, such as 0.1")
        want_suffix(compact.out, ".pt")
    loaded = load(path, device)
    refuse_unwritable(compact.out, json)
    settings = None if data is None else dataset.of(data.absolute(), loaded.provenance)
    tell_compiling(loaded.mixture.device)
    facts: dict[str, Any] = {}
    if ply.ply is not None:
        facts["ply"] = _write_plys(loaded.mixture, ply)
    if compact.compact:
        facts |= _write_compact(loaded, path, compact, settings)
    reports.tell(json, facts, lambda console: _print(console, facts))


def _write_plys(mixture: Mixture, options: PlyOptions) -> dict[str, Any]:
    assert options.ply is not None
    if options.expert is not None and options.expert not in mixture.names:
        raise ValueError(f"expert '{options.expert}': this checkpoint has {', '.join(mixture.names)}")
    timeline = mixture.rig.timeline
    frames = timeline.chosen(options.frames)

    def at(frame: int) -> Gaussians:
        t = timeline.t(frame)
        if options.expert is not None:
            return mixture.at(t)[mixture.names.index(options.expert)]
        return fusion.fused(mixture, t, fusion.asked(mixture.rig))

    film = ((frame, at(frame)) for frame in frames)
    with progress("frames") as advance:
        counts = write_plys(film, options.ply, lambda done: advance(done, len(frames)))
    of = options.expert or ("the mixture, fused" if mixture.router else mixture.names[0])
    return {"folder": str(options.ply), "of": of, "frames": list(frames), "gaussians": counts}


def _write_compact(
    loaded: Checkpoint, path: Path, options: CompactOptions, data: "DataConfig | None"
) -> dict[str, Any]:
    from moegs.data import load_scene

    assert options.out is not None
    mixture, rig = loaded.mixture, loaded.mixture.rig
    scene = None if data is None else load_scene(data, with_points=False)
    if scene is not None:
        evaluation.check_data(mixture, scene)
        decode(scene, rig.test)
    with progress("pictures") as advance:
        before = None if scene is None else evaluation.evaluate(mixture, scene, on_picture=advance).mixture.psnr
    stored = loaded.psnr if before is None else before
    score = UNSCORED if stored is None else stored
    aim = compact.needed(score, SPARE * options.max_loss)
    with progress("tensors") as advance:
        made = compact.compacted(mixture, aim, compact.moments(rig, COMPARED), advance)
    with progress("pictures") as advance:
        found = None if scene is None else evaluation.evaluate(made.mixture, scene, on_picture=advance)
    after = None if found is None else found.mixture.psnr
    loss = compact.lost(score, made.psnr) if before is None or after is None else before - after
    if not loss <= options.max_loss:
        raise ValueError(
            f"{path}: with 16 bits for most tensors it loses {loss:.3f} dB, more than {options.max_loss:g}; allow more "
            "with --max-loss"
        )
    facts = {
        "from": path.name,
        "bytes_before": path.stat().st_size,
        "psnr_between": made.psnr,
        "pictures_between": min(COMPARED, len(rig.cameras) * rig.timeline.frames),
        "loss": loss,
        "loss_is": "estimated" if after is None else "measured",
        "psnr_before": before,
        "psnr_after": after,
    }
    provenance = {**loaded.provenance, "compact": facts}
    scores = {} if found is None else asdict(found)  # the full one's are not its own
    checkpoint.save(
        replace(loaded, mixture=made.mixture, scores=scores, provenance=provenance), options.out, made.packing
    )
    return {**facts, "file": str(options.out), "bytes": options.out.stat().st_size, "bits": reports.bits(made.packing)}


def _print(console: Console, facts: dict[str, Any]) -> None:
    if "ply" in facts:
        ply = facts["ply"]
        counts = ply["gaussians"]
        line = f"{ply['folder']}: {ply['of']}, {len(counts)} frames of up to {max(counts):,} Gaussians"
        consoles.say(console, line)
    if "file" in facts:
        _print_compact(console, facts)


def _print_compact(console: Console, facts: dict[str, Any]) -> None:
    before, after = facts["bytes_before"], facts["bytes"]
    rows = {
        "file": f"{facts['file']}: {after / 1e6:.2f} MB of {before / 1e6:.2f}, {after / before:.2f} of it",
        "between both": f"{facts['psnr_between']:.1f} dB on {facts['pictures_between']} pictures of its own cameras",
        f"loss, {facts['loss_is']}": f"{facts['loss']:.3f} dB"
        + ("" if facts["psnr_after"] is None else f": {facts['psnr_before']:.2f} to {facts['psnr_after']:.2f} dB"),
        **{name: _in_words(schemes) for name, schemes in facts["bits"].items()},
    }
    console.print(reports.two_columns(rows))


def _in_words(schemes: dict[str, str]) -> str:
    """How many tensors have how many bits, and which those with more are, where they are per Gaussian."""
    fine = [name for name, scheme in schemes.items() if scheme != "uint8"]
    large = [name.split(".")[-1] for name in fine if name.startswith("groups.")]
    named = f": {', '.join(dict.fromkeys(large))}" if large else ""
    return f"{len(schemes) - len(fine)} tensors in 8 bits, {len(fine)} in 16 or more{named}"
