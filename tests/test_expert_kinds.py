"""What is particular to each kind of expert: its motion, its schedules, its regularisers."""

from dataclasses import replace

import pytest
import torch
from small_experts import FRAMES, SMALL, SMALL_HEADS, TRAINED, VIEWS, points, started, stirred
from torch.testing import assert_close

from moegs import rotations
from moegs.experts.keyframe import KeyframeConfig, catmull_rom, fade
from moegs.experts.planes import Planes, PlanesConfig
from moegs.gaussians import Points

EXACT = {"atol": 1e-6, "rtol": 1e-5}  # a few float32 roundings


@pytest.mark.parametrize("name", ["hexplane", "embedding"])
def test_heads_that_start_at_zero_leave_the_canonical_gaussians(name):
    settings = replace(SMALL[name], heads=replace(SMALL_HEADS, zero_start=True))
    expert = started(settings)
    rows, gaussians = expert.group("all"), expert.at(0.6)
    assert torch.equal(gaussians.means, rows["means"])
    assert torch.equal(gaussians.scales, rows["log_scales"].exp())
    assert torch.equal(gaussians.quats, rows["quats"])
    assert torch.equal(gaussians.opacities, torch.sigmoid(rows["logit_opacities"]))
    assert torch.equal(gaussians.sh[:, :1], rows["sh0"])


@pytest.mark.parametrize("name", ["hexplane", "embedding"])
def test_a_head_that_is_off_changes_nothing(name):
    expert = stirred(replace(SMALL[name], heads=replace(SMALL_HEADS, move_scales=False, move_sh=False)))
    rows, gaussians = expert.group("all"), expert.at(0.6)
    assert torch.equal(gaussians.scales, rows["log_scales"].exp())
    assert torch.equal(gaussians.sh[:, :1], rows["sh0"])
    assert not torch.equal(gaussians.means, rows["means"])


def test_a_plane_gives_its_own_number_at_its_corners():
    settings = PlanesConfig(channels=2, resolution=(3, 4, 5), time_resolution=5, levels=(1,))
    planes = Planes(settings, torch.tensor([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]))
    with torch.no_grad():
        for plane in planes.planes.parameters():
            plane.uniform_(0.5, 1.5)
    # The greatest corner lies at index 0 of each spatial axis; t = 0 is the middle row of time, t = 1 the last.
    xy, xz, xt, yz, yt, zt = planes.planes[0]
    for t, row in ((0.0, 2), (0.5, 3), (1.0, 4)):
        at_corner = xy[0, :, 0, 0] * xz[0, :, 0, 0] * xt[0, :, row, 0] * yz[0, :, 0, 0]
        at_corner = at_corner * yt[0, :, row, 0] * zt[0, :, row, 0]
        inside_and_out = torch.tensor([[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]])
        assert_close(planes(inside_and_out, t), at_corner.expand(2, 2), **EXACT)


