"""The router against its definition, pixel by pixel, and the laws of the gates."""

import inspect
import math

import pytest
import torch
from mixtures import rig
from torch.testing import assert_close

from moegs.router import MuteRule, RouterConfig, VolumeRouter, gates

CAMERA = rig().cameras[0]


@pytest.fixture
def router() -> VolumeRouter:
    torch.manual_seed(0)
    return RouterConfig().start([5, 7])


def test_weights_start_as_published(router: VolumeRouter) -> None:
    assert_close(router.static[0], torch.full((5, 2), 0.9))
    assert_close(router.temporal[1], torch.zeros(7, 1))
    assert_close(router.feature_background, torch.ones(3))


@pytest.mark.parametrize("training", [True, False], ids=["training", "fused"])
def test_the_logit_is_weight_plus_network_of_weights_centre_and_ray(router: VolumeRouter, training: bool) -> None:
    features = torch.randn(2, CAMERA.height, CAMERA.width, 3)
    logits = router.requires_grad_(training).logits(features, CAMERA)
    assert logits.requires_grad == training
    w1, w2, w3 = (layer.weight.double() for layer in router.network if isinstance(layer, torch.nn.Linear))
    rays = CAMERA.rays().double()
    for expert, row, column in ((0, 0, 0), (1, 31, 47), (1, 10, 20)):
        weight, *rest = features[expert, row, column].double()
        sees = torch.cat([torch.stack(rest), CAMERA.center.double(), rays[row, column]])
        answer = w3 @ torch.relu(w2 @ torch.relu(w1 @ sees))
        # float32 products of eight numbers of size 3
        assert_close(logits[expert, row, column].double(), weight + answer[0], atol=1e-5, rtol=0)


def test_time_enters_as_a_product(router: VolumeRouter) -> None:
    from mixtures import mixture

    gaussians = mixture(("poly",), count=5).at(0.5)[0]
    router.temporal[0].data.fill_(2.0)
    assert_close(router.features(0, gaussians, 0.25), torch.tensor([0.9, 0.9, 0.5]).expand(5, 3))


def test_a_router_asks_only_for_the_rows_that_are_there(router: VolumeRouter) -> None:
    from mixtures import mixture

    gaussians = mixture(("poly",), count=5).at(0.5)[0].select(torch.tensor([3, 1]))
    router.static[0].data = torch.arange(10.0).reshape(5, 2)
    assert_close(router.features(0, gaussians, 0.0)[:, :2], torch.tensor([[6.0, 7], [2, 3]]))


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
        RouterConfig(temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-6, 1e-30, 1e-40, 1e-45])
def test_however_cold_the_largest_logit_takes_all(temperature: float) -> None:
    logits = torch.tensor([3.0, -2.0, 2.5]).view(3, 1, 1).expand(3, 2, 2)
    assert torch.equal(gates(logits, temperature)[:, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    muted = gates(logits, temperature, torch.tensor([False, True, True]))
    assert torch.equal(muted[:, 0, 0], torch.tensor([0.0, 0.0, 1.0]))


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="mute rule: got 'kepe', expected renormalize, keep, reroute"):
        inspect.unwrap(gates)(
            torch.zeros(2, 1, 1), 1.0, torch.tensor([True, False]), "kepe"
        )  # without the tests' checks
