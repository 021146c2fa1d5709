"""One file per mixture: named tensors and plain values, read without ever running code."""

import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from moegs import config
from moegs.cameras import Camera
from moegs.data.scene import Rig
from moegs.experts import AnyExpertConfig
from moegs.experts.base import Expert
from moegs.files import save_tensors
from moegs.mixture import Mixture
from moegs.quantisation import Packing, Scheme, packed, unpacked
from moegs.router import AnyRouterConfig, Router
from moegs.timeline import Timeline

FORMAT = "moegs"
VERSION = 3
"""The newest that is read: in it tensors may be quantised. What is not compact is written as 2, for older ones."""
RIGID = 1e-3
"""How far a camera's axes may be from unit length and right angles: far more than float32 makes of a rotation."""

Importance = dict[str, dict[str, Float[Tensor, " _"]]]
"""Of each criterion, for each expert's name: one number for each row of its concatenated groups, 0 or more."""


class CheckpointError(ValueError):
    """A file that is no checkpoint of ours, or not a whole one, told in one line."""


@dataclass(frozen=True)
class Checkpoint:
    """A mixture and what is known about it."""

    mixture: Mixture
    scores: dict[str, Any] = field(default_factory=dict)
    """What `evaluation` found on the held-out cameras."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: version, command, data, seconds of training."""
    importance: Importance = field(default_factory=dict)
    """How much each Gaussian matters to the mixture, by each criterion of `pruning` that was asked for."""

    @property
    def criteria(self) -> tuple[str, ...]:
        """Those by which all Gaussians of all experts have their scores."""
        names = set(self.mixture.names)
        return tuple(criterion for criterion, scores in self.importance.items() if set(scores) == names)


def save(checkpoint: Checkpoint, path: Path, packing: Packing | None = None) -> None:
    """Writes `checkpoint` to `path`, whole or not at all; with `packing` in fewer bits, importance in half as many."""
    mixture = checkpoint.mixture
    schemes, digits = (Packing(), "full") if packing is None else (packing, "bfloat")
    contents = {
        "format": FORMAT,
        "version": 2 if packing is None else VERSION,
        "experts": [
            _pack_expert(name, expert, schemes.experts.get(name, {}))
            for name, expert in zip(mixture.names, mixture.members, strict=True)
        ],
        "router": mixture.router
        and {"config": config.dump(mixture.router.config), "tensors": _tensors(mixture.router, schemes.router)},
        "scene": _pack_rig(mixture.rig),
        "scores": checkpoint.scores,
        "importance": {
            criterion: {name: _stored(values, digits) for name, values in found.items()}
            for criterion, found in checkpoint.importance.items()
        },
        "provenance": checkpoint.provenance,
    }
    save_tensors(contents, path)


def load(path: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """The checkpoint at `path`, on `device`.

    Raises CheckpointError in one line when the file is missing, no checkpoint of ours, truncated, of a newer version,
    or has a missing, extra, misshapen or non-finite tensor, a camera that is none, splits that share one, or scores
    that are no plain values. Nothing in the file is executed.
    """
    contents = _read(path)
    try:
        if contents["version"] >= VERSION:
            contents |= {key: unpacked(contents[key]) for key in ("experts", "router", "importance")}
        rig = _unpack_rig(contents["scene"], f"{path}: scene")
        names = [str(entry["name"]) for entry in contents["experts"]]
        experts = [_unpack_expert(entry, f"{path}: expert '{entry['name']}'") for entry in contents["experts"]]
        router = None
        if contents["router"] is not None:
            router = _unpack_router(contents["router"], contents["version"], f"{path}: router")
            if router.rows is not None:
                _check_rows(path, names, experts, router.rows)
        mixture = Mixture(names, experts, router, rig)
        rest = {key: dict(contents[key]) for key in ("scores", "provenance")}
        for key, value in rest.items():
            _check_plain(value, f"{path}: {key}")
        importance = _unpack_importance(contents["importance"], mixture, f"{path}: importance")
    except CheckpointError:
        raise
    except config.ConfigError as error:
        raise CheckpointError(str(error)) from None
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, ArithmeticError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: damaged checkpoint ({error.__class__.__name__}: {reason})") from None
    mixture.requires_grad_(False)
    return Checkpoint(mixture.to(device), **rest, importance=importance)


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise CheckpointError(f"{path}: {what}; give a checkpoint file written by moegs")
        if not path.stat().st_size:
            raise CheckpointError(f"{path}: empty file; give a checkpoint file written by moegs")
        path.open("rb").close()  # whether it may be read at all
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); allow it, or give another") from None
    broken = CheckpointError(f"{path}: not a moegs checkpoint, or a truncated one; write or copy it again")
    try:
        if not zipfile.is_zipfile(path):  # as torch has written since 1.6, its index at the end
            raise broken
        contents = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: not a moegs checkpoint: it holds more than tensors and plain values, which is never executed"
        ) from None
    except MemoryError:
        raise
    except Exception:  # a damaged file makes torch's reader and zipfile raise almost anything
        raise broken from None
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise CheckpointError(f"{path}: a torch file, but not a moegs checkpoint")
    version = contents.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise CheckpointError(f"{path}: damaged checkpoint, its version is {version!r}; expected 1 to {VERSION}")
    if version > VERSION:
        raise CheckpointError(f"{path}: written as version {version}, this moegs reads up to {VERSION}; update moegs")
    missing = [
        key for key in ("experts", "router", "scene", "scores", "provenance", "importance") if key not in contents
    ]
    if missing:
        raise CheckpointError(f"{path}: damaged checkpoint, '{missing[0]}' is missing")
    return contents


