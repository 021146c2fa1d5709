"""A checkpoint gives back the mixture to the last bit, and refuses everything else in one line."""

import math
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch
from mixtures import mixture

from moegs import checkpoint
from moegs.checkpoint import Checkpoint, CheckpointError
from moegs.mixture import Mixture
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig

Contents = dict[str, Any]
INF = math.inf


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.pt"
    checkpoint.save(
        Checkpoint(mixture(("hex", "emb", "poly", "key")), {"mixture": {"psnr": 30.0}}, {"by": "test"}), path
    )
    return path


def edited(file: Path, edit: Callable[[Contents], object]) -> Path:
    contents = torch.load(file, weights_only=True)
    edit(contents)
    torch.save(contents, file)
    return file


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        checkpoint.load(path)
    text = str(refused.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_the_same_mixture_comes_back(file: Path) -> None:
    saved, loaded = mixture(("hex", "emb", "poly", "key")), checkpoint.load(file)
    assert loaded.scores == {"mixture": {"psnr": 30.0}}
    assert loaded.provenance == {"by": "test"}
    assert loaded.mixture.names == saved.names
    assert loaded.mixture.rig.timeline == saved.rig.timeline
    assert [e.config for e in loaded.mixture.members] == [e.config for e in saved.members]
    for camera, again in zip(saved.rig.cameras, loaded.mixture.rig.cameras, strict=True):
        ours, theirs = saved.render(camera, 0.3), loaded.mixture.render(again, 0.3)
        assert torch.equal(ours.picture, theirs.picture)
        assert torch.equal(ours.gates, theirs.gates)


def test_importance_comes_back(tmp_path: Path) -> None:
    path, importance = tmp_path / "weighed.pt", {"contribution": {"poly": torch.arange(60.0)}, "gate-gradient": {}}
    checkpoint.save(Checkpoint(mixture(("poly", "key")), importance=importance), path)
    loaded = checkpoint.load(path).importance
    assert loaded["gate-gradient"] == {}
    assert torch.equal(loaded["contribution"]["poly"], importance["contribution"]["poly"])


def test_importance_of_no_criterion_as_files_had_it_before_is_left_out(file: Path) -> None:
    old = edited(file, lambda c: c.update(importance={"poly": torch.arange(60.0)}))
    assert checkpoint.load(old).importance == {}


def test_one_expert_without_a_router_is_a_checkpoint_too(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    checkpoint.save(Checkpoint(mixture(("poly",))), path)
    assert checkpoint.load(path).mixture.router is None


@pytest.mark.parametrize("config", [PixelConfig(temperature=0.3), VolumeConfig(initial_weight=0.2), UniformConfig()])
def test_every_kind_of_router_comes_back(tmp_path: Path, config: AnyRouterConfig) -> None:
    made, path = mixture(("poly", "key")), tmp_path / "other.pt"
    saved = Mixture(made.names, made.members, config.start([60, 60]), made.rig)
    checkpoint.save(Checkpoint(saved), path)
    loaded = checkpoint.load(path).mixture
    assert loaded.router is not None
    assert loaded.router.config == config
    camera = saved.rig.cameras[0]
    with torch.no_grad():
        assert torch.equal(loaded.render(camera, 0.3).picture, saved.render(camera, 0.3).picture)


def test_a_file_of_version_1_has_the_volume_aware_router_under_its_old_name(file: Path) -> None:
    before = checkpoint.load(file).mixture
    edited(file, lambda contents: (contents.update(version=1), contents["router"]["config"].update(kind="volume")))
    after = checkpoint.load(file).mixture
    camera = before.rig.cameras[0]
    assert torch.equal(before.render(camera, 0.3).picture, after.render(camera, 0.3).picture)
    assert after.router is not None
    assert after.router.config.kind == "volume-aware"


def test_nothing_half_written_stays(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file.read_bytes()

    def fail(contents: object, place: BinaryIO) -> None:
        place.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(Checkpoint(mixture(("poly",))), file)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_flipped_bit_is_refused_or_harmless(file: Path) -> None:
    """In the archive's index at the end, whose readers raise whatever they come upon."""
    whole = file.read_bytes()
    refused = 0
    for place in range(len(whole) - 200, len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            checkpoint.load(file)
        except CheckpointError:
            refused += 1
    assert refused


class Malicious:
    """What a pickle may do to whoever loads it: here it would make a folder."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.trace),))


@pytest.mark.parametrize("dump", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing, 2))])
def test_code_in_a_file_is_never_run(tmp_path: Path, dump: Callable[[object, Path], object]) -> None:
    trace, path = tmp_path / "it_ran", tmp_path / "evil.pt"
    dump({"format": "moegs", "version": 1, "experts": Malicious(trace)}, path)
    refusal(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if dump is torch.save else pickle.loads(path.read_bytes())
    assert trace.exists(), "the file would have run code: the test can fail"


def test_what_is_no_checkpoint_is_refused(tmp_path: Path, file: Path) -> None:
    other, text, empty = tmp_path / "other.pt", tmp_path / "text.pt", tmp_path / "empty.pt"
    torch.save({"weights": torch.zeros(3)}, other)
    text.write_text("hello")
    empty.touch()
    assert "does not exist" in refusal(tmp_path / "nowhere.pt")
    assert "is a folder; give a checkpoint file written by moegs" in refusal(tmp_path)
    (tmp_path / "mixture.pt").touch()
    assert f"is a folder; give the run's mixture, {tmp_path / 'mixture.pt'}" in refusal(tmp_path)
    assert "empty file" in refusal(empty)
    assert "not a moegs checkpoint" in refusal(text)
    assert "a torch file, but not a moegs checkpoint" in refusal(other)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert "truncated" in refusal(file)


def test_bytes_that_were_altered_are_refused_though_they_are_numbers(file: Path) -> None:
    whole = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as parts:
        largest = max(parts.infolist(), key=lambda part: part.file_size)
    inside = largest.header_offset + 200 + largest.file_size // 2
    whole[inside] ^= 1
    file.write_bytes(whole)
    assert f"damaged checkpoint ('{largest.filename}' is not what was written); write or copy it again" in refusal(file)


def test_what_is_no_file_is_refused_by_what_it_is(tmp_path: Path) -> None:
    assert "/dev/null: is no ordinary file; give a checkpoint file" in refusal(Path("/dev/null"))


def test_a_newer_version_is_refused(file: Path) -> None:
    assert "written as version 4, this moegs reads up to 3; update moegs" in refusal(
        edited(file, lambda contents: contents.update(version=4))
    )


POLY = 2
MEANS = "groups.0to5.means"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["experts"][POLY]["tensors"].pop(MEANS), f"expert 'poly': tensor '{MEANS}' is missing"),
        (lambda c: c["experts"][POLY]["tensors"].update(extra=torch.zeros(1)), "expert 'poly': unknown tensor 'extra'"),
        (lambda c: c["experts"][POLY]["tensors"].update({MEANS: torch.zeros(60, 2)}), "is (60, 2), expected (60, 3)"),
        (lambda c: c["experts"][POLY]["tensors"].update({MEANS: torch.zeros(60, 3).int()}), "expected torch.float32"),
        (lambda c: c["experts"][POLY]["tensors"][MEANS].fill_(torch.nan), f"tensor '{MEANS}' holds NaN or infinity"),
        (lambda c: c["experts"][POLY]["tensors"].update({MEANS: "text"}), f"tensor '{MEANS}' is str"),
        (lambda c: c["experts"][POLY]["config"].update(degre=3), "unknown key, did you mean 'degree'?"),
        (lambda c: c["experts"][POLY]["config"].update(kind="quintic"), "got 'quintic', expected"),
        (lambda c: c["experts"][POLY].pop("step"), "damaged checkpoint"),
        (lambda c: c["router"]["tensors"].pop("network.0.weight"), "router: tensor 'network.0.weight' is missing"),
        (lambda c: c["router"]["tensors"].update({"static.2": torch.zeros(59, 2), "temporal.2": torch.zeros(59, 1)}),
         "router weighs 59 Gaussians of 'poly', which has 60"),
        (lambda c: c["router"]["config"].update(kind="voxel"), "router.kind: got 'voxel', expected volume-aware or"),
        (lambda c: c["experts"].pop(), "router for 4 experts, but 3 are in the file"),
        (lambda c: c["scene"]["cameras"]["viewmats"].fill_(torch.inf), "'viewmats' holds NaN or infinity"),
        (lambda c: c["scene"].update(up=torch.zeros(4)), "scene: tensor 'up' is (4,), expected (3,)"),
        (lambda c: c["scene"]["cameras"]["viewmats"].fill_(0), "camera 'cam00': the world-to-camera matrix is not"),
        (lambda c: c["scene"]["cameras"]["viewmats"][1, 0].neg_(), "camera 'cam01': the world-to-camera matrix is not"),
        (lambda c: c["scene"]["cameras"]["viewmats"][2, 3, 0].fill_(1), "camera 'cam02': the world-to-camera matrix"),
        (lambda c: c["scene"]["cameras"]["Ks"].fill_(0), "camera 'cam00': K has focal lengths 0 and 0"),
        (lambda c: c["scene"]["cameras"]["Ks"][1, 1, 1].neg_(), "camera 'cam01': K has focal lengths 43.2 and -43.2"),
        (lambda c: c["scene"]["splits"].update(train=[0, 1, 2]), "camera 0 is in the splits twice"),
        (lambda c: c["scene"]["splits"].update(train=[1, 1]), "camera 1 is in the splits twice"),
        (lambda c: c["scene"]["splits"].update(train=[3]), "a split names camera 3, but there are 3"),
        (lambda c: c["experts"][POLY].update(step=-5), "expert 'poly': step is -5, expected 0 or more"),
        (lambda c: c.update(version=-3), "its version is -3; expected 1 to"),
        (lambda c: c.update(version="1"), "its version is '1'; expected 1 to"),
        (lambda c: c.update(importance={"x": {"polly": torch.zeros(60)}}), "'x' of 'polly': there is no such expert"),
        (lambda c: c.update(importance={"x": {"poly": torch.zeros(59)}}), "'x' of 'poly': tensor 'numbers' is (59,),"),
        (lambda c: c.update(importance={"x": {"poly": torch.full((60,), torch.nan)}}), "'numbers' holds NaN or"),
        (lambda c: c.update(importance={"x": 3}), "importance: 'x' is int, expected numbers by expert"),
        (lambda c: c["experts"][POLY].update(step=INF), "damaged checkpoint (OverflowError"),
        (lambda c: c["scene"]["cameras"].update(sizes=[[INF, 5]] * 3), "damaged checkpoint (OverflowError"),
        (lambda c: c["scene"]["splits"].update(train=[INF]), "damaged checkpoint (OverflowError"),
        (lambda c: c["scene"]["timeline"].update(frames=10**400), "timeline: got more than 10000000 frames"),
        (lambda c: c["scene"]["timeline"].update(fps=10**400), "timeline.fps: got a number of 401 digits"),
        (lambda c: c["scene"]["bounds"].fill_(1e38), "expected a smallest and a largest corner within 1e+15"),
        (lambda c: c["scene"]["bounds"][0].fill_(2), "expected a smallest and a largest corner"),
        (lambda c: c["scene"]["cameras"]["viewmats"][1, :3, 3].fill_(1e30), "'cam01' is further away than 1e+15"),
        (lambda c: c["scene"]["up"].fill_(0), "got up [0.0, 0.0, 0.0], expected a direction of length 1"),
        (lambda c: c["scene"]["background"].fill_(-5), "got background [-5.0, -5.0, -5.0], expected RGB in [0, 1]"),
        (lambda c: c["experts"][POLY]["config"]["lowpass"].update(blur=math.nan), "lowpass: blur: got nan, expected a"),
        (lambda c: c["experts"][POLY]["config"]["lowpass"].update(blur=-5.0), "lowpass: blur: got -5, expected a"),
        (lambda c: c["experts"][POLY]["config"].update(near=math.nan), "near, far: got nan and 1e+10, expected"),
        (lambda c: c["experts"][POLY]["config"].update(far=math.nan), "near, far: got 0.01 and nan, expected"),
        (lambda c: c["experts"][POLY]["config"].update(background=[math.nan, 0, 0]), "background: got [nan, 0.0, 0.0]"),
        (lambda c: c["experts"][POLY]["config"].update(background=[-5, 1e30, 0]), "background: got [-5.0, 1e+30, 0.0]"),
        (lambda c: c["experts"][POLY]["config"]["rates"]["means"].update(start=math.nan), "rate from nan to 1.6e-06"),
        (lambda c: c["experts"][POLY]["config"]["rates"]["means"].update(start=INF), "rate from inf to 1.6e-06 in"),
        (lambda c: c["experts"][POLY]["tensors"]["bounds"].fill_(0), "bounds: got [0.0, 0.0], expected times"),
        (lambda c: c["experts"][3]["tensors"]["duration"].fill_(0), "duration: got 0, expected 1 to"),
        (lambda c: c["experts"][0]["tensors"]["field.box"].fill_(1), "box: got corners [[1.0, 1.0, 1.0], [1.0"),
        (lambda c: c["scores"].update(psnr=torch.zeros(1)), "scores.psnr: is Tensor, expected text"),
        (lambda c: c["scores"].update(all=[{3}]), "scores.all[0]: is set, expected text"),
        (lambda c: c["provenance"].update(by=b"x"), "provenance.by: is bytes, expected text"),
        (lambda c: c["provenance"].update({(1, 2): 3}), "provenance: the key (1, 2) is tuple, expected text"),
        (lambda c: c.update(version=True), "its version is True; expected 1 to"),
        (lambda c: c["scene"].pop("bounds"), "scene: tensor 'bounds' is missing"),
        (lambda c: c["scene"]["cameras"].update(sizes=[]), "damaged checkpoint"),
        (lambda c: c["scene"]["timeline"].update(fps=-1.0), "both must be positive"),
        (lambda c: c.pop("scene"), "'scene' is missing"),
        (lambda c: c.update(experts=[]), "router for 4 experts, but 0 are in the file"),
        (lambda c: c.update(experts=3), "damaged checkpoint"),
    ],
)  # fmt: skip
def test_damage_is_named(file: Path, edit: Callable[[Contents], object], message: str) -> None:
    assert message in refusal(edited(file, edit))
