"""The polynomial expert's training: guided sampling of new Gaussians, and the cuts; the hexplane's second stage."""

from dataclasses import replace

import pytest
import torch
from small_experts import SMALL, started
from torch.testing import assert_close

from moegs.cameras import look_at, pinhole
from moegs.density import DensityConfig, DensityControl
from moegs.experts.guided import GuidedConfig, GuidedSampling, bad_pixels, points_on_rays
from moegs.experts.polynomial import PolynomialConfig, PolynomialExpert, TurnsConfig
from moegs.experts.recipe import Attention, Ground, Recipe, Seen
from moegs.gaussians import Points

WIDTH, HEIGHT, DEPTH = 40, 40, 3.0
GUIDED = GuidedConfig(start=10, apart=5, patch=4, depths=(0.5, 2.0), jitter=0.0)
CAMERA = pinhole(
    WIDTH, HEIGHT, 30.0, look_at(torch.tensor([1.0, 0.5, -2.0]), torch.zeros(3), torch.tensor([0.0, -1.0, 0.1]))
)


def seen(step: int, view: int, ssim: float = 0.5, t: float = 0.2) -> Seen:
    """A grey picture of a photo with one bright square of 8 x 8 pixels."""
    photo = torch.full((HEIGHT, WIDTH, 3), 0.5)
    photo[8:16, 20:28] = 1.0
    return Seen(
        step=step, camera=CAMERA, view=view, frame=2, t=t, picture=torch.full((HEIGHT, WIDTH, 3), 0.5), photo=photo,
        depths=torch.full((HEIGHT, WIDTH), DEPTH), ssims=torch.full((HEIGHT, WIDTH), ssim),
        radii=torch.zeros(0, dtype=torch.int64),
    )  # fmt: skip


def test_three_of_four_pixels_of_bad_squares_are_bad():
    one = seen(0, 0)
    bad = bad_pixels(one.picture, one.photo, replace(GUIDED, quantile=0.9))
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    expected[8:16, 20:28] = True
    expected[::2, ::2] = False
    assert torch.equal(bad, expected)


def test_nothing_is_bad_near_the_border():
    one = seen(0, 0)
    photo = one.photo.roll((-8, -20), (0, 1))  # the square lies in the corner
    bad = bad_pixels(one.picture, photo, replace(GUIDED, quantile=0.9))
    assert not bad[:4].any()
    assert not bad[:, :4].any()
    assert bad.any()


def test_new_points_lie_on_the_rays_of_their_pixels_at_the_depths():
    one = seen(0, 0)
    pixels = torch.tensor([[9, 21], [13, 26]])
    points = points_on_rays(one, pixels, DEPTH, GUIDED)
    local = points.means @ CAMERA.viewmat[:3, :3].T + CAMERA.viewmat[:3, 3]
    assert_close(local[:, 2], torch.tensor([0.5, 0.5, 2.0, 2.0]) * DEPTH)
    places = (local @ CAMERA.K.T)[:, :2] / local[:, 2:]
    assert_close(places, (pixels.flip(1) + 0.5).repeat(2, 1), atol=1e-4, rtol=0)
    assert_close(points.colors, torch.ones(4, 3))


def test_depths_vary_by_the_jitter():
    pixels = torch.tensor([[9, 21]]).repeat(500, 1)
    points = points_on_rays(seen(0, 0), pixels, DEPTH, replace(GUIDED, depths=(1.0,), jitter=0.05))
    z = (points.means @ CAMERA.viewmat[:3, :3].T + CAMERA.viewmat[:3, 3])[:, 2] / DEPTH
    assert 0.95 <= z.min() < 0.96
    assert 1.04 < z.max() <= 1.05


def test_the_worst_cameras_get_one_turn_each_some_steps_apart():
    sampling = GuidedSampling(GUIDED, views=4)
    for view, ssim in enumerate((0.95, 0.4, 0.8, 0.6)):
        assert sampling.observe(seen(0, view)) is None
        assert sampling.observe(seen(10 + view, view, ssim)) is None  # judged once
    turns = {}
    for step in range(14, 40):
        if sampling.observe(seen(step, step % 4)) is not None:
            turns[step] = step % 4
    assert sorted(turns.values()) == [1, 3]
    assert max(turns) - min(turns) > GUIDED.apart
    assert not sampling.watches(40)


def test_a_camera_that_became_good_adds_nothing_and_good_ones_are_not_chosen():
    sampling = GuidedSampling(replace(GUIDED, cameras=1), views=1)
    sampling.observe(seen(10, 0, ssim=0.5))
    assert sampling.observe(seen(20, 0, ssim=0.9)) is None
    assert not sampling.watches(21)
    fine = GuidedSampling(GUIDED, views=2)
    for view in range(2):
        fine.observe(seen(10 + view, view, ssim=(0.5, 0.95)[view]))
    assert fine.waiting == []  # with fewer bad ones than two, none


def trained(settings: PolynomialConfig) -> tuple[PolynomialExpert, Recipe, DensityControl]:
    torch.manual_seed(1)
    points = Points(torch.randn(30, 3), torch.rand(30, 3), torch.arange(30) / 30)
    expert = settings.start(points, frames=30, views=1)
    recipe = expert.recipe(Ground(30, 1, 1.0))
    optimizer = torch.optim.Adam([{"params": [p]} for p in expert.parameters()])
    return expert, recipe, DensityControl(expert, optimizer, DensityConfig(), 1.0, recipe)


