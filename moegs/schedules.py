"""Which numbers of a config are steps, so that a training can be made shorter alike.

A config says it in the type: `stop: Steps = 15000`, `every: Interval = 100`. What is not marked stays as it is.
"""

import dataclasses
import types
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True)
class Scaled:
    """The mark: how a number of steps follows the budget."""

    at_least: int = 1
    """What a budget does not go below; a number that is smaller anyway stays, so that 0 still says "at once"."""

    def by(self, budget: float, steps: int) -> int:
        """`steps` at a share `budget` of the training."""
        return max(round(steps * budget), min(steps, self.at_least))


Steps = Annotated[int, Scaled()]
"""A moment or a length of the training, in steps."""
Interval = Annotated[int, Scaled(at_least=10)]
"""Steps between two rounds of something that gathers statistics in between: fewer than 10 would be none."""


def scaled(config: T, budget: float) -> T:
    """The dataclass `config` with every number that is marked, in it and in the configs that it holds, times `budget`.

    Rates, thresholds and weights stay: a rate falls from the same start to the same end, only sooner.
    Raises ValueError when `budget` is not positive.
    """
    if not 0 < budget < float("inf"):
        raise ValueError(f"budget: got {budget:g}, expected a share of the full training such as 0.2")
    return _scaled_fields(config, budget)


def mark(hint: Any) -> Scaled | None:
    """The mark in a field's type, `Steps` or `Steps | None`; None when it has none."""
    if get_origin(hint) is Annotated:
        return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Scaled)), None)
    if get_origin(hint) in (Union, types.UnionType):
        return next(filter(None, map(mark, get_args(hint))), None)
    return None


def _scaled_fields(config: Any, budget: float) -> Any:
    hints = get_type_hints(type(config), include_extras=True)
    changes = {}
    for field in dataclasses.fields(config):
        value, how = getattr(config, field.name), mark(hints[field.name])
        changes[field.name] = _inner(value, budget) if how is None or value is None else how.by(budget, value)
    return dataclasses.replace(config, **changes)


def _inner(value: Any, budget: float) -> Any:
    if dataclasses.is_dataclass(value):
        return _scaled_fields(value, budget)
    if isinstance(value, tuple):
        return tuple(_inner(entry, budget) for entry in value)
    if isinstance(value, dict):
        return {key: _inner(entry, budget) for key, entry in value.items()}
    return value
