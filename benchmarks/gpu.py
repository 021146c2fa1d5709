"""GPU tests and benchmarks in steps, for gpu.sh, which says how it is used."""

import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import made
import torch
import tyro

from moegs import benchmark
from moegs.acceleration import Acceleration
from moegs.data.scene import Rig, Scene
from moegs.density import DensityConfig
from moegs.experts import KINDS
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.loop import Trainee
from moegs.training.routing import RouterTrainee, RouterTraining

ROOT = Path(__file__).parent.parent


def build(keep: Path) -> dict[str, Any]:
    """gsplat's extension for this GPU, compiled once and kept; gsplat takes a module of this name as it is."""
    import gsplat.version
    from torch.utils.cpp_extension import load

    folder = Path(gsplat.version.__file__).parent
    major, minor = torch.cuda.get_device_capability()
    versions = f"{gsplat.version.__version__}-torch-{torch.__version__}".replace("+", "-")
    kept = keep / f"gsplat-{versions}-sm{major}{minor}.so"
    begun = time.monotonic()
    if not kept.exists():
        os.environ.setdefault("MAX_JOBS", str(os.cpu_count()))
        os.environ["TORCH_CUDA_ARCH_LIST"] = f"{major}.{minor}"
        work = keep / "build"
        work.mkdir(exist_ok=True)
        sources = [
            *glob.glob(f"{folder}/cuda/csrc/*.cu"),
            *glob.glob(f"{folder}/cuda/csrc/*.cpp"),
            f"{folder}/cuda/ext.cpp",
        ]
        load(
            name="csrc",
            sources=sources,
            extra_cflags=["-O3", "-Wno-attributes"],
            extra_cuda_cflags=["-O3", "-use_fast_math"],
            extra_include_paths=[f"{folder}/cuda/include", f"{folder}/cuda/csrc/third_party/glm"],
            build_directory=str(work),
            is_python_module=False,
        )
        shutil.copy(work / "csrc.so", kept)
        shutil.rmtree(work)
    shutil.copy(kept, folder / "csrc.so")
    return {"seconds": time.monotonic() - begun, "extension": kept.name}


def test(keep: Path) -> dict[str, Any]:
    """`pytest -m gpu`; ends the script when a test fails."""
    begun = time.monotonic()
    files = [
        path
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if "mark.gpu" in (text := path.read_text()) or "backend: str" in text
    ]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *map(str, files)]  # others may need what is not there
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(ran.stdout)
    if ran.returncode:
        sys.exit(ran.returncode)
    return {"seconds": time.monotonic() - begun, "result": ran.stdout.strip().splitlines()[-1]}


SCENES = {
    "three experts, 300,000 Gaussians, 1352x1014": (("hexplane", "embedding", "keyframe"), 300_000, (1352, 1014)),
    "three experts, 300,000 Gaussians, 1280x720": (("hexplane", "embedding", "keyframe"), 300_000, (1280, 720)),
    "three experts, 300,000 Gaussians, 1920x1080": (("hexplane", "embedding", "keyframe"), 300_000, (1920, 1080)),
    "four experts, 1,000,000 Gaussians, 1352x1014": (
        ("hexplane", "embedding", "keyframe", "polynomial"), 1_000_000, (1352, 1014)
    ),
}  # fmt: skip


def bench(keep: Path) -> dict[str, Any]:
    """Frames of made mixtures of real size, stage by stage, and training steps of each kind of expert."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"  # a pool of compilers would stay beside what is timed
    found: dict[str, Any] = {}
    for title, (kinds, count, size) in SCENES.items():
        mixture = made.mixture(kinds, count, size).to("cuda")
        view = benchmark.View(mixture.rig.cameras[0], 0.3, skip_below=0.02, acceleration=Acceleration(True, True, True))
        result = benchmark.measure(mixture, view, benchmark.Rounds(count=100, warm_up=20))
        found[title] = asdict(result)
        print(f"{title}\n\n{benchmark.tables.markdown(found[title])}\npairs {result.pairs}")
        del mixture
        torch.cuda.empty_cache()
    found["training step, 100,000 Gaussians, 1352x1014"] = {kind: training_step(kind) for kind in KINDS}
    print(found["training step, 100,000 Gaussians, 1352x1014"])
    found["router step, three experts, 300,000 Gaussians, 1352x1014"] = router_step()
    print(found["router step, three experts, 300,000 Gaussians, 1352x1014"])
    return found


def training_step(kind: str) -> float:
    """Median milliseconds of an expert's step: forward, loss, backward, density statistics and optimizer."""
    rig = made.rig(1352, 1014, cameras=4)
    scene = Scene(rig, SamePhoto.of(rig), made.room(100_000, 0))
    expert = KINDS[kind](sh_degree_interval=0)
    training = ExpertTraining(name=kind, expert=expert, density=DensityConfig(stop=1))
    return statistics.median(step_times(ExpertTrainee(training, scene, torch.device("cuda")), range(40))[10:])


def router_step() -> dict[str, float]:
    """Median milliseconds of a router's step on a picture that is new to it, and on one whose parts are kept."""
    mixture = made.mixture(("hexplane", "embedding", "keyframe"), 300_000, (1352, 1014)).to("cuda")
    scene = Scene(mixture.rig, SamePhoto.of(mixture.rig), made.room(2, 0))
    trainee = RouterTrainee("router", RouterTraining(), mixture, scene)
    step_times(trainee, range(10))
    return {
        "new": statistics.median(step_times(trainee, range(20, 50))),
        "kept": statistics.median(step_times(trainee, [49] * 30)),
    }


def step_times(trainee: Trainee, frames: Iterable[int]) -> list[float]:
    """Milliseconds of a step on camera 1 at each of `frames`."""
    taken = []
    for step, frame in enumerate(frames):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        attempt = trainee.attempt(20_000 + step, 1, frame)
        trainee.optimizer.zero_grad()
        attempt.loss.backward()
        trainee.after_backward()
        trainee.optimizer.step()
        torch.cuda.synchronize()
        taken.append(1e3 * (time.perf_counter() - begun))
    return taken


@dataclass(frozen=True)
class SamePhoto:
    """Photos that all look the same."""

    photo: torch.Tensor

    @classmethod
    def of(cls, rig: Rig) -> "SamePhoto":
        """Noise, of the size of the cameras of `rig`."""
        size = rig.cameras[0].height, rig.cameras[0].width, 3
        return cls((torch.rand(size, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8))

    def at(self, camera: int, frame: int) -> torch.Tensor:
        """The photo."""
        return self.photo


def main(step: tyro.conf.Positional[Literal["build", "test", "bench"]], keep: Path) -> None:
    """Does one step unless `keep` says that it is done."""
    file = keep / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    if step in results and step != "build":
        print(f"{step}: done before")
        return
    found = {"build": build, "test": test, "bench": bench}[step](keep)
    results = {**results, "device": torch.cuda.get_device_name(), "torch": torch.__version__, step: found}
    file.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    tyro.cli(main)
