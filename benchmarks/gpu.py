"""GPU tests and benchmarks in steps, for gpu.sh, which says how it is used."""

import glob
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import torch
import tyro

ROOT = Path(__file__).parent.parent


def build(keep: Path) -> dict[str, str | float]:
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


def test(keep: Path) -> dict[str, str | float]:
    """`pytest -m gpu`; ends the script when a test fails."""
    begun = time.monotonic()
    files = [
        path
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if "gpu" in (text := path.read_text()) or "backend" in text
    ]
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *map(str, files)]  # others may need what is not there
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    print(ran.stdout)
    if ran.returncode:
        sys.exit(ran.returncode)
    return {"seconds": time.monotonic() - begun, "result": ran.stdout.strip().splitlines()[-1]}


def main(step: tyro.conf.Positional[Literal["build", "test"]], keep: Path) -> None:
    """Does one step unless `keep` says that it is done."""
    file = keep / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    if step in results and step != "build":
        print(f"{step}: done before")
        return
    found = {"build": build, "test": test}[step](keep)
    results = {**results, "device": torch.cuda.get_device_name(), "torch": torch.__version__, step: found}
    file.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    tyro.cli(main)
