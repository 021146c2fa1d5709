"""Density control: the published rules, against gsplat's own strategy, with rows, moments and expert in step."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from gsplat import DefaultStrategy
from torch import nn
from torch.testing import assert_close

from moegs import rasterize
from moegs.density import Change, DensityConfig, DensityControl, resize
from moegs.experts.polynomial import PolynomialConfig, PolynomialExpert
from moegs.gaussians import Points

WIDTH, HEIGHT, EXTENT = 40, 30, 2.0
HUGE = DensityConfig(start=0, opacity=0.0, largest=1e9)
"""Nothing is faint or large enough to go."""
NAMES = {"means": "means", "scales": "log_scales", "quats": "quats", "opacities": "logit_opacities"}


def expert_of(count: int, seed: int = 0, segments: int = 1) -> PolynomialExpert:
    """Random Gaussians of many sizes and opacities; children keep their parents' centre in time."""
    torch.manual_seed(seed)
    config = PolynomialConfig(degree=1, sh_degree=0, segments=segments, fresh_centers=False)
    points = Points(torch.randn(count, 3), torch.rand(count, 3), torch.rand(count))
    expert = config.start(points, frames=10, views=2)
    for name in expert.groups:
        group = expert.group(name)
        group["log_scales"].data = torch.log(EXTENT * 10 ** (torch.rand_like(group["log_scales"]) * 3 - 3))
        group["logit_opacities"].data = torch.randn_like(group["logit_opacities"]) * 4
    return expert


def adam(expert: PolynomialExpert) -> torch.optim.Adam:
    """Adam with moments that tell the rows apart."""
    optimizer = torch.optim.Adam([{"params": [p]} for p in expert.groups.parameters()], lr=1e-9)
    for number, parameter in enumerate(expert.groups.parameters()):
        parameter.grad = torch.rand_like(parameter) + number
    optimizer.step()
    return optimizer


def seen(gradients: torch.Tensor, drawn: torch.Tensor) -> rasterize.RenderResult:
    """A render in which row i had the pixel gradient `gradients[i]`, where `drawn`."""
    means2d = torch.zeros_like(gradients, requires_grad=True)
    means2d.grad = gradients
    picture = torch.zeros(1, HEIGHT, WIDTH, 3)
    return rasterize.RenderResult(
        images=picture, features=picture[..., :0], alphas=picture[..., :1], depths=picture[..., :1], means2d=means2d,
        radii=drawn[:, None].expand(-1, 2).int(), rows=torch.arange(len(gradients)), pairs=torch.tensor(0),
    )  # fmt: skip


def views(count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.randn(count, 2) * 2e-5, torch.rand(count) < 0.7) for _ in range(3)]


def gsplat_after(expert: PolynomialExpert, seen_views: list, config: DensityConfig) -> Mapping[str, torch.Tensor]:
    """What gsplat's published strategy makes of the same rows and gradients."""
    group = expert.group("0to9")
    params = {name: nn.Parameter(group[ours].detach().clone()) for name, ours in NAMES.items()}
    optimizers: dict[str, torch.optim.Optimizer] = {name: torch.optim.Adam([p]) for name, p in params.items()}
    for p in params.values():
        p.grad = torch.zeros_like(p)
    for optimizer in optimizers.values():
        optimizer.step()
    strategy = DefaultStrategy(
        prune_opa=config.opacity, grow_grad2d=config.gradient, grow_scale3d=config.small, prune_scale3d=config.largest,
        refine_start_iter=0, refine_every=100, reset_every=1, pause_refine_after_reset=0,
    )  # fmt: skip
    state = strategy.initialize_state(scene_scale=EXTENT)
    for gradients, drawn in seen_views:
        means2d = torch.zeros(1, *gradients.shape, requires_grad=True)
        means2d.grad = gradients[None]
        view = {"means2d": means2d, "radii": drawn[None, :, None].expand(-1, -1, 2).int(), "gaussian_ids": None}
        strategy._update_state(params, state, {**view, "width": WIDTH, "height": HEIGHT, "n_cameras": 1})
    torch.manual_seed(5)
    strategy._grow_gs(params, optimizers, state, step=100)
    strategy._prune_gs(params, optimizers, state, step=100)
    return params


