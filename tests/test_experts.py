"""Laws that every expert keeps, whatever its kind."""

import json
from dataclasses import replace

import pytest
import torch
from small_experts import FRAMES, SMALL, VIEWS, points, started, stirred
from torch import Tensor
from torch.testing import assert_close

from moegs import config, harmonics
from moegs.experts import KINDS, AnyExpertConfig
from moegs.experts.base import Decay
from moegs.experts.embedding import EmbeddingConfig
from moegs.gaussians import Gaussians

EXACT = {"atol": 1e-6, "rtol": 1e-5}  # a few float32 roundings
every_kind = pytest.mark.parametrize("name", SMALL)


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
        ("hexplane", {"planes": {"resolution": [1, 64, 64]}}, "at least 3 cells"),
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


def test_a_rate_falls_evenly_in_its_logarithm():
    rate = Decay(1e-2, 1e-4, 100).of("groups.all.means", times_extent=True)
    assert rate.at(50, extent=2.0) == pytest.approx(2e-3)
    assert rate.at(1000, extent=1.0) == pytest.approx(1e-4)
    assert Decay(0.0).of("offsets").at(7, extent=1.0) == 0
