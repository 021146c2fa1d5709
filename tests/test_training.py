"""Training: what is learned, when it stops, how it goes on; at the size of stamps."""

import io
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import Tensor
from torch.testing import assert_close

import moegs.training
from moegs import checkpoint, config
from moegs.cameras import Camera, look_at, pinhole
from moegs.config import ConfigError
from moegs.data import DataConfig
from moegs.data.scene import Rig, Scene
from moegs.density import DensityConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.heads import HeadsConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig
from moegs.experts.planes import PlanesConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import Points
from moegs.rasterize import Layer, rasterize
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig
from moegs.timeline import Timeline
from moegs.training import TrainConfig, TrainingError, loop, phases, train
from moegs.training.events import Event, Progress, Resumed, Saved, Scored, Skipped
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import OnEvent, Plan, make_optimizer, run
from moegs.training.progress import show
from moegs.training.routing import RouterTraining
from moegs.training.sampling import Shuffled
from moegs.training.workers import run_side_by_side

FRAMES, CPU = 3, torch.device("cpu")
HEADS = HeadsConfig(width=8, zero_start=True)
PLANES = PlanesConfig(channels=2, resolution=(4, 4, 4), time_resolution=6, levels=(1,))
KINDS = {
    "polynomial": PolynomialConfig(sh_degree=0, degree=1),
    "hexplane": HexPlaneConfig(sh_degree=0, planes=PLANES, heads=HEADS, coarse_steps=3),
    "embedding": EmbeddingConfig(sh_degree=0, size=4, time_size=4, time_rows=3, coarse_rows=2, heads=HEADS),
    "keyframe": KeyframeConfig(
        sh_degree=0, interval=2, penalty_start=0, dynamic_share=0.3, growth=None, promotion=None, tidying=None
    ),
}


@dataclass(frozen=True)
class Pictures:
    """Photos in memory."""

    frames: Tensor

    def at(self, camera: int, frame: int) -> Tensor:
        return self.frames[camera, frame]


def ring() -> tuple[Camera, ...]:
    up = torch.tensor([0.0, -1.0, 0.0])
    places = [torch.tensor([x, 0.2 * x, -3.0]) for x in (0.0, -0.8, 0.8, 0.4)]
    return tuple(pinhole(24, 18, 24.0, look_at(place, torch.zeros(3), up)) for place in places)


@pytest.fixture(scope="module")
def scene() -> Scene:
    """A cloud of 40 Gaussians that drifts, filmed by a ring of cameras, the first held out; points near the truth."""
    generator = torch.Generator().manual_seed(3)
    points = Points(
        torch.randn(40, 3, generator=generator) * 0.5, torch.rand(40, 3, generator=generator), torch.rand(40)
    )
    truth = PolynomialConfig(sh_degree=0, degree=1, opacity=0.8).start(points, FRAMES, 3)
    truth.group("0to2")["motions"].data += torch.tensor([0.6, 0.0, 0.0])
    cameras = ring()
    rows = [[rasterize([Layer(truth.at(frame / FRAMES))], c).images[0] for frame in range(FRAMES)] for c in cameras]
    photos = torch.stack([torch.stack(row) for row in rows]).detach().clamp(0, 1).mul(255).round().to(torch.uint8)
    rig = Rig(
        cameras=cameras, names=("a", "b", "c", "d"), train=(1, 2, 3), test=(0,), timeline=Timeline(FRAMES, 30.0),
        up=torch.tensor([0.0, -1.0, 0.0]), bounds=torch.tensor([[-2.0] * 3, [2.0] * 3]), background=torch.zeros(3),
    )  # fmt: skip
    start = Points(points.means + 0.05 * torch.randn(40, 3, generator=generator), points.colors * 0.8, points.times)
    return Scene(rig, Pictures(photos), start)


