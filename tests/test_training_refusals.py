"""What a run refuses, and when: before anything is trained, in one line."""

from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from stamps import settings, training

import moegs.training.phases
from moegs import checkpoint
from moegs.data import load_scene
from moegs.data.scene import Scene
from moegs.router.volume import VolumeConfig
from moegs.training import Sitting, TrainingError, loop, train, train_here
from moegs.training.distill import DistillTraining
from moegs.training.events import Event, Failed, Progress
from moegs.training.pruning import Pruning
from moegs.training.routing import RouterTraining

pytestmark = pytest.mark.usefixtures("stamp_room")
RESUME = Sitting(resume=True)


def quiet(event: Event) -> None:
    pass


@pytest.mark.parametrize("text", [b"experts: [", b"\xff\xfe\xff", b"[" * 5000, None], ids=lambda text: str(text)[:9])
def test_a_folder_whose_config_is_broken_is_refused_in_one_line(tmp_path: Path, text: bytes | None):
    if text is None:
        (tmp_path / "config.yaml").mkdir()
    else:
        (tmp_path / "config.yaml").write_bytes(text)
    with pytest.raises(ValueError, match=r"config.yaml: not YAML \([^\n]+\); remove it"):
        train(settings(training()), tmp_path, tmp_path)


def test_a_start_that_fails_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(moegs.training.phases, "load_scene", load_scene)
        with pytest.raises(ValueError, match="no such folder"):
            train(settings(training()), tmp_path, tmp_path / "run")
    train(settings(training(steps=1)), tmp_path, tmp_path / "run")


@pytest.mark.parametrize("name", ["mixture.pt", "experts/polynomial.pt"])
def test_what_is_taken_as_finished_is_whole(tmp_path: Path, name: str):
    train(settings(training(steps=1)), tmp_path, tmp_path / "run")
    (tmp_path / "run" / "mixture.pt").unlink()
    (tmp_path / "run" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=f"{name}: empty file; give a checkpoint"):
        train(settings(training(steps=1)), tmp_path, tmp_path / "run", quiet, RESUME)


def moved(number: int) -> Scene:
    """The stamp-sized scene with its camera `number` a step to the side."""
    scene = stamps.scene()
    viewmat = scene.rig.cameras[number].viewmat.clone()
    viewmat[0, 3] += 0.1
    cameras = list(scene.rig.cameras)
    cameras[number] = replace(cameras[number], viewmat=viewmat)
    return replace(scene, rig=replace(scene.rig, cameras=tuple(cameras)))


def test_experts_of_data_that_changed_since_are_refused_before_the_router_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    both, out = settings(training("polynomial"), training("keyframe")), tmp_path / "run"
    train(both, tmp_path, out, quiet, Sitting(stop_after="experts"))
    monkeypatch.setattr(moegs.training.phases, "load_scene", lambda *_, **__: moved(1))
    heard: list[Event] = []
    with pytest.raises(TrainingError, match=r"experts/polynomial.pt: [^\n]*the cameras of the data are not those"):
        train(both, tmp_path, out, heard.append, RESUME)
    assert not any(isinstance(event, Progress) for event in heard)


def test_a_state_of_data_that_changed_since_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, out = settings(training(), save_every=4), tmp_path / "run"
    with monkeypatch.context() as patch:
        stamps.stop_after(6, patch)
        with pytest.raises(stamps.KilledError):
            train(one, tmp_path, out)
    monkeypatch.setattr(moegs.training.phases, "load_scene", lambda *_, **__: moved(1))
    with pytest.raises(TrainingError, match=r"states/polynomial.pt: [^\n]*the cameras of the data are not those"):
        train(one, tmp_path, out, quiet, RESUME)


def test_a_router_that_nothing_is_left_to_train_with_is_refused_before_any_training(tmp_path: Path):
    heard: list[Event] = []
    two = replace(
        settings(training(), training(name="other")), router=RouterTraining(temperatures=(0.1, 1.0), validation=3)
    )
    with pytest.raises(ValueError, match=r"router.validation: got 3 of 3 training cameras, which leaves none"):
        train(two, tmp_path, tmp_path / "run", heard.append)
    assert not any(isinstance(event, Progress) for event in heard)


