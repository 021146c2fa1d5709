"""TrainConfig: all that decides a run, from one YAML file."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from moegs import config
from moegs.data import DataConfig
from moegs.data.config import KEEPING
from moegs.evaluation import BESIDES
from moegs.files import replacing
from moegs.runs import RunFolder
from moegs.training.distill import DistillTraining
from moegs.training.experts import ExpertTraining
from moegs.training.loop import TrainingError
from moegs.training.pruning import CUT, NAME, Pruning
from moegs.training.routing import RouterTraining

FREE = frozenset(
    ("parallel", "threads", "save_every", "snapshot_seconds", "gpu_share", *(f"data.{name}" for name in KEEPING))
)
"""What may be another from sitting to sitting: how a run is done, and how often it says so."""
MOST_THREADS = 4096.0
"""Of one process, and processes: more than any machine has, and less than ends a process without a word."""
LARGEST_SEED = 2**32
"""Each expert's own seed lies a little above; torch would take 64 bits."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """A whole run: the data, the experts one by one, the router over them, what is made of the mixture."""

    data: DataConfig
    experts: tuple[ExpertTraining, ...]
    router: RouterTraining = field(default_factory=RouterTraining)
    prune: Pruning | None = None
    """How the finished mixture is pruned, into a file of its own; None: it is not."""
    distill: tuple[DistillTraining, ...] = ()
    """Experts that learn from the finished mixture."""
    seed: int = 0
    parallel: int = 1
    """How many experts train at once, each in a process of its own."""
    threads: int = 1
    """CPU threads of each of these processes. Two experts with one thread each train faster than one with two."""
    save_every: int = 500
    """Steps between two states from which a killed run goes on."""
    snapshot_seconds: float = 10.0
    """At least so long between two snapshots of a phase, for whom looks on; 0: none."""
    gpu_share: float = 1.0
    """Of one GPU, for each job in a Ray cluster that has any; 0.5 puts two jobs on each."""

    def resolved(self, base: Path, cache_dir: Path | None = None) -> "TrainConfig":
        """The same with the data's paths absolute, those that are relative counted from the folder `base`.

        `cache_dir`: another place for decoded frames than the config's, relative to the working directory.
        """
        data = self.data if cache_dir is None else replace(self.data, cache_dir=cache_dir.absolute())
        return replace(self, data=data.relative_to(base))

    def __post_init__(self) -> None:
        if not self.experts:
            raise ValueError("experts: none given; name at least one")
        names = [expert.name for expert in self.experts]
        for name in names:
            if name in BESIDES:
                raise ValueError(f"experts: name '{name}': is that of a score; choose another")
            if not name or names.count(name) > 1 or not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"experts: name '{name}'; give each its own, of letters, digits, - and _")
        students = [student.expert for student in self.distill]
        for name in students:
            if name not in names or students.count(name) > 1:
                raise ValueError(f"distill: expert '{name}'; give names of experts, each once: {', '.join(names)}")
        self._check_phases()
        self._check_pruning()
        if not 0 <= self.seed < LARGEST_SEED:
            raise ValueError(f"seed: got {self.seed}, expected 0 or more, less than {LARGEST_SEED}")
        config.check_range(self, 1.0, MOST_THREADS, "parallel", "threads")
        config.check_range(self, 1.0, math.inf, "save_every")
        config.check_range(self, 0.0, math.inf, "snapshot_seconds")
        if not self.gpu_share > 0 or (self.gpu_share > 1 and not self.gpu_share.is_integer()):
            raise ValueError(f"gpu_share: got {self.gpu_share:g}, expected a share of 1 or a whole number of GPUs")

    def _check_phases(self) -> None:
        """Raises ValueError where two phases, and so their files, would have one name."""
        phases = [expert.name for expert in self.experts]
        if len(phases) > 1:
            phases += [f"router-{temperature:g}" for temperature in self.router.tried]
        if self.prune is not None:
            phases += [NAME, CUT]
        for student in self.distill:
            phases += [f"distill-{student.expert}", *([f"distill-{student.expert}-twin"] if student.twin else [])]
        for name in phases:
            if phases.count(name) > 1:
                raise ValueError(f"experts: two phases of this run would be called '{name}'; rename an expert")

    def _check_pruning(self) -> None:
        """Raises ValueError where the mixture to come cannot be pruned as asked."""
        if self.prune is None:
            return
        kind = self.router.router.kind if len(self.experts) > 1 else None
        if kind == "volume":
            raise ValueError(
                "prune: under a volume router no Gaussian has a gate; leave it out, or take another router"
            )
        if kind is None and self.prune.finetune and not self.prune.finetune_experts:
            raise ValueError(
                "prune.finetune: one expert has no router that learns; leave it out, or add finetune_experts"
            )
        if kind != "volume-aware" and self.prune.criterion == "gate-gradient":
            raise ValueError("prune.criterion: gate-gradient needs a volume-aware router; take contribution")


def write(run: Any, path: Path) -> None:
    """Writes the full config, defaults included, to `path`."""
    with replacing(path) as temporary:
        temporary.write_text(yaml.safe_dump(config.dump(run), sort_keys=False))


def difference(ours: Any, path: Path) -> str | None:
    """The first key in which the config at `path` is not `ours`, as "key: theirs there, ours here"; None when equal.

    Keys that decide nothing of what is learned (`FREE`) may differ. Raises ValueError when it is no YAML.
    """
    try:
        theirs = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path}: not YAML ({reason}); remove it, or choose another folder") from None
    flat_ours, flat_theirs = _flat(config.dump(ours)), _flat(theirs)
    for key in {**flat_ours, **flat_theirs}:
        if key not in FREE and flat_ours.get(key) != flat_theirs.get(key):
            return f"{key}: {flat_theirs.get(key)} there, {flat_ours.get(key)} here"
    return None


def claim(folder: RunFolder, settings: Any, resume: bool, whole: bool) -> None:
    """Makes `folder` that of `settings`, a config; `whole`: whether all that they ask for is done.

    Raises TrainingError where it belongs to others, or is used and not to be resumed.
    """
    if not folder.config.exists():
        write(settings, folder.config)
        return
    other = difference(settings, folder.config)
    if other:
        raise TrainingError(
            f"{folder.path}: belongs to another config ({other}); choose another folder, or give the config and the "
            "options that it was begun with"
        )
    if not resume:
        what = "finished" if whole else "unfinished"
        raise TrainingError(
            f"{folder.path}: holds this very run already, {what}; add --resume to go on with it, or choose another "
            "folder"
        )


def _flat(values: object, prefix: str = "") -> dict[str, object]:
    if isinstance(values, dict) and values:
        parts = [_flat(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in values.items()]
    elif isinstance(values, list) and values:
        parts = [_flat(value, f"{prefix}[{i}]") for i, value in enumerate(values)]
    else:
        return {prefix: values}
    return {key: value for part in parts for key, value in part.items()}
