"""The loop that trains anything here: steps, rates, progress, and a state from which a killed run goes on."""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Adam, Optimizer, RAdam

from moegs.checkpoint.rigs import pack_rig, unpack_rig
from moegs.data.scene import Rig, Scene
from moegs.evaluation import check_rig
from moegs.experts.base import Rate
from moegs.files import altered, save_tensors
from moegs.mixture import Mixture
from moegs.system import memory_told
from moegs.training.events import Compiling, Event, Progress, Resumed
from moegs.training.sampling import Sampler
from moegs.training.snapshots import Snapshots

OnEvent = Callable[[Event], None]

REPORT_SECONDS = 0.5
"""At least this long between two Progress events."""


class TrainingError(ValueError):
    """A run that cannot go on, told in one line."""


@dataclass(frozen=True)
class Attempt:
    """One picture of what is trained, and how far it is from its photo."""

    loss: Float[Tensor, ""]
    picture: Float[Tensor, "H W 3"]
    photo: Float[Tensor, "H W 3"]


class Trainee(ABC):
    """What the loop trains: an expert alone, or a router over frozen experts."""

    name: str
    scene: Scene
    """What it learns from."""
    module: nn.Module
    """Whose parameters learn."""
    optimizer: Optimizer
    rates: Sequence[Rate]
    """One per parameter group of the optimizer, in order."""
    extent: float
    """Of the scene, world units."""

    @abstractmethod
    def attempt(self, step: int, camera: int, frame: int) -> Attempt:
        """Renders what the rig's camera number `camera` saw at `frame`, and compares."""

    @abstractmethod
    def after_backward(self) -> None:
        """Called while the gradients of a step are there."""

    @abstractmethod
    def after_step(self, step: int) -> None:
        """Called when the parameters have moved."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Everything of its own that the next step depends on, but the optimizer: tensors and plain values."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of an earlier sitting, before the optimizer's is taken up."""

    @abstractmethod
    def shown(self) -> Mixture:
        """What is trained as a picture can be made of it now: an expert alone, or the mixture."""

    @property
    @abstractmethod
    def gaussians(self) -> int:
        """How many there are now."""


def make_optimizer(module: nn.Module, rates: Sequence[Rate], kind: str) -> Optimizer:
    """An optimizer with one parameter group per rate. `kind` is "adam" or "radam".

    Raises ValueError when a trainable parameter is named by no rate, or by two.
    """
    left = {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    groups = []
    for rate in rates:
        names = [name for name in left if any(_names(pattern, name) for pattern in rate.parameters)]
        if not names:
            raise ValueError(f"rates: {rate.parameters} names no parameter that is left")
        groups.append({"params": [left.pop(name) for name in names]})
    if left:
        raise ValueError(f"rates: none for parameter '{next(iter(left))}'")
    if kind == "radam":
        return RAdam(groups, eps=1e-15, foreach=True)
    return Adam(groups, eps=1e-15, fused=True)


@dataclass(frozen=True)
class Plan:
    """How long and from where a loop trains."""

    steps: int
    seed: int
    state_file: Path
    """Where the loop puts its state down, and takes it up where there is one."""
    save_every: int
    """Steps between two states."""
    snapshots: Snapshots
    """For whom looks on."""

    def clear(self) -> None:
        """Removes what only an unfinished phase needs."""
        self.state_file.unlink(missing_ok=True)
        self.snapshots.remove()


def run(trainee: Trainee, draws: Sampler, plan: Plan, on_event: OnEvent) -> float:
    """Trains to the end of `plan`; the seconds that all sittings took.

    On a CPU, a run that is killed and started again gives the same result as one that was not. Raises TrainingError
    when a loss or gradient is not finite, ValueError when memory does not suffice.
    """
    cure = "lower density.limit or the batch, raise data.downscale"
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), memory_told(trainee.name, cure):
        compile_kernels(trainee.name, trainee.module, on_event)
        torch.manual_seed(plan.seed)
        step, before = _take_up(trainee, draws, plan.state_file)
        if step:
            on_event(Resumed(trainee.name, step))
        meter = _Meter(trainee, plan.steps, before, on_event)
        while step < plan.steps:
            loss, psnr = one_step(trainee, step, draws.draw(step))
            step += 1
            meter.note(step, loss, psnr)
            if plan.snapshots.due():
                on_event(plan.snapshots.write(trainee.name, trainee.shown(), step))
            if step % plan.save_every == 0 or step == plan.steps:
                _put_down(trainee, draws, step, meter.seconds, plan.state_file)
        return meter.seconds


def compile_kernels(name: str, module: nn.Module, on_event: OnEvent) -> None:
    """Compiles the CPU's kernels, and says so, where they are not yet and `module` is on a CPU: their minute is none of
    the time that the phase `name` takes."""
    if any(tensor.device.type != "cpu" for tensor in module.parameters()):
        return
    from moegs.rasterize import cpu

    if not cpu.is_compiled():
        on_event(Compiling(name))
        cpu.warm_up()


