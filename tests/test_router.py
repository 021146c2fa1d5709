"""Each kind of router against its definition, pixel by pixel, and the laws of the gates."""

import inspect
import math
from dataclasses import replace

import pytest
import torch
from mixtures import mixture, rig
from scenes import blobs
from torch import Tensor
from torch.testing import assert_close

from moegs.gaussians import LowPass
from moegs.mixture import Mixture
from moegs.rasterize import Layer, rasterize
from moegs.router import (
    AnyRouterConfig,
    MuteRule,
    PixelConfig,
    Seen,
    UniformConfig,
    VolumeAwareConfig,
    VolumeConfig,
    gates,
)
from moegs.router.network import PixelNetwork
from moegs.router.volume_aware import VolumeAwareRouter

CAMERA = rig().cameras[0]
KINDS = [VolumeAwareConfig(), PixelConfig(), VolumeConfig(), UniformConfig()]


@pytest.fixture
def router() -> VolumeAwareRouter:
    torch.manual_seed(0)
    return VolumeAwareConfig().start([5, 7])


def under(config: AnyRouterConfig, kinds: tuple[str, ...] = ("poly", "key")) -> Mixture:
    """A mixture under a router of that kind with random weights."""
    made = mixture(kinds)
    torch.manual_seed(4)
    router = config.start([len(expert) for expert in made.members])
    for parameter in router.parameters():
        parameter.data = torch.randn(parameter.shape)
    return Mixture(made.names, made.members, router, made.rig).requires_grad_(False)


def answer(network: PixelNetwork, own: Tensor, row: int, column: int) -> Tensor:
    """What the network says of one expert's own channels at one pixel, in float64."""
    w1, w2, w3 = (layer.weight.double() for layer in network if isinstance(layer, torch.nn.Linear))
    sees = torch.cat([own.double(), CAMERA.center.double(), CAMERA.rays().double()[row, column]])
    return (w3 @ torch.relu(w2 @ torch.relu(w1 @ sees)))[0]


def seen(features: Tensor, images: Tensor | None = None, t: float = 0.0) -> Seen:
    """What a router that needs no Gaussians judges."""
    return Seen([Layer(blobs(1, seed=0))] * len(features), images, features, CAMERA, t)


def test_weights_start_as_published(router: VolumeAwareRouter) -> None:
    assert_close(router.static[0], torch.full((5, 2), 0.9))
    assert_close(router.temporal[1], torch.zeros(7, 1))
    assert_close(router.feature_background, torch.ones(3))
    assert [layer.weight.shape for layer in router.network if isinstance(layer, torch.nn.Linear)] == [
        (6, 8), (3, 6), (1, 3),
    ]  # fmt: skip


def test_the_volume_aware_logit_is_weight_plus_network_of_weights_centre_and_ray(router: VolumeAwareRouter) -> None:
    features = torch.randn(2, CAMERA.height, CAMERA.width, 3)
    logits = router.judge(seen(features)).logits
    for expert, row, column in ((0, 0, 0), (1, 31, 47), (1, 10, 20)):
        weight, *rest = features[expert, row, column].double()
        expected = weight + answer(router.network, torch.stack(rest), row, column)
        assert_close(logits[expert, row, column].double(), expected, atol=1e-5, rtol=0)  # float32 products of size 3


@pytest.mark.parametrize("name", ["features", "network.0.weight", "network.2.weight", "network.4.weight"])
def test_the_gradient_of_the_logits_is_the_slope(router: VolumeAwareRouter, name: str) -> None:
    """The fused gradient against central differences of the network's matrix products in float64."""
    generator = torch.Generator().manual_seed(2)
    features = torch.randn(2, CAMERA.height, CAMERA.width, 3, generator=generator).requires_grad_()
    weights = torch.randn(2, CAMERA.height, CAMERA.width, generator=generator)
    named = dict(router.named_parameters()) | {"features": features}
    (gradient,) = torch.autograd.grad((router.judge(seen(features)).logits * weights).sum(), [named[name]])

    precise, camera = (
        PixelNetwork(own=2).double(),
        replace(CAMERA, viewmat=CAMERA.viewmat.double(), K=CAMERA.K.double()),
    )
    precise.load_state_dict(router.network.state_dict())
    values = features.detach().double()
    moved = values if name == "features" else dict(precise.named_parameters())[name.removeprefix("network.")].data
    direction = torch.randn(moved.shape, generator=generator).double()
    step, sums = 1e-6, []
    for sign in (1, -1):
        moved += sign * step * direction
        sums.append(float(((values[..., 0] + precise.answer(values[..., 1:], camera)) * weights).sum().detach()))
        moved -= sign * step * direction
    slope = (sums[0] - sums[1]) / (2 * step)
    # Of 3072 pixels a few lie within a step of a ReLU's corner; the sum over pixels in float32 adds 1e-5.
    assert float((gradient.double() * direction).sum()) == pytest.approx(slope, rel=1e-3)


