"""Time of the CPU rasterizer: python benchmarks/rasterizer.py [--against DIR] [--rounds N]

100,000 Gaussians of 5 to 20 pixels at 640x360, three channels and depth, through `rasterize()`: forward alone without a
graph, and forward with backward. With --against, a folder with `nb9.py` (functions `forward` and `backward` over NumPy
arrays) is timed in turns with it on the same scene, and the ratio of medians is printed: times of two runs on a shared
machine do not compare.
"""

from moegs import __version__  # before torch, so that its thread pool and numba's sleep while they wait

# isort: split
import argparse
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numba
import torch

from moegs import harmonics, program
from moegs.cameras import Camera, pinhole
from moegs.gaussians import Gaussians
from moegs.rasterize import Layer, rasterize
from moegs.rasterize.cpu import warm_up

COUNT, WIDTH, HEIGHT, FOCAL = 100_000, 640, 360, 576.0


def scene() -> tuple[Gaussians, Camera]:
    """Gaussians of random shape all over the picture, and the camera before them."""
    generator = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape, generator=generator)

    z = uniform(2, 10, COUNT)
    x, y = uniform(-WIDTH / 2, WIDTH / 2, COUNT) * z / FOCAL, uniform(-HEIGHT / 2, HEIGHT / 2, COUNT) * z / FOCAL
    pixels = 5 * 4 ** uniform(0, 1, COUNT)  # three sigma of the longest axis, 5 to 20
    shape = torch.cat([torch.ones(COUNT, 1), uniform(0.3, 1, COUNT, 2)], dim=1)
    gaussians = Gaussians(
        means=torch.stack([x, y, z], dim=1),
        quats=torch.randn(COUNT, 4, generator=generator),
        scales=(pixels / 3 * z / FOCAL)[:, None] * shape,
        opacities=torch.randn(COUNT, generator=generator).sigmoid(),
        sh=harmonics.from_color(uniform(0, 1, COUNT, 1, 3)),
    )
    return gaussians, pinhole(WIDTH, HEIGHT, FOCAL)


def ours(gaussians: Gaussians, camera: Camera) -> Callable[[], tuple[float, float]]:
    """Times one picture: seconds forward, and seconds forward and backward."""
    fields = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, gaussians.sh]
    layer = Layer(gaussians)

    def once() -> tuple[float, float]:
        start = time.perf_counter()
        with torch.no_grad():
            rasterize([layer], camera)
        shown = time.perf_counter()
        for field in fields:
            field.requires_grad_()
        images = rasterize([layer], camera).images
        torch.autograd.grad(images, fields, images.detach())
        return shown - start, time.perf_counter() - shown

    return once


def theirs(folder: Path, gaussians: Gaussians, camera: Camera) -> Callable[[], tuple[float, float]]:
    """The same of the kernels in `folder`."""
    sys.path.insert(0, str(folder))
    kernels = importlib.import_module("nb9")
    colors = harmonics.color(gaussians.sh, gaussians.means)
    fields = [gaussians.means, gaussians.quats, gaussians.scales, gaussians.opacities, colors]
    arrays = [field.detach().contiguous().numpy() for field in fields]
    viewmat, K = camera.viewmat.numpy(), camera.K.numpy()

    def once() -> tuple[float, float]:
        start = time.perf_counter()
        image, alpha, state = kernels.forward(*arrays, viewmat, K, WIDTH, HEIGHT)
        shown = time.perf_counter()
        kernels.backward(state, *arrays, viewmat, WIDTH, HEIGHT, 16, 1, image, alpha, image, 0 * alpha)
        return shown - start, time.perf_counter() - start

    return once


def main() -> None:
    """Prints medians in milliseconds, and ratios where there is something to compare with."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()

    warm_up()
    gaussians, camera = scene()
    contenders = {"moegs": ours(gaussians, camera)}
    if options.against:
        contenders[options.against.name] = theirs(options.against, gaussians, camera)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(options.rounds + 1):  # the first round warms caches and compiles
        for name, once in contenders.items():
            times[name].append(once())

    print(f"moegs {__version__}, {numba.get_num_threads()} threads, {options.rounds} rounds")
    medians = {}
    for name, pairs in times.items():
        medians[name] = [statistics.median(column) for column in zip(*pairs[1:], strict=True)]
        forward, both = medians[name]
        print(f"{name:>16}: forward {1e3 * forward:6.1f} ms, forward and backward {1e3 * both:6.1f} ms")
    if options.against:
        forward, both = (a / b for a, b in zip(medians["moegs"], medians[options.against.name], strict=True))
        print(f"{'ratio':>16}: forward {forward:6.2f}   , forward and backward {both:6.2f}")


if __name__ == "__main__":
    program.run("rasterizer.py", main)
