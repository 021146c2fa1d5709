"""Benchmark: how long a mixture's frames take, stage by stage, against its experts alone and against separate passes.

Every contender is timed in turn, round after round in one run, since two runs on a shared machine do not compare.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import torch

from moegs.cameras import Camera
from moegs.mixture import Mixture, blend
from moegs.rasterize import Layer, RenderResult, rasterize
from moegs.router import Seen, gates
from moegs.router.gating import Gate
from moegs.views import Pixels, to_pixels

JPEG_QUALITY = 75


@dataclass(frozen=True)
class Timing:
    """How long something took over all rounds, milliseconds."""

    median: float
    p95: float


@dataclass(frozen=True)
class Benchmark:
    """What `measure` found."""

    device: str
    size: tuple[int, int]
    """Width and height, pixels."""
    gaussians: dict[str, int]
    """Of each expert."""
    parameter_bytes: int
    peak_bytes: int | None
    """Of GPU memory, while all was timed; None on a CPU."""
    stages: dict[str, Timing]
    """`deform:NAME`, `gate`, `blend`, `pixels`, `encode`; passes of the rasterizer alone: `separate` (a colour and a
    weight pass per expert, as published), `combined` (a pass with both per expert), `one-pass` and `gated`; whole
    frames at a kept instant, from camera to 8-bit pixels: `frame`, `frame-gated`, `member:NAME`; and `served`, from
    camera to the bytes of a JPEG."""
    pairs: dict[str, int]
    """(Gaussian, tile) pairs composited by `one-pass` and `gated`."""
    psnr_gated: float
    """Of the gated picture against the exact one, dB."""
    largest_error_gated: float
    """The largest difference of a colour in [0, 1] between the two."""
    ratios: dict[str, float]
    """Of medians."""


@torch.no_grad()
def measure(
    mixture: Mixture, camera: Camera, t: float, skip_below: float = 0.02, rounds: int = 30, warm_up: int = 5
) -> Benchmark:
    """Times `mixture`'s frames from `camera` at `t`; `skip_below`: the threshold of the gated contenders.

    Raises ValueError for a mixture without a router, which has nothing to compare, and for a router that tile gating
    cannot ask.
    """
    router = mixture.router
    if router is None:
        raise ValueError("bench: one expert alone has no passes to compare; give a mixture")
    if not router.sees_features_alone:
        raise ValueError(f"bench: tile gating cannot ask a {router.config.kind} router; give a volume-aware one")
    if mixture.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    layers = mixture._layers(t)
    gate = Gate(router, camera, mixture.temperature, None, "renormalize", skip_below)
    whole = rasterize(layers, camera)
    seen = Seen(layers, whole.images, whole.features, camera, t)
    share = gates(router.judge(seen).logits, mixture.temperature)
    picture, *_ = blend(share, whole)
    pixels = to_pixels(picture)
    contenders: dict[str, Callable[[], object]] = {
        **{f"deform:{name}": _deform(mixture, number, t) for number, name in enumerate(mixture.names)},
        "separate": lambda: [*(rasterize([_colors(la)], camera) for la in layers), *_passes(layers, camera)],
        "combined": lambda: _passes(layers, camera),
        "one-pass": lambda: rasterize(layers, camera),
        "gated": lambda: rasterize(layers, camera, choose=gate),
        "gate": lambda: gates(router.judge(seen).logits, mixture.temperature),
        "blend": lambda: blend(share, whole),
        "pixels": lambda: to_pixels(picture),
        "encode": lambda: _jpeg(pixels),
        "served": lambda: _jpeg(to_pixels(mixture.render(camera, t).picture)),
        "frame": lambda: to_pixels(mixture.render(camera, t).picture),
        "frame-gated": lambda: to_pixels(mixture.render(camera, t, skip_below=skip_below).picture),
        **{
            f"member:{name}": lambda la=la: to_pixels(rasterize([_colors(la)], camera).images[0])
            for name, la in zip(mixture.names, layers, strict=True)
        },
    }
    stages = _in_turn(contenders, rounds, warm_up, mixture.device)
    gated = mixture.render(camera, t, skip_below=skip_below)
    error = gated.picture - picture
    return Benchmark(
        device=_device(mixture.device),
        size=(camera.width, camera.height),
        gaussians={name: len(expert) for name, expert in zip(mixture.names, mixture.members, strict=True)},
        parameter_bytes=sum(parameter.nbytes for parameter in mixture.parameters()),
        peak_bytes=torch.cuda.max_memory_allocated() if mixture.device.type == "cuda" else None,
        stages=stages,
        pairs={"one-pass": int(whole.pairs), "gated": int(gated.pairs)},
        psnr_gated=float(-10 * error.square().mean().clamp_min(1e-12).log10()),
        largest_error_gated=float(error.abs().max()),
        ratios=_ratios(stages),
    )


def _deform(mixture: Mixture, number: int, t: float) -> Callable[[], object]:
    return lambda: mixture.members[number].at(t)


def _jpeg(pixels: Pixels) -> object:
    return cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def _colors(layer: Layer) -> Layer:
    return replace(layer, features=None, feature_background=None)


def _passes(layers: list[Layer], camera: Camera) -> list[RenderResult]:
    return [rasterize([layer], camera) for layer in layers]


def _in_turn(
    contenders: Mapping[str, Callable[[], object]], rounds: int, warm_up: int, device: torch.device
) -> dict[str, Timing]:
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(warm_up + rounds):
        for name, contender in contenders.items():
            wait()
            begun = time.perf_counter()
            contender()
            wait()
            taken[name].append(1e3 * (time.perf_counter() - begun))
    return {
        name: Timing(statistics.median(times[warm_up:]), statistics.quantiles(times[warm_up:], n=20)[-1])
        for name, times in taken.items()
    }


def _ratios(stages: Mapping[str, Timing]) -> dict[str, float]:
    median = {name: timing.median for name, timing in stages.items()}
    deforming = sum(time for name, time in median.items() if name.startswith("deform:"))
    slowest = max(time for name, time in median.items() if name.startswith("member:"))
    return {
        "one_pass_over_separate": median["one-pass"] / median["separate"],
        "gated_over_separate": median["gated"] / median["separate"],
        "cached_over_live": median["frame"] / (median["frame"] + deforming),
        "frame_over_slowest_member": median["frame"] / slowest,
        "gated_frame_over_slowest_member": median["frame-gated"] / slowest,
    }


def _device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