def test_time_enters_as_a_product(router: VolumeAwareRouter) -> None:
    gaussians = mixture(("poly",), count=5).at(0.5)[0]
    router.temporal[0].data.fill_(2.0)
    assert_close(router.features(0, gaussians, 0.25), torch.tensor([0.9, 0.9, 0.5]).expand(5, 3))


def test_a_router_asks_only_for_the_rows_that_are_there(router: VolumeAwareRouter) -> None:
    gaussians = mixture(("poly",), count=5).at(0.5)[0].select(torch.tensor([3, 1]))
    router.static[0].data = torch.arange(10.0).reshape(5, 2)
    assert_close(router.features(0, gaussians, 0.0)[:, :2], torch.tensor([[6.0, 7], [2, 3]]))


def test_the_pixel_logit_is_a_network_of_colour_time_centre_and_ray() -> None:
    torch.manual_seed(1)
    router = PixelConfig().start([5, 7])
    images = torch.rand(2, CAMERA.height, CAMERA.width, 3)
    logits = router.judge(seen(torch.empty(*images.shape[:3], 0), images, t=0.7)).logits
    assert router.rows is None
    for expert, row, column in ((0, 3, 5), (1, 30, 40)):
        own = torch.cat([images[expert, row, column], torch.tensor([0.7])])
        assert_close(logits[expert, row, column].double(), answer(router.network, own, row, column), atol=1e-5, rtol=0)


def test_the_uniform_router_averages_the_experts() -> None:
    made = under(UniformConfig(temperature=0.01))
    render = made.render(CAMERA, 0.5)
    assert_close(render.picture, render.images.mean(0))
    assert_close(render.gates, torch.full_like(render.gates, 0.5))


def test_a_volume_router_draws_one_scene_of_all_gaussians_each_as_opaque_as_its_weight_says() -> None:
    made = under(VolumeConfig(lowpass=LowPass(0.2, compensated=True)))
    assert made.router is not None
    parts = made.at(0.5)
    opacities = []
    for weights, part in zip(made.router.static, parts, strict=True):
        kept = weights[:, 0] if part.rows is None else weights[part.rows, 0]
        opacities.append(part.opacities * torch.sigmoid(kept))
    both = replace(
        parts[0],
        **{name: torch.cat([getattr(p, name) for p in parts]) for name in ("means", "quats", "scales", "sh")},
        opacities=torch.cat(opacities), rows=None,
    )  # fmt: skip
    owners = torch.cat([torch.full((len(part),), float(e)) for e, part in enumerate(parts)])[:, None]
    behind = torch.stack([expert.background for expert in made.members]).mean(0)
    scene = rasterize([Layer(both, owners, LowPass(0.2, compensated=True), background=behind)], CAMERA)
    render = made.render(CAMERA, 0.5)
    assert_close(render.picture, scene.images[0], atol=1e-5, rtol=0)
    assert_close(render.alpha, scene.alphas[0], atol=1e-5, rtol=0)
    of_second = scene.features[0, ..., 0]  # what the second expert's Gaussians add to each pixel
    covered = scene.alphas[0, ..., 0] > 0.05
    assert bool(covered.any())
    assert_close(render.gates[1][covered], (of_second / scene.alphas[0, ..., 0])[covered], atol=1e-4, rtol=0)


def test_a_muted_expert_is_left_out_of_the_one_scene() -> None:
    made = under(VolumeConfig())
    assert made.router is not None
    alone = made.render(CAMERA, 0.5, active=[True, False], mute_rule="keep")
    made.router.static[1].data.fill_(-100.0)  # opacity 0
    assert_close(alone.picture, made.render(CAMERA, 0.5).picture)
    covered = alone.alpha[..., 0] > 0.05
    assert_close(alone.gates[0][covered], torch.ones_like(alone.gates[0][covered]), atol=1e-4, rtol=0)
    dark = made.render(CAMERA, 0.5, active=[False, False]).picture
    assert_close(dark, made.rig.background.expand_as(dark))


