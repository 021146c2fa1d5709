"""From a file to its mixture; nothing in the file is executed, and what does not fit is refused by its name."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moegs import config
from moegs.checkpoint.checks import check_plain, check_rows, check_tensors
from moegs.checkpoint.contents import FORMAT, VERSION, Checkpoint, CheckpointError, Importance
from moegs.checkpoint.rigs import unpack_rig
from moegs.experts import AnyExpertConfig
from moegs.experts.base import Expert
from moegs.files import altered
from moegs.mixture import Mixture
from moegs.quantisation import unpacked
from moegs.router import AnyRouterConfig, Router
from moegs.runs import RunFolder


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
        rig = unpack_rig(contents["scene"], f"{path}: scene")
        names = [str(entry["name"]) for entry in contents["experts"]]
        experts = [_unpack_expert(entry, f"{path}: expert '{entry['name']}'") for entry in contents["experts"]]
        router = None
        if contents["router"] is not None:
            router = _unpack_router(contents["router"], contents["version"], f"{path}: router")
            if router.rows is not None:
                check_rows(path, names, experts, router.rows)
        mixture = Mixture(names, experts, router, rig)
        rest = {key: dict(contents[key]) for key in ("scores", "provenance")}
        for key, value in rest.items():
            check_plain(value, f"{path}: {key}")
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
            there = "is no ordinary file" if path.exists() else "does not exist"
            what = "is a folder" if path.is_dir() else there
            if (mixture := RunFolder(path).mixture).is_file():
                raise CheckpointError(f"{path}: {what}; give the run's mixture, {mixture}")
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
        wrong = altered(path)
        contents = {} if wrong else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: not a moegs checkpoint: it holds more than tensors and plain values, which is never executed"
        ) from None
    except MemoryError:
        raise
    except Exception:  # a damaged file makes torch's reader and zipfile raise almost anything
        raise broken from None
    if wrong:
        raise CheckpointError(f"{path}: damaged checkpoint ('{wrong}' is not what was written); write or copy it again")
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


def _fill(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    check_tensors(tensors, module.state_dict(), where)
    module.load_state_dict(dict(tensors))


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
            check_tensors({"numbers": numbers}, {"numbers": torch.empty(counts[name])}, place)
        found[criterion] = dict(values)
    return found
