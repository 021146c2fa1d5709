"""Routers over frozen experts, compared: python benchmarks/routers.py CKPT --data DIR [--steps N] [--time]

Trains each kind of router, and the volume-aware one at several temperatures, over the experts of CKPT, and scores it on
the first held-out camera and on the first training camera, each at several temperatures of the picture. Routers learn
from the training cameras but the first, or from --cameras. Every finished router is a line of routers.jsonl and a
checkpoint in the folder --out, which `moegs eval CKPT --routers` reads; a further run does what is missing, and prints
the table. With --time: seconds per step of the router with and without kept pictures, and of each expert, in turns in
one run.
"""

from moegs import __version__  # before torch, so that its thread pool and numba's sleep while they wait

# isort: split
import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numba
import torch

from moegs import checkpoint, metrics, program
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.data.scene import Scene
from moegs.experts.base import Expert
from moegs.losses import photometric
from moegs.mixture import Mixture
from moegs.rasterize import Layer, rasterize
from moegs.router import AnyRouterConfig, PixelConfig, VolumeAwareConfig, VolumeConfig, gates
from moegs.training.loop import Plan, make_optimizer, run
from moegs.training.pictures import KeptPictures, PictureCache
from moegs.training.progress import show
from moegs.training.routing import Annealing, RouterTrainee, RouterTraining
from moegs.training.sampling import Shuffled
from moegs.training.snapshots import Snapshots

Step = Callable[[int, int], None]
"""On the photo of a camera at a frame."""
SHOWN = (0.01, 0.1, 1.0, 4.0, 16.0)
"""Temperatures of the picture at which every router is scored."""


def contenders(steps: int) -> dict[str, RouterTraining]:
    """What is compared, by name."""

    def training(router: AnyRouterConfig, temperature: Annealing) -> RouterTraining:
        return RouterTraining(router=router, temperature=temperature, steps=steps)

    ours, sharp = VolumeAwareConfig(), VolumeAwareConfig(temperature=0.01)
    return {
        "volume-aware, 1": training(ours, Annealing(start=1.0)),
        "volume-aware, 0.01": training(sharp, Annealing(start=0.01)),
        "volume-aware, 10": training(VolumeAwareConfig(temperature=10.0), Annealing(start=10.0)),
        "volume-aware, 10 to 1": training(ours, Annealing(start=10.0, end=1.0, steps=steps)),
        "pixel, 1": training(PixelConfig(), Annealing(start=1.0)),
        "volume": training(VolumeConfig(), Annealing(start=1.0)),
        "volume-aware, 1 to 0.1": training(
            VolumeAwareConfig(temperature=0.1), Annealing(start=1.0, end=0.1, steps=steps)
        ),
        "pixel, 0.01": training(PixelConfig(temperature=0.01), Annealing(start=0.01)),
    }


def with_router(found: Mixture, config: AnyRouterConfig, seed: int) -> Mixture:
    """The experts of `found` under a new router."""
    torch.manual_seed(seed)
    router = config.start([len(expert) for expert in found.members])
    return Mixture(found.names, found.members, router, found.rig).to(found.device)


@torch.no_grad()
def psnrs(mixture: Mixture, scene: Scene, camera: int) -> dict[str, float]:
    """Mean PSNR over every third frame, of each expert, of the plain average, and by temperature of the picture."""
    assert mixture.router is not None, "a mixture under a router"
    sums: dict[str, list[float]] = {}
    for frame in scene.frames(camera)[::3]:
        photo = scene.photo(camera, frame, mixture.device)
        found = mixture.render(scene.rig.cameras[camera], scene.rig.timeline.t(frame))
        pictures = {**dict(zip(mixture.names, found.images, strict=True)), "average": found.images.mean(0)}
        for temperature in SHOWN:
            blended = (gates(found.logits, temperature)[..., None] * found.images).sum(0)
            pictures[f"{temperature:g}"] = blended if mixture.router.blends else found.picture
        for name, picture in pictures.items():
            sums.setdefault(name, []).append(float(metrics.psnr(picture, photo)))
    return {name: statistics.mean(values) for name, values in sums.items()}


def train_all(found: Mixture, scene: Scene, options: argparse.Namespace) -> None:
    """Trains what FOLDER/routers.jsonl lacks, one line each."""
    table = options.out / "routers.jsonl"
    pictures = KeptPictures(PictureCache())
    validation = scene.rig.train[0]
    cameras = [scene.rig.find(name) for name in options.cameras] or scene.rig.train[1:]
    for name, training in contenders(options.steps).items():
        key = {"router": name, "steps": options.steps, "seed": options.seed, "cameras": options.cameras}
        if any(key.items() <= line.items() for line in lines(table)):
            continue
        mixture = with_router(found, training.router, options.seed)
        trainee = RouterTrainee(name, training, mixture, scene, pictures)
        learned = " ".join(options.cameras) or "all cameras"
        state = options.out / f"{name}, {options.steps} steps, seed {options.seed}, {learned}.state.pt"
        plan = Plan(options.steps, options.seed, state, 100, Snapshots(state.with_suffix(".snapshot.pt"), seconds=0))
        with show() as on_event:
            seconds = run(trainee, Shuffled(scene.pairs(cameras), expect=scene.expect), plan, on_event)
        scores = {scene.rig.names[camera]: psnrs(mixture, scene, camera) for camera in (scene.rig.test[0], validation)}
        checkpoint.save(Checkpoint(mixture), options.out / f"{name}.pt")
        with table.open("a") as file:
            file.write(json.dumps({**key, "seconds": seconds, "psnr": scores}) + "\n")
        plan.clear()


