"""Distillation: the loss as the paper has it, its fixed targets, cameras between those that filmed, and the phase."""

from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from mixtures import mixture, rig
from stamps import FRAMES, KilledError, settings, stop_after, training
from torch.testing import assert_close

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.experts.base import Rate
from moegs.losses import distillation, photometric
from moegs.mixture import Mixture
from moegs.router import VolumeAwareConfig
from moegs.runs import RunFolder, status
from moegs.training import Sitting, TrainConfig, recipes, train
from moegs.training.distill import Distilled, DistillTraining, Teacher
from moegs.training.events import Begun, Event, Resumed, Scored
from moegs.training.experts import ExpertTrainee, Learned
from moegs.training.pictures import PictureCache
from moegs.training.sampling import Shuffled
from moegs.training.students import distil
from moegs.training.unseen import WithUnseen, between, widened

CPU = torch.device("cpu")
QUIET = PictureCache(precision="half")


def pictures(count: int) -> list[torch.Tensor]:
    return list(torch.rand(count, 20, 24, 3, generator=torch.Generator().manual_seed(5)))


def test_the_loss_is_that_of_the_paper() -> None:
    image, photo, fused = pictures(3)
    gate = torch.rand(20, 24, generator=torch.Generator().manual_seed(6))
    g = gate[..., None]
    # L_k = lambda L(G I_k, G I_GT) + (1 - lambda) L((1 - G) I_k, (1 - G) I_MoE), L = 0.8 L1 + 0.2 (1 - SSIM)
    wanted = 0.3 * photometric(g * image, g * photo) + 0.7 * photometric((1 - g) * image, (1 - g) * fused)
    assert_close(distillation(image, photo, fused, gate, photo_share=0.3), wanted)


@pytest.mark.parametrize(("gate", "share", "factor"), [(1.0, 1.0, 1.0), (1.0, 0.25, 0.25), (0.0, 0.25, 0.75)])
def test_a_gate_of_one_is_the_photo_alone_and_of_zero_the_mixture(gate: float, share: float, factor: float) -> None:
    image, photo, fused = pictures(3)
    other = photo if gate else fused
    found = distillation(image, photo, fused, torch.full((20, 24), gate), share)
    assert_close(found, factor * photometric(image, other))


def teaching(names: tuple[str, ...] = ("polynomial", "keyframe")) -> Mixture:
    """A mixture on the stamps' scene, as random as its router."""
    scene, router = stamps.scene(), VolumeAwareConfig(temperature=0.7)
    torch.manual_seed(0)
    experts = [stamps.KINDS[name].start(scene.points, FRAMES, 3) for name in names]
    for expert in experts:
        expert.begin_step(30)
    made = Mixture(names, experts, router.start([len(expert) for expert in experts]), scene.rig)
    for parameter in made.router.parameters() if made.router else ():
        parameter.data = torch.randn(parameter.shape)
    return made.requires_grad_(False)


def test_a_teacher_shows_its_picture_and_the_gate_of_the_one_it_teaches_and_renders_once() -> None:
    made = teaching()
    rendered: list[float] = []
    teacher = Teacher(made, "keyframe", made.rig, QUIET)
    render = made.render
    made.render = lambda camera, t: (rendered.append(t), render(camera, t))[1]  # type: ignore[method-assign]
    for _ in range(2):
        picture, gate = teacher.picture(2, 1), teacher.gate(2, 1)
    assert len(rendered) == 1
    wanted = render(made.rig.cameras[2], 1 / FRAMES)
    assert_close(picture, wanted.picture, rtol=2**-11, atol=1e-6)  # half precision
    assert_close(gate, wanted.gates[1], rtol=2**-11, atol=1e-6)


def test_targets_are_fixed_and_the_gradient_reaches_the_student_alone() -> None:
    made, scene = teaching(), stamps.scene()
    objective = Distilled(Teacher(made, "polynomial", made.rig, QUIET), 4, 0.5, 0.2)
    student = Learned(stamps.KINDS["polynomial"].start(scene.points, FRAMES, 3), 4, 0.5)
    trainee = ExpertTrainee(training(), scene, CPU, objective, student)
    attempt = trainee.attempt(0, 2, 1)
    wanted = made.render(made.rig.cameras[2], 1 / FRAMES)
    photo = scene.photo(2, 1)
    assert_close(
        attempt.loss - trainee.expert.penalty(),
        distillation(attempt.picture, photo, wanted.picture, wanted.gates[0], 0.5, 0.2), rtol=1e-3, atol=1e-5,
    )  # fmt: skip
    attempt.loss.backward()
    assert all(parameter.grad is None for parameter in made.parameters())
    assert any(bool((p.grad != 0).any()) for p in trainee.expert.parameters() if p.grad is not None)


