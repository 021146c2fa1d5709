"""Options that take several values, and may stand several times: --set a=1 b=2 and --set a=1 --set b=2 are one."""

from itertools import chain
from typing import Annotated, TypeVar

from tyro.conf import UseAppendAction

T = TypeVar("T")

Repeated = Annotated[tuple[tuple[T, ...], ...], UseAppendAction]
"""The values of each time that the option stands."""


def joined(values: tuple[tuple[T, ...], ...], option: str) -> tuple[T, ...]:
    """All of them, in their order.

    Raises ValueError where the `option` stands without a value, which would be taken for left out.
    """
    if not all(values):
        raise ValueError(f"{option}: stands without a value; give one or more after it, or leave it out")
    return tuple(chain.from_iterable(values))
