"""The wheel holds all that a user needs: it is built, installed beside the tests' own packages, and asked."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_installed_wheel_knows_its_demo(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", tmp_path, ROOT], check=True)
    wheel = next(tmp_path.glob("moegs-*.whl"))
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)
    program = f"import sys; sys.path.insert(0, {str(site)!r}); from moegs.__main__ import main; main()"
    command = [sys.executable, "-I", "-c", program, "info", "--json", "-"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    facts = json.loads(answer.stdout)
    assert Path(facts["file"]).is_relative_to(site)
    assert len(facts["experts"]) == 4
    assert (site / "viewer" / "__main__.py").is_file()
    assert (site / "moegs" / "py.typed").is_file()
    for weights in ("lpips.npz", "lpips.LICENSES"):
        assert (site / "moegs" / weights).is_file()
