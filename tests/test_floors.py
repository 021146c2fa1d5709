"""The architecture: a file imports lower floors only, and its own folder where it is in one."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    0: [
        "allocator",
        "gaussians",
        "cameras",
        "timeline",
        "rotations",
        "harmonics",
        "config",
        "files",
        "fingerprints",
        "lines",
        "demo",
        "kernels",
        "mosaic",
        "schedules",
        "quantisation",
    ],
    1: ["experts", "rasterize", "data", "ssim", "lpips", "runs", "program", "consoles", "legends"],
    2: ["losses", "metrics", "density", "router", "system", "tours", "instants", "ply"],
    3: ["mixture", "shots"],
    4: [
        "checkpoint",
        "pruning",
        "evaluation",
        "views",
        "verification",
        "probe",
        "export",
        "compact",
        "fusion",
        "acceleration",
    ],
    5: ["compare"],
    6: ["variants"],
    7: ["training", "reports", "rivals", "benchmark"],
    8: ["sweep"],
    9: ["cli"],
    10: ["__main__"],
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
SOURCES = sorted(path for folder in ("moegs", "viewer") for path in (ROOT / folder).rglob("*.py"))


def part(path: Path) -> str:
    """The part of the core that a file belongs to: its module, or the folder it lies in."""
    inner = path.relative_to(ROOT / "moegs").parts
    return inner[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """The dotted names of all modules that a file imports, anywhere in it."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def core_parts(path: Path) -> set[str]:
    """The parts of the core that a file imports."""
    dotted = [name.split(".") for name in imports(path)]
    return {names[1] for names in dotted if names[0] == "moegs" and len(names) > 1 and names[1] in FLOOR}


def test_every_part_stands_on_a_floor() -> None:
    parts = {part(path) for path in SOURCES if path.is_relative_to(ROOT / "moegs")} - {"__init__"}
    assert parts == set(FLOOR)


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(ROOT / "moegs")], ids=lambda p: p.stem)
def test_imports_lead_downwards(path: Path) -> None:
    if path == ROOT / "moegs" / "__init__.py":
        assert core_parts(path) == set()
        return
    here = part(path)
    for other in core_parts(path) - {here}:
        assert FLOOR[other] < FLOOR[here], f"{path.name} imports {other}, which is not below {here}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.stem)
def test_the_viewer_is_above_the_core(path: Path) -> None:
    if path.is_relative_to(ROOT / "viewer"):
        assert all(FLOOR[name] <= 6 for name in core_parts(path)), "the viewer uses floors 0 to 6"
    else:
        assert not any(name.split(".")[0] == "viewer" for name in imports(path)), "the core knows no viewer"


def test_importing_the_core_is_light() -> None:
    heavy = ["viser", "nerfview", "gsplat", "numba"]
    program = f"import sys, moegs, moegs.views, moegs.checkpoint; print([m for m in {heavy} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.strip() == "[]"
