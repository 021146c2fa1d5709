"""A sweep of pruning ratios: what each leaves of a mixture's quality, size and time."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from torch import Tensor, nn

from moegs import evaluation
from moegs.benchmark.timing import Lap, Rounds, clocked
from moegs.data.scene import Scene
from moegs.mixture import Mixture
from moegs.pruning import pruned
from moegs.training.validation import mean_psnr
from moegs.views import to_pixels

ROUNDS = Rounds(15, warm_up=2)
"""In which a mixture's frames are timed."""

MOST = 1000
"""Ratios of one sweep."""


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
    if count > MOST:
        raise ValueError(f"--prune {text}: got {count} ratios, each of which is measured; give {MOST} at most")
    return [round(float(ratio), 6) for ratio in np.linspace(first, last, count)]


def held_out(mixture: Mixture, scene: Scene, every: int) -> list[tuple[int, int]]:
    """Each `every`th frame of the cameras that `mixture` holds out, as pairs of camera and frame.

    Raises ValueError where there is none, or `scene` is not what the mixture was trained on.
    """
    if every < 1:
        raise ValueError(f"every: got {every}, expected 1 or more frames")
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
    new, again = against(mixture, thin, pairs[0][0], ROUNDS)
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


def against(whole: Mixture, part: Mixture, camera: int, rounds: Rounds) -> tuple[Paired, Paired]:
    """How long frames of `part` take against those of `whole`, from the rig's camera number `camera`: new, and again.

    Each round is at a time of its own, as in playback; in it both are drawn, and then a second time, when the instant
    is kept.
    """
    t, total = 0.0, rounds.warm_up + rounds.count

    def turn(number: int) -> None:
        nonlocal t
        t = (number + 0.5) / total
        for mixture in (whole, part):
            mixture.at(t)  # what experts find out once for a stretch of time is no part of a frame
            mixture.instants.forget()

    def frame(mixture: Mixture) -> Callable[[], object]:
        return lambda: to_pixels(mixture.render(mixture.rig.cameras[camera], t).picture)

    ways = {
        f"{which}, {when}": frame(mixture)
        for when in ("new", "again")
        for which, mixture in {"whole": whole, "part": part}.items()
    }
    taken = clocked(ways, rounds, whole.device, turn)
    new, again = (_paired(taken[f"whole, {when}"], taken[f"part, {when}"]) for when in ("new", "again"))
    return new, again


def _paired(whole: Sequence[Lap], part: Sequence[Lap]) -> Paired:
    ratios = [theirs.passed / mine.passed for theirs, mine in zip(whole, part, strict=True)]
    return Paired(statistics.median(lap.passed for lap in part), statistics.median(ratios))


def per_gaussian_bytes(mixture: Mixture) -> int:
    """Of all tensors with a row for each Gaussian: the experts' groups, and what the router wrote on Gaussians."""
    parameters = [parameter for expert in mixture.members for parameter in expert.groups.parameters()]
    written = [] if mixture.router is None else mixture.router.children()
    parameters += [tensor for part in written if isinstance(part, nn.ParameterList) for tensor in part]
    return sum(parameter.nbytes for parameter in parameters)
