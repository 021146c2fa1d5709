"""Budgets: what is scaled with the length of a training, what stays, and that no schedule is forgotten."""

import ast
import dataclasses
import inspect
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from moegs import config
from moegs.experts.base import Decay
from moegs.schedules import Interval, Steps, mark, scaled
from moegs.training import TrainConfig

DEMO = Path(__file__).parent.parent / "configs" / "demo.yaml"
SOUNDS_LIKE_STEPS = re.compile(r"(^|_)(steps?|start|stop|until|from|every|interval)($|_)")
EXEMPT = {
    "TrainConfig.save_every": "how much a kill costs, not how long something is learned",
    "DataConfig.start": "a frame",
    "DataConfig.points_step": "frames",
    "EmbeddingConfig.neighbour_every": "Gaussians go as far in so many steps whatever the budget, since the rates stay",
    "LossGuidedConfig.hold_every": "a pattern that comes again each few steps, not a schedule",
    "LossGuidedConfig.hold_steps": "likewise",
    "KeyframeConfig.interval": "frames from key to key",
    "Pruning.weigh_every": "frames",
    "Pruning.check_every": "likewise",
    "Decay.start": "a learning rate",
    "Annealing.start": "a temperature",
    "OneFrameConfig.batch": "pictures in each step",
    "ShuffledConfig.batch": "likewise",
    "HeadsConfig.zero_start": "a switch",
    "DistillTraining.from_scratch": "likewise",
}
"""Fields that sound like steps of a schedule and are none."""


@dataclass(frozen=True)
class Inner:
    steps: Steps = 100
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    stop: Steps = 1000
    every: Interval = 100
    never: Interval | None = None
    at_once: Steps = 0
    count: int = 1000
    inner: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(10), Inner(3))
    named: dict[str, Inner] = field(default_factory=lambda: {"a": Inner(50)})


def test_marked_numbers_follow_the_budget_and_nothing_else_does() -> None:
    assert scaled(Outer(), 0.2) == Outer(
        stop=200, every=20, inner=Inner(20), several=(Inner(2), Inner(1)), named={"a": Inner(10)}
    )


@pytest.mark.parametrize(
    ("every", "budget", "expected"), [(100, 0.01, 10), (5, 0.2, 5), (100, 3.0, 300), (100, 0.5, 50)]
)
def test_an_interval_stays_long_enough_to_gather_something(every: int, budget: float, expected: int) -> None:
    assert scaled(Outer(every=every), budget).every == expected


@pytest.mark.parametrize("budget", [0.0, -1.0, float("nan"), float("inf")])
def test_a_budget_is_a_positive_share(budget: float) -> None:
    with pytest.raises(ValueError, match="budget: got .*, expected a share of the full training"):
        scaled(Outer(), budget)


def test_a_rate_has_fallen_as_far_after_the_same_share_of_the_training() -> None:
    decay = Decay(0.1, 0.001, 1000)
    for share in (0.0, 0.25, 0.5, 1.0):
        full, short = decay.of("x"), scaled(decay, 0.2).of("x")
        assert short.at(round(200 * share), 1.0) == pytest.approx(full.at(round(1000 * share), 1.0))


def test_the_demo_at_a_fifth() -> None:
    full = config.load(TrainConfig, DEMO)
    short = scaled(full, 0.2)
    hexplane, embedding, *_ = short.experts
    assert (hexplane.steps, hexplane.density.start, hexplane.density.stop, hexplane.density.every) == (
        1800,
        100,
        1200,
        20,
    )
    assert hexplane.expert.rates.planes == Decay(0.01, 0.001, 1800)
    assert (embedding.expert.fine_steps, embedding.expert.motion_steps) == (600, 60)
    assert (short.router.steps, short.router.decay_steps) == (180, 2000)
    assert (short.save_every, short.data) == (full.save_every, full.data)
    assert scaled(full, 1.0) == full


def configs_in(kind: Any) -> set[type]:
    """Every dataclass that a field of `kind`, or of one of these, can hold."""
    if dataclasses.is_dataclass(kind):
        found = {kind}
        for hint in get_type_hints(kind).values():
            found |= configs_in(hint)
        return found
    return set().union(*map(configs_in, get_args(kind)))


def told_in_steps(kind: type) -> set[str]:
    """The fields of `kind` of whole numbers that its source explains in steps."""
    body = ast.parse(inspect.getsource(kind)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = set()
    for line, after in pairwise(body.body):
        if isinstance(line, ast.AnnAssign) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            whole = re.match(r"int|Steps|Interval", ast.unparse(line.annotation))
            if whole and re.search(r"\bsteps?\b", str(after.value.value).lower()):
                found.add(ast.unparse(line.target))
    return found


@pytest.mark.parametrize("kind", sorted(configs_in(TrainConfig), key=lambda kind: kind.__name__))
def test_no_schedule_is_forgotten(kind: type) -> None:
    hints, told = get_type_hints(kind, include_extras=True), told_in_steps(kind)
    for each in dataclasses.fields(kind):
        name = f"{kind.__name__}.{each.name}"
        if each.name in told or SOUNDS_LIKE_STEPS.search(each.name) or name in EXEMPT:
            advice = f"{name}: mark it as moegs.schedules.Steps or Interval, or list it in EXEMPT with the reason"
            assert (mark(hints[each.name]) is not None) != (name in EXEMPT), advice


def test_all_four_kinds_are_looked_at() -> None:
    names = {kind.__name__ for kind in configs_in(TrainConfig)}
    assert {
        "HexPlaneConfig",
        "EmbeddingConfig",
        "PolynomialConfig",
        "KeyframeConfig",
        "Decay",
        "DensityConfig",
    } <= names
    stale = [name for name in EXEMPT if name.split(".")[0] not in names]
    assert stale == []


def test_a_scaled_config_is_checked_as_any_other() -> None:
    @dataclass(frozen=True)
    class Tight:
        start: Steps = 10
        stop: Steps = 11

        def __post_init__(self) -> None:
            if self.start >= self.stop:
                raise ValueError("start: not before stop")

    with pytest.raises(ValueError, match="not before stop"):
        scaled(Tight(), 0.1)