def test_clones_splits_and_prunes_the_rows_that_gsplat_does():
    config = DensityConfig(start=0, gradient=2e-4, largest=0.5)
    expert = expert_of(400)
    seen_views = views(400)
    theirs = gsplat_after(expert, seen_views, config)
    control = DensityControl(expert, adam(expert), config, EXTENT)
    for gradients, drawn in seen_views:
        control.observe(seen(gradients, drawn), rows=None)
    torch.manual_seed(5)
    change = control.after_step(100)
    assert change is not None
    assert min(change.cloned, change.split, change.pruned) > 10
    group = expert.group("0to9")
    for name, ours in NAMES.items():
        # Children are drawn from the same normal: the same seed gives the same offsets, in the same order.
        assert_close(group[ours], theirs[name], msg=lambda text, name=name: f"{name}: {text}")


def test_gradients_are_in_normalised_device_coordinates_and_averaged_over_the_views_that_saw_the_row():
    expert = expert_of(3)
    control = DensityControl(expert, adam(expert), DensityConfig(), EXTENT)
    control.observe(seen(torch.tensor([[3.0, 0.0], [0.0, 1.0], [9.0, 9.0]]), torch.tensor([True, True, False])), None)
    control.observe(seen(torch.tensor([[3.0, 4.0], [0.0, 0.0], [9.0, 9.0]]), torch.tensor([True, False, False])), None)
    first = 3 * WIDTH / 2
    second = math.hypot(3 * WIDTH / 2, 4 * HEIGHT / 2)
    assert_close(control.sums, torch.tensor([first + second, HEIGHT / 2, 0.0]))
    assert_close(control.counts, torch.tensor([2.0, 1.0, 0.0]))


def test_rows_of_a_part_of_the_expert_count_for_that_part():
    expert = expert_of(12, segments=2)
    control = DensityControl(expert, adam(expert), DensityConfig(), EXTENT)
    late = expert.at(0.9)
    control.observe(seen(torch.ones(len(late), 2), torch.ones(len(late), dtype=torch.bool)), late.rows)
    early = expert.counts()["0to4"]
    assert_close(control.counts, torch.cat([torch.zeros(early), torch.ones(12 - early)]))


def test_growth_stops_at_the_limit_and_takes_the_largest_gradients():
    expert = expert_of(40)
    config = DensityConfig(start=0, opacity=0.0, largest=1e9, limit=45)
    control = DensityControl(expert, adam(expert), config, EXTENT)
    gradients = torch.zeros(40, 2)
    gradients[:, 0] = torch.arange(1, 41) * 1e-3
    control.observe(seen(gradients, torch.ones(40, dtype=torch.bool)), None)
    before = expert.group("0to9")["sh0"].detach().clone()
    change = control.after_step(100)
    assert change is not None
    assert change.cloned + change.split == 5
    assert len(expert) == 45
    new = expert.group("0to9")["sh0"][40 - change.split :]
    assert {tuple(row) for row in new.flatten(1).tolist()} == {tuple(row) for row in before[35:].flatten(1).tolist()}


def test_the_limit_counts_every_child():
    expert = expert_of(40)
    control = DensityControl(expert, adam(expert), replace(HUGE, small=0.0, limit=46, children=4), EXTENT)
    control.observe(seen(torch.ones(40, 2), torch.ones(40, dtype=torch.bool)), None)
    assert control.after_step(100) == Change(cloned=0, split=2, pruned=0)
    assert len(expert) == 46


def test_moments_follow_their_rows_and_new_rows_start_from_zero():
    expert = expert_of(5)
    optimizer = adam(expert)
    group = expert.group("0to9")
    moments = {name: optimizer.state[group[name]]["exp_avg"].clone() for name in group}
    kept, twins = torch.tensor([0, 2, 4]), torch.tensor([2])
    resize(expert, "0to9", kept, expert.clone("0to9", twins), optimizer)
    group = expert.group("0to9")
    assert {id(p) for s in optimizer.param_groups for p in s["params"]} == {id(p) for p in expert.groups.parameters()}
    for name, parameter in group.items():
        after = optimizer.state[parameter]["exp_avg"]
        assert_close(after, torch.cat([moments[name][kept], torch.zeros_like(moments[name][:1])]))
    for parameter in group.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()  # the shapes of state and parameters fit
    assert len(optimizer.state) == len(list(group.values()))


