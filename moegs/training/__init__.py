"""Training: the experts one by one or side by side, then the router over them, in a folder that a run can return to."""

from dataclasses import replace
from pathlib import Path

import torch

from moegs import checkpoint
from moegs.data import load_scene
from moegs.mixture import Mixture
from moegs.system import Device
from moegs.system import device as device_called
from moegs.training.config import TrainConfig, difference, write
from moegs.training.events import Event, Preparing, Scored, Skipped, Told
from moegs.training.loop import OnEvent, Plan, TrainingError, run
from moegs.training.phases import ExpertJob, expert_file, finish, provenance
from moegs.training.pictures import ExpertPictures
from moegs.training.routing import RouterTrainee, validation_psnr
from moegs.training.sampling import Shuffled
from moegs.training.workers import run_side_by_side

__all__ = ["Event", "TrainConfig", "TrainingError", "train"]


def train(
    settings: TrainConfig,
    base: Path,
    out: Path,
    on_event: OnEvent = lambda event: None,
    device: Device = "auto",
) -> Path:
    """Runs all of `settings` in the folder `out` and returns the mixture's checkpoint there.

    `base`: the folder that the data's paths are relative to. What `out` holds of an earlier sitting with the same
    settings is not done again. One expert alone gets no router.
    Raises ValueError in one line when `out` belongs to another config, or a loss or gradient is not finite.
    """
    settings = replace(settings, data=settings.data.relative_to(base))
    where = device_called(device)
    _claim(out, settings)
    if not (out / "mixture.pt").exists():
        _prepare(settings, on_event)
    _train_experts(settings, out, where, on_event)
    mixture_file = out / "mixture.pt"
    if mixture_file.exists():
        on_event(Skipped("mixture", mixture_file))
    elif len(settings.experts) == 1:
        checkpoint.save(checkpoint.load(expert_file(out, settings.experts[0].name)), mixture_file)
    else:
        _train_router(settings, out, mixture_file, where, on_event)
    return mixture_file


def _claim(out: Path, settings: TrainConfig) -> None:
    path = out / "config.yaml"
    if not path.exists():
        write(settings, path)
        return
    other = difference(settings, path)
    if other:
        raise TrainingError(f"{out}: belongs to another config ({other}); choose another folder, or its own config")


def _prepare(settings: TrainConfig, on_event: OnEvent) -> None:
    """Decodes frames and finds points once, where the caches keep them for all experts and their processes."""
    scene = load_scene(settings.data, on_prepared=lambda what, done, of: on_event(Preparing(what, done, of)))
    for text in (scene.summary, *scene.warnings):
        on_event(Told(text, warning=text in scene.warnings))


def _train_experts(settings: TrainConfig, out: Path, device: torch.device, on_event: OnEvent) -> None:
    jobs = []
    for number, expert in enumerate(settings.experts):
        path = expert_file(out, expert.name)
        if path.exists():
            on_event(Skipped(expert.name, path))
        else:
            jobs.append(ExpertJob(settings, number, path, device))
    if settings.parallel > 1 and len(jobs) > 1:
        run_side_by_side(jobs, settings.parallel, settings.threads, on_event)
    else:
        for job in jobs:
            job(on_event)


def _train_router(
    settings: TrainConfig, out: Path, mixture_file: Path, device: torch.device, on_event: OnEvent
) -> None:
    """Trains a router at each temperature asked for, and keeps the one that does best on what none of them learned."""
    scene = load_scene(settings.data)
    temperatures = settings.router.tried
    held_out = scene.rig.train[: settings.router.validation] if len(temperatures) > 1 else ()
    learned = [camera for camera in scene.rig.train if camera not in held_out]
    state_files = {temperature: out / f"router-{temperature:g}.state.pt" for temperature in temperatures}
    mixtures: dict[float, Mixture] = {}
    psnrs: dict[float, float] = {}
    seconds, pictures = 0.0, ExpertPictures(settings.router.pictures)
    for temperature, state_file in state_files.items():
        mixture = _start_mixture(settings, out, temperature, device)
        name = f"router-{temperature:g}"
        plan = Plan(settings.router.steps, settings.seed, state_file, settings.save_every)
        trainee = RouterTrainee(name, settings.router, mixture, scene, pictures)
        seconds += run(trainee, Shuffled(scene.pairs(learned), expect=scene.expect), plan, on_event)
        mixtures[temperature] = mixture
        if held_out:
            psnrs[temperature] = validation_psnr(mixture, scene, held_out)
            on_event(Scored(name, "validation", psnrs[temperature]))
    best = max(psnrs, key=lambda temperature: psnrs[temperature]) if psnrs else next(iter(mixtures))
    origin = provenance(settings, settings.router, seconds)
    origin["validation"] = {f"{temperature:g}": psnr for temperature, psnr in psnrs.items()}
    finish("mixture", mixtures[best], scene, mixture_file, origin, on_event)
    for state_file in state_files.values():
        state_file.unlink(missing_ok=True)


def _start_mixture(settings: TrainConfig, out: Path, temperature: float, device: torch.device) -> Mixture:
    parts = [checkpoint.load(expert_file(out, expert.name), device).mixture for expert in settings.experts]
    experts = [expert for part in parts for expert in part.members]
    router = replace(settings.router.router, temperature=temperature)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        router = router.start([len(expert) for expert in experts])
    return Mixture([expert.name for expert in settings.experts], experts, router, parts[0].rig).to(device)
