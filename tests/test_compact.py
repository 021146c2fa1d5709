"""Compact checkpoints: what quantising does to numbers, how bits are chosen, and what comes back."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from backends import no_gpu
from mixtures import mixture
from torch.testing import assert_close

from moegs import checkpoint, compact
from moegs.checkpoint import Checkpoint, CheckpointError
from moegs.compact import compacted, moments
from moegs.quantisation import LEVELS, Packing, Scheme, packed, through, unpacked


def numbers(*shape: int) -> torch.Tensor:
    """Columns of very different size."""
    generator = torch.Generator().manual_seed(2)
    return torch.randn(*shape, generator=generator) * torch.logspace(-4, 4, shape[-1])


@pytest.mark.parametrize("scheme", ["uint8", "uint16"])
@pytest.mark.parametrize("shape", [(50, 3), (50, 2, 3), (7,), (3, 40, 5)])
def test_levels_are_within_half_a_step_of_each_columns_range(scheme: Scheme, shape: tuple[int, ...]) -> None:
    values = numbers(*shape)
    back = through(values, scheme)
    assert back.dtype == torch.float32
    assert back.shape == values.shape
    columns = (values.reshape(-1, 1) if len(shape) == 1 else values.flatten(1), back.reshape(len(back), -1))
    if shape == (3, 40, 5):  # wider than long: the columns are what the last axis counts
        columns = values.reshape(-1, 5), back.reshape(-1, 5)
    for ours, theirs in zip(columns[0].T, columns[1].T, strict=True):
        step = float(ours.max() - ours.min()) / LEVELS[scheme]
        largest = float(ours.abs().max())
        assert float((ours - theirs).abs().max()) <= step / 2 + 2e-7 * largest  # float32's own digits


@pytest.mark.parametrize("values", [torch.zeros(0, 3), torch.zeros(5, 0, 3), torch.full((4, 2), 7.5), torch.zeros(0)])
@pytest.mark.parametrize("scheme", ["uint8", "uint16", "bfloat", "full"])
def test_nothing_and_all_the_same_come_back_as_they_were(values: torch.Tensor, scheme: Scheme) -> None:
    assert_close(through(values, scheme), values, rtol=0, atol=0)


def test_bfloat_keeps_two_digits_of_any_size() -> None:
    values = torch.tensor([3e-12, 1.0, 7e20])
    assert_close(through(values, "bfloat"), values, rtol=2**-8, atol=0)


def test_what_is_packed_is_found_however_deep_and_the_rest_stays() -> None:
    values = numbers(9, 3)
    stored = {"a": [{"b": packed(values, "uint16")}, 3, "x"], "c": values}
    back = unpacked(stored)
    assert torch.equal(back["a"][0]["b"], through(values, "uint16"))
    assert back["a"][1:] == [3, "x"]
    assert torch.equal(back["c"], values)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = mixture(("hex", "emb", "poly", "key"))
    schemes = {
        name: dict.fromkeys(
            (k for k, t in expert.state_dict().items() if t.dtype == torch.float32 and t.ndim), "uint16"
        )
        for name, expert in zip(made.names, made.members, strict=True)
    }
    importance = {"contribution": {"poly": torch.logspace(-20, 20, 60)}}
    path = tmp_path / "small.pt"
    checkpoint.save(Checkpoint(made, {"mixture": {"psnr": 30.0}}, {"by": "test"}, importance), path, Packing(schemes))
    return path


def test_a_compact_file_is_a_checkpoint_in_float32(file: Path) -> None:
    loaded, full = checkpoint.load(file), mixture(("hex", "emb", "poly", "key"))
    assert torch.load(file, weights_only=True)["version"] == 3
    assert loaded.scores == {"mixture": {"psnr": 30.0}}
    for (name, ours), theirs in zip(full.state_dict().items(), loaded.mixture.state_dict().values(), strict=True):
        assert ours.dtype == theirs.dtype, name
        assert ours.shape == theirs.shape, name
    camera = full.rig.cameras[0]
    assert_close(loaded.mixture.render(camera, 0.3).picture, full.render(camera, 0.3).picture, rtol=0, atol=2e-3)
    assert_close(loaded.importance["contribution"]["poly"], torch.logspace(-20, 20, 60), rtol=2**-8, atol=0)
    again = file.with_name("again.pt")
    checkpoint.save(loaded, again)  # an ordinary one, of the very same numbers
    assert torch.load(again, weights_only=True)["version"] == 2
    assert torch.equal(
        checkpoint.load(again).mixture.render(camera, 0.3).picture, loaded.mixture.render(camera, 0.3).picture
    )


def damage(edit: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda contents: edit(contents["experts"][2]["tensors"]["groups.0to5.means"])


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda t: t.update(quantised="uint4"), "quantised as 'uint4' is not stored as one"),
        (lambda t: t.update(quantised="uint8"), "quantised as 'uint8' is not stored as one"),
        (lambda t: t.update(values=[1, 2]), "quantised as 'uint16' is not stored as one"),
        (lambda t: t.update(low=torch.zeros(2)), "do not fit its columns"),
        (lambda t: t.pop("step"), "do not fit its columns"),
        (lambda t: t.update(shape=[61, 3]), "damaged checkpoint"),
        (lambda t: t.update(shape="60"), "quantised as 'uint16' is not stored as one"),
        (lambda t: t.update(step=torch.full((3,), math.nan)), "'groups.0to5.means' holds NaN or infinity"),
    ],
)
def test_a_damaged_compact_file_is_one_line(file: Path, edit: Callable[[dict[str, Any]], object], told: str) -> None:
    contents = torch.load(file, weights_only=True)
    damage(edit)(contents)
    torch.save(contents, file)
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(file)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_ordinary_file_holds_nothing_packed(file: Path) -> None:
    contents = torch.load(file, weights_only=True)
    contents["version"] = 2
    torch.save(contents, file)
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        checkpoint.load(file)


def test_bits_are_chosen_so_that_pictures_stay_as_near_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "SMALL", 100)
    full = mixture(("poly", "key"), count=200)
    seen = moments(full.rig, 3)
    before = {name: tensor.clone() for name, tensor in full.state_dict().items()}
    sizes = []
    for psnr in (30.0, 50.0, 75.0):
        heard: list[tuple[int, int]] = []
        made = compacted(full, psnr, seen, lambda done, of, heard=heard: heard.append((done, of)))
        assert made.psnr >= psnr
        assert heard[-1][0] == heard[-1][1] == len(heard) > 5
        bits = {"uint8": 1, "uint16": 2, "full": 4}
        chosen = [*made.packing.experts.values(), made.packing.router]
        modules = [*full.members, full.router]
        sizes.append(
            sum(
                bits[c[k]] * t.numel()
                for c, m in zip(chosen, modules, strict=True)
                for k, t in m.state_dict().items()
                if k in c
            )
        )
        again = compact.between(full, made.mixture, seen)
        assert again == pytest.approx(made.psnr)
    assert sizes[0] < sizes[1] < sizes[2]
    assert all(torch.equal(before[name], tensor) for name, tensor in full.state_dict().items())


def test_the_measured_pictures_are_those_of_the_saved_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compact, "SMALL", 100)
    full = mixture(("poly", "hex"), count=100)
    made = compacted(full, 40.0, moments(full.rig, 2))
    checkpoint.save(Checkpoint(made.mixture), tmp_path / "x.pt", made.packing)
    loaded = checkpoint.load(tmp_path / "x.pt").mixture
    for (name, ours), theirs in zip(made.mixture.state_dict().items(), loaded.state_dict().values(), strict=True):
        assert_close(ours, theirs, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")  # packed twice


def test_moments_are_spread_over_cameras_and_frames() -> None:
    rig = mixture(("poly",)).rig
    assert moments(rig, 3) == [(0, 1), (1, 3), (2, 5)]
    assert len(set(moments(rig, 1000))) == len(moments(rig, 1000)) <= 18


def test_loss_and_nearness_are_each_others_inverse() -> None:
    # Errors that have nothing to do with each other add as squares: equal ones double the mean square, 3.01 dB.
    assert compact.lost(30.0, 30.0) == pytest.approx(10 * math.log10(2))
    assert compact.lost(33.0, compact.needed(33.0, 0.05)) == pytest.approx(0.05)
    assert compact.lost(33.0, math.inf) == 0


@pytest.mark.gpu
@no_gpu
def test_a_mixture_on_a_gpu_is_made_compact_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compact, "SMALL", 100)
    full = mixture(("poly", "key"), count=200).to("cuda")
    made = compacted(full, 50.0, moments(full.rig, 3))
    assert made.psnr >= 50
    checkpoint.save(Checkpoint(made.mixture), tmp_path / "x.pt", made.packing)
    again = checkpoint.load(tmp_path / "x.pt", "cuda").mixture
    assert compact.between(full, again, moments(full.rig, 3)) == pytest.approx(made.psnr, abs=0.1)
