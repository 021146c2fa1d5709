"""Training: what is learned, and when it stops; at the size of stamps."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import stamps
import torch
from stamps import FRAMES, KINDS, plan, settings, training
from torch.testing import assert_close

from moegs import checkpoint, config
from moegs.config import ConfigError
from moegs.data.scene import Scene
from moegs.mixture import sole
from moegs.rasterize import cpu
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig
from moegs.training import TrainConfig, TrainingError, loop, train, validation
from moegs.training.events import Compiling, Event, Progress, Scored
from moegs.training.experts import ExpertTrainee
from moegs.training.loop import make_optimizer, run
from moegs.training.routing import RouterTraining
from moegs.training.sampling import Shuffled

pytestmark = pytest.mark.usefixtures("stamp_room")
CPU = torch.device("cpu")


@pytest.fixture(name="scene", scope="module")
def made_scene() -> Scene:
    return stamps.scene()


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_falls(kind: str, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    heard: list[Event] = []
    trainee = ExpertTrainee(training(kind), scene, CPU)
    run(trainee, Shuffled(scene.pairs(scene.rig.train)), plan(tmp_path, steps=27), heard.append)
    losses = [event.loss for event in heard if isinstance(event, Progress)]
    epoch = 3 * FRAMES  # every picture once: the same pictures are compared
    assert len(losses) == 27
    assert sum(losses[-epoch:]) < 0.9 * sum(losses[:epoch])


@pytest.mark.parametrize("compiled", [False, True])
def test_kernels_are_compiled_before_the_first_step_and_it_is_told(
    compiled: bool, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    heard: list[Event] = []
    monkeypatch.setattr(cpu, "is_compiled", lambda: compiled)
    monkeypatch.setattr(cpu, "warm_up", lambda: time.sleep(0.5))
    trainee = ExpertTrainee(training("polynomial"), scene, CPU)
    began = time.monotonic()
    seconds = run(trainee, Shuffled(scene.pairs(scene.rig.train)), plan(tmp_path, steps=2), heard.append)
    assert [event for event in heard if isinstance(event, Compiling)] == [Compiling("polynomial")] * (not compiled)
    assert isinstance(heard[0], Progress if compiled else Compiling)
    assert compiled or time.monotonic() - began - seconds >= 0.5  # its time is none of the training's


def test_the_router_learns_and_the_experts_stay(tmp_path: Path):
    both = settings(training("polynomial"), training("keyframe"), router=RouterTraining(steps=40))
    found = checkpoint.load(train(both, tmp_path, tmp_path / "run"))
    for name in both.experts:
        alone = checkpoint.load(tmp_path / "run" / "experts" / f"{name.name}.pt").mixture.members[0]
        inside = found.mixture.members[found.mixture.names.index(name.name)]
        for key, tensor in alone.state_dict().items():
            assert_close(inside.state_dict()[key], tensor, rtol=0, atol=0)
    assert found.scores["mixture"]["psnr"] > found.scores["average"]["psnr"]


@pytest.mark.parametrize("router", [PixelConfig(), VolumeConfig()], ids=lambda config: config.kind)
def test_an_ablation_router_learns_too(router: AnyRouterConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    heard: list[Event] = []
    learning = RouterTraining(router=router, steps=36, rate_network=0.01)
    both = settings(training("polynomial"), training("keyframe"), router=learning)
    found = checkpoint.load(train(both, tmp_path, tmp_path / "run", heard.append))
    assert found.mixture.router is not None
    assert found.mixture.router.config == router
    losses = [event.loss for event in heard if isinstance(event, Progress) and event.name == "router-1"]
    epoch = 3 * FRAMES  # every picture once: the same pictures are compared
    assert sum(losses[-epoch:]) < sum(losses[:epoch])


def test_of_two_temperatures_the_better_on_the_kept_camera_is_stored(tmp_path: Path):
    heard: list[Event] = []
    path = train(settings(training("polynomial"), training("keyframe")), tmp_path, tmp_path / "run", heard.append)
    found = checkpoint.load(path)
    psnrs = found.provenance["validation"]
    scored = [event for event in heard if isinstance(event, Scored) and event.split == "validation"]
    assert {event.name: event.psnr for event in scored} == {f"router-{key}": psnrs[key] for key in ("0.1", "1")}
    assert f"{found.mixture.temperature:g}" == max(psnrs, key=psnrs.__getitem__)


def test_a_camera_without_the_first_frame_can_choose_between_routers(scene: Scene):
    """As those whose pictures have times of their own are, a few photos each."""
    part = replace(scene, seen=((0, 1, 2), (1, 2), (0, 1, 2), (2,)))
    chosen = validation.photos(part, (1, 3))
    assert chosen == [(1, 1), (3, 2)]
    alone = sole("x", KINDS["polynomial"].start(scene.points, FRAMES, 3), scene.rig)
    each = [validation.mean_psnr(alone, part, [pair]) for pair in chosen]
    assert validation.mean_psnr(alone, part, chosen) == pytest.approx(sum(each) / 2)
    assert each[0] != pytest.approx(each[1])


def test_a_loss_that_is_not_finite_stops_with_step_and_expert(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training(), scene, CPU)
    trainee.expert.penalty = lambda: torch.tensor(float("nan"))
    with pytest.raises(TrainingError, match="^polynomial: the loss became nan at step 0; lower the rates$"):
        run(trainee, Shuffled(scene.pairs((1,))), plan(tmp_path), lambda event: None)


def test_a_parameter_that_is_not_finite_is_named_with_the_loss_that_it_spoils(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training("embedding"), scene, CPU)
    trainee.expert.group("all")["embeddings"].data[3] = float("nan")
    with pytest.raises(TrainingError, match=r"became nan at step 0 and 'groups.all.embeddings' is not finite"):
        run(trainee, Shuffled(scene.pairs((1,))), plan(tmp_path), lambda event: None)


def test_a_gradient_that_is_not_finite_stops_with_step_expert_and_tensor(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training(), scene, CPU)
    trainee.expert.group("0to2")["motions"].register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(
        TrainingError, match=r"^polynomial: the gradient of 'groups.0to2.motions' is not finite at step 0"
    ):
        run(trainee, Shuffled(scene.pairs((1,))), plan(tmp_path), lambda event: None)


def test_every_parameter_learns_at_its_rate_of_the_step(scene: Scene, tmp_path: Path):
    trainee = ExpertTrainee(training(extent_scale=2.0), scene, CPU)
    run(trainee, Shuffled(scene.pairs(scene.rig.train)), plan(tmp_path, steps=4), lambda event: None)
    expected = [rate.at(3, 2 * scene.rig.extent) for rate in trainee.rates]
    assert [group["lr"] for group in trainee.optimizer.param_groups] == expected
    learned = [p for group in trainee.optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in learned} == {id(p) for p in trainee.expert.parameters()}
    assert len(learned) == len(list(trainee.expert.parameters()))


@pytest.mark.parametrize("kind", ["adam", "radam"])
def test_a_parameter_without_a_rate_is_refused(kind: str, scene: Scene):
    expert = KINDS["polynomial"].start(scene.points, FRAMES, 3)
    with pytest.raises(ValueError, match="none for parameter 'groups.0to2.means'"):
        make_optimizer(expert, expert.rates()[1:], kind)


def test_each_picture_is_drawn_once_before_any_is_drawn_again():
    everything = [(camera, frame) for camera in (1, 4) for frame in range(3)]
    draws = Shuffled(everything)
    first, second = ([draws.draw(0)[0] for _ in range(6)] for _ in range(2))
    assert sorted(first) == sorted(second) == everything


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"experts": ()}, "experts: none given"),
        ({"experts": (training(), training())}, "name 'polynomial'; give each its own"),
        ({"experts": (training(name="a/b"),)}, "name 'a/b'"),
        ({"parallel": 0}, "parallel: got 0"),
        ({"experts": (training(name="oracle"),)}, "name 'oracle': is that of a score; choose another"),
        ({"seed": 10**23}, "seed: got 1"),
        ({"seed": -1}, "seed: got -1"),
        ({"threads": 100_000}, "threads: got 100000, expected 1 to 4096"),
    ],
)
def test_refuses_a_run_that_cannot_be(values: dict, part: str):
    with pytest.raises(ValueError, match=part):
        replace(settings(training()), **values)


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 0},
        {"temperatures": (0.0,)},
        {"rate_weights": -1.0},
        {"rate_weights": math.inf},
        {"temperatures": (math.inf, 1.0)},
        {"temperatures": (1.0, 1.0 + 1e-9)},
        {"temperatures": (1.0, 2.0), "validation": 0},
        {"router": UniformConfig()},
    ],
)
def test_refuses_a_router_that_cannot_be(values: dict):
    with pytest.raises(ValueError, match="got|needs|nothing to learn"):
        RouterTraining(**values)


@pytest.mark.parametrize("values", [
        {"steps": 0}, {"ssim_weight": 1.5}, {"extent_scale": 0.0}, {"extent_scale": math.inf}, {"held_ssim": math.inf}
    ],
)  # fmt: skip
def test_refuses_an_expert_that_cannot_be(values: dict):
    with pytest.raises(ValueError, match="got"):
        training(**values)


def test_the_demo_config_is_whole_and_a_wrong_key_is_named():
    path = Path(__file__).parent.parent / "configs" / "demo.yaml"
    demo = config.load(TrainConfig, path)
    assert [expert.expert.kind for expert in demo.experts] == ["hexplane", "embedding", "polynomial", "keyframe"]
    assert (path.parent / demo.data.path / "poses_bounds.npy").exists()
    with pytest.raises(ConfigError, match=r"demo.yaml.experts\[2\].expert.degre: unknown key, did you mean 'degree'"):
        config.load(TrainConfig, path, ("experts[2].expert.degre=2",))
