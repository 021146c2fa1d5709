"""Pruning: how much each Gaussian of a mixture matters, which of them stay, and the mixture without the others."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from moegs.cameras import Camera
from moegs.density.rows import resize
from moegs.experts.base import Expert
from moegs.mixture import Mixture
from moegs.rasterize import Layer, splat
from moegs.router import Seen, gates

Criterion = Literal["gate-gradient", "contribution"]
Scope = Literal["mixture", "expert"]


def importance(
    mixture: Mixture,
    views: Sequence[tuple[int, int]],
    on_view: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, dict[str, Float[Tensor, " _"]]]:
    """How much each Gaussian matters to `mixture`: by criterion, then expert, one number for each of its rows.

    `views` are pairs of a camera of the rig and a frame; a score is the mean over them, 0 for a Gaussian that none of
    them sees. `on_view` hears how many are done of how many.

    `gate-gradient` (MoE-GS): in a view, the norm |dG / d(w, w_dir, t w_time)|: G is the gate of the Gaussian's own
    expert, averaged over the picture, and the three are what is splatted of this Gaussian. Left out where the router
    writes nothing on Gaussians. `contribution`: in a view, the sum over its pixels of gate x alpha x transmittance;
    in pixels. Raises ValueError without views, and for a router that blends no pictures.
    """
    if not views:
        raise ValueError("importance: no views; give training views of the scene")
    if mixture.router is not None and not mixture.router.blends:
        raise ValueError(
            f"importance: under a {mixture.router.config.kind} router no Gaussian has a gate; give a mixture whose "
            "router blends the experts' pictures"
        )
    channels = 0 if mixture.router is None else len(mixture.router.feature_background)
    sums = [torch.zeros(len(expert), 2, dtype=torch.float64, device=mixture.device) for expert in mixture.members]
    in_time = sorted(views, key=lambda view: view[1])  # a mixture keeps its last instants
    for done, (camera, frame) in enumerate(in_time, 1):
        t = mixture.rig.timeline.t(frame)
        for total, found, part in zip(
            sums, _in_view(mixture, mixture.rig.cameras[camera], t), mixture.at(t), strict=True
        ):
            rows = torch.arange(len(part), device=found.device) if part.rows is None else part.rows
            total.index_add_(0, rows, found.double())
        on_view(done, len(views))
    means = {name: (total / len(views)).float() for name, total in zip(mixture.names, sums, strict=True)}
    found = {"contribution": {name: mean[:, 1].clone() for name, mean in means.items()}}
    if channels:
        found["gate-gradient"] = {name: mean[:, 0].clone() for name, mean in means.items()}
    return found


def _in_view(mixture: Mixture, camera: Camera, t: float) -> list[Float[Tensor, "N 2"]]:
    """Of the Gaussians of each expert at `t`: the norm of their gate's gradient, and what they contribute.

    One pass back for all experts and both: an expert's logit depends on no other's weights, so that dG / dw is
    G (1 - G) / temperature x dlogit / dw, summed over the pixels; and the gradient of the splatted ones, with the gates
    as theirs, is the contribution.
    """
    router, layers = mixture.router, mixture.layers(mixture.at(t), t)
    with torch.enable_grad():
        marked = [_marked(layer).requires_grad_() for layer in layers]
        behind = None if router is None else pad(router.feature_background, (0, 1))
        splatted = splat(
            [replace(layer, features=f, feature_background=behind) for layer, f in zip(layers, marked, strict=True)],
            camera,
        )
        channels, shares = splatted[..., :-1].contiguous(), splatted[..., -1]
        if router is None:
            total = shares.sum()
        else:
            images = None if router.sees_features_alone else mixture.experts_alone(camera, t)
            logits = router.judge(Seen(layers, images, channels, camera, t)).logits
            gate = gates(logits.detach(), mixture.temperature)
            slope = gate * (1 - gate) / (mixture.temperature * camera.width * camera.height)
            total = (logits * slope).sum() + (shares * gate).sum()
        gradients = torch.autograd.grad(total, marked)
    return [torch.stack([gradient[:, :-1].norm(dim=1), gradient[:, -1]], 1) for gradient in gradients]


def _marked(layer: Layer) -> Float[Tensor, "N C"]:
    """What the router wrote, and a one beside it."""
    one = layer.gaussians.means.new_ones(len(layer.gaussians), 1)
    return one if layer.features is None else torch.cat([layer.features.detach(), one], dim=1)


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