def test_near_and_far_of_an_expert_hold_for_its_own_gaussians_in_the_one_scene() -> None:
    made = under(VolumeConfig())
    made.members[0].far = 1.0  # everything is about 3 away
    hidden = made.render(CAMERA, 0.5).picture
    made.members[0].far = 1e10
    assert_close(hidden, made.render(CAMERA, 0.5, active=[False, True]).picture)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_gates_of_every_kind_are_shares_and_one_expert_alone_is_itself(config: AnyRouterConfig) -> None:
    made = under(config, ("hex", "poly", "key"))
    render = made.render(CAMERA, 0.5)
    assert_close(render.gates.sum(0), torch.ones_like(render.gates[0]))
    assert bool(render.picture.isfinite().all())
    alone = made.render(CAMERA, 0.5, active=[False, False, True])
    assert_close(alone.gates[2], torch.ones_like(alone.gates[2]), atol=1e-4, rtol=0)
    if made.router is not None and made.router.blends:
        assert_close(alone.picture, alone.images[2])


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_tile_gating_asks_only_those_that_see_features_alone(config: AnyRouterConfig) -> None:
    made = under(config)
    assert made.router is not None
    exact, gated = made.render(CAMERA, 0.5), made.render(CAMERA, 0.5, skip_below=0.4)
    assert bool(gated.picture.isfinite().all())
    if not made.router.sees_features_alone:
        assert torch.equal(gated.picture, exact.picture)


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_over_known_pictures_the_mixture_and_its_gradients_are_the_same(config: AnyRouterConfig) -> None:
    made = under(config)
    assert made.router is not None
    weights = torch.randn(CAMERA.height, CAMERA.width, 3)
    made.router.requires_grad_(True)
    parameters = list(made.router.parameters())
    whole = made.render(CAMERA, 0.5, temperature=0.3)
    over = made.over(whole.images.detach() if made.router.blends else None, CAMERA, 0.5, 0.3)
    assert_close(over, whole.picture, atol=1e-6, rtol=0)
    if parameters:
        ours = torch.autograd.grad((over * weights).sum(), parameters)
        theirs = torch.autograd.grad((whole.picture * weights).sum(), parameters)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other, atol=1e-6 * float(other.abs().max()), rtol=1e-4)  # sums in another order
            assert bool(one.any())


LOGITS = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(3))
TWO_LIVE = torch.tensor([True, False, False, True])


@pytest.mark.parametrize("temperature", [0.01, 1.0, 30.0])
def test_gates_are_shares(temperature: float) -> None:
    share = gates(LOGITS, temperature)
    assert_close(share.sum(0), torch.ones(5, 6))
    assert bool((share >= 0).all())
    assert torch.equal(share.argmax(0), LOGITS.argmax(0))


def test_a_small_temperature_chooses_and_a_large_one_averages() -> None:
    assert_close(gates(LOGITS, 1e-6).amax(0), torch.ones(5, 6))
    assert_close(gates(LOGITS, 1e6), torch.full((4, 5, 6), 0.25), atol=1e-5, rtol=0)


def test_renormalize_shares_among_the_live_in_their_proportion() -> None:
    full, muted = gates(LOGITS, 1.0), gates(LOGITS, 1.0, TWO_LIVE, "renormalize")
    assert_close(muted[0] / muted[3], full[0] / full[3])
    assert_close(muted.sum(0), torch.ones(5, 6))
    assert not bool(muted[1:3].any())


def test_keep_loses_exactly_the_muted_share() -> None:
    full, muted = gates(LOGITS, 1.0), gates(LOGITS, 1.0, TWO_LIVE, "keep")
    assert_close(muted[TWO_LIVE], full[TWO_LIVE])
    assert not bool(muted[1:3].any())


def test_reroute_gives_the_muted_share_to_the_highest_live_logit() -> None:
    full, muted = gates(LOGITS, 1.0), gates(LOGITS, 1.0, TWO_LIVE, "reroute")
    first_is_best = LOGITS[0] > LOGITS[3]
    assert_close(muted[0], torch.where(first_is_best, 1 - full[3], full[0]))
    assert_close(muted.sum(0), torch.ones(5, 6))


@pytest.mark.parametrize("rule", ["renormalize", "keep", "reroute"])
def test_rules_agree_when_all_or_none_are_live(rule: MuteRule) -> None:
    assert_close(gates(LOGITS, 1.0, torch.ones(4, dtype=torch.bool), rule), gates(LOGITS, 1.0))
    assert not bool(gates(LOGITS, 1.0, torch.zeros(4, dtype=torch.bool), rule).any())


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_is_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match=r"temperature: got .*, expected a positive number"):
        gates(LOGITS, temperature)
    with pytest.raises(ValueError, match=r"temperature: got .*, expected a positive number"):
        VolumeAwareConfig(temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-40, 1e-45])
@pytest.mark.parametrize("largest", [3.0, 300.0])
def test_however_cold_the_largest_logit_takes_all(temperature: float, largest: float) -> None:
    logits = torch.tensor([largest, -2.0, 2.5]).view(3, 1, 1).expand(3, 2, 2)
    assert torch.equal(gates(logits, temperature)[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    muted = gates(logits, temperature, torch.tensor([False, True, True]))
    assert torch.equal(muted[:, 0, 0], torch.tensor([0.0, 0.0, 1.0]))


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="mute rule: got 'kepe', expected renormalize, keep, reroute"):
        inspect.unwrap(gates)(
            torch.zeros(2, 1, 1), 1.0, torch.tensor([True, False]), "kepe"
        )  # without the tests' checks
