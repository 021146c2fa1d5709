"""What makes frames faster says what it needs."""

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from mixtures import mixture

from moegs import checkpoint
from moegs.acceleration import Acceleration, networks


@pytest.mark.parametrize(("asked", "flag"), [("cuda_graph", "--cuda-graph"), ("half", "--half")])
def test_what_needs_a_gpu_says_so(asked: str, flag: str) -> None:
    with pytest.raises(ValueError, match=rf"^{flag}: the mixture is on the CPU; it needs --device cuda$"):
        Acceleration(**{asked: True}).apply(mixture(("hex", "poly"), count=5, size=(16, 16)))


def test_networks_are_all_linear_layers_of_an_expert_and_nothing_with_a_row_per_gaussian() -> None:
    made = mixture(("hex", "emb", "poly", "key"), count=5, size=(16, 16))
    found = [
        {id(parameter) for network in networks(expert) for parameter in network.parameters()} for expert in made.members
    ]
    assert [bool(each) for each in found] == [True, True, False, False]
    for expert, inside in zip(made.members, found, strict=True):
        names = {name for name, parameter in expert.named_parameters() if id(parameter) in inside}
        assert names == {name for name, _ in expert.named_parameters() if ".weight" in name or ".bias" in name}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_networks_draw_the_same_picture(backend: str, tmp_path: Path) -> None:
    made = tmp_path / "made.pt"
    checkpoint.save(checkpoint.Checkpoint(mixture(("hex", "emb"), count=50)), made)
    pictures = []
    for flags in ([], ["--compile"]):  # in processes without the tests' shape checks, which cannot be compiled
        out = tmp_path / f"{len(flags)}.png"
        command = [sys.executable, "-m", "moegs", "render", str(made), "--time", "3", "--out", str(out), *flags]
        subprocess.run([*command, "--device", backend], check=True)
        pictures.append(cv2.imread(str(out)).astype(int))  # type: ignore[union-attr]
    assert pictures[0].std() > 1
    assert abs(pictures[0] - pictures[1]).max() <= 1
