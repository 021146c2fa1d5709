"""Compiled kernels are kept, but never longer than what they are made of stays as it is."""

import ast
import importlib.util
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import moegs
from moegs.kernels import SOURCES

PACKAGE = Path(moegs.__file__).parent
DECORATORS = {"inlined", "serial", "parallel"}
KERNEL = """
from moegs.kernels import serial
from moegs.rasterize import ALPHA_MAX

@serial
def cap(alphas):
    for i in range(len(alphas)):
        alphas[i] = min(alphas[i], ALPHA_MAX)
"""
"""One that takes a constant from another file, as those of the rasterizer do; compiled in an instant."""
CALL = """
import numpy as np
from moegs.kernels import is_compiled
from moegs.rasterize.cpu.cap import cap

fresh, alphas = is_compiled(cap), np.ones(1, np.float32)
cap(alphas)
print(fresh, round(float(alphas[0]), 3))
"""

LOGITS = """
import numpy as np
from moegs.router.cpu import FIRST, OWN, RAY, SECOND, _logits, _Network

def random(*shape):
    return generator.normal(size=shape).astype(np.float32)

generator = np.random.default_rng(0)
pinhole = np.array([40, 40, 20, 15], np.float32)
weights = random(FIRST, OWN), random(FIRST), random(FIRST, RAY), random(SECOND, FIRST), random(SECOND)
logits = np.zeros((2, 30, 40), np.float32)
_logits(random(2, 30, 40, 1 + OWN), _Network(pinhole, *weights), logits)
print(logits.tobytes().hex())
"""
"""A parallel kernel that rounds otherwise where numba optimises it a second time, for the file it keeps."""


@pytest.mark.slow
def test_what_a_process_has_compiled_rounds_as_what_the_next_one_loads(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)}

    def logits() -> str:
        command = [sys.executable, "-c", LOGITS]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    compiled = logits()
    assert list(tmp_path.rglob("*._logits_*.nbc"))
    assert compiled == logits()


@pytest.mark.slow
def test_a_constant_changed_in_another_file_is_in_the_next_process_kernels(tmp_path: Path) -> None:
    shutil.copytree(PACKAGE, tmp_path / "moegs", ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    (tmp_path / "moegs" / "rasterize" / "cpu" / "cap.py").write_text(KERNEL)
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    environment["PYTHONPATH"] = str(tmp_path)

    def called() -> tuple[str, str]:
        """Whether the kernel was compiled already, and what it makes of an alpha of 1."""
        answer = subprocess.run(
            [sys.executable, "-c", CALL],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        fresh, alpha = answer.stdout.split()
        return fresh, alpha

    assert called() == ("False", "0.999")
    assert called() == ("True", "0.999")
    constants = tmp_path / "moegs" / "rasterize" / "__init__.py"
    constants.write_text(constants.read_text().replace("ALPHA_MAX = 0.999", "ALPHA_MAX = 0.75"))
    assert called() == ("False", "0.75")


def test_every_file_that_goes_into_a_kernel_is_watched() -> None:
    """Kernels and their pieces stand in watched files, and take nothing but types from files that are not."""
    watched = {path for pattern in SOURCES for path in PACKAGE.glob(pattern)}
    makers = 0
    for path in PACKAGE.rglob("*.py"):
        imported = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        names = {(node.module or "", alias.name) for node in imported for alias in node.names}
        if not names & {("moegs.kernels", decorator) for decorator in DECORATORS}:
            continue
        makers += 1
        assert path in watched, path
        for module, name in names:
            if module.split(".")[0] == "moegs":
                assert home(module, name) in watched or is_type(module, name), f"{path} takes {name} from {module}"
    assert makers > 3


def home(module: str, name: str) -> Path:
    """The file that `from module import name` reads."""
    inner = (
        importlib.util.find_spec(f"{module}.{name}") if (PACKAGE.parent / module.replace(".", "/")).is_dir() else None
    )
    found = inner or importlib.util.find_spec(module)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin)


def is_type(module: str, name: str) -> bool:
    return inspect.isclass(getattr(importlib.import_module(module), name, None))