@pytest.mark.parametrize(
    ("names", "values", "told"),
    [
        (("a", "a-twin"), {"distill": ("a", "a-twin")}, "two phases of this run would be called 'distill-a-twin'"),
        (("a", "pruned"), {"prune": Pruning(ratio=0.5)}, "would be called 'pruned'; rename an expert"),
        (("a", "cut"), {"prune": Pruning(ratio=0.5)}, "would be called 'cut'; rename an expert"),
        (("a", "router-1"), {}, "would be called 'router-1'; rename an expert"),
        (("a", "b"), {"prune": Pruning(ratio=0.5), "router": VolumeConfig()}, "prune: under a volume router"),
        (("a",), {"prune": Pruning(ratio=0.5, finetune=3)}, "prune.finetune: one expert has no router that learns"),
        (("a",), {"prune": Pruning(ratio=0.5, criterion="gate-gradient")}, "prune.criterion: gate-gradient needs"),
    ],
)
def test_a_config_whose_phases_cannot_be_is_refused_at_once(names: tuple[str, ...], values: dict, told: str):
    if "distill" in values:
        values = {"distill": tuple(DistillTraining(expert=name, twin=name == "a") for name in values["distill"])}
    if "router" in values:
        values = values | {"router": RouterTraining(router=values["router"])}
    with pytest.raises(ValueError, match=told):
        settings(*(training(name=name) for name in names), **values)


def test_names_that_only_another_config_would_take_are_free():
    twin = (DistillTraining(expert="a", twin=True),)
    settings(training(name="a"), training(name="a-twin"), training(name="pruned"), distill=twin)
    settings(training(name="a"), prune=Pruning(ratio=0.5, finetune=3, finetune_experts=True))


@pytest.mark.parametrize("state", [b"nonsense", {"a": 1}, [1], "text", None], ids=str)
def test_a_state_that_is_no_state_is_refused(tmp_path: Path, state: object):
    path = tmp_path / "run" / "states" / "polynomial.pt"
    path.parent.mkdir(parents=True)
    if state is None:
        path.mkdir()
    elif isinstance(state, bytes):
        path.write_bytes(state)
    else:
        torch.save(state, path)
    with pytest.raises(TrainingError, match="not a training state"):
        train(settings(training()), tmp_path, tmp_path / "run", quiet, RESUME)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory.\nTried 9 GiB"),
            r"not enough GPU memory \(CUDA out of memory. Tried",
        ),
        (MemoryError("9 GiB"), r"not enough memory \(9 GiB\)"),
    ],
)
def test_a_lack_of_memory_names_who_and_what_helps(
    error: Exception, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def exhaust(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(loop, "one_step", exhaust)
    with pytest.raises(ValueError, match=rf"^polynomial: {told}[^\n]*; lower density.limit or the batch, raise data"):
        train(settings(training()), tmp_path, tmp_path / "run")


def test_of_several_runs_one_that_fails_does_not_stop_the_others(tmp_path: Path):
    runs = {tmp_path / name: settings(training(steps=steps)) for name, steps in (("a", 1), ("b", 2), ("c", 3))}
    train(settings(training(steps=9)), tmp_path, tmp_path / "a")
    (tmp_path / "b").write_text("a file where a folder has to be")
    heard: list[Event] = []
    with pytest.raises(TrainingError, match=r"^2 of 3 runs failed; a: .*a: belongs to another config .*; b: [^\n]+$"):
        train_here(runs, heard.append, Sitting())
    assert checkpoint.load(tmp_path / "c" / "mixture.pt").mixture.members[0].step == 3
    told = [event for event in heard if isinstance(event, Failed)]
    assert [event.name for event in told] == ["a", "b"]
    assert heard.index(told[-1]) < len(heard) - 1, "at once, not at the end"


def test_of_one_run_the_reason_stands_alone(tmp_path: Path):
    train(settings(training(steps=9)), tmp_path, tmp_path / "a")
    with pytest.raises(TrainingError, match=r"a: belongs to another config"):
        train_here({tmp_path / "a": settings(training())}, quiet, Sitting())