def test_unseen_cameras_stand_between_those_that_filmed() -> None:
    around = rig(cameras=5)
    wide = between(around, 9, seed=1)
    assert (wide.train, wide.test, len(wide.cameras)) == (around.train, around.test, 14)
    assert wide.names[5:] == tuple(f"unseen{i:03}" for i in range(9))
    centers = torch.stack([around.cameras[i].center for i in around.train])
    for camera in wide.cameras[5:]:
        assert_close(camera.viewmat[:3, :3] @ camera.viewmat[:3, :3].T, torch.eye(3), atol=1e-5, rtol=0)
        nearest = (centers - camera.center).norm(dim=1)
        assert float(nearest.min()) <= 0.5 * 1.6  # on a line between two of four in a row, 0.4 apart
        assert float(centers[:, 0].min()) <= float(camera.center[0]) <= float(centers[:, 0].max())
        to_middle = torch.nn.functional.normalize(-camera.center, dim=0)
        assert float(camera.forward @ to_middle) > 0.99  # as all of them look at the origin
    assert between(around, 9, seed=1).cameras[7].viewmat.equal(wide.cameras[7].viewmat)
    assert between(around, 0, seed=1).cameras == around.cameras
    with pytest.raises(ValueError, match="1 training cameras; between them there is no place"):
        between(replace(around, train=(1,)), 1, seed=0)


def test_an_unseen_cameras_photo_is_the_mixtures_picture() -> None:
    scene, made = stamps.scene(), teaching()
    wide = between(scene.rig, 2, seed=0)
    teacher = Teacher(made, "polynomial", wide, QUIET)
    both = widened(scene, wide, teacher.picture)
    assert torch.equal(both.photo(1, 2), scene.photo(1, 2))
    wanted = made.render(wide.cameras[5], 2 / FRAMES).picture.clamp(0, 1)
    assert_close(both.photo(5, 2), wanted, rtol=0, atol=1 / 510 + 1e-3)
    assert both.pairs([5]) == [(5, 0), (5, 1), (5, 2)]
    part = widened(replace(scene, seen=((0,), (0, 2), (1,), (2,))), wide, teacher.picture)
    assert part.pairs([1, 4]) == [(1, 0), (1, 2), (4, 0), (4, 1), (4, 2)]
    picture, photo, _ = (each[:18, :24] for each in pictures(3))
    alone = Distilled(teacher, 4, 0.5, 0.2).loss(picture, photo, 4, 0)
    assert_close(alone, photometric(picture, photo))