def one_step(trainee: Trainee, step: int, pictures: Sequence[tuple[int, int]]) -> tuple[float, float]:
    """One step on the mean loss of `pictures`, pairs of camera and frame; that mean, and their PSNR, dB.

    Raises TrainingError when a loss or gradient is not finite.
    """
    for settings, rate in zip(trainee.optimizer.param_groups, trainee.rates, strict=True):
        settings["lr"] = rate.at(step, trainee.extent)
    trainee.optimizer.zero_grad()
    losses, errors = [], []
    for camera, frame in pictures:
        attempt = trainee.attempt(step, camera, frame)
        losses.append(attempt.loss.item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"{trainee.name}: the loss became {losses[-1]} at step {step}{_broken(trainee)}; lower the rates"
            )
        attempt.loss.backward()
        _check_gradients(trainee, step)
        trainee.after_backward()
        errors.append((attempt.picture.detach().clamp(0, 1) - attempt.photo).square_().mean().item())
    if len(pictures) > 1:
        for parameter in trainee.module.parameters():
            if parameter.grad is not None:
                parameter.grad /= len(pictures)
    trainee.optimizer.step()
    trainee.after_step(step + 1)
    mean = sum(errors) / len(errors)
    return sum(losses) / len(losses), -10 * math.log10(max(mean, 1e-10))


def _broken(trainee: Trainee) -> str:
    name = _not_finite(trainee.module)
    return f" and '{name}' is not finite" if name else ""


def _not_finite(module: nn.Module) -> str | None:
    """The name of the first parameter that holds a NaN or infinity."""
    names = (name for name, parameter in module.named_parameters() if not bool(parameter.isfinite().all()))
    return next(names, None)


def _check_gradients(trainee: Trainee, step: int) -> None:
    gradients = {name: p.grad for name, p in trainee.module.named_parameters() if p.grad is not None}
    if bool(nn.utils.get_total_norm(gradients.values()).isfinite()):
        return
    for name, gradient in gradients.items():
        if not bool(gradient.isfinite().all()):
            raise TrainingError(
                f"{trainee.name}: the gradient of '{name}' is not finite at step {step}; lower its rate"
            )


def _put_down(trainee: Trainee, draws: Sampler, step: int, seconds: float, path: Path) -> None:
    broken = _not_finite(trainee.module)
    if broken:  # what is not finite is not drawn, so no loss tells of it
        raise TrainingError(f"{trainee.name}: '{broken}' is not finite at step {step}; lower its rate")
    contents = {
        "step": step,
        "rig": pack_rig(trainee.scene.rig),
        "seconds": seconds,
        "trainee": trainee.state_dict(),
        "optimizer": trainee.optimizer.state_dict(),
        "draws": draws.state_dict(),
        "random": torch.get_rng_state(),
    }
    save_tensors(contents, path)


def _take_up(trainee: Trainee, draws: Sampler, path: Path) -> tuple[int, float]:
    if not path.exists():
        return 0, 0.0
    try:
        if wrong := altered(path):
            raise ValueError(f"'{wrong}' is not what was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if "rig" in state:  # an earlier version's has none
            _check_data(trainee, unpack_rig(state["rig"], "rig"), path)
        trainee.load_state_dict(state["trainee"])
        trainee.optimizer.load_state_dict(state["optimizer"])
        draws.load_state_dict(state["draws"])
        torch.set_rng_state(state["random"])
        return int(state["step"]), float(state["seconds"])
    except (MemoryError, torch.OutOfMemoryError, TrainingError):
        raise
    except Exception as error:  # a file that is no state of ours makes all of them raise almost anything
        reason = " ".join(str(error).split())[:100]
        raise TrainingError(
            f"{path}: not a training state of moegs ({error.__class__.__name__}: {reason}); remove it to start "
            f"{trainee.name} anew"
        ) from None


def _check_data(trainee: Trainee, learned: Rig, path: Path) -> None:
    try:
        check_rig(learned, trainee.scene.rig)
    except ValueError as error:
        raise TrainingError(f"{path}: {error}, or remove this file to start {trainee.name} anew") from None


def _names(pattern: str, name: str) -> bool:
    return name.startswith(pattern) if pattern.endswith(".") else name == pattern


class _Meter:
    """Sums losses and PSNRs up to the next report."""

    def __init__(self, trainee: Trainee, steps: int, before: float, on_event: OnEvent) -> None:
        self.trainee, self.steps, self.before, self.on_event = trainee, steps, before, on_event
        self.start = self.reported = time.monotonic()
        self.losses: list[float] = []
        self.psnrs: list[float] = []

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start

    def note(self, step: int, loss: float, psnr: float) -> None:
        self.losses.append(loss)
        self.psnrs.append(psnr)
        now = time.monotonic()
        if now - self.reported < REPORT_SECONDS and step < self.steps:
            return
        self.reported = now
        count = len(self.losses)
        means = sum(self.losses) / count, sum(self.psnrs) / count
        self.on_event(Progress(self.trainee.name, step, self.steps, *means, self.trainee.gaussians, self.seconds))
        self.losses, self.psnrs = [], []
