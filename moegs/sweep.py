"""A sweep of pruning ratios: what each leaves of a mixture's quality, size and time."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from moegs import evaluation
from moegs.data.scene import Scene
from moegs.mixture import Mixture
from moegs.pruning import pruned
from moegs.training.pruning import mean_psnr
from moegs.views import to_pixels

WARM_UP = 2
"""Frames of each mixture that are drawn before any is timed."""


@dataclass(frozen=True)
class Row:
    """A mixture with a share of its Gaussians pruned, without any fine-tuning."""

    ratio: float
    psnr: float
    """On the held-out cameras, dB."""
    gaussians: int
    megabytes: float
    """Of all its tensors, as its file holds them; 10^6 bytes."""
    per_gaussian_megabytes: float
    """Of those with a row per Gaussian, the router's too."""
    ms: float
    """Median time of a frame at an instant not shown before: deformed, rendered, blended, to 8 bits."""
    ms_kept: float
    """The same at an instant whose Gaussians are kept: nothing is deformed."""
    speedup: float
    """Times faster than the whole mixture, whose frames are drawn in turn with these."""
    speedup_kept: float


def ratios(text: str) -> list[float]:
    """FIRST:LAST:COUNT as that many ratios, evenly spaced, both ends included; or one ratio alone.

    Raises ValueError for another form, and for ratios that are not in [0, 1].
    """
    refused = ValueError(f"--prune {text}: give FIRST:LAST:COUNT with ratios in [0, 1], such as 0:0.9:10")
    parts = text.split(":")
    try:
        first, last = float(parts[0]), float(parts[len(parts) // 2])
        count = int(parts[2]) if len(parts) == 3 else 1
    except ValueError:
        raise refused from None
    if len(parts) not in (1, 3) or count < 1 or not (0 <= first <= last <= 1):
        raise refused
    return [round(float(ratio), 6) for ratio in np.linspace(first, last, count)]


def held_out(mixture: Mixture, scene: Scene, every: int) -> list[tuple[int, int]]:
    """Each `every`th frame of the cameras that `mixture` holds out, as pairs of camera and frame.

    Raises ValueError where there is none, or `scene` is not what the mixture was trained on.
    """
    evaluation.check_data(mixture, scene)
    pairs = [pair for pair in scene.pairs(mixture.rig.test) if pair[1] % every == 0]
    if not pairs:
        raise ValueError(
            f"sweep: no held-out camera has a photo at any {every}th frame: there is nothing to measure on"
        )
    return sorted(pairs, key=lambda pair: pair[1])  # a mixture keeps its last instants


def measure(
    mixture: Mixture,
    masks: Mapping[str, Bool[Tensor, " _"]],
    scene: Scene,
    pairs: Sequence[tuple[int, int]],
    on_picture: Callable[[int, int], None] = lambda done, of: None,
) -> Row:
    """What is left of `mixture` with those rows alone: PSNR on `pairs` of camera and frame, size, and time."""
    thin = pruned(mixture, masks)
    new, again = in_turn(mixture, thin, pairs[0][0])
    before, after = (sum(map(len, each.members)) for each in (mixture, thin))
    return Row(
        ratio=1 - after / max(before, 1),
        psnr=mean_psnr(thin, scene, pairs, on_picture),
        gaussians=after,
        megabytes=sum(tensor.nbytes for tensor in thin.state_dict().values()) / 1e6,
        per_gaussian_megabytes=per_gaussian_bytes(thin) / 1e6,
        ms=new.ms,
        ms_kept=again.ms,
        speedup=new.speedup,
        speedup_kept=again.speedup,
    )


@dataclass(frozen=True)
class Paired:
    """A part's frames against the whole's, each pair one right after the other."""

    ms: float
    """Median of the part's."""
    speedup: float
    """Median over the pairs of the whole's time over the part's."""


@torch.no_grad()
def in_turn(whole: Mixture, part: Mixture, camera: int, frames: int = 15) -> tuple[Paired, Paired]:
    """How long frames of `part` take against those of `whole`, from the rig's camera number `camera`: new, and again.

    They take turns, so that what else the machine does slows both alike; each frame is at a time of its own, as in
    playback, and then drawn a second time, when the instant is kept.
    """
    taken: list[list[tuple[float, float]]] = []
    for number in range(WARM_UP + frames):
        t = (number + 0.5) / (WARM_UP + frames)
        for mixture in (whole, part):
            mixture.at(t)  # what experts find out once for a stretch of time is no part of a frame
            mixture.instants.forget()
        new, again = ([_frame(mixture, camera, t) for mixture in (whole, part)] for _ in range(2))
        taken.append([(new[0], new[1]), (again[0], again[1])])
    return _paired([pairs[0] for pairs in taken[WARM_UP:]]), _paired([pairs[1] for pairs in taken[WARM_UP:]])


def _paired(times: Sequence[tuple[float, float]]) -> Paired:
    return Paired(
        statistics.median(mine for _, mine in times), statistics.median(theirs / mine for theirs, mine in times)
    )


def _frame(mixture: Mixture, camera: int, t: float) -> float:
    wait = torch.cuda.synchronize if mixture.device.type == "cuda" else (lambda: None)
    wait()
    begun = time.perf_counter()
    to_pixels(mixture.render(mixture.rig.cameras[camera], t).picture)
    wait()
    return 1e3 * (time.perf_counter() - begun)


def per_gaussian_bytes(mixture: Mixture) -> int:
    """Of all tensors with a row for each Gaussian: the experts' groups, and what the router wrote on Gaussians."""
    parameters = [parameter for expert in mixture.members for parameter in expert.groups.parameters()]
    written = [] if mixture.router is None else mixture.router.children()
    parameters += [tensor for part in written if isinstance(part, nn.ParameterList) for tensor in part]
    return sum(parameter.nbytes for parameter in parameters)
