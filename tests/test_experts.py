"""Laws that every expert keeps, and what is particular to each kind."""

import json
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from moegs import config, harmonics, rotations
from moegs.experts import KINDS, AnyExpertConfig
from moegs.experts.base import Decay, Expert, ExpertConfig
from moegs.experts.embedding import EmbeddingConfig
from moegs.experts.heads import HeadsConfig
from moegs.experts.hexplane import HexPlaneConfig
from moegs.experts.keyframe import KeyframeConfig, catmull_rom, fade
from moegs.experts.planes import Planes, PlanesConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.gaussians import Gaussians, Points

FRAMES, VIEWS, TRAINED = 30, 3, 10**6
EXACT = {"atol": 1e-6, "rtol": 1e-5}  # a few float32 roundings
SMALL_HEADS = HeadsConfig(width=8)
SMALL = {
    "hexplane": HexPlaneConfig(
        sh_degree=1, planes=PlanesConfig(channels=4, resolution=(5, 6, 7), time_resolution=8), heads=SMALL_HEADS
    ),
    "embedding": EmbeddingConfig(sh_degree=1, size=4, time_size=6, time_rows=9, coarse_rows=3, heads=SMALL_HEADS),
    "polynomial": PolynomialConfig(sh_degree=1),
    "polynomial, two segments": PolynomialConfig(sh_degree=1, segments=2),
    "keyframe": KeyframeConfig(sh_degree=1, interval=5),
}
every_kind = pytest.mark.parametrize("name", SMALL)


def points(count: int = 40) -> Points:
    generator = torch.Generator().manual_seed(7)
    means, colors = (torch.rand(count, 3, generator=generator) for _ in range(2))
    return Points(means * 2 - 1, colors, torch.arange(count) % FRAMES / FRAMES)


def started(settings: ExpertConfig) -> Expert:
    torch.manual_seed(1)
    expert = settings.start(points(), FRAMES, VIEWS)
    expert.begin_step(TRAINED)
    return expert


def stirred(settings: ExpertConfig) -> Expert:
    """An expert after all schedules in which no parameter is at a special value such as 0."""
    expert = started(settings)
    with torch.no_grad():
        for parameter in expert.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return expert


def fields(gaussians: Gaussians) -> dict[str, Tensor]:
    return {name: getattr(gaussians, name) for name in ("means", "quats", "scales", "opacities", "sh")}


def assert_same(one: Gaussians, other: Gaussians) -> None:
    for name, value in fields(one).items():
        assert torch.equal(value, getattr(other, name)), name


def test_a_config_is_found_by_its_kind_and_survives_json():
    assert set(KINDS) == {"hexplane", "embedding", "polynomial", "keyframe"}
    for kind, settings in KINDS.items():
        plain = json.loads(json.dumps(config.dump(settings())))
        assert plain["kind"] == kind
        assert config.build(AnyExpertConfig, plain, "experts[0]") == settings()


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("hexplane", {"coarse_step": 1}, "did you mean 'coarse_steps'"),
        ("hexplane", {"planes": {"resolution": [1, 64, 64]}}, "at least 2 cells"),
        ("hexplane", {"heads": {"width": 0}}, "expected at least 1"),
        ("embedding", {"coarse_rows": 200}, "expected 1 to time_rows, 150"),
        ("polynomial", {"segments": 0}, "expected at least 0 and 1"),
        ("keyframe", {"dynamic_share": 1.5}, "expected 0 to 1"),
        ("keyframe", {"near": 2.0, "far": 1.0}, "0 <= near < far"),
        ("keyframe", {"opacity": 1.0}, "less than 1"),
        ("polynomial", {"sh_degree": 4}, "expected 0 to 3"),
        ("polynomial", {"rates": {"means": {"start": 1e-3, "end": 0.0}}}, "both above 0"),
    ],
)
def test_a_config_out_of_range_is_refused_with_its_place(kind, values, said):
    with pytest.raises(config.ConfigError, match="experts") as error:
        config.build(AnyExpertConfig, {"kind": kind, **values}, "experts[0]")
    assert said in str(error.value)


@every_kind
def test_an_expert_starts_on_its_points(name):
    settings = replace(SMALL[name], segments=1) if "polynomial" in name else SMALL[name]
    expert, start = settings.start(points(), FRAMES, VIEWS), points()
    gaussians = expert.at(0.0)
    assert len(expert) == len(gaussians) == len(start.means)
    # Every kind may order and fade its rows; as sets of places and colours they are the points, and faint.
    order, sorted_start = gaussians.means[:, 0].argsort(), start.means[:, 0].argsort()
    assert_close(gaussians.means[order], start.means[sorted_start], **EXACT)
    seen = harmonics.color(gaussians.sh, torch.tensor([0.0, 0.0, 1.0]).expand(len(gaussians), 3))
    assert_close(seen[order], start.colors[sorted_start], **EXACT)
    assert (gaussians.opacities <= 0.1 + 1e-6).all()
    assert (gaussians.scales > 0).all()


@every_kind
def test_two_answers_at_one_time_are_the_same(name):
    expert = stirred(SMALL[name])
    assert_same(expert.at(0.37), expert.at(0.37))


@every_kind
@pytest.mark.parametrize("t", [0.0, 0.123, 0.5, 29 / 30, 1.0])
def test_all_that_an_expert_returns_can_be_rendered(name, t):
    gaussians = stirred(SMALL[name]).at(t)
    for value in fields(gaussians).values():
        assert value.isfinite().all()
    assert (gaussians.opacities >= 0).all()
    assert (gaussians.opacities <= 1).all()
    assert (gaussians.quats.norm(dim=1) > 0).all()