def lines(table: Path) -> list[dict]:
    """The finished routers."""
    return [json.loads(line) for line in table.read_text().splitlines()] if table.exists() else []


def print_table(options: argparse.Namespace) -> None:
    """A row for each router, in Markdown: PSNR by camera, of all that it was scored with."""
    asked = {"steps": options.steps, "cameras": options.cameras}
    rows = [line for line in lines(options.out / "routers.jsonl") if asked.items() <= line.items()]
    if not rows:
        return
    columns = [(camera, shown) for camera, scores in rows[0]["psnr"].items() for shown in scores]
    print("| router, temperature in training | seed | " + " | ".join(f"{c} at {s}" for c, s in columns) + " |")
    print("| --- " * (len(columns) + 2) + "|")
    for row in rows:
        scores = " | ".join(f"{row['psnr'][camera][shown]:.2f}" for camera, shown in columns)
        print(f"| {row['router']} | {row['seed']} | {scores} |")


def router_step(trainee: RouterTrainee) -> Step:
    """A step as the training loop does it."""

    def step(camera: int, frame: int) -> None:
        loss = trainee.attempt(0, camera, frame).loss
        trainee.optimizer.zero_grad()
        loss.backward()
        trainee.optimizer.step()

    return step


def expert_step(frozen: Expert, scene: Scene) -> Step:
    """A step of an expert alone, without density control."""
    expert = copy.deepcopy(frozen).requires_grad_(True)
    optimizer = make_optimizer(expert, expert.rates(), "adam")
    views = {camera: view for view, camera in enumerate(scene.rig.train)}

    def step(camera: int, frame: int) -> None:
        gaussians = expert.at(scene.rig.timeline.t(frame), views[camera])
        layer = Layer(gaussians, lowpass=expert.lowpass, near=expert.near, far=expert.far, background=expert.background)
        image = rasterize([layer], scene.rig.cameras[camera]).images[0]
        photo = scene.photo(camera, frame, image.device)
        loss = photometric(image, photo) + expert.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def time_all(found: Mixture, scene: Scene, rounds: int) -> None:
    """Median milliseconds per step, and ratios to the slowest expert's, everything in turns."""
    trainings = contenders(1)
    chosen = {name.partition(",")[0]: trainings[name] for name in ("volume-aware, 1", "pixel, 1", "volume")}
    chosen["volume-aware, nothing kept"] = replace(
        chosen["volume-aware"], pictures=PictureCache(memory_gb=0.0), instants_gb=0.0
    )
    steps: dict[str, Step] = {}
    for name, training in chosen.items():
        steps[name] = router_step(RouterTrainee(name, training, with_router(found, training.router, 0), scene))
    for name, expert in zip(found.names, found.members, strict=True):
        steps[f"expert {name}"] = expert_step(expert, scene)
    pairs = [(camera, frame) for camera in scene.rig.train[:3] for frame in (0, 11, 22)]
    times: dict[str, list[float]] = {name: [] for name in steps}
    wait = torch.cuda.synchronize if found.device.type == "cuda" else (lambda: None)
    for turn in range(rounds + len(pairs)):  # first every picture once
        for name, step in steps.items():
            wait()
            start = time.perf_counter()
            step(*pairs[turn % len(pairs)])
            wait()
            if turn >= len(pairs):
                times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    slowest = max(value for name, value in medians.items() if name.startswith("expert "))
    for name, value in medians.items():
        print(f"{name:>28}: {1e3 * value:7.1f} ms, {value / slowest:5.2f} of the slowest expert's")


def main() -> None:
    """Trains and compares, or times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="CKPT")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--cameras", nargs="*", default=[], metavar="NAME", help="routers learn from these alone")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/routers"), metavar="FOLDER")
    parser.add_argument("--time", action="store_true")
    parser.add_argument("--rounds", type=int, default=18)
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    numba.set_num_threads(options.threads)
    found = checkpoint.load(options.checkpoint).mixture.to(options.device)
    scene = load_scene(DataConfig(path=options.data), with_points=False)
    print(f"moegs {__version__}, {options.device}, {options.threads} threads, {options.checkpoint}")
    if options.time:
        time_all(found, scene, options.rounds)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    train_all(found, scene, options)
    print_table(options)


if __name__ == "__main__":
    program.run("routers.py", main)