def test_unseen_cameras_get_their_share_of_the_steps_and_the_rest_is_drawn_as_ever() -> None:
    torch.manual_seed(0)
    inner = Shuffled([(1, 0), (1, 1)])
    draws = WithUnseen(inner, [(7, 0), (7, 1), (8, 0)], share=0.6)
    drawn = [draws.draw(step)[0] for step in range(600)]
    unseen = [pair for pair in drawn if pair[0] > 1]
    assert 300 < len(unseen) < 420  # 360 on average, 12 apart by chance
    assert {unseen.count(pair) // 10 for pair in set(unseen)} <= set(range(9, 15))
    state = draws.state_dict()
    random = torch.get_rng_state()
    ahead = [draws.draw(0) for _ in range(9)]
    again = WithUnseen(Shuffled([(1, 0), (1, 1)]), [(7, 0), (7, 1), (8, 0)], share=0.6)
    again.load_state_dict(state)
    torch.set_rng_state(random)
    assert [again.draw(0) for _ in range(9)] == ahead


def test_rates_go_back_and_fall_to_where_they_had_ended() -> None:
    rate = Rate(("x",), 1e-2, 1e-4, 100)
    expert = stamps.KINDS["polynomial"].start(stamps.scene().points, FRAMES, 3)
    expert.begin_step(100)
    (ours, *_) = Learned(expert, 20, 0.5).rates()
    (theirs, *_) = expert.rates()
    assert ours.at(0, 1.0) == pytest.approx(theirs.at(50, 1.0))
    assert ours.at(10, 1.0) == pytest.approx(theirs.at(75, 1.0))
    assert ours.at(20, 1.0) == pytest.approx(theirs.at(100, 1.0))
    assert replace(rate, first=50.0, pace=2.5).at(10, 1.0) == pytest.approx(rate.at(75, 1.0))
    (still, *_) = Learned(expert, 20, 0.0).rates()
    assert still.at(7, 1.0) == pytest.approx(theirs.at(100, 1.0))


def whole(**values) -> TrainConfig:
    wanted = DistillTraining(**{"expert": "polynomial", "steps": 10} | values)
    return settings(training("polynomial"), training("keyframe"), distill=(wanted,), save_every=4)


@pytest.mark.usefixtures("stamp_room")
@pytest.mark.parametrize("scratch", [False, True], ids=["continued", "from scratch"])
def test_a_run_distils_when_it_is_asked_to_and_a_killed_one_goes_on_to_the_same(
    scratch: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, heard = whole(from_scratch=scratch, unseen=2, twin=not scratch), []
    path = train(run, tmp_path, tmp_path / "a", heard.append)
    folder = RunFolder(tmp_path / "a")
    assert path == folder.student("polynomial")
    assert [event.name for event in heard if isinstance(event, Begun)] == ["experts", "router", "distill"]
    assert {event.name for event in heard if isinstance(event, Scored)} >= {"distill-polynomial"}
    assert status.look(folder).standing == "finished"
    found, member = checkpoint.load(path), checkpoint.load(folder.expert("polynomial")).mixture.members[0]
    assert found.mixture.router is None
    assert found.mixture.names == ("polynomial",)
    assert found.mixture.rig.names == ("a", "b", "c", "d")
    assert found.scores["mixture"]["psnr"] > 0
    assert found.provenance["teacher"] == "mixture.pt"
    assert found.provenance["distilled"]["photo_share"] == 0.5
    student = found.mixture.members[0]
    assert student.step == (10 if scratch else member.step)
    if not scratch:
        assert len(student) == len(member)
        twin = checkpoint.load(folder.student("polynomial-twin")).mixture.members[0]
        means = [each.group("0to2")["means"] for each in (student, twin, member)]
        assert not any(torch.equal(means[a], means[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    for kept in (folder.path / "experts", folder.path / "mixture.pt"):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / "b" / kept.name).symlink_to(kept)
    with monkeypatch.context() as patch:
        stop_after(6 if scratch else 10 + 6, patch)
        with pytest.raises(KilledError):
            train(run, tmp_path, tmp_path / "b")
    later: list[Event] = []
    again = train(run, tmp_path, tmp_path / "b", later.append, Sitting(resume=True))
    assert Resumed("distill-polynomial", 4) in later
    for (name, ours), theirs in zip(
        found.mixture.state_dict().items(), checkpoint.load(again).mixture.state_dict().values(), strict=True
    ):
        assert_close(ours, theirs, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.usefixtures("stamp_room")
def test_a_mixture_on_disk_teaches_without_its_run(tmp_path: Path) -> None:
    made, run = teaching(), settings(training("polynomial"), distill=(DistillTraining(expert="polynomial", steps=3),))
    checkpoint.save(Checkpoint(made), tmp_path / "m.pt")
    (path,) = distil(run, tmp_path / "m.pt", tmp_path / "x.run", "cpu", False, lambda event: None)
    assert checkpoint.load(path).mixture.names == ("polynomial",)
    with pytest.raises(ValueError, match=r"holds this very run already, finished; add --resume"):
        distil(run, tmp_path / "m.pt", tmp_path / "x.run", "cpu", False, lambda event: None)
    other = replace(run, distill=(DistillTraining(expert="polynomial", steps=4),))
    with pytest.raises(ValueError, match=r"belongs to another config \(distill\[0\].steps: 3 there, 4 here\)"):
        distil(other, tmp_path / "m.pt", tmp_path / "x.run", "cpu", True, lambda event: None)


@pytest.mark.usefixtures("stamp_room")
def test_what_cannot_teach_is_one_line_and_leaves_no_folder(tmp_path: Path) -> None:
    run = settings(training("polynomial"), distill=(DistillTraining(expert="polynomial", steps=3),))
    alone, others = teaching(), mixture(("poly", "key"))
    checkpoint.save(Checkpoint(Mixture(["polynomial"], [alone.members[0]], None, alone.rig)), tmp_path / "one.pt")
    checkpoint.save(Checkpoint(others), tmp_path / "others.pt")
    for name, told in {
        "one": "one expert alone, without a router, has nothing to teach",
        "others": "no expert 'pol",
    }.items():
        with pytest.raises(ValueError, match=told):
            distil(run, tmp_path / f"{name}.pt", tmp_path / "x.run", "cpu", False, lambda event: None)
        assert not (tmp_path / "x.run").exists()


def test_an_experts_recipe_is_found_where_it_stands(tmp_path: Path) -> None:
    made = teaching()
    path = tmp_path / "m.pt"
    plain, note = recipes.find(path, Checkpoint(made), "polynomial", None)
    assert "how 'polynomial' was trained is not known" in note
    assert (plain.expert, plain.steps) == (made.members[0].config, 30)
    told = settings(training("polynomial", random_background=True), training("keyframe"))
    inside = Checkpoint(made, provenance={"experts": dict(recipes.stored(told))})
    found, note = recipes.find(path, inside, "polynomial", None)
    assert (found.random_background, found.steps, note) == (True, 12, "")
    with pytest.raises(ValueError, match="no expert 'pol'; it has polynomial, keyframe"):
        recipes.find(path, inside, "pol", None)


@pytest.mark.parametrize(
    "values",
    [{"steps": 0}, {"photo_share": 1.5}, {"unseen": -1}, {"rewind": 2.0}],
    ids=lambda values: next(iter(values)),
)
def test_refuses_what_cannot_be(values: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        DistillTraining(**{"expert": "x"} | values)


def test_refuses_students_that_are_no_experts() -> None:
    with pytest.raises(ValueError, match="distill: expert 'x'; give names of experts, each once: polynomial"):
        settings(training("polynomial"), distill=(DistillTraining(expert="x"),))