def _pack_expert(name: str, expert: Expert, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    return {
        "kind": expert.config.kind,
        "name": name,
        "config": config.dump(expert.config),
        "step": expert.step,
        "tensors": _tensors(expert, schemes),
    }


def _unpack_expert(entry: Mapping[str, Any], where: str) -> Expert:
    settings = config.build(AnyExpertConfig, entry["config"], where)
    expert = settings.empty(entry["tensors"])
    _fill(expert, entry["tensors"], where)
    try:
        expert.check()
    except ValueError as error:
        raise CheckpointError(f"{where}: {error}") from None
    step = int(entry["step"])
    if step < 0:
        raise CheckpointError(f"{where}: step is {step}, expected 0 or more")
    expert.begin_step(step)
    return expert


def _unpack_router(entry: Mapping[str, Any], version: int, where: str) -> Router:
    values = dict(entry["config"])
    if version == 1:  # it knew one kind, under the name that an ablation has now
        values["kind"] = "volume-aware"
    router: Router = config.build(AnyRouterConfig, values, where).empty(entry["tensors"])
    _fill(router, entry["tensors"], where)
    return router


def _tensors(module: nn.Module, schemes: Mapping[str, Scheme]) -> dict[str, Any]:
    return {name: _stored(tensor, schemes.get(name, "full")) for name, tensor in module.state_dict().items()}


def _stored(tensor: Tensor, scheme: Scheme) -> Any:
    return packed(tensor.detach().cpu().contiguous(), scheme)


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    _check(tensors, module.state_dict(), where)
    module.load_state_dict(dict(tensors))


def _check(tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str) -> None:
    for name in wanted:
        if name not in tensors:
            raise CheckpointError(f"{where}: tensor '{name}' is missing")
    for name, tensor in tensors.items():
        if name not in wanted:
            raise CheckpointError(f"{where}: unknown tensor '{name}'")
        if not isinstance(tensor, Tensor) or tensor.shape != wanted[name].shape:
            got = tuple(tensor.shape) if isinstance(tensor, Tensor) else type(tensor).__name__
            raise CheckpointError(f"{where}: tensor '{name}' is {got}, expected {tuple(wanted[name].shape)}")
        if tensor.dtype != wanted[name].dtype:
            raise CheckpointError(f"{where}: tensor '{name}' is {tensor.dtype}, expected {wanted[name].dtype}")
        if not bool(tensor.isfinite().all()):
            raise CheckpointError(f"{where}: tensor '{name}' holds NaN or infinity")


def _check_rows(path: Path, names: list[str], experts: list[Expert], rows: list[int]) -> None:
    if len(rows) != len(experts):
        raise CheckpointError(f"{path}: router for {len(rows)} experts, but {len(experts)} are in the file")
    for name, expert, count in zip(names, experts, rows, strict=True):
        if len(expert) != count:
            raise CheckpointError(f"{path}: router weighs {count} Gaussians of '{name}', which has {len(expert)}")


def _unpack_importance(stored: Mapping[str, Any], mixture: Mixture, where: str) -> Importance:
    """Whether it says of experts that are there, all their Gaussians, how much each matters.

    Files of version 2 could hold numbers of no criterion, by expert: what they are is not known, so they are left out.
    """
    counts = dict(zip(mixture.names, map(len, mixture.members), strict=True))
    found: Importance = {}
    for criterion, values in stored.items():
        if isinstance(values, Tensor):
            continue
        if not isinstance(criterion, str) or not isinstance(values, Mapping):
            raise CheckpointError(f"{where}: '{criterion}' is {type(values).__name__}, expected numbers by expert")
        for name, numbers in values.items():
            place = f"{where}: '{criterion}' of '{name}'"
            if name not in counts:
                raise CheckpointError(f"{place}: there is no such expert; there are {', '.join(counts)}")
            _check({"numbers": numbers}, {"numbers": torch.empty(counts[name])}, place)
        found[criterion] = dict(values)
    return found


def _check_plain(value: Any, where: str) -> None:
    """Whether `value` is what JSON can say: mappings by text, lists, text, numbers, yes, no and nothing."""
    if isinstance(value, dict):
        for key, entry in value.items():
            if not isinstance(key, str):
                raise CheckpointError(f"{where}: the key {key!r} is {type(key).__name__}, expected text")
            _check_plain(entry, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for number, entry in enumerate(value):
            _check_plain(entry, f"{where}[{number}]")
    elif not isinstance(value, str | int | float | None):
        raise CheckpointError(f"{where}: is {type(value).__name__}, expected text, a number or nothing")


def _check_camera(viewmat: Tensor, K: Tensor, where: str) -> None:
    rotation, last = viewmat[:3, :3].double(), viewmat[3].tolist()
    straight = torch.allclose(rotation @ rotation.T, torch.eye(3).double(), atol=RIGID)
    if not straight or rotation.det() < 0 or last != [0, 0, 0, 1]:
        raise CheckpointError(f"{where}: the world-to-camera matrix is not rigid: no rotation and translation")
    if not (K[0, 0] > 0 and K[1, 1] > 0 and K[2].tolist() == [0, 0, 1]):
        raise CheckpointError(
            f"{where}: K has focal lengths {K[0, 0]:g} and {K[1, 1]:g}, or a last row other than 0 0 1"
        )


def _pack_rig(rig: Rig) -> dict[str, Any]:
    return {
        "cameras": {
            "viewmats": torch.stack([camera.viewmat for camera in rig.cameras]).cpu(),
            "Ks": torch.stack([camera.K for camera in rig.cameras]).cpu(),
            "sizes": [[camera.width, camera.height] for camera in rig.cameras],
            "names": list(rig.names),
        },
        "splits": {"train": list(rig.train), "test": list(rig.test)},
        "timeline": config.dump(rig.timeline),
        "up": rig.up.cpu(),
        "bounds": rig.bounds.cpu(),
        "background": rig.background.cpu(),
    }


def _unpack_rig(scene: Mapping[str, Any], where: str) -> Rig:
    cameras = scene["cameras"]
    count = len(cameras["names"])
    shapes = {"viewmats": (count, 4, 4), "Ks": (count, 3, 3), "up": (3,), "bounds": (2, 3), "background": (3,)}
    stored = {name: value for name, value in {**scene, **cameras}.items() if isinstance(value, Tensor)}
    _check(stored, {name: torch.empty(shape) for name, shape in shapes.items()}, where)
    for name, viewmat, K in zip(cameras["names"], cameras["viewmats"], cameras["Ks"], strict=True):
        _check_camera(viewmat, K, f"{where}: camera '{name}'")
    views = zip(cameras["viewmats"], cameras["Ks"], cameras["sizes"], strict=True)
    return Rig(
        cameras=tuple(Camera(viewmat, K, int(width), int(height)) for viewmat, K, (width, height) in views),
        names=tuple(str(name) for name in cameras["names"]),
        train=tuple(int(i) for i in scene["splits"]["train"]),
        test=tuple(int(i) for i in scene["splits"]["test"]),
        timeline=config.build(Timeline, dict(scene["timeline"]), f"{where}.timeline"),
        up=scene["up"],
        bounds=scene["bounds"],
        background=scene["background"],
    )
