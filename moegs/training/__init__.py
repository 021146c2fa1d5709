"""Training: the experts one by one or side by side, then the router over them, in a folder that a run can return to."""

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from moegs import __version__, checkpoint, config
from moegs.checkpoint import Checkpoint
from moegs.data import load_scene
from moegs.data.scene import Scene
from moegs.evaluation import evaluate
from moegs.mixture import Mixture
from moegs.training.config import TrainConfig, difference, write
from moegs.training.events import Saved, Scored, Skipped
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import OnEvent, Plan, Shuffled, TrainingError, run
from moegs.training.routing import RouterTrainee, RouterTraining, validation_psnr
from moegs.training.workers import run_side_by_side

__all__ = ["TrainConfig", "TrainingError", "train"]


def train(
    run_config: TrainConfig, out: Path, *, device: torch.device | str = "cpu", on_event: OnEvent = lambda event: None
) -> Path:
    """Runs all of `run_config` in the folder `out` and returns the mixture's checkpoint there.

    What `out` holds of an earlier sitting with the same config is not done again. One expert alone gets no router.
    Raises TrainingError in one line when `out` belongs to another config, or a loss or gradient is not finite.
    """
    _claim(out, run_config)
    _train_experts(run_config, out, str(device), on_event)
    mixture_file = out / "mixture.pt"
    if mixture_file.exists():
        on_event(Skipped("mixture", mixture_file))
    elif len(run_config.experts) == 1:
        checkpoint.save(checkpoint.load(expert_file(out, run_config.experts[0].name)), mixture_file)
    else:
        _train_router(run_config, out, mixture_file, str(device), on_event)
    return mixture_file


def expert_file(out: Path, name: str) -> Path:
    """Where a run keeps the finished expert `name`, a checkpoint of its own."""
    return out / "experts" / f"{name}.pt"


@dataclass(frozen=True)
class ExpertJob:
    """One expert's training from the data to its checkpoint, for a process of its own."""

    run_config: TrainConfig
    number: int
    out: Path
    device: str

    def __call__(self, on_event: OnEvent) -> None:
        """Does the job."""
        settings, seed = self.run_config.experts[self.number], self.run_config.seed + self.number
        path = expert_file(self.out, settings.name)
        scene = load_scene(self.run_config.data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trainee = ExpertTrainee(settings, scene, torch.device(self.device))
        plan = Plan(settings.steps, seed, path.with_suffix(".state.pt"), self.run_config.save_every)
        draws = Shuffled(scene.rig.train, scene.rig.timeline.frames)
        seconds = run(trainee, draws, plan, on_event)
        trainee.expert.begin_step(settings.steps)
        mixture = Mixture([settings.name], [trainee.expert], None, scene.rig).requires_grad_(False)
        _finish(settings.name, mixture, scene, path, _provenance(self.run_config, settings, seconds), on_event)
        plan.state_file.unlink(missing_ok=True)


def _claim(out: Path, run_config: TrainConfig) -> None:
    path = out / "config.yaml"
    if not path.exists():
        write(run_config, path)
        return
    other = difference(run_config, path)
    if other:
        raise TrainingError(f"{out}: belongs to another config ({other}); choose another folder, or its own config")


def _train_experts(run_config: TrainConfig, out: Path, device: str, on_event: OnEvent) -> None:
    jobs = []
    for number, settings in enumerate(run_config.experts):
        path = expert_file(out, settings.name)
        if path.exists():
            on_event(Skipped(settings.name, path))
        else:
            jobs.append(ExpertJob(run_config, number, out, device))
    if run_config.parallel > 1 and len(jobs) > 1:
        run_side_by_side(jobs, run_config.parallel, run_config.threads, on_event)
    else:
        for job in jobs:
            job(on_event)


def _train_router(run_config: TrainConfig, out: Path, path: Path, device: str, on_event: OnEvent) -> None:
    scene = load_scene(run_config.data)
    settings = run_config.router
    temperatures = settings.temperatures or (settings.router.temperature,)
    held_out = scene.rig.train[: settings.validation if len(temperatures) > 1 else 0]
    found: dict[float, tuple[Mixture, float]] = {}
    seconds = 0.0
    for temperature in temperatures:
        mixture = _start_mixture(run_config, out, temperature, device)
        name = f"router T={temperature:g}"
        trainee = RouterTrainee(name, settings, mixture, scene)
        plan = Plan(settings.steps, run_config.seed, out / f"router-{temperature:g}.state.pt", run_config.save_every)
        learning = [camera for camera in scene.rig.train if camera not in held_out]
        seconds += run(trainee, Shuffled(learning, scene.rig.timeline.frames), plan, on_event)
        psnr = validation_psnr(mixture, scene, held_out) if held_out else 0.0
        if held_out:
            on_event(Scored(name, {"validation": psnr}))
        found[temperature] = mixture, psnr
    best = max(found, key=lambda temperature: found[temperature][1])
    provenance = _provenance(run_config, settings, seconds)
    provenance["validation"] = {f"{temperature:g}": psnr for temperature, (_, psnr) in found.items()}
    _finish("mixture", found[best][0], scene, path, provenance, on_event)
    for temperature in temperatures:
        (out / f"router-{temperature:g}.state.pt").unlink(missing_ok=True)


def _start_mixture(run_config: TrainConfig, out: Path, temperature: float, device: str) -> Mixture:
    parts = [checkpoint.load(expert_file(out, settings.name), device).mixture for settings in run_config.experts]
    experts = [expert for part in parts for expert in part.typed_experts()]
    router = replace(run_config.router.router, temperature=temperature)
    names = [settings.name for settings in run_config.experts]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run_config.seed)
        return Mixture(names, experts, router.start([len(expert) for expert in experts]), parts[0].rig).to(device)


def _finish(
    name: str, mixture: Mixture, scene: Scene, path: Path, provenance: dict[str, Any], on_event: OnEvent
) -> None:
    scores: dict[str, Any] = {}
    if scene.rig.test:
        scores = dataclasses.asdict(evaluate(mixture, scene, "test"))
        on_event(Scored(name, scores))
    checkpoint.save(Checkpoint(mixture, scores, provenance), path)
    on_event(Saved(name, path))


def _provenance(run_config: TrainConfig, settings: ExpertTraining | RouterTraining, seconds: float) -> dict[str, Any]:
    return {
        "moegs": __version__,
        "data": run_config.data.path.name,
        "seed": run_config.seed,
        "seconds": seconds,
        "training": config.dump(settings),
    }
