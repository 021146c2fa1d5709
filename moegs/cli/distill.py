"""moegs distill: one expert of a mixture learns the mixture's picture."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from moegs import checkpoint, evaluation, files, reports
from moegs.cli.data_options import DataChoices
from moegs.cli.files import CheckpointPath, refuse_loss, refuse_unwritable, want_suffix
from moegs.program import resumable
from moegs.runs import RunFolder
from moegs.system import Device
from moegs.system import device as device_called

if TYPE_CHECKING:
    from moegs.data import DataConfig
    from moegs.training import TrainConfig


@dataclass(frozen=True)
class DistillOptions:
    """How the student learns."""

    from_scratch: FlagCreatePairsOff[bool] = False
    """Start on the data's points with the expert's whole recipe, in place of going on from the trained expert."""
    photo_share: Annotated[float, arg(name="lambda")] = 0.5
    """Share of the photos' part in the loss; the rest is the mixture's."""
    steps: int | None = None
    """A quarter of the expert's own when left out, and from scratch all of them."""
    unseen: int = 0
    """How many cameras between the training ones teach besides, through the mixture's picture."""
    twin: FlagCreatePairsOff[bool] = False
    """Also train the same expert, from the same start and seed, on photos alone, into OUT's name with -twin."""
    config: Path | None = None
    """The training configuration that made the mixture; looked for in the checkpoint, and beside it, when left out."""
    seed: int = 0
    """Of what is drawn."""


def distill(
    path: CheckpointPath,
    /,
    data: Path,
    expert: str,
    out: Path,
    student: OmitArgPrefixes[DistillOptions] = DistillOptions(),
    dataset: OmitArgPrefixes[DataChoices] = DataChoices(),
    resume: FlagCreatePairsOff[bool] = False,
    device: Device = "auto",
    json: Path | None = None,
    force: bool = False,
) -> None:
    """Teach one expert of CKPT the mixture's picture, into OUT: an ordinary checkpoint of one expert and no router.

    Where the router trusts the expert it learns from the photo, elsewhere from the mixture's picture, which is rendered
    once. It goes on from the trained expert, whose rows stay as many, or --from-scratch. Meanwhile a folder
    named as OUT, but with .run in place of .pt, holds the state from which --resume goes on.

    Args:
        path: A trained mixture.
        data: The folder of the data set that it was trained on.
        expert: The name of the expert that learns.
        out: The checkpoint to write (.pt); it must not exist unless --force.
        resume: Go on with what an earlier, killed run of the same command left, if it left anything.
        device: Where to compute.
        json: Also write the scores as JSON to this file; - writes JSON alone to standard output.
        force: Overwrite OUT and the file of --json.
    """
    from moegs.training import students, workplace
    from moegs.training.events import Saved, working
    from moegs.training.progress import show, with_note

    want_suffix(out, ".pt")
    twin = out.with_name(f"{out.stem}-twin.pt") if student.twin else None
    work = out.with_suffix(workplace.SUFFIX)
    refuse_loss((out, twin, work, json), (path, student.config, RunFolder(path.parent).config), force)
    teacher = checkpoint.load(path, device_called(device))
    settings, note = _settings(path, teacher, expert, student, dataset.of(data.absolute(), teacher.provenance))
    refuse_unwritable(out, twin, json)
    with resumable(), show() as on_event:
        tell = with_note(lambda event: None if isinstance(event, Saved) else on_event(event), note)  # it moves yet
        made = students.distil(settings, path.absolute(), work, device, resume, tell)
        for source, place in zip(made, (out, twin), strict=False):
            assert place is not None
            files.publish(source, place)
        RunFolder(work).remove()
        scoring = partial(working, "mixture", "pictures scored, its experts' too", on_event=tell)
        facts = _facts(teacher, expert, [place for place in (out, twin) if place], settings.data, scoring)
    reports.tell(json, facts, lambda console: reports.print_distilled(console, facts))


def _settings(
    path: Path, teacher: checkpoint.Checkpoint, expert: str, options: DistillOptions, data: "DataConfig"
) -> "tuple[TrainConfig, str]":
    """What is trained, as a run's config, and what is to be said of where the expert's recipe comes from."""
    from moegs.training import TrainConfig, recipes
    from moegs.training.distill import DistillTraining

    recipe, note = recipes.find(path, teacher, expert, options.config)
    if options.from_scratch and note:
        raise ValueError(f"{path}: {note}; from scratch its whole recipe is needed: give it with --config")
    note = note and f"{path}: {note}; it goes on with the default settings: --config CONFIG gives its own"
    wanted = DistillTraining(
        expert=expert,
        steps=options.steps,
        from_scratch=options.from_scratch,
        photo_share=options.photo_share,
        unseen=options.unseen,
        twin=options.twin,
    )
    return TrainConfig(data=data, experts=(recipe,), distill=(wanted,), seed=options.seed), note


def _facts(
    teacher: checkpoint.Checkpoint,
    expert: str,
    places: list[Path],
    data: "DataConfig",
    scoring: Callable[[int], Callable[[int, int], None]],
) -> dict[str, Any]:
    """Scores on the held-out cameras, where there are any, of the expert as it was, of what it became, and of the
    mixture; `scoring` hears how many pictures there are, and gives what hears how many are done."""
    from moegs.data import load_scene

    facts: dict[str, Any] = {"expert": expert, "files": [str(place) for place in places], "scores": {}}
    if not teacher.mixture.rig.test:
        return facts
    scene = load_scene(data, with_points=False)
    before = evaluation.evaluate(teacher.mixture, scene, on_picture=scoring(len(scene.pairs(teacher.mixture.rig.test))))
    made = zip(("student", "twin, photos alone"), places, strict=False)
    facts["scores"] = {
        expert: asdict(before.experts[expert]),
        **{name: checkpoint.load(place).scores["mixture"] for name, place in made},
        "mixture": asdict(before.mixture),
    }
    return facts