def after(recipe: Recipe, control: DensityControl, step: int) -> None:
    for edit in recipe.edits(step):
        control.revise(edit)


def test_found_points_become_faint_round_gaussians_of_their_segment():
    guided = replace(GUIDED, cameras=1, quantile=0.9)
    expert, recipe, control = trained(PolynomialConfig(sh_degree=0, segments=2, guided=guided))
    before = expert.counts()
    for step in (0, 10, 16):
        assert recipe.attention(step) is Attention.PICTURE
        recipe.observe(seen(step, 0, t=0.7))
    after(recipe, control, 17)
    found = 2 * int(bad_pixels(seen(0, 0).picture, seen(0, 0).photo, guided).sum())
    assert expert.counts() == {"0to14": before["0to14"], "15to29": before["15to29"] + found}
    rows = {name: value[-found:].detach() for name, value in expert.group("15to29").items()}
    assert_close(torch.sigmoid(rows["logit_opacities"]), torch.full((found,), 0.1))
    assert not rows["motions"].any()
    assert not rows["omegas"].any()
    assert rows["time_centers"].unique().numel() > found / 2
    assert rows["log_scales"].isfinite().all()
    assert recipe.attention(18) is Attention.NONE
    assert len(control.sums) == len(expert)


def test_late_only_large_opaque_moving_gaussians_turn():
    settings = PolynomialConfig(sh_degree=0, guided=None, box_step=None, turns=TurnsConfig(step=5))
    expert, recipe, control = trained(settings)
    group = expert.group("0to29")
    with torch.no_grad():
        group["omegas"].fill_(0.2)
        group["motions"][:, 0] = 0.2  # sums to 0.6 over the axes
        group["log_scales"].fill_(torch.tensor(0.4).log())
        group["logit_opacities"].fill_(2.0)
        group["motions"][0, 0] = 0.05
        group["log_scales"][1] = torch.tensor(0.1).log()
        group["log_scales"][2, 0] = torch.tensor(0.7).log()
        group["logit_opacities"][3] = 0.5
    after(recipe, control, 5)
    assert_close(group["omegas"].any(1), torch.arange(30) > 3)
    expert.begin_step(5)
    expert.at(0.95).quats.square().mul(torch.rand(30, 4)).sum().backward()
    omegas, quats = group["omegas"].grad, group["quats"].grad
    assert omegas is not None
    assert quats is not None
    assert torch.equal(omegas.any(1), torch.arange(30) > 3)  # the others stay at 0
    assert torch.equal(quats.any(1), torch.arange(30) <= 3)  # and those that turn keep their base


def test_what_left_the_first_points_box_is_removed_once():
    settings = PolynomialConfig(sh_degree=0, guided=None, turns=None, box_step=7)
    expert, recipe, control = trained(settings)
    with torch.no_grad():
        expert.group("0to29")["means"][3, 0] = 50.0
    after(recipe, control, 6)
    assert len(expert) == 30
    after(recipe, control, 7)
    assert len(expert) == 29


def test_points_too_near_are_left_out_at_first_and_removed_later():
    settings = PolynomialConfig(
        sh_degree=0, guided=None, turns=None, box_step=None, least_z=0.0, least_z_start=20, least_z_every=10
    )
    expert, recipe, control = trained(settings)
    group = expert.group("0to29")
    assert (group["means"][:, 2] >= 0).all()
    count = len(expert)
    with torch.no_grad():
        group["means"][1, 2] = -1.0
    after(recipe, control, 15)
    assert len(expert) == count
    after(recipe, control, 25)
    assert len(expert) == count - 1
    with pytest.raises(ValueError, match=r"least_z: 30 of 30 points have less world z; set it lower, or null"):
        trained(replace(settings, least_z=99.0))


def test_a_new_stage_has_a_new_optimizer_new_rates_and_density_control_from_its_start():
    expert = started(replace(SMALL["hexplane"], coarse_steps=30))
    recipe = expert.recipe(Ground(30, 3, 1.0))
    optimizer = torch.optim.Adam(expert.groups.parameters())
    control = DensityControl(expert, optimizer, DensityConfig(), 1.0, recipe)
    for parameter in expert.groups.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    after(recipe, control, 29)
    assert optimizer.state
    before = [parameter.clone() for parameter in expert.groups.parameters()]
    after(recipe, control, 30)
    assert not optimizer.state
    assert all(torch.equal(a, b) for a, b in zip(before, expert.groups.parameters(), strict=True))
    assert [recipe.stage_start(step) for step in (1, 30, 31)] == [0, 0, 30]
    means = next(rate for rate in expert.rates() if "groups.all.means" in rate.parameters)
    assert means.at(30, 1.0) == means.at(0, 1.0) > means.at(29, 1.0)


def test_a_hexplane_that_goes_on_goes_on():
    expert = started(replace(SMALL["hexplane"], coarse_steps=30, fine_restarts=False))
    recipe = expert.recipe(Ground(30, 3, 1.0))
    assert list(recipe.edits(30)) == []
    assert recipe.stage_start(31) == 0
