"""Distillation: the loss as the paper has it, its fixed targets, and the phase."""

from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from mixtures import mixture
from stamps import FRAMES, KilledError, settings, stop_after, teaching, training
from torch.testing import assert_close

from moegs import checkpoint
from moegs.checkpoint import Checkpoint
from moegs.experts.base import Rate
from moegs.losses import distillation, photometric
from moegs.mixture import Mixture
from moegs.runs import RunFolder, status
from moegs.training import Sitting, TrainConfig, train
from moegs.training.distill import Distilled, DistillTraining, Teacher
from moegs.training.events import Begun, Event, Resumed, Scored
from moegs.training.experts import ExpertTrainee, Learned
from moegs.training.pictures import PictureCache
from moegs.training.students import distil

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


@pytest.mark.usefixtures("stamp_room")
@pytest.mark.parametrize("notes", [None, "mine"], ids=["empty", "holds notes"])
def test_a_folder_that_was_there_before_stays_as_it_was(notes: str | None, tmp_path: Path) -> None:
    work = tmp_path / "x.run"
    work.mkdir()
    if notes:
        (work / "notes.txt").write_text(notes)
    wanted = (DistillTraining(expert="polynomial", steps=3),)
    told = "is no run's folder, and holds notes.txt; move it" if notes else "none.pt: does not exist"
    with pytest.raises(ValueError, match=told):
        distil(
            settings(training("polynomial"), distill=wanted),
            tmp_path / "none.pt",
            work,
            "cpu",
            False,
            lambda event: None,
        )
    assert [entry.name for entry in work.iterdir()] == (["notes.txt"] if notes else [])


def test_clearing_a_run_leaves_what_is_anothers(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x.run")
    ours = (folder.config, folder.lock, folder.status, folder.student("a"), folder.state("a"), folder.snapshot("a"))
    theirs = (folder.path / "notes.txt", folder.student("a").with_suffix(".txt"))
    for file in (*ours, *theirs):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    folder.clear()
    assert {file for file in folder.path.rglob("*") if file.is_file()} == set(theirs)
    assert not folder.state("a").parent.exists()


@pytest.mark.parametrize(
    "values",
    [{"steps": 0}, {"photo_share": 1.5}, {"unseen": -1}, {"rewind": 2.0}],
    ids=lambda values: next(iter(values)),
)
def test_refuses_what_cannot_be(values: dict) -> None:
    with pytest.raises(ValueError, match="got"):
        DistillTraining(**{"expert": "x"} | values)


def test_a_run_refuses_to_distil_one_expert_alone(tmp_path: Path) -> None:
    run = settings(training("polynomial"), distill=(DistillTraining(expert="polynomial"),))
    with pytest.raises(ValueError, match="distill: one expert alone has no mixture to learn from"):
        train(run, tmp_path, tmp_path / "out")
    assert not RunFolder(tmp_path / "out").config.exists()


def test_refuses_students_that_are_no_experts() -> None:
    with pytest.raises(ValueError, match="distill: expert 'x'; give names of experts, each once: polynomial"):
        settings(training("polynomial"), distill=(DistillTraining(expert="x"),))