def test_the_expert_hears_which_old_row_each_new_one_stems_from(monkeypatch: pytest.MonkeyPatch):
    expert = expert_of(30)
    told = []
    monkeypatch.setattr(expert, "rows_changed", lambda kept: told.append({k: v.clone() for k, v in kept.items()}))
    colours = expert.group("0to9")["sh0"].detach().clone()
    control = DensityControl(expert, adam(expert), DensityConfig(start=0), EXTENT)
    control.observe(seen(torch.rand(30, 2) * 1e-4, torch.ones(30, dtype=torch.bool)), None)
    change = control.after_step(100)
    assert change is not None
    assert change.pruned
    stems = torch.arange(30)
    for kept in told:
        stems = stems[kept["0to9"]]
    assert_close(expert.group("0to9")["sh0"].detach(), colours[stems])  # colour is inherited unchanged


def test_a_reset_lowers_opacities_and_forgets_their_moments_alone():
    expert = expert_of(20)
    optimizer = adam(expert)
    config = DensityConfig(start=10**6, stop=10**7, reset_every=50, reset_opacity=0.01)
    control = DensityControl(expert, optimizer, config, EXTENT)
    group = expert.group("0to9")
    before = torch.sigmoid(group["logit_opacities"].detach())
    assert control.after_step(50) is None
    assert_close(torch.sigmoid(group["logit_opacities"]), before.clamp(max=0.01))
    assert not optimizer.state[group["logit_opacities"]]["exp_avg"].any()
    assert optimizer.state[group["means"]]["exp_avg"].any()


@pytest.mark.parametrize(
    ("step", "acts"), [(100, False), (150, False), (200, True), (250, False), (300, True), (400, False)]
)
def test_acts_between_start_and_stop_each_so_many_steps(step: int, acts: bool):
    expert = expert_of(10)
    control = DensityControl(expert, adam(expert), DensityConfig(start=100, stop=400, every=100), EXTENT)
    assert (control.after_step(step) is not None) == acts


def test_nothing_is_done_to_rows_that_need_nothing():
    expert = expert_of(10)
    config = DensityConfig(start=0, opacity=0.0, largest=1e9)
    control = DensityControl(expert, adam(expert), config, EXTENT)
    assert control.after_step(100) == Change(0, 0, 0)
    assert len(expert) == 10


def test_every_row_may_go():
    expert = expert_of(10)
    expert.group("0to9")["logit_opacities"].data.fill_(-20)
    control = DensityControl(expert, adam(expert), DensityConfig(start=0), EXTENT)
    assert control.after_step(100) == Change(0, 0, 10)
    assert control.after_step(200) == Change(0, 0, 0)


@pytest.mark.parametrize(
    ("values", "part"),
    [({"every": 0}, "every"), ({"children": 1}, "children"), ({"opacity": 1.5}, "opacity"),
     ({"reset_every": 10, "reset_opacity": 0.001}, "reset_opacity"),
     *(({name: math.nan}, f"^{name}: got nan, expected 0 or more") for name in ("gradient", "small", "largest")),
     *(({name: -1}, f"^{name}: got -1, expected 0 or more") for name in ("start", "rounds", "prune_above")),
     ({"limit": 0}, "^limit: got 0, expected 1 or more"), ({"group_gradients": {"a": math.nan}}, "got nan for 'a'")],
)  # fmt: skip
def test_refuses_what_cannot_be(values: dict, part: str):
    with pytest.raises(ValueError, match=part):
        replace(DensityConfig(), **values)


def test_refuses_thresholds_for_a_group_that_is_not_there():
    expert = expert_of(4)
    with pytest.raises(ValueError, match="no group 'dynamic'; there are 0to9"):
        DensityControl(expert, adam(expert), DensityConfig(group_gradients={"dynamic": 1e-4}), EXTENT)