@every_kind
def test_rows_tell_which_gaussians_are_there(name):
    expert, found = stirred(SMALL[name]), []
    for t in (0.1, 0.9):
        gaussians = expert.at(t)
        found.append(torch.arange(len(expert)) if gaussians.rows is None else gaussians.rows)
        assert len(found[-1]) == len(gaussians)
    assert torch.equal(torch.cat(found).unique(), torch.arange(len(expert)))


@every_kind
def test_a_gradient_reaches_every_parameter_that_has_a_rate(name):
    expert = stirred(SMALL[name])
    torch.manual_seed(2)
    # All keys take part only over the whole clip, a camera's offset only where the camera is given.
    loss = expert.penalty()
    for frame in range(FRAMES):
        view = frame % VIEWS if isinstance(expert.config, EmbeddingConfig) else None
        for value in fields(expert.at(frame / FRAMES, view)).values():
            loss = loss + (value * torch.randn_like(value)).sum()
    loss.backward()
    for parameter, value in expert.named_parameters():
        assert value.grad is not None, parameter
        assert value.grad.isfinite().all(), parameter
        assert value.grad.abs().sum() > 0, parameter


@every_kind
def test_every_parameter_has_one_rate(name):
    expert = started(SMALL[name])
    patterns = [pattern for rate in expert.rates() for pattern in rate.parameters]
    for parameter, _ in expert.named_parameters():
        matches = [p for p in patterns if p == parameter or (p.endswith(".") and parameter.startswith(p))]
        assert len(matches) == 1, (parameter, matches)


@every_kind
def test_a_loaded_expert_is_the_one_that_was_saved(name):
    expert = stirred(SMALL[name])
    expert.begin_step(4321)
    tensors = {key: value.clone() for key, value in expert.state_dict().items()}
    loaded = config.build(AnyExpertConfig, config.dump(expert.config), "expert").empty(tensors)
    loaded.load_state_dict(tensors)
    loaded.begin_step(4321)
    for t in (0.0, 0.21, 0.8):
        assert_same(loaded.at(t), expert.at(t))


@every_kind
@pytest.mark.parametrize("change", ["missing", "misshapen"])
def test_a_tensor_that_does_not_fit_is_named(name, change):
    expert = started(SMALL[name])
    tensors = expert.state_dict()
    wrong = next(key for key in tensors if key.endswith("sh0"))
    if change == "missing":
        del tensors[wrong]
    else:
        tensors[wrong] = tensors[wrong][:, :, :2]
    with pytest.raises(RuntimeError, match=wrong):
        expert.config.empty(tensors).load_state_dict(tensors)


@every_kind
def test_a_split_keeps_shapes_and_the_middle(name):
    expert = stirred(SMALL[name])
    for group in expert.groups:
        rows, n = torch.arange(3), 2
        parents = expert.group(group)
        many = torch.stack([torch.cat([v.flatten() for v in expert.split(group, rows, n).values()]) for _ in range(2)])
        assert not torch.equal(many[0], many[1])  # children are drawn anew
        children = expert.split(group, rows, n)
        assert set(children) == set(parents)
        for parameter, value in children.items():
            assert value.shape == (n * len(rows), *parents[parameter].shape[1:])
            assert not value.requires_grad
        assert_close(children["log_scales"].exp(), parents["log_scales"][rows].exp().repeat(2, 1) / 1.6)
        assert torch.equal(children["sh0"], parents["sh0"][rows].repeat(2, 1, 1))
        place = "key_means" if "key_means" in parents else "means"
        offsets = expert.split(group, rows, 4000)[place].unflatten(0, (4000, 3)) - parents[place][rows].detach()
        spread = parents["log_scales"][rows].detach().exp() * (2 if place == "key_means" else 1)
        # The mean of 4000 draws of a normal lies within five of its standard errors.
        bound = 5 * spread.max() / 4000**0.5
        assert offsets.mean(0).abs().max() < bound
        # The variance over all axes together is that of the parent, whatever its rotation; its own spread is 2 %.
        seen = offsets.square().mean(0).reshape(3, -1, 3).sum(-1)
        assert_close(seen, spread.square().sum(1, keepdim=True).expand_as(seen), rtol=0.1, atol=0)


@every_kind
def test_a_clone_is_a_twin_but_for_its_time(name):
    expert, rows = stirred(SMALL[name]), torch.tensor([4, 1])
    for group in expert.groups:
        parents, twins = expert.group(group), expert.clone(group, rows)
        assert set(twins) == set(parents)
        for parameter, value in twins.items():
            assert not value.requires_grad
            if parameter not in ("time_centers", "log_time_widths"):
                assert torch.equal(value, parents[parameter][rows]), parameter


@every_kind
def test_colour_has_no_direction_before_its_degree_joins(name):
    expert = stirred(replace(SMALL[name], sh_degree=2, sh_degree_interval=100))
    for step, active in ((0, 1), (99, 1), (100, 4), (250, 9), (1000, 9)):
        expert.begin_step(step)
        sh = expert.at(0.4).sh
        assert sh.shape[1] == 9
        assert (sh[:, active:] == 0).all()
        assert (sh[:, :active] != 0).any(dim=0).all()


@every_kind
def test_degree_0_has_one_basis(name):
    gaussians = started(replace(SMALL[name], sh_degree=0)).at(0.4)
    assert gaussians.sh.shape[1] == 1


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


def test_a_rate_falls_evenly_in_its_logarithm():
    rate = Decay(1e-2, 1e-4, 100).of("groups.all.means", times_extent=True)
    assert rate.at(50, extent=2.0) == pytest.approx(2e-3)
    assert rate.at(1000, extent=1.0) == pytest.approx(1e-4)
    assert Decay(0.0).of("offsets").at(7, extent=1.0) == 0