def test_planes_without_change_are_not_penalised():
    settings = PlanesConfig(channels=2, resolution=(4, 4, 4), time_resolution=5, levels=(1, 2))
    planes = Planes(settings, torch.tensor([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    with torch.no_grad():
        for plane in planes.planes.parameters():
            plane.fill_(1.0)
        assert planes.penalty() == 0
        planes.planes[0][2].fill_(3.0)  # type: ignore[index]  # xt of the first level: two from 1, and smooth
        assert_close(planes.penalty(), torch.tensor(2 * 1e-4))
        planes.planes[0][0][:, :, 1] = 2.0  # type: ignore[index]  # one step along y: second differences -2, 1
        assert_close(planes.penalty(), torch.tensor(2 * 1e-4 + 2e-4 * (4 + 1) / 2))


def test_points_in_a_plane_have_a_box_with_an_inside():
    flat = replace(points(), means=points().means * torch.tensor([1.0, 1.0, 0.0]))
    expert = SMALL["hexplane"].start(flat, FRAMES, VIEWS)
    box = expert.field.box
    sides = box[0] - box[1]
    assert_close(sides[2], 1e-3 * sides.max())
    assert_close(box[:, :2], torch.stack([flat.means.amax(0), flat.means.amin(0)])[:, :2], rtol=0, atol=0)
    expert.begin_step(TRAINED)
    expert.at(0.3).means.sum().backward()
    assert all(p.grad.isfinite().all() for p in expert.parameters() if p.grad is not None)


def test_points_in_one_place_have_no_box():
    with pytest.raises(ValueError, match="box: got corners"):
        SMALL["hexplane"].start(replace(points(), means=torch.ones(40, 3)), FRAMES, VIEWS)


def test_the_box_can_leave_stray_points_out():
    means = torch.rand(200, 3)
    means[0] = 1000.0
    strays = Points(means, torch.rand(200, 3), torch.zeros(200))
    settings = replace(SMALL["hexplane"], box_outliers=0.01)
    assert settings.start(strays, FRAMES, VIEWS).state_dict()["field.box"].max() < 2
    assert SMALL["hexplane"].start(strays, FRAMES, VIEWS).state_dict()["field.box"][0, 0] == 1000


def test_deltas_are_annealed_one_after_the_other():
    expert = stirred(SMALL["embedding"])
    rows, whole = expert.group("all"), expert.at(0.3)
    expert.begin_step(0)
    assert torch.equal(expert.at(0.3).means, rows["means"])
    # At 500 the table has fewer rows than at the end, so compare at one row count: all from the start.
    expert = stirred(replace(SMALL["embedding"], fine_steps=0))
    rows, whole = expert.group("all"), expert.at(0.3)
    expert.begin_step(500)
    half = expert.at(0.3)
    assert_close(half.means, (rows["means"] + whole.means) / 2, **EXACT)
    assert torch.equal(half.scales, rows["log_scales"].exp())
    expert.begin_step(5500)
    assert_close(expert.at(0.3).scales.log(), (rows["log_scales"] + whole.scales.log()) / 2, **EXACT)


def test_near_gaussians_are_held_to_like_embeddings():
    settings = replace(SMALL["embedding"], neighbours=1, opacity_weight=0.0)
    pair = Points(torch.tensor([[0.0, 0, 0], [0.01, 0, 0], [50, 0, 0]]), torch.rand(3, 3), torch.zeros(3))
    expert = settings.start(pair, FRAMES, VIEWS)
    with torch.no_grad():
        expert.group("all")["embeddings"].zero_()
        expert.group("all")["embeddings"][0, 0] = 3.0
    near = 3 * torch.exp(torch.tensor(-2000 * 0.01**2)).sqrt()
    assert_close(expert.penalty(), 2 * near / 3)  # two see each other, the third is far from all
    with torch.no_grad():
        expert.group("all")["means"][1, 0] = 40.0
    expert.rows_changed({"all": torch.arange(3)})
    assert expert.penalty() < 1e-6


def test_who_is_near_is_measured_again_after_as_many_steps_as_the_config_says():
    settings = replace(SMALL["embedding"], neighbours=1, opacity_weight=0.0, neighbour_every=7)
    places = torch.tensor([[0.0, 0, 0], [0.01, 0, 0]])
    expert = settings.start(Points(places, torch.rand(2, 3), torch.zeros(2)), FRAMES, VIEWS)
    with torch.no_grad():
        expert.group("all")["embeddings"][0] = 3.0
    together = expert.penalty()
    with torch.no_grad():
        expert.group("all")["means"][1, 0] = 40.0
    expert.begin_step(6)
    assert expert.penalty() == together
    expert.begin_step(7)
    assert expert.penalty() < 1e-6 < together


def test_a_polynomial_gaussian_is_at_its_base_at_its_centre():
    expert = stirred(SMALL["polynomial"])
    rows = expert.group("0to29")
    with torch.no_grad():
        rows["time_centers"].fill_(0.25)
    gaussians = expert.at(0.25)
    assert torch.equal(gaussians.means, rows["means"])
    assert torch.equal(gaussians.quats, rows["quats"])
    assert torch.equal(gaussians.opacities, torch.sigmoid(rows["logit_opacities"]))
    later, d = expert.at(0.75), 0.5
    path = sum(rows["motions"][:, k] * d ** (k + 1) for k in range(3))
    assert_close(later.means, rows["means"] + path, **EXACT)
    assert (later.opacities < gaussians.opacities).all()


def test_only_fading_moves_a_polynomial_gaussian_in_time():
    expert = stirred(SMALL["polynomial"])
    rows = expert.group("0to29")
    gaussians = expert.at(0.4)
    (gaussians.means.sum() + gaussians.quats.sum()).backward(retain_graph=True)
    assert rows["time_centers"].grad is None
    gaussians.opacities.sum().backward()
    assert rows["time_centers"].grad is not None


def test_a_segment_has_its_own_gaussians_and_time():
    expert = stirred(SMALL["polynomial, two segments"])
    assert list(expert.groups) == ["0to14", "15to29"]
    first = expert.counts()["0to14"]
    early, late = expert.at(14.9 / 30).rows, expert.at(0.5).rows
    assert early is not None
    assert late is not None
    assert early.max() == first - 1
    assert late.min() == first
    rows = expert.group("15to29")
    with torch.no_grad():
        rows["time_centers"].fill_(0.5)
    assert_close(expert.at(0.75).means, rows["means"], **EXACT)  # its middle


def test_a_segment_without_points_of_its_own_takes_all():
    first_frame = replace(points(), times=torch.zeros(40))
    expert = SMALL["polynomial, two segments"].start(first_frame, FRAMES, VIEWS)
    assert expert.counts() == {"0to14": 40, "15to29": 40}


@pytest.mark.parametrize("own", [0, 1, 2])
def test_a_segment_with_too_few_points_of_its_own_takes_all(own):
    """One point alone has no distance to another, which would size its Gaussian."""
    times = torch.zeros(40)
    times[:own] = 0.75
    expert = SMALL["polynomial, two segments"].start(replace(points(), times=times), FRAMES, VIEWS)
    assert expert.counts()["15to29"] == (own if own >= 2 else 40)


@pytest.mark.parametrize("way", ["clone", "split"])
def test_children_show_from_the_second_frame_to_the_last(way):
    """As published: centres are clamped to (shift + 1) / I and (shift + duration - 1) / I, 31.1 for 300 frames."""
    expert = KeyframeConfig(dynamic_share=1.0).start(points(), 300, VIEWS)
    rows = torch.arange(20)
    with torch.no_grad():
        expert.group("dynamic")["time_centers"][:] = torch.tensor([-50.0, 90.0])
    children = expert.clone("dynamic", rows) if way == "clone" else expert.split("dynamic", rows, 2)
    assert_close(children["time_centers"].amin(), torch.tensor(1.3))
    assert_close(children["time_centers"].amax(), torch.tensor(31.1))


def test_zero_quaternions_turn_nothing():
    expert = started(SMALL["polynomial"])
    with torch.no_grad():
        expert.group("0to29")["quats"].zero_()
    assert torch.equal(expert.at(0.3).quats, torch.tensor([1.0, 0, 0, 0]).expand(40, 4))


def test_a_keyframe_is_met_at_its_time():
    settings = KeyframeConfig(sh_degree=0, interval=5, time_pad=2, dynamic_share=1.0)
    expert = stirred(settings)
    rows = expert.group("dynamic")
    for key in (2, 4, 6):
        frame = key * settings.interval - settings.shift
        gaussians = expert.at(frame / FRAMES)
        # t is stored as a float: the way from key to key is off by some 1e-7 of it.
        assert_close(gaussians.means, rows["key_means"][:, key], atol=1e-5, rtol=0)
        turned = rotations.matrix(gaussians.quats)
        assert_close(turned, rotations.matrix(rows["key_quats"][:, key]), atol=1e-4, rtol=0)


def test_keys_on_a_line_make_a_line():
    keys = torch.arange(4.0)[None, :, None] * torch.tensor([1.0, -2.0, 0.5])
    for share in (0.0, 0.3, 0.9):
        assert_close(catmull_rom(keys, share), (1 + share) * torch.tensor([[1.0, -2.0, 0.5]]), **EXACT)


def test_a_keyframe_gaussian_shows_fully_between_its_centres_alone():
    centers, widths = torch.tensor([[2.0, 4.0]]), torch.zeros(1, 2)
    shown = {place: float(fade(place, centers, widths, 0.0)) for place in (1.9, 2.0, 2.1, 3.9, 4.0, 5.0)}
    assert shown[2.1] == shown[3.9] == shown[4.0] == 1
    assert shown[5.0] == pytest.approx(torch.exp(torch.tensor(-1.0)))
    # Before, the distance to the LATER centre counts, as published; a centre itself is not between.
    assert shown[2.0] == pytest.approx(torch.exp(torch.tensor(-4.0)))
    assert shown[1.9] == pytest.approx(torch.exp(torch.tensor(-(2.1**2))))


def test_static_gaussians_drift_by_their_displacement_over_the_clip():
    expert = stirred(SMALL["keyframe"])
    rows, still = expert.group("static"), expert.counts()["static"]
    assert_close(expert.at(0.0).means[:still], rows["means"])
    assert_close(expert.at(0.5).means[:still], rows["means"] + rows["displacements"] / 2, **EXACT)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_an_empty_group_is_no_obstacle(share):
    expert = started(replace(SMALL["keyframe"], dynamic_share=share))
    assert expert.penalty().isfinite()
    assert len(expert.at(0.5)) == 40
