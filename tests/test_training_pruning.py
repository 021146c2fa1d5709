"""Pruning a mixture that was trained: how many Gaussians go, the stage of a run, what is learned and remembered."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from stamps import KINDS, KilledError, plan, settings, stop_after, training
from torch.testing import assert_close

from moegs import checkpoint, pruning
from moegs.checkpoint import Checkpoint
from moegs.data.scene import Scene
from moegs.mixture import Mixture
from moegs.rasterize import cpu
from moegs.router import UniformConfig, VolumeAwareConfig
from moegs.runs import RunFolder, status
from moegs.schedules import scaled
from moegs.training import Sitting, TrainConfig, train
from moegs.training import pruning as stage
from moegs.training.events import Begun, Compiling, Event, Resumed, Skipped, Working
from moegs.training.joint import JointTrainee
from moegs.training.loop import run
from moegs.training.pruning import Pruning, largest
from moegs.training.routing import RouterTraining
from moegs.training.sampling import Shuffled
from moegs.training.validation import mean_psnr

RESUME = Sitting(resume=True)


def quiet(event: Event) -> None:
    pass


def made(kinds: tuple[str, ...] = ("polynomial", "keyframe")) -> Mixture:
    """Experts that have just started on the cloud of `stamps`, under a router with random weights."""
    scene = stamps.scene()
    experts = []
    for seed, kind in enumerate(kinds):
        torch.manual_seed(seed)
        experts.append(replace(KINDS[kind], opacity=0.6).start(scene.points, stamps.FRAMES, views=3))
    router = VolumeAwareConfig().start([len(expert) for expert in experts])
    generator = torch.Generator().manual_seed(5)
    for parameter in router.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return Mixture(kinds, experts, router, scene.rig).requires_grad_(False)


@pytest.mark.parametrize(("most", "ratio"), [(0.5, 0.7), (0.0, 0.0), (100.0, 0.99), (0.09, 0.3)])
def test_bisection_finds_the_largest_ratio_within_the_loss(most: float, ratio: float):
    asked: list[float] = []

    def drop(share: float) -> float:
        asked.append(share)
        return share**2 + 1e-9

    found, loss = largest(drop, most)
    assert found == pytest.approx(ratio, abs=0.0101)
    assert loss <= most
    assert loss == (drop(found) if found else 0.0)
    assert found == 0.99 or drop(found + 0.01) > most
    assert len(asked) <= 10


def test_the_loss_that_bounds_the_ratio_is_measured_on_training_cameras_alone(monkeypatch: pytest.MonkeyPatch):
    mixture, scene, seen = made(), stamps.scene(), set()
    photo = Scene.photo

    def watched(self: Scene, camera: int, frame: int, device: torch.device):
        seen.add((camera, frame))
        return photo(self, camera, frame, device)

    monkeypatch.setattr(Scene, "photo", watched)
    asked = Pruning(max_drop=0.3, check_every=2)
    thin = stage.cut(Checkpoint(mixture), scene, asked, quiet)
    assert seen == {(camera, frame) for camera in scene.rig.train for frame in (0, 2)}
    facts = thin.provenance["pruned"]
    whole, left = (mean_psnr(each, scene, sorted(seen)) for each in (mixture, thin.mixture))
    assert_close([facts["train_psnr"]["before"], facts["train_psnr"]["after"]], [whole, left], rtol=0, atol=1e-4)
    assert whole - left <= 0.3
    more = pruning.kept(pruning.importance(mixture, stage.views(mixture, scene, 1))["contribution"],
                        facts["ratio"] + 0.01, "mixture")  # fmt: skip
    further = mean_psnr(pruning.pruned(mixture, more), scene, sorted(seen))
    assert whole - further > 0.3


def test_the_scores_of_those_that_stay_stay_too_and_are_not_measured_again(monkeypatch: pytest.MonkeyPatch):
    mixture, scene = made(), stamps.scene()
    scores = pruning.importance(mixture, stage.views(mixture, scene, 1))
    once = stage.cut(Checkpoint(mixture), scene, Pruning(ratio=0.4), quiet)
    masks = pruning.kept(scores["contribution"], 0.4, "mixture")
    for criterion, values in scores.items():
        for name, numbers in values.items():
            assert_close(once.importance[criterion][name], numbers[masks[name]])
    monkeypatch.setattr(pruning, "importance", lambda *_: pytest.fail("measured again"))
    twice = stage.cut(once, scene, Pruning(ratio=0.5, criterion="gate-gradient", scope="expert"), quiet)
    counts = twice.provenance["pruned"]["gaussians"]
    assert counts["before"] == {
        name: len(expert) for name, expert in zip(once.mixture.names, once.mixture.members, strict=True)
    }
    assert counts["after"] == {name: count - round(count / 2) for name, count in counts["before"].items()}
    assert twice.provenance["pruned"]["earlier"]["settings"]["ratio"] == 0.4


def test_who_waits_for_scores_is_told_of_the_kernels_that_are_compiled_first(monkeypatch: pytest.MonkeyPatch):
    heard: list[Event] = []
    monkeypatch.setattr(cpu, "is_compiled", lambda: False)
    monkeypatch.setattr(cpu, "warm_up", lambda: None)
    weighed = stage.cut(Checkpoint(made()), stamps.scene(), Pruning(ratio=0.0), heard.append)
    assert heard[0] == Compiling("pruned")
    assert isinstance(heard[1], Working)
    del heard[:]
    stage.cut(weighed, stamps.scene(), Pruning(ratio=0.4), heard.append)
    assert heard == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "pruning: got none of ratio, threshold and max_drop; give one"),
        ({"ratio": 0.5, "max_drop": 0.1}, "pruning: got ratio, max_drop of ratio, threshold and max_drop; give one"),
        ({"ratio": 1.2}, "ratio: got 1.2, expected the share of Gaussians that goes"),
        (
            {"threshold": 0.1, "scope": "expert"},
            "scope: got expert with a threshold, which is the same for every expert",
        ),
        ({"max_drop": -0.1}, "max_drop: got -0.1, expected a number of 0 or more"),
        ({"ratio": 0.5, "weigh_every": 0}, "weigh_every, check_every: got 0 and 5, expected at least 1 frame"),
        ({"ratio": 0.5, "finetune": -1}, "finetune: got -1, expected 0 or more steps"),
        ({"ratio": 0.5, "expert_rate": 0.0}, "expert_rate: got 0, expected a positive factor"),
        ({"ratio": 0.5, "finetune_experts": True}, "finetune_experts: without finetune nothing learns"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        Pruning(**values)


def test_what_a_mixture_cannot_give_is_one_line():
    mixture, scene = made(), stamps.scene()
    uniform = Mixture(mixture.names, mixture.members, UniformConfig().start([40, 40]), mixture.rig)
    with pytest.raises(
        ValueError, match="criterion: there is no gate-gradient under this router, .* take contribution"
    ):
        stage.cut(Checkpoint(uniform), scene, Pruning(ratio=0.5, criterion="gate-gradient"), quiet)
    with pytest.raises(ValueError, match="finetune: this mixture has no router that learns"):
        stage.cut(Checkpoint(uniform), scene, Pruning(ratio=0.5, finetune=3), quiet)
    nobody = Mixture(mixture.names, mixture.members, mixture.router, replace(scene.rig, train=()))
    with pytest.raises(ValueError, match="pruning: the checkpoint has no training camera to weigh Gaussians on"):
        stage.cut(Checkpoint(nobody), scene, Pruning(ratio=0.5), quiet)


def test_fine_tuning_of_the_router_leaves_the_experts_as_they_are(tmp_path: Path):
    mixture, scene, asked = made(), stamps.scene(), Pruning(ratio=0.3, finetune=12, router_rate=1.0)
    thin = stage.cut(Checkpoint(mixture), scene, asked, quiet)
    before = {name: tensor.clone() for name, tensor in thin.mixture.state_dict().items()}
    views = stage.views(mixture, scene, 1)
    psnr = mean_psnr(thin.mixture, scene, views)
    learned = stage.finetuned(thin, scene, asked, RouterTraining(), plan(tmp_path), quiet)
    after = learned.mixture.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("experts."))
    assert not torch.equal(after["router.static.0"], before["router.static.0"])
    assert mean_psnr(learned.mixture, scene, views) > psnr
    assert not any(parameter.requires_grad for parameter in learned.mixture.parameters())


@pytest.mark.parametrize("kinds", [("polynomial", "hexplane"), ("embedding", "keyframe")])
def test_experts_of_every_kind_learn_with_the_router(kinds: tuple[str, ...], tmp_path: Path):
    mixture, scene = made(kinds), stamps.scene()
    for expert in mixture.members:
        expert.begin_step(20)
    config = RouterTraining(router=VolumeAwareConfig(), rate_weights=0.02)
    trainee = JointTrainee("joint", config, 1.0, mixture, scene)
    before = {name: tensor.clone() for name, tensor in mixture.state_dict().items()}
    views = stage.views(mixture, scene, 1)
    psnr = mean_psnr(mixture, scene, views)
    run(trainee, Shuffled(scene.pairs(scene.rig.train), expect=scene.expect), plan(tmp_path, steps=30), quiet)
    moved = {name for name, tensor in mixture.state_dict().items() if not torch.equal(tensor, before[name])}
    for number, expert in enumerate(mixture.members):
        for group in expert.groups:
            assert {f"experts.{number}.groups.{group}.{name}" for name in ("log_scales", "sh0")} <= moved
    assert "router.static.0" in moved
    fresh = trainee.shown()
    assert mean_psnr(fresh, scene, views) > psnr + 0.1


def pruning_run(**values) -> TrainConfig:
    asked = Pruning(**{"ratio": 0.5, "finetune": 6, "finetune_experts": True} | values)
    return replace(settings(training("polynomial"), training("keyframe"), save_every=4), prune=asked)


@pytest.mark.usefixtures("stamp_room")
def test_a_run_prunes_where_its_config_says_so(tmp_path: Path):
    heard: list[Event] = []
    out = tmp_path / "run"
    path = train(pruning_run(), tmp_path, out, heard.append)
    assert path == out / "pruned.pt"
    whole, thin = checkpoint.load(out / "mixture.pt"), checkpoint.load(path)
    count, left = (sum(map(len, each.mixture.members)) for each in (whole, thin))
    assert left == count - round(count / 2)
    facts = thin.provenance["pruned"]
    assert facts["from"] == "mixture.pt"
    assert facts["sha256"] == hashlib.sha256((out / "mixture.pt").read_bytes()).hexdigest()
    assert facts["settings"]["finetune"] == 6
    assert facts["test_psnr"] == {"before": whole.scores["mixture"]["psnr"], "after": thin.scores["mixture"]["psnr"]}
    assert thin.provenance["data"] == "room"
    assert not thin.importance  # of the experts before they learned
    assert [event.name for event in heard if isinstance(event, Begun)] == ["experts", "router", "prune"]
    assert any(isinstance(event, Working) and event.done == event.of for event in heard)
    assert not list((out / "states").glob("*"))
    said = status.look(RunFolder(out)).said
    assert said.score == whole.scores["mixture"]["psnr"], "of the mixture, not of what was pruned"
    again: list[Event] = []
    train(pruning_run(), tmp_path, out, again.append, RESUME)
    assert {event.name for event in again if isinstance(event, Skipped)} >= {"mixture", "pruned"}


@pytest.mark.usefixtures("stamp_room")
def test_a_killed_pruning_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked = pruning_run()
    train(asked, tmp_path, tmp_path / "whole")
    train(asked, tmp_path, tmp_path / "killed", sitting=Sitting(stop_after="router"))
    assert not (tmp_path / "killed" / "pruned.pt").exists()
    with monkeypatch.context() as patch:
        stop_after(5, patch)
        with pytest.raises(KilledError):
            train(asked, tmp_path, tmp_path / "killed", sitting=RESUME)
    heard: list[Event] = []
    train(asked, tmp_path, tmp_path / "killed", heard.append, RESUME)
    assert Resumed("pruned", 4) in heard
    ours, theirs = (checkpoint.load(tmp_path / name / "pruned.pt").mixture for name in ("whole", "killed"))
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.usefixtures("stamp_room")
def test_a_run_cannot_stop_after_a_stage_that_it_does_not_have(tmp_path: Path):
    with pytest.raises(ValueError, match="this run has no stage 'prune'; it does experts, router"):
        train(settings(training()), tmp_path, tmp_path / "run", sitting=Sitting(stop_after="prune"))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_budget_scales_the_fine_tuning_and_not_the_ratio():
    asked = scaled(pruning_run(finetune=1000), 0.2).prune
    assert asked is not None
    assert (asked.finetune, asked.ratio) == (200, 0.5)
