"""One run: everything timed in turn, what the pictures lose, and the ratios of it all."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from moegs import metrics
from moegs.benchmark.contenders import contenders, members, pixels_of
from moegs.benchmark.frames import OPTIONS, Frame, View, can_be_parted, frame, frames, layers_at
from moegs.benchmark.ratios import ratios
from moegs.benchmark.timing import Rounds, Timing, device_name, in_turn, peak_bytes
from moegs.mixture import Mixture
from moegs.rasterize import rasterize
from moegs.rasterize.pairs import count_pairs
from moegs.verification import psnr


@dataclass(frozen=True)
class Quality:
    """What a contender's picture is worth."""

    psnr_exact: float
    """Against the exact picture of the mixture, dB; infinite where they are equal."""
    largest_error: float
    """Of a colour in [0, 1], against the exact picture."""
    psnr: float | None = None
    """Against the photo, dB; None without."""
    psnr_change: float | None = None
    """The same minus that of the exact picture."""


@dataclass(frozen=True)
class Memory:
    """What a mixture holds."""

    gaussians: dict[str, int]
    """Of each expert."""
    awake: dict[str, int]
    """Of them, those that do not sleep at the time of the run."""
    parameters: dict[str, int]
    """Bytes of each expert, and of the `router`."""
    instant: int
    """Bytes of the Gaussians that are kept of one time."""


@dataclass(frozen=True)
class Benchmark:
    """What `measure` found."""

    ratios: dict[str, float | None]
    """Of medians; None where there is nothing to compare."""
    busy_ratios: dict[str, float | None] | None
    """The same of CPU times, which other work on the machine changes less; None on a GPU."""
    device: str
    size: tuple[int, int]
    """Width and height, pixels."""
    t: float
    skip_below: float
    rounds: int
    stages: dict[str, Timing]
    """As `contenders` names them; `against:NAME:WAY`, whole frames of other checkpoints."""
    pictures: dict[str, Quality]
    """Of `frame:`, `member:` and `against:` contenders."""
    pairs: dict[str, int]
    """(Gaussian, tile) pairs that were composited by `pass:one` and `pass:gated`; and as `rasterize.pairs` counts them,
    (Gaussian, pixel) and (Gaussian, tile) pairs within tight spans and within 3-sigma squares."""
    memory: dict[str, Memory]
    """Of the `mixture`, and of the others by name."""
    peak_bytes: int | None
    """Of GPU memory while all was timed; on a CPU of the whole process, None where that is not told."""
    notes: tuple[str, ...]
    """What the backend could not part."""


@torch.no_grad()
def measure(
    mixture: Mixture,
    view: View,
    rounds: Rounds,
    against: Mapping[str, Mixture] | None = None,
    photo: Float[Tensor, "H W 3"] | None = None,
    on_round: Callable[[int, int], None] = lambda done, of: None,
) -> Benchmark:
    """Times the frames of `mixture` in `view`, and those of other mixtures in turn with them.

    `photo`: what the camera saw, for the PSNR of every picture. What cannot be compared is left out: passes of their
    own and tile gating, for one expert alone and under a router that needs more than its splatted channels.
    """
    against = against or {}
    if mixture.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    ways = frames(mixture, view)
    others = {f"against:{name}:{way}": each for name, o in against.items() for way, each in _frames_of(o, view).items()}
    timed = {**contenders(mixture, view, ways), **{name: pixels_of(way) for name, way in others.items()}}
    stages = in_turn(timed, rounds, mixture.device, on_round)
    peak = peak_bytes(mixture.device)
    shown = {f"frame:{name}": way for name, way in ways.items()} | others
    shown |= {f"member:{name}": way for name, way in members(mixture, view).items()}
    exact = ways["one-pass"]()
    pairs = _pairs(mixture, view)
    compared = pairs, mixture.names, tuple(against)
    busy = {name: timing.busy for name, timing in stages.items() if timing.busy is not None}
    return Benchmark(
        ratios=ratios({name: timing.median for name, timing in stages.items()}, *compared),
        busy_ratios=ratios(busy, *compared) if busy else None,
        device=device_name(mixture.device),
        size=(view.camera.width, view.camera.height),
        t=view.t,
        skip_below=view.skip_below,
        rounds=rounds.count,
        stages=stages,
        pictures={name: _quality(way(), exact, photo) for name, way in shown.items()},
        pairs=pairs,
        memory={name: _memory(each, view) for name, each in {"mixture": mixture, **against}.items()},
        peak_bytes=peak,
        notes=_notes(mixture),
    )


def _frames_of(mixture: Mixture, view: View) -> dict[str, Frame]:
    """The frames of another mixture that are timed."""
    names = ("culled", "exact", "all") if can_be_parted(mixture) else ("culled", "exact")
    return {name: frame(mixture, view, OPTIONS[name]) for name in names}


def _quality(picture: Tensor, exact: Tensor, photo: Tensor | None) -> Quality:
    error = picture - exact
    found = Quality(psnr(error), float(error.abs().max()))
    if photo is None:
        return found
    against_photo = float(metrics.psnr(picture, photo))
    change = against_photo - float(metrics.psnr(exact, photo))
    return Quality(found.psnr_exact, found.largest_error, against_photo, change)


def _pairs(mixture: Mixture, view: View) -> dict[str, int]:
    layers = layers_at(mixture, view.t, culled=True)
    found = {"pass:one": int(rasterize(layers, view.camera).pairs), **asdict(count_pairs(layers, view.camera))}
    if can_be_parted(mixture):
        found["pass:gated"] = int(mixture.render(view.camera, view.t, skip_below=view.skip_below).pairs)
    return found


def _memory(mixture: Mixture, view: View) -> Memory:
    members = dict(zip(mixture.names, mixture.members, strict=True))
    modules = members | ({} if mixture.router is None else {"router": mixture.router})
    with mixture.instants.within(0):
        parts = mixture.at(view.t)
        size = mixture.instants.bytes
    return Memory(
        gaussians={name: len(expert) for name, expert in members.items()},
        awake={name: len(part) for name, part in zip(members, parts, strict=True)},
        parameters={name: sum(p.nbytes for p in module.parameters()) for name, module in modules.items()},
        instant=size,
    )


def _notes(mixture: Mixture) -> tuple[str, ...]:
    if mixture.device.type == "cuda":
        return (
            "projection, lists and sort are one call of the kernels here: project+bin+sort",
            "the separate passes of the router's channels draw colours too: the kernels here have no pass without",
        )
    return ()
