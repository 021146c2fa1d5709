"""Pruning: which Gaussians of a mixture stay by a score of each, and the mixture that is left without the others."""

import copy
from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from moegs.density.rows import resize
from moegs.experts.base import Expert
from moegs.mixture import Mixture

Criterion = Literal["gate-gradient", "contribution"]
Scope = Literal["mixture", "expert"]


def kept(scores: Mapping[str, Float[Tensor, " _"]], ratio: float, scope: Scope) -> dict[str, Bool[Tensor, " _"]]:
    """Which rows of each expert stay when the `ratio` of them with the lowest scores goes.

    `mixture`: of all rows together, so that experts lose unlike shares. `expert`: of each expert's alike. Each keeps at
    least its best row. Of rows with equal scores the later one goes first, so that a larger ratio only takes more.
    Raises ValueError for a ratio that is not in [0, 1] or a score that is not finite.
    """
    if not 0 <= ratio <= 1:
        raise ValueError(f"ratio: got {ratio}, expected the share of Gaussians that goes, in [0, 1]")
    _check(scores)
    if scope == "expert":
        return {name: _best(values, _best_row(values), ratio) for name, values in scores.items()}
    parts = list(scores.values())
    masks = _best(torch.cat(parts), torch.cat([_best_row(values) for values in parts]), ratio)
    return dict(zip(scores, masks.split([len(values) for values in parts]), strict=True))


def kept_from(scores: Mapping[str, Float[Tensor, " _"]], threshold: float) -> dict[str, Bool[Tensor, " _"]]:
    """Which rows of each expert stay when those with a score below `threshold` go; each keeps at least its best row.

    Raises ValueError for a score that is not finite.
    """
    _check(scores)
    return {name: (values >= threshold) | _best_row(values) for name, values in scores.items()}


def pruned(mixture: Mixture, masks: Mapping[str, Bool[Tensor, " _"]]) -> Mixture:
    """A mixture of its own with those rows of each expert alone, and what the router wrote on them.

    An expert without a mask stays whole. Raises ValueError for a mask of an expert that is not there, or with another
    number of rows.
    """
    for name, mask in masks.items():
        if name not in mixture.names:
            raise ValueError(f"pruned: no expert '{name}'; there are {', '.join(mixture.names)}")
        count = len(mixture.members[mixture.names.index(name)])
        if len(mask) != count:
            raise ValueError(f"pruned: a mask of {len(mask)} rows for '{name}', which has {count}")
    experts, router = [copy.deepcopy(expert) for expert in mixture.members], copy.deepcopy(mixture.router)
    rows = []
    for name, expert in zip(mixture.names, experts, strict=True):
        mask = masks.get(name, torch.ones(len(expert), dtype=torch.bool)).to(mixture.device)
        rows.append(torch.where(mask)[0])
        _cut(expert, mask)
    if router is not None:
        router.keep(rows)
    return Mixture(mixture.names, experts, router, mixture.rig)


def _cut(expert: Expert, mask: Bool[Tensor, " _"]) -> None:
    counts = expert.counts()
    stay = {name: torch.where(part)[0] for name, part in zip(counts, mask.split(list(counts.values())), strict=True)}
    for name, rows in stay.items():
        resize(expert, name, rows, {})
    expert.rows_changed(stay)


def _best(values: Float[Tensor, " _"], spared: Bool[Tensor, " _"], ratio: float) -> Bool[Tensor, " _"]:
    """All but the share `ratio` of the rows with the lowest values; the `spared` stay whatever their values."""
    going = min(round(ratio * len(values)), int((~spared).sum()))
    order = values.masked_fill(spared, torch.inf).sort(descending=True, stable=True).indices
    mask = torch.ones_like(spared)
    mask[order[len(values) - going :]] = False
    return mask


def _best_row(values: Float[Tensor, " _"]) -> Bool[Tensor, " _"]:
    """The first row with the highest value, if there is any row."""
    mask = torch.zeros_like(values, dtype=torch.bool)
    if len(values):
        mask[values.argmax()] = True
    return mask


def _check(scores: Mapping[str, Float[Tensor, " _"]]) -> None:
    for name, values in scores.items():
        if not bool(values.isfinite().all()):
            raise ValueError(f"scores of '{name}': NaN or infinity among {len(values)} numbers; measure them again")
