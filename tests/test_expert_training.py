"""Training with every part of the recipes on: it acts, it resumes to the same result, and what breaks is named."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from stamps import FRAMES, KINDS, KilledError, plan, settings, stop_after, training
from torch.testing import assert_close

from moegs import checkpoint
from moegs.data.scene import Scene
from moegs.density import DensityConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.growth import GrowthConfig, PromotionConfig, TidyingConfig
from moegs.experts.guided import GuidedConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.polynomial import PolynomialConfig, TurnsConfig
from moegs.experts.recipe import Attention, Edit, Recipe
from moegs.rasterize import Layer, rasterize
from moegs.training import Sitting, TrainingError, phases, train
from moegs.training.events import Resumed
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import run
from moegs.training.sampling import LossGuidedConfig, OneFrameConfig, ShuffledConfig

CPU = torch.device("cpu")
GUIDED = GuidedConfig(start=3, cameras=2, judged_below=1.0, added_below=1.0, apart=0, patch=2, share=0.5, quantile=0.2)
DENSITY = DensityConfig(start=0, every=4, stop=30, gradient=1e-5, limit=80)


def whole(kind: str) -> ExpertTraining:
    """A kind with every part of its recipe on, on the scale of 16 steps."""
    hexplane, embedding, polynomial, keyframe = (KINDS[k] for k in ("hexplane", "embedding", "polynomial", "keyframe"))
    assert isinstance(hexplane, HexPlaneConfig)
    assert isinstance(embedding, EmbeddingConfig)
    assert isinstance(polynomial, PolynomialConfig)
    assert isinstance(keyframe, KeyframeConfig)
    parts = {
        "hexplane": {
            "expert": replace(hexplane, coarse_steps=6, fine_restarts=True),
            "sampling": ShuffledConfig(batch=2),
            "density": replace(DENSITY, batch="sum"),
            "ssim_weight": 0.0,
        },
        "embedding": {
            "expert": replace(embedding, fine_steps=10, motion_steps=4, shape_start=4, shape_steps=4, neighbours=3),
            "sampling": LossGuidedConfig(uniform_until=4, hold_every=4, hold_steps=2),
            "ssim_weight": 0.0,
            "held_ssim": 1.0,
        },
        "polynomial": {
            "expert": replace(polynomial, guided=GUIDED, turns=TurnsConfig(step=9, least_motion=0.0), box_step=11),
            "sampling": OneFrameConfig(batch=2),
            "density": replace(DENSITY, rounds=2, prune_while_growing=False, reset_every=7),
        },
        "keyframe": {
            "expert": replace(
                keyframe,
                dynamic_share=0.0,
                growth=GrowthConfig(first=1, more=1, start=0, every=4),
                promotion=PromotionConfig(start=0, delay=2, every=5, quantile=0.5),
                tidying=TidyingConfig(every=2, errors_start=0, errors_rounds=2, sight_start=0, least_radius=1.5,
                                      fades_every=6, least_ssim=0.2, most_l1=0.5),
            ),
            "optimizer": "radam",
            "random_background": True,
        },
    }[kind]  # fmt: skip
    return training(kind, **{"steps": 16, "density": DENSITY, **parts})


@pytest.fixture(name="scene", scope="module")
def made_scene() -> Scene:
    return stamps.sparse_scene()


@pytest.fixture(autouse=True)
def _scene_without_a_folder(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(phases, "load_scene", lambda data, **options: scene)


def trained(kind: str, scene: Scene, folder: Path, steps: int = 16) -> ExpertTrainee:
    torch.manual_seed(0)
    trainee = ExpertTrainee(whole(kind), scene, CPU)
    run(trainee, trainee.sampler, plan(folder, steps), lambda event: None)
    return trainee


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("kill", [6, 11])
def test_a_killed_run_goes_on_to_the_same_result(kind: str, kill: int, tmp_path: Path, monkeypatch):
    config = settings(whole(kind), save_every=5)
    train(config, tmp_path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(kill, patch)
        with pytest.raises(KilledError):
            train(config, tmp_path, tmp_path / "killed")
    heard = []
    train(config, tmp_path, tmp_path / "killed", heard.append, Sitting(resume=True))
    assert Resumed(kind, kill // 5 * 5) in heard
    ours, theirs = (checkpoint.load(tmp_path / name / "mixture.pt").mixture for name in ("whole", "killed"))
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_the_clip_grows_and_static_gaussians_become_dynamic(scene: Scene, tmp_path: Path):
    trainee = trained("keyframe", scene, tmp_path)
    assert trainee.recipe.frames == trainee.sampler.frames == FRAMES
    assert trainee.expert.counts()["dynamic"] > 0
    assert float(trainee.expert.duration) > FRAMES


def test_frames_that_have_not_joined_are_not_drawn(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)  # a start draws points at random, and 16 steps hold few rounds
    trainee, drawn = ExpertTrainee(whole("keyframe"), scene, CPU), []
    attempt = trainee.attempt
    monkeypatch.setattr(trainee, "attempt", lambda *args: (drawn.append(args), attempt(*args))[1])
    run(trainee, trainee.sampler, plan(tmp_path, 16), lambda event: None)
    assert {frame for step, _, frame in drawn if step < 4} == {0}
    assert {frame for _, _, frame in drawn} == set(range(FRAMES))


def test_guided_sampling_adds_gaussians_while_training(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    added: list[int] = []
    revise = phases.ExpertTrainee._check
    monkeypatch.setattr(
        ExpertTrainee, "_check", lambda self, edit, step: (added.append(len(edit.added)), revise(self, edit, step))
    )
    trained("polynomial", scene, tmp_path)
    assert any(added)


def test_errors_are_carried_back_along_the_blending_weights(scene: Scene):
    """The sum over the pixels of weight x map, for a map of ones: what an image of that row alone in white adds."""
    trainee = ExpertTrainee(whole("keyframe"), scene, CPU)
    trainee.expert.group("static")["logit_opacities"].data.fill_(0.5)
    observed = []
    trainee.recipe.observe = observed.append
    attempt = trainee.attempt(0, 1, 0)
    attempt.loss.backward()
    trainee.after_backward()
    (seen,) = observed
    gaussians = trainee.expert.at(0.0, 0)
    maps = torch.stack([torch.ones_like(seen.errors), seen.errors, seen.ssims], dim=-1)
    for row in range(0, len(gaussians), 7):
        features = torch.zeros(len(gaussians), 1)
        features[row] = 1.0
        layer = Layer(gaussians, features, lowpass=trainee.expert.lowpass)
        weights = rasterize([layer], scene.rig.cameras[1]).features[0].detach()
        assert_close(seen.row_errors[row], (weights * maps).sum((0, 1)), rtol=1e-3, atol=1e-4)


def test_watching_changes_neither_loss_nor_gradients(scene: Scene):
    gradients = []
    for attention in (Attention.ROWS, Attention.NONE):
        torch.manual_seed(0)
        trainee = ExpertTrainee(whole("keyframe"), scene, CPU)
        trainee.recipe.attention = lambda step, attention=attention: attention
        loss = trainee.attempt(0, 1, 0).loss
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in trainee.expert.parameters() if p.grad is not None)])
    for watched, alone in zip(*gradients, strict=True):
        assert_close(watched, alone, rtol=1e-5, atol=1e-9)


def test_a_batch_learns_from_the_mean_of_its_pictures(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trainee = ExpertTrainee(training("polynomial", sampling=ShuffledConfig(batch=2)), scene, CPU)
    pairs = [(1, 0), (3, 2)]
    alone = []
    for camera, frame in pairs:
        trainee.optimizer.zero_grad()
        trainee.attempt(0, camera, frame).loss.backward()
        alone.append([p.grad.clone() for p in trainee.expert.parameters() if p.grad is not None])
    monkeypatch.setattr(trainee.sampler, "draw", lambda step: pairs)
    stepped = []
    step = trainee.optimizer.step

    def noted():
        stepped.append([p.grad.clone() for p in trainee.expert.parameters() if p.grad is not None])
        step()

    monkeypatch.setattr(trainee.optimizer, "step", noted)
    run(trainee, trainee.sampler, plan(tmp_path, 1), lambda event: None)
    for both, first, second in zip(stepped[0], *alone, strict=True):
        assert_close(both, (first + second) / 2)


class Edits(Recipe):
    """Behaves like another recipe, but asks for one edit, after 7 steps."""

    def __init__(self, inner: Recipe, edit: Edit) -> None:
        self.inner, self.edit = inner, edit

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    frames = property(lambda self: self.inner.frames)

    def edits(self, step: int) -> Iterator[Edit]:
        if step == 7:
            yield self.edit

    def stage_start(self, step):
        return 0

    def attention(self, step):
        return Attention.NONE

    def observe(self, seen):
        pass

    def rows_changed(self, kept):
        self.inner.rows_changed(kept)

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)


def test_a_recipe_that_makes_a_nan_stops_with_step_expert_and_tensor_and_the_last_state_stays(
    scene: Scene, tmp_path: Path
):
    trainee = ExpertTrainee(training("polynomial"), scene, CPU)
    group = trainee.expert.group("0to2")
    added = {name: torch.zeros(1, *value.shape[1:]) for name, value in group.items()}
    added["means"][0, 1] = float("nan")
    trainee.recipe = trainee.control.recipe = Edits(trainee.recipe, Edit("0to2", added=added))
    with pytest.raises(
        TrainingError,
        match=r"^polynomial: the recipe's new values of 'groups.0to2.means' are not finite at step 7; lower the rates",
    ):
        run(trainee, trainee.sampler, plan(tmp_path, 12, save_every=5), lambda event: None)
    assert torch.load(tmp_path / "x.state.pt", weights_only=True)["step"] == 5


def test_a_row_that_is_not_finite_and_so_not_drawn_never_reaches_a_state(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training("polynomial"), scene, CPU)

    def spoil(step: int) -> None:
        if step == 7:
            trainee.expert.group("0to2")["means"].data[3] = float("inf")

    trainee.after_step = spoil
    with pytest.raises(TrainingError, match=r"^polynomial: .*'groups.0to2.means' is not finite"):
        run(trainee, trainee.sampler, plan(tmp_path, 12, save_every=5), lambda event: None)
    assert torch.load(tmp_path / "x.state.pt", weights_only=True)["step"] == 5


NONE_LEFT = torch.empty(0, dtype=torch.long)
OPAQUE = DensityConfig(start=5, every=6, stop=20, gradient=1e3, opacity=0.99)
"""A round after 6 steps that no Gaussian is opaque enough for."""
TWO_SEGMENTS = replace(KINDS["polynomial"], segments=2)


def test_density_control_that_removes_the_last_gaussian_stops_the_training(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training("polynomial", density=OPAQUE), scene, CPU)
    told = (
        r"^polynomial: density control \(below opacity 0.99, or too large\) removed the last Gaussian of group '0to2' "
        r"at step 6, which leaves nothing to show at frame 0; set density.prune_above, or lower"
    )
    with pytest.raises(TrainingError, match=told):
        run(trainee, trainee.sampler, plan(tmp_path, 12, save_every=5), lambda event: None)
    assert torch.load(tmp_path / "x.state.pt", weights_only=True)["step"] == 5


def test_a_recipe_that_empties_a_segment_stops_the_training(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training("polynomial", expert=TWO_SEGMENTS), scene, CPU)
    last = list(trainee.expert.groups)[1]
    trainee.recipe = trainee.control.recipe = Edits(trainee.recipe, Edit(last, kept=NONE_LEFT))
    told = (
        rf"^polynomial: its recipe removed the last Gaussian of group '{last}' at step 7, which leaves nothing to "
        r"show at frame 2; set the part of the recipe"
    )
    with pytest.raises(TrainingError, match=told):
        run(trainee, trainee.sampler, plan(tmp_path, 12), lambda event: None)


@pytest.mark.parametrize("group", ["static", "dynamic"])
def test_a_group_may_be_empty_where_the_other_shows(group: str, scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training("keyframe"), scene, CPU)
    trainee.recipe = trainee.control.recipe = Edits(trainee.recipe, Edit(group, kept=NONE_LEFT))
    run(trainee, trainee.sampler, plan(tmp_path, 9), lambda event: None)
    assert trainee.expert.counts()[group] == 0
    assert len(trainee.expert) > 0
