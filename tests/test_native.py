"""The CUDA kernels compile as torch compiles them: where there is a compiler but no GPU, that much is known."""

import shutil
import subprocess
from pathlib import Path

import pytest
from torch.utils.cpp_extension import COMMON_NVCC_FLAGS

from moegs.rasterize.cuda import native

FOLDER = Path(native.__file__).parent
KERNELS = [source for source in native.SOURCES if source.endswith(".cu")]


def test_every_kernel_is_compiled_into_the_module() -> None:
    assert sorted(KERNELS) == sorted(path.name for path in FOLDER.glob("*.cu"))


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc on the PATH")
@pytest.mark.parametrize("source", KERNELS)
def test_a_kernel_compiles_with_the_flags_of_torch(source: str, tmp_path: Path) -> None:
    command = [
        "nvcc",
        *COMMON_NVCC_FLAGS,
        "-O0",
        "-arch=sm_75",
        "-ptx",
        str(FOLDER / source),
        "-o",
        str(tmp_path / "ptx"),
    ]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
