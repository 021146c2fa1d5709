"""Pruning: which rows stay, and that the mixture without the others is what it was, but for them."""

from dataclasses import fields

import pytest
import torch
from mixtures import mixture
from small_experts import SMALL, stirred
from torch import Tensor
from torch.testing import assert_close

from moegs.gaussians import Gaussians
from moegs.mixture import Mixture
from moegs.pruning import kept, kept_from, pruned
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig


def scores(**values: list[float]) -> dict[str, Tensor]:
    return {name: torch.tensor(numbers) for name, numbers in values.items()}


def test_the_lowest_scores_go_of_the_whole_mixture_or_of_each_expert_alike():
    given = scores(a=[1.0, 2.0, 3.0, 4.0], b=[5.0, 0.5, 6.0, 7.0])
    over = {name: mask.tolist() for name, mask in kept(given, 0.5, "mixture").items()}
    assert over == {"a": [False, False, False, True], "b": [True, False, True, True]}
    each = {name: mask.tolist() for name, mask in kept(given, 0.5, "expert").items()}
    assert each == {"a": [False, False, True, True], "b": [False, False, True, True]}


def test_equal_scores_go_from_the_last_row_on_so_that_more_only_takes_more():
    given = scores(a=[0.0] * 7, b=[0.0] * 5)
    before = kept(given, 0.0, "mixture")
    for tenths in range(1, 11):
        now = kept(given, tenths / 10, "mixture")
        assert all(bool((before[name] | ~now[name]).all()) for name in given), "a row came back"
        before = now
    assert kept(given, 0.5, "mixture")["a"].tolist() == [True] * 5 + [False] * 2


@pytest.mark.parametrize("scope", ["mixture", "expert"])
def test_every_expert_keeps_its_best_row_and_the_share_is_what_was_asked_for(scope: str):
    given = {"low": torch.arange(20.0), "high": 100 + torch.arange(80.0)}
    masks = kept(given, 0.8, scope)  # type: ignore[arg-type]
    assert masks["low"][-1]
    assert sum(int(mask.sum()) for mask in masks.values()) == 20
    everything = kept(given, 1.0, scope)  # type: ignore[arg-type]
    assert [torch.where(mask)[0].tolist() for mask in everything.values()] == [[19], [79]]


def test_a_threshold_keeps_what_reaches_it():
    masks = kept_from(scores(a=[1.0, 2.0, 3.0], b=[0.1, 0.3, 0.2]), 2.0)
    assert {name: mask.tolist() for name, mask in masks.items()} == {
        "a": [False, True, True],
        "b": [False, True, False],
    }


def test_what_is_no_ratio_or_score_is_refused():
    given = scores(a=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"ratio: got 1.5, expected the share of Gaussians that goes, in \[0, 1\]"):
        kept(given, 1.5, "mixture")
    with pytest.raises(ValueError, match="scores of 'a': NaN or infinity among 2 numbers"):
        kept(scores(a=[1.0, torch.nan]), 0.5, "mixture")


def thinned(made: Mixture, share: float = 0.6) -> tuple[Mixture, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(5)
    masks = {
        name: torch.rand(len(expert), generator=generator) < share
        for name, expert in zip(made.names, made.members, strict=True)
    }
    return pruned(made, masks), masks


def test_the_pruned_mixture_is_the_mixture_with_the_others_transparent():
    made = mixture(("hex", "emb", "poly", "key"))
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    thin, masks = thinned(made)
    assert [len(expert) for expert in thin.members] == [int(mask.sum()) for mask in masks.values()]
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, before[name]), "the original is as it was"
    for expert, mask in zip(made.members, masks.values(), strict=True):
        logits = torch.cat([expert.group(name)["logit_opacities"] for name in expert.groups])
        logits[~mask] = -torch.inf
        for name, part in zip(expert.groups, logits.split(list(expert.counts().values())), strict=True):
            expert.group(name)["logit_opacities"].copy_(part)
    for camera, t in zip(made.rig.cameras, (0.0, 0.3, 0.8), strict=True):
        ours, theirs = thin.render(camera, t), made.render(camera, t)
        assert_close(ours.picture, theirs.picture, atol=1e-6, rtol=0)
        assert_close(ours.gates, theirs.gates, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", SMALL)
def test_each_kind_of_expert_keeps_its_rows_groups_that_are_left_empty_too(kind: str):
    expert = stirred(SMALL[kind])
    mask = torch.arange(len(expert)) >= next(iter(expert.counts().values()))
    mask = mask if bool(mask.any()) else torch.arange(len(expert)) % 2 == 0
    rig = mixture(("poly",)).rig
    thin = pruned(Mixture(["it"], [expert], None, rig), {"it": mask}).members[0]
    for t in (0.0, 0.4, 0.9):
        whole, left = expert.at(t), thin.at(t)
        rows = torch.arange(len(expert)) if whole.rows is None else whole.rows
        wanted = whole.select(mask[rows])
        for field in (f.name for f in fields(Gaussians) if f.name != "rows"):
            assert_close(getattr(left, field), getattr(wanted, field), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("config", [PixelConfig(), VolumeConfig(initial_weight=0.2), UniformConfig()])
def test_every_kind_of_router_follows(config: AnyRouterConfig):
    made = mixture()
    router = config.start([len(expert) for expert in made.members])
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    other = Mixture(made.names, made.members, router, made.rig).requires_grad_(False)
    thin, masks = thinned(other)
    assert thin.router is not None
    if thin.router.rows is not None:
        assert thin.router.rows == [int(mask.sum()) for mask in masks.values()]
        assert torch.equal(thin.router.state_dict()["static.1"], router.state_dict()["static.1"][masks["key"]])
    assert thin.render(thin.rig.cameras[0], 0.2).picture.isfinite().all()


def test_a_mask_that_does_not_fit_is_refused():
    made = mixture()
    with pytest.raises(ValueError, match="pruned: no expert 'hex'; there are poly, key"):
        pruned(made, {"hex": torch.ones(60, dtype=torch.bool)})
    with pytest.raises(ValueError, match="pruned: a mask of 59 rows for 'key', which has 60"):
        pruned(made, {"key": torch.ones(59, dtype=torch.bool)})