@pytest.fixture(autouse=True)
def _scene_without_a_folder(scene: Scene, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(phases, "load_scene", lambda data, **_: scene)
    monkeypatch.setattr(moegs.training, "load_scene", lambda data, **_: scene)


def training(kind: str = "polynomial", **values) -> ExpertTraining:
    density = DensityConfig(start=0, every=4, stop=20, gradient=1e-5, limit=60)
    return ExpertTraining(**{"name": kind, "expert": KINDS[kind], "steps": 12, "density": density} | values)


def settings(*experts: ExpertTraining, **values) -> TrainConfig:
    router = RouterTraining(steps=6, temperatures=(0.1, 1.0))
    return TrainConfig(**{"data": DataConfig(path=Path("room")), "experts": experts, "router": router} | values)


def plan(folder: Path, steps: int = 12, save_every: int = 100) -> Plan:
    return Plan(steps, seed=0, state_file=folder / "x.state.pt", save_every=save_every)


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


class KilledError(Exception):
    """Stands for a killed process."""


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the loop do so many steps, then kills it."""
    one_step, done = loop._one_step, []

    def counted(*arguments):
        if len(done) == steps:
            raise KilledError
        done.append(None)
        return one_step(*arguments)

    monkeypatch.setattr(loop, "_one_step", counted)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_goes_on_to_the_same_result(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = settings(training(kind, random_background=True), save_every=5)
    train(whole, tmp_path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(8, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "killed")
    heard: list[Event] = []
    train(whole, tmp_path, tmp_path / "killed", heard.append)
    assert Resumed(kind, 5) in heard
    ours, theirs = (checkpoint.load(tmp_path / run / "mixture.pt").mixture for run in ("whole", "killed"))
    assert len(ours.members[0]) > 40  # density control acted
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_a_killed_router_goes_on_to_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = settings(training("polynomial"), training("keyframe"), save_every=4)
    train(whole, tmp_path, tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(12 + 12 + 5, patch)
        with pytest.raises(KilledError):
            train(whole, tmp_path, tmp_path / "killed")
    heard: list[Event] = []
    train(whole, tmp_path, tmp_path / "killed", heard.append)
    assert {event.name for event in heard if isinstance(event, Skipped)} == {"polynomial", "keyframe"}
    assert Resumed("router-0.1", 4) in heard
    ours, theirs = (checkpoint.load(tmp_path / run / "mixture.pt").mixture for run in ("whole", "killed"))
    for (name, a), (_, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert_close(a, b, rtol=0, atol=0, msg=lambda text, name=name: f"{name}: {text}")


def test_a_whole_run_leaves_checkpoints_with_scores_and_nothing_half_done(tmp_path: Path):
    heard: list[Event] = []
    out = tmp_path / "run"
    path = train(settings(training("polynomial"), training("keyframe")), tmp_path, out, heard.append)
    assert path == out / "mixture.pt"
    left = {str(file.relative_to(out)) for file in out.rglob("*") if file.is_file()}
    assert left == {"config.yaml", "experts/polynomial.pt", "experts/keyframe.pt", "mixture.pt"}
    found = checkpoint.load(path)
    assert found.mixture.names == ("polynomial", "keyframe")
    assert set(found.scores) >= {"experts", "mixture", "average", "oracle", "gates"}
    assert found.provenance["training"]["steps"] == 6
    assert found.provenance["data"] == "room"
    alone = checkpoint.load(out / "experts" / "keyframe.pt")
    assert alone.mixture.router is None
    assert alone.mixture.members[0].step == 12
    assert [event.name for event in heard if isinstance(event, Saved)] == ["polynomial", "keyframe", "mixture"]


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


def test_a_folder_of_another_config_is_refused(tmp_path: Path):
    train(settings(training()), tmp_path, tmp_path / "run")
    other = settings(training(steps=13))
    with pytest.raises(TrainingError, match=r"belongs to another config \(experts\[0\].steps: 12 there, 13 here\)"):
        train(other, tmp_path, tmp_path / "run")


def test_a_folder_whose_config_is_broken_is_refused_in_one_line(tmp_path: Path):
    (tmp_path / "config.yaml").write_text("experts: [")
    with pytest.raises(ValueError, match=r"config.yaml: not YAML \([^\n]+\); remove it"):
        train(settings(training()), tmp_path, tmp_path)


def test_a_finished_run_is_not_done_again(tmp_path: Path):
    train(settings(training()), tmp_path, tmp_path / "run")
    heard: list[Event] = []
    train(settings(training()), tmp_path, tmp_path / "run", heard.append)
    names = [event.name for event in heard if isinstance(event, Skipped)]
    assert names == ["polynomial", "mixture"]
    assert len(heard) == 2


def test_a_state_that_is_no_state_is_refused(tmp_path: Path):
    (tmp_path / "run" / "experts").mkdir(parents=True)
    (tmp_path / "run" / "experts" / "polynomial.state.pt").write_bytes(b"nonsense")
    with pytest.raises(TrainingError, match="not a training state"):
        train(settings(training()), tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"experts": ()}, "experts: none given"),
        ({"experts": (training(), training())}, "name 'polynomial'; give each its own"),
        ({"experts": (training(name="a/b"),)}, "name 'a/b'"),
        ({"parallel": 0}, "parallel: got 0"),
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
        {"temperatures": (1.0, 2.0), "validation": 0},
        {"router": UniformConfig()},
    ],
)
def test_refuses_a_router_that_cannot_be(values: dict):
    with pytest.raises(ValueError, match="got|needs|nothing to learn"):
        RouterTraining(**values)


@pytest.mark.parametrize("values", [{"steps": 0}, {"ssim_weight": 1.5}, {"extent_scale": 0.0}])
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


def test_without_a_terminal_progress_is_a_plain_line_now_and_then():
    text = io.StringIO()
    with show(Console(file=text)) as on_event:
        for step in range(1, 11):
            on_event(Progress("hexplane", step, 10, 0.05, 27.5, 15000, 2.0 * step))
        on_event(Saved("hexplane", Path("runs/x.pt")))
    first, last, saved = text.getvalue().splitlines()
    assert first == "hexplane: step 1/10, loss 0.0500, 27.50 dB  15,000 Gaussians, 2 s so far, about 18 s left"
    assert last.startswith("hexplane: step 10/10")
    assert saved == "hexplane: saved, runs/x.pt"


def tell_threads(on_event: OnEvent) -> None:
    import numba

    on_event(Scored(f"{torch.get_num_threads()} {numba.get_num_threads()}", str(os.getpid()), 0.0))


def fail(on_event: OnEvent) -> None:
    raise TrainingError("polynomial: the loss became nan at step 7; lower the rates")


@pytest.mark.slow
def test_jobs_run_in_processes_of_their_own_with_their_threads():
    heard: list[Event] = []
    run_side_by_side([tell_threads, tell_threads], parallel=2, threads=1, on_event=heard.append)
    scored = [event for event in heard if isinstance(event, Scored)]
    assert [event.name for event in scored] == ["1 1", "1 1"]
    assert len({event.split for event in scored} | {str(os.getpid())}) == 3


@pytest.mark.slow
def test_a_job_that_fails_tells_why():
    with pytest.raises(TrainingError, match="^polynomial: the loss became nan at step 7"):
        run_side_by_side([fail], parallel=2, threads=1, on_event=lambda event: None)
