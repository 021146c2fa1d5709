"""Recipes: how an expert of a finished mixture was trained, for whoever trains it again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moegs import config
from moegs.checkpoint import Checkpoint
from moegs.runs import RunFolder
from moegs.training.config import TrainConfig
from moegs.training.experts import ExpertTraining


def find(path: Path, teacher: Checkpoint, expert: str, given: Path | None) -> tuple[ExpertTraining, str]:
    """The recipe of `expert` in the checkpoint `teacher` at `path`, and, where it is nowhere to be found, a line that
    says so: it is then the defaults.

    It stands in the configuration `given`, else in the checkpoint, else in the configuration of the run whose folder
    `path` lies in. Raises ValueError for an expert that is not there, or not in the configuration given.
    """
    names = teacher.mixture.names
    if expert not in names:
        raise ValueError(f"{path}: no expert '{expert}'; it has {', '.join(names)}")
    member = teacher.mixture.members[names.index(expert)]
    found = None
    if given is not None:
        found = _named(config.load(TrainConfig, given), expert)
        if found is None:
            raise ValueError(f"{given}: no expert '{expert}'; give the configuration that made the mixture")
    elif expert in (stored := teacher.provenance.get("experts", {})):
        found = config.build(ExpertTraining, stored[expert], f"{path}: provenance.experts.{expert}")
    elif (beside := RunFolder(path.parent).config).exists():
        found = _named(config.load(TrainConfig, beside), expert)
    if found is None or found.expert.kind != member.config.kind:
        plain = ExpertTraining(name=expert, expert=member.config, steps=max(member.step, 1))
        return plain, f"how '{expert}' was trained is not known"
    return replace(found, name=expert, expert=member.config), ""


def stored(run: TrainConfig) -> Mapping[str, Any]:
    """The recipes of all experts of `run` as plain values, for a checkpoint's provenance."""
    return {recipe.name: config.dump(recipe) for recipe in run.experts}


def _named(run: TrainConfig, expert: str) -> ExpertTraining | None:
    return next((recipe for recipe in run.experts if recipe.name == expert), None)
