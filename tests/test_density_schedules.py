"""Density control: the schedules and limits of the experts' papers; what a recipe edits; MCMC."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from backends import no_gpu
from gsplat.cuda._torch_impl import _quat_scale_to_covar_preci
from gsplat.strategy import ops
from test_density import EXTENT, HEIGHT, WIDTH, adam, expert_of, seen
from torch.testing import assert_close

from moegs.density import Change, DensityConfig, DensityControl, McmcConfig, mcmc
from moegs.experts.recipe import Edit, Ground, Plain

ALL = torch.ones(40, dtype=torch.bool)


def control_of(expert, config: DensityConfig, **values) -> DensityControl:
    return DensityControl(expert, adam(expert), config, EXTENT, **values)


def ready(config: DensityConfig) -> DensityControl:
    """Forty rows that all ask for growth, half of them faint."""
    expert = expert_of(40)
    group = expert.group("0to9")
    group["log_scales"].data.fill_(-5.0)
    group["logit_opacities"].data[:20] = -20
    group["logit_opacities"].data[20:] = 0
    control = control_of(expert, config)
    control.observe(seen(torch.ones(40, 2), ALL), None)
    return control


BASE = DensityConfig(start=0, every=100)


@pytest.mark.parametrize(
    ("values", "change"),
    [
        ({}, Change(40, 0, 40)),  # twins of faint rows are faint
        ({"grow_below": 40}, Change(0, 0, 20)),
        ({"grow_below": 41}, Change(40, 0, 40)),
        ({"prune_above": 80}, Change(40, 0, 0)),
        ({"prune_above": 79}, Change(40, 0, 40)),
        ({"prune_stop": 100}, Change(40, 0, 0)),
        ({"prune_stop": 101}, Change(40, 0, 40)),
        ({"prune_while_growing": False}, Change(40, 0, 0)),
        ({"rounds": 0}, Change(0, 0, 20)),
        ({"rounds": 0, "prune_while_growing": False}, Change(0, 0, 20)),
    ],
)
def test_growth_and_pruning_have_their_limits(values: Mapping, change: Change):
    assert ready(replace(BASE, **values)).after_step(100) == change


def test_only_the_first_rounds_add():
    config = replace(BASE, start=500, rounds=6)
    assert [step for step in range(600, 2000, 100) if config.grows(step)] == [600, 700, 800, 900, 1000, 1100]


def test_thresholds_move_evenly_from_their_start_to_their_end():
    config = replace(BASE, stop=1000, gradient=2e-4, gradient_end=4e-4, opacity=0.01, opacity_end=0.005)
    assert config.gradient_at(500, "0to9") == pytest.approx(3e-4)
    assert config.opacity_at(1000) == pytest.approx(0.005)
    assert replace(config, group_gradients={"a": 1.0}).gradient_at(500, "a") == 1.0


def test_a_batch_counts_picture_by_picture_or_as_its_sum():
    first, second = torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[-1.0, 0.0], [0.0, 0.0]])
    both, one = torch.tensor([True, True]), torch.tensor([True, False])
    per_picture, as_sum = (control_of(expert_of(2), DensityConfig(batch=batch)) for batch in ("mean", "sum"))
    for control in (per_picture, as_sum):
        control.observe(seen(first, both), None)
        control.observe(seen(second, one), None)
        control.after_step(1)
    half = WIDTH / 2
    assert_close(per_picture.sums, torch.tensor([4.0, 1.0]) * half)
    assert_close(per_picture.counts, torch.tensor([2.0, 1.0]))
    assert_close(as_sum.sums, torch.tensor([2.0, 1.0]) * half / 2)  # |3 - 1| and |1| over two pictures
    assert_close(as_sum.counts, torch.tensor([1.0, 1.0]))
    assert HEIGHT != WIDTH


def test_statistics_and_recipe_follow_the_rows_that_a_recipe_edits():
    expert = expert_of(6, segments=2)
    first = expert.counts()["0to4"]
    recipe, told = Plain(Ground(10, 2, 1.0), expert.groups), []
    recipe.rows_changed = told.append  # type: ignore[method-assign]
    control = control_of(expert, DensityConfig(), recipe=recipe)
    control.sums = torch.arange(6.0)
    kept = torch.tensor([0])
    added = {name: value.detach()[:2] + 1 for name, value in expert.group("5to9").items()}
    old = expert.group("5to9")["means"].detach().clone()
    control.revise(Edit("5to9", kept=kept, added=added))
    assert_close(control.sums, torch.tensor([*range(first), float(first), 0.0, 0.0]))
    assert_close(expert.group("5to9")["means"].detach(), torch.cat([old[:1], old[:2] + 1]))
    assert told[0]["5to9"].tolist() == [0, -1, -1]
    assert told[0]["0to4"].tolist() == list(range(first))


def test_a_batch_is_counted_for_its_own_rows_before_a_recipe_edits_them():
    control = control_of(expert_of(3), DensityConfig(batch="sum"))
    control.observe(seen(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), ALL[:3]), None)
    control.revise(Edit("0to9", kept=torch.tensor([2])))
    control.after_step(1)
    assert_close(control.sums, torch.tensor([3.0]) * WIDTH / 2)


@pytest.mark.parametrize("anew", [False, True])
def test_rewritten_values_start_without_moments(anew: bool):
    expert = expert_of(5)
    control = control_of(expert, DensityConfig())
    group = expert.group("0to9")
    control.revise(Edit("0to9", rewritten={"omegas": torch.ones(5, 4)}, anew=anew))
    assert_close(group["omegas"].detach(), torch.ones(5, 4))
    state = control.optimizer.state
    assert (group["omegas"] in state) == (not anew)
    assert anew or not state[group["omegas"]]["exp_avg"].any()
    assert anew or state[group["omegas"]]["step"] == 1
    assert state[group["means"]]["exp_avg"].any()


def test_mcmc_needs_a_gpu():
    expert = expert_of(4)
    with pytest.raises(ValueError, match=r"density.mcmc: needs a CUDA GPU, this expert is on the cpu; set .* to null"):
        control_of(expert, DensityConfig(mcmc=McmcConfig()))


def relocation(opacities, scales, ratios, binoms):
    """What gsplat's CUDA kernel computes: so many Gaussians at one place show as the one did (Kheradmand et al.)."""
    new = 1 - (1 - opacities) ** (1 / ratios)
    shrink = torch.empty_like(opacities)
    for row, (opacity, count) in enumerate(zip(new.tolist(), ratios.tolist(), strict=True)):
        terms = [
            float(binoms[i - 1, k]) * (-1) ** k / math.sqrt(k + 1) * opacity ** (k + 1)
            for i in range(1, count + 1)
            for k in range(i)
        ]
        shrink[row] = opacities[row] / sum(terms)
    return new, shrink[:, None] * scales


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, no_gpu])])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The CUDA kernels themselves where there are some, elsewhere their definitions in their place."""
    if request.param == "cpu":
        monkeypatch.setattr(mcmc, "check", lambda expert: None)
        monkeypatch.setattr(ops, "compute_relocation", relocation)
        monkeypatch.setattr(ops, "quat_scale_to_covar_preci", _quat_scale_to_covar_preci)
    return request.param


def test_mcmc_moves_faint_rows_to_opaque_ones_and_adds_some_up_to_the_limit(device: str):
    expert = expert_of(200).to(device)
    group = expert.group("0to9")
    group["logit_opacities"].data.fill_(1.0)
    group["logit_opacities"].data[:50] = -20.0
    group["means"].data[:50] = 100.0
    config = DensityConfig(start=0, every=10, limit=205, mcmc=McmcConfig(noise=0.0))
    control = control_of(expert, config)
    control.sums += torch.arange(200, device=device)
    assert control.after_step(9) is None
    assert len(expert) == 200
    control.after_step(10)
    group = expert.group("0to9")
    assert len(expert) == 205
    assert (group["means"].abs() < 50).all()  # all are where opaque ones were
    assert (torch.sigmoid(group["logit_opacities"]) >= config.opacity - 1e-6).all()
    assert control.sums.tolist() == [*range(200), 0, 0, 0, 0, 0]
    for parameter in group.values():
        parameter.grad = torch.ones_like(parameter)
    control.optimizer.step()  # shapes of state and parameters fit
    assert {id(p) for s in control.optimizer.param_groups for p in s["params"]} == {id(p) for p in group.values()}
    assert control.penalty().item() > 0


def test_mcmc_lets_faint_means_walk_and_opaque_ones_stay(device: str):
    expert = expert_of(20).to(device)
    group = expert.group("0to9")
    group["logit_opacities"].data.fill_(9.0)
    group["logit_opacities"].data[:10] = -6.0
    group["log_scales"].data.fill_(0.0)
    control = control_of(expert, DensityConfig(start=0, mcmc=McmcConfig(noise=1e9)))  # the tests' rate is 1e-9
    before = group["means"].detach().clone()
    control.after_step(1)
    moved = (group["means"].detach() - before).norm(dim=1)
    assert moved[:10].min() > 100 * moved[10:].max()
