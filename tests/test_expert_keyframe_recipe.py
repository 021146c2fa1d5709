"""The keyframe expert's training: growth, promotion and tidying, from their definitions."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from moegs.cameras import pinhole
from moegs.density import DensityConfig, DensityControl
from moegs.experts.growth import GrowthConfig, KeyframeRecipe, PromotionConfig, TidyingConfig
from moegs.experts.keyframe import KeyframeConfig, KeyframeExpert
from moegs.experts.keys import LONGEST_FADE, Keys, continued
from moegs.experts.recipe import Attention, Ground, Seen
from moegs.gaussians import Points

FRAMES, COUNT = 20, 12
PARTS = {
    "growth": GrowthConfig(first=5, more=5, start=0, every=10),
    "promotion": PromotionConfig(start=0, delay=3, every=1000, quantile=0.5),
    "tidying": TidyingConfig(every=4, errors_start=0, errors_rounds=2, sight_start=0, fades_every=1000),
}
SETTINGS = KeyframeConfig(sh_degree=0, interval=5, time_pad=1, **PARTS)


class Trained:
    """An expert with its recipe, whose edits are made as training makes them."""

    def __init__(self, settings: KeyframeConfig = SETTINGS, views: int = 2) -> None:
        torch.manual_seed(0)
        points = Points(torch.randn(COUNT, 3), torch.rand(COUNT, 3), torch.zeros(COUNT))
        self.expert = settings.start(points, FRAMES, views)
        optimizer = torch.optim.Adam([{"params": [p]} for p in self.expert.parameters()])
        recipe = self.expert.recipe(Ground(FRAMES, views, extent=1.0))
        assert isinstance(recipe, KeyframeRecipe)
        self.recipe = recipe
        self.control = DensityControl(self.expert, optimizer, DensityConfig(), 1.0, recipe)

    def after(self, step: int) -> None:
        for edit in self.recipe.edits(step):
            self.control.revise(edit)

    def static(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.expert.group("static").items()}

    def dynamic(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.expert.group("dynamic").items()}


def seen(expert: KeyframeExpert, frame: int, **values: Tensor) -> Seen:
    """A picture in which every row has weight 1, error 0.05, similarity 0.9 and a radius of 9 pixels."""
    n = len(expert)
    blank = torch.zeros(2, 3, 3)
    whole = {
        "radii": torch.full((n,), 9),
        "row_errors": torch.tensor([1.0, 0.05, 0.9]).repeat(n, 1),
    } | values
    return Seen(
        step=0, camera=pinhole(3, 2, 3.0), view=0, frame=frame, t=frame / FRAMES, picture=blank, photo=blank + 0.1,
        depths=blank[..., 0], ssims=blank[..., 0], **whole,
    )  # fmt: skip


def test_the_clip_grows_until_the_keys_cover_it():
    trained, lengths = Trained(), []
    for step in range(1, 61):
        trained.after(step)
        lengths.append(trained.recipe.frames)
    assert lengths[:10] == [5] * 9 + [10]
    assert lengths[-1] == FRAMES
    # As published the inner length runs on to the clip's, its shift, and one: static Gaussians drift over that.
    assert float(trained.expert.duration) == FRAMES + SETTINGS.shift + 1
    needed = Keys(5, 1).count(FRAMES)
    assert trained.dynamic()["key_means"].shape[1] == needed


def test_without_growth_the_whole_clip_is_drawn_from_and_drift_is_over_it():
    trained = Trained(replace(SETTINGS, growth=None))
    trained.after(400)
    assert trained.recipe.frames == FRAMES
    assert float(trained.expert.duration) == FRAMES


def test_new_keys_go_on_as_the_last_four_differences_do():
    keys = torch.tensor([0.0, 5.0, 6.0, 8.0, 11.0, 15.0, 0.0, 0.0, 0.0])[None, :, None]
    went_on = continued(keys, old=6, new=8)
    assert_close(went_on[0, :, 0], torch.tensor([0.0, 5, 6, 8, 11, 15, 17.5, 20, 20]))  # (15 - 5) / 4 each
    only_two = continued(torch.tensor([1.0, 4.0, 0.0])[None, :, None], old=2, new=3)
    assert_close(only_two[0, :, 0], torch.tensor([1.0, 4.0, 7.0]))


def promoted(displacements: Tensor, **values: Tensor) -> tuple[Trained, dict[str, Tensor]]:
    """What a promotion makes of static Gaussians, all at one distance from the camera, with these displacements."""
    trained = Trained()
    with torch.no_grad():
        group = trained.expert.group("static")
        group["means"].copy_(torch.nn.functional.normalize(group["means"], dim=1) * 2)
        group["displacements"].copy_(displacements)
    before = trained.static()
    trained.recipe.due = (0.0, 5.0)
    trained.recipe.observe(seen(trained.expert, 3, **values))
    trained.after(1)
    return trained, before


def test_promotion_takes_exactly_the_rows_that_drift_most():
    drift = torch.zeros(COUNT, 3)
    drift[:, 0] = torch.arange(1.0, COUNT + 1)
    trained, before = promoted(drift)
    # The median of 12 lies between the 6th and the 7th.
    assert trained.expert.counts() == {"static": 6, "dynamic": 6}
    assert_close(trained.static()["means"], before["means"][:6])
    assert_close(trained.dynamic()["sh0"], before["sh0"][6:])


def test_promotion_weighs_drift_by_the_squared_distance_from_the_camera():
    trained = Trained(replace(SETTINGS, promotion=PromotionConfig(start=0, delay=3, quantile=0.95)))
    with torch.no_grad():
        group = trained.expert.group("static")
        group["means"].zero_()[:, 2] = 10.0
        group["means"][4, 2] = 1.0
        group["displacements"].fill_(0.1)
        group["displacements"][7] = 1.0  # ten times as far, a hundredth of the share
    trained.recipe.due = (0.0, 5.0)
    trained.recipe.observe(seen(trained.expert, 3))
    assert trained.recipe.chosen is not None
    assert trained.recipe.chosen.tolist() == [4]


@pytest.mark.parametrize("hidden", ["radii", "row_errors"])
def test_what_is_not_in_sight_or_was_never_well_seen_is_not_promoted(hidden: str):
    n = COUNT
    values = {"radii": torch.full((n,), 9), "row_errors": torch.tensor([1.0, 0.05, 0.9]).repeat(n, 1)}
    values[hidden][: n - 1] = 0
    trained, _ = promoted(torch.rand(COUNT, 3) + 0.1, **values)
    # One alone in sight does not exceed the median of itself; well seen alone, it is the one of the faster half.
    assert trained.expert.counts()["dynamic"] <= 1


def test_what_does_not_move_is_not_promoted():
    trained, _ = promoted(torch.zeros(COUNT, 3))
    assert trained.expert.counts()["dynamic"] == 0


def test_new_keys_lie_on_the_line_of_the_drift_and_show_around_the_best_frame():
    drift = torch.zeros(COUNT, 3)
    drift[:, 0] = torch.arange(1.0, COUNT + 1)
    trained, before = promoted(drift)
    dynamic, length, interval = trained.dynamic(), 5, 5
    active = Keys(5, 1).count(length)
    first, last = dynamic["key_means"][:, 0], dynamic["key_means"][:, active - 1]
    assert_close(first, before["means"][6:] - drift[6:] * interval / length)
    assert_close(last, before["means"][6:] + drift[6:] * (1 + interval / length))
    steps = dynamic["key_means"][:, 1:active] - dynamic["key_means"][:, : active - 1]
    assert_close(steps, steps[:, :1].expand_as(steps))
    shift, best = 6, 3.0
    assert_close(dynamic["time_centers"][0], torch.tensor([best / 2 + shift, (length + best) / 2 + shift]) / interval)
    assert_close(dynamic["log_time_widths"][0], torch.tensor([best + 1, length - best + 1]))


def test_a_promotion_waits_for_a_picture_of_the_newest_frames():
    trained = Trained()
    with torch.no_grad():
        trained.expert.group("static")["displacements"].copy_(torch.rand(COUNT, 3) + 0.1)
    trained.recipe.observe(seen(trained.expert, 1))  # well seen
    trained.after(10)  # grows to 10 frames
    trained.after(13)  # three steps later the promotion is due
    trained.recipe.observe(seen(trained.expert, 4))
    trained.after(14)
    assert trained.expert.counts()["dynamic"] == 0
    trained.recipe.observe(seen(trained.expert, 5))
    trained.after(15)
    assert trained.expert.counts()["dynamic"] > 0


def test_now_and_then_the_interval_with_the_largest_mean_error_is_promoted_in():
    trained = Trained(replace(SETTINGS, growth=None, promotion=PromotionConfig(start=0, every=50)))
    for frame, brightness in ((2, 0.1), (7, 0.9), (12, 0.3)):
        picture = seen(trained.expert, frame)
        trained.recipe.observe(replace(picture, photo=torch.full((2, 3, 3), brightness)))
    trained.after(50)
    assert trained.recipe.due == (5.0, 10.0)
    trained.after(100)
    assert trained.recipe.due == (10.0, 15.0)  # the worst is forgotten once it was chosen


@pytest.mark.parametrize(("l1", "ssim", "goes"), [(0.09, 0.9, True), (0.07, 0.9, False), (0.07, 0.5, True)])
def test_what_shows_in_wrong_pixels_only_is_removed(l1: float, ssim: float, goes: bool):
    trained = Trained()
    errors = torch.tensor([2.0, 2 * 0.01, 2 * 0.95]).repeat(COUNT, 1)
    errors[5] = torch.tensor([2.0, 2 * l1, 2 * ssim])  # sums over pixels, with weights that sum to 2
    trained.recipe.observe(seen(trained.expert, 1, row_errors=errors))
    trained.after(4)  # the first average: errors count in each second one
    assert trained.expert.counts()["static"] == COUNT
    trained.recipe.observe(seen(trained.expert, 1, row_errors=errors))
    before = trained.static()["means"]
    trained.after(8)
    kept = [i for i in range(COUNT) if not (goes and i == 5)]
    assert_close(trained.static()["means"], before[kept])


def test_once_an_epoch_what_was_never_seen_or_too_small_goes():
    trained = Trained()
    errors = torch.tensor([1.0, 0.01, 0.9]).repeat(COUNT, 1)
    errors[2] = 0.0
    radii = torch.full((COUNT,), 9)
    radii[3] = 4
    epoch = 2 * 5  # two cameras, five frames so far
    before = trained.static()["means"]
    for picture in range(epoch):
        trained.after(1)
        assert trained.expert.counts()["static"] == COUNT, picture
        trained.recipe.observe(seen(trained.expert, picture % 5, row_errors=errors, radii=radii))
    trained.after(1)
    assert_close(trained.static()["means"], before[[i for i in range(COUNT) if i not in (2, 3)]])


def test_fades_at_the_ends_of_the_clip_get_twice_as_long():
    settings = replace(SETTINGS, growth=None, dynamic_share=1.0, tidying=replace(PARTS["tidying"], fades_every=7))
    trained = Trained(settings)
    with torch.no_grad():
        dynamic = trained.expert.group("dynamic")
        dynamic["time_centers"].copy_(torch.tensor([0.0, 2.5]).expand(COUNT, 2))
        dynamic["log_time_widths"].copy_(torch.tensor([0.7, 3.0]).expand(COUNT, 2))
        dynamic["log_time_widths"][1] = torch.tensor([15.0, 0.2])
    trained.after(7)
    after = trained.dynamic()
    low = 6 / 5 + 0.2
    assert_close(after["time_centers"][0], torch.tensor([low, 2.5]))
    assert_close(after["log_time_widths"][0], torch.tensor([2.0, 3.0]))  # at least 1, times 2
    assert_close(after["log_time_widths"][1], torch.tensor([LONGEST_FADE, 0.5]))


def test_the_slowest_fade_has_a_finite_gradient():
    trained = Trained(replace(SETTINGS, growth=None, dynamic_share=1.0))
    with torch.no_grad():
        trained.expert.group("dynamic")["log_time_widths"].fill_(LONGEST_FADE)
        trained.expert.group("dynamic")["time_centers"].fill_(3.0)
    opacities = trained.expert.at(0.0).opacities
    opacities.sum().backward()
    gradient = trained.expert.group("dynamic")["log_time_widths"].grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert_close(opacities, torch.full_like(opacities, 0.1))


def test_it_watches_until_tidying_stops_and_not_at_all_without_parts():
    assert Trained().recipe.attention(29_999) is Attention.ROWS
    assert Trained().recipe.attention(30_000) is Attention.NONE
    assert Trained(replace(SETTINGS, promotion=None, tidying=None)).recipe.attention(0) is Attention.NONE
