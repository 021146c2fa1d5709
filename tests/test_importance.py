"""Importance: the scores of Gaussians against the float64 definition, and where a score does not exist."""

from dataclasses import replace

import numpy as np
import pytest
import reference
import torch
from mixtures import mixture, points, rig
from torch.testing import assert_close

from moegs.experts import PolynomialConfig
from moegs.mixture import Mixture
from moegs.pruning import importance
from moegs.router import AnyRouterConfig, PixelConfig, UniformConfig, VolumeConfig
from moegs.router.volume_aware import VolumeAwareRouter

VIEW = (1, 2)
"""Of the made rig: a training camera, and a frame that is not the first, so that w_time counts."""


def small() -> Mixture:
    return mixture(("poly", "key"), count=7, size=(12, 8))


def shares(made: Mixture, camera: int, t: float) -> list[np.ndarray]:
    """H W N of each expert: how much of each pixel's light each Gaussian gives, alpha x transmittance."""
    found = []
    for layer in made.layers(made.at(t), t):
        own = replace(layer, features=torch.eye(len(layer.gaussians)), feature_background=None)
        found.append(reference.render(own, made.rig.cameras[camera]).features)
    return found


def mean_gates(made: Mixture, written: list[np.ndarray], given: list[np.ndarray], camera: int) -> np.ndarray:
    """Each expert's gate, H W E, where its Gaussians carry `written` N 3 and give `given` H W N of each pixel."""
    router = made.router
    assert isinstance(router, VolumeAwareRouter)
    first, second, third = (weights.cpu().double().numpy() for weights in router.network.weights)
    view = made.rig.cameras[camera]
    rays, center = view.rays().double().numpy(), view.center.double().numpy()
    logits = []
    for values, weights in zip(written, given, strict=True):
        seen = weights @ values + (1 - weights.sum(-1, keepdims=True))  # over a background of 1
        place = np.concatenate([seen[..., 1:], np.broadcast_to(center, rays.shape), rays], axis=-1)
        hidden = np.maximum(np.maximum(place @ first.T, 0) @ second.T, 0)
        logits.append(seen[..., 0] + (hidden @ third.T)[..., 0])
    exponents = np.exp((np.stack(logits, -1) - np.max(logits, 0)[..., None]) / router.config.temperature)
    return exponents / exponents.sum(-1, keepdims=True)


def written(made: Mixture, t: float) -> list[np.ndarray]:
    return [layer.features.double().numpy() for layer in made.layers(made.at(t), t) if layer.features is not None]


def test_contribution_is_gate_times_alpha_times_transmittance_over_the_pixels(backend: str):
    made = small()
    camera, t = VIEW[0], made.rig.timeline.t(VIEW[1])
    given = shares(made, camera, t)
    gate = mean_gates(made, written(made, t), given, camera)
    found = importance(made.to(backend), [VIEW])["contribution"]
    for number, name in enumerate(made.names):
        wanted = (given[number] * gate[..., number, None]).sum((0, 1))
        assert_close(found[name].cpu().double().numpy(), wanted, rtol=1e-3, atol=1e-5)


def test_the_gate_gradient_is_the_slope_of_the_mean_gate(backend: str):
    made, step = small(), 1e-5
    camera, t = VIEW[0], made.rig.timeline.t(VIEW[1])
    given, values = shares(made, camera, t), written(made, t)
    found = importance(made.to(backend), [VIEW])["gate-gradient"]
    for number, name in enumerate(made.names):
        slopes = np.zeros_like(values[number])
        for place in np.ndindex(*slopes.shape):
            sides = []
            for sign in (1, -1):
                moved = [array.copy() for array in values]
                moved[number][place] += sign * step
                sides.append(mean_gates(made, moved, given, camera)[..., number].mean())
            slopes[place] = (sides[0] - sides[1]) / (2 * step)
        assert slopes.any()
        assert_close(found[name].cpu().double().numpy(), np.linalg.norm(slopes, axis=1), rtol=2e-3, atol=1e-7)


def test_a_score_is_the_mean_over_the_views_whatever_their_order():
    made = mixture()
    views = [(1, 0), (2, 3), (1, 5)]
    heard: list[tuple[int, int]] = []
    both = importance(made, views, lambda *event: heard.append(event))
    alone = [importance(made, [view]) for view in reversed(views)]
    assert heard == [(1, 3), (2, 3), (3, 3)]
    for criterion, values in both.items():
        for name, numbers in values.items():
            wanted = torch.stack([each[criterion][name] for each in alone]).mean(0)
            assert_close(numbers, wanted, rtol=1e-5, atol=1e-9)


def test_a_gaussian_that_is_there_at_no_view_has_score_0():
    config = PolynomialConfig(sh_degree=0, segments=2)
    expert = config.start(points(30, seed=1), frames=6, views=2)
    for group in expert.groups:
        expert.group(group)["logit_opacities"].data.fill_(1.5)
    expert.begin_step(10_000)
    made = Mixture(["it"], [expert], None, rig()).requires_grad_(False)
    first, second = expert.counts().values()
    early = importance(made, [(1, 0), (2, 1)])["contribution"]["it"]
    late = importance(made, [(1, 4)])["contribution"]["it"]
    assert early[:first].max() > 0
    assert not early[first:].any()
    assert late[first:].max() > 0
    assert not late[:first].any()
    assert len(early) == first + second


def test_one_expert_alone_has_contributions_that_add_up_to_what_it_covers():
    made = mixture(("poly",))
    found = importance(made, [(1, 0)])
    assert set(found) == {"contribution"}
    alpha = made.render(made.rig.cameras[1], 0.0).alphas[0]
    assert_close(found["contribution"]["poly"].sum(), alpha.sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("config", [PixelConfig(), UniformConfig()])
def test_a_router_that_writes_nothing_on_gaussians_has_contributions_alone(config: AnyRouterConfig):
    made = mixture()
    other = Mixture(made.names, made.members, config.start([60, 60]), made.rig).requires_grad_(False)
    found = importance(other, [(1, 0)])
    assert set(found) == {"contribution"}
    seen = other.render(other.rig.cameras[1], 0.0)
    for number, name in enumerate(other.names):
        wanted = (seen.gates[number, ..., None] * seen.alphas[number]).sum()
        assert_close(found["contribution"][name].sum(), wanted, rtol=1e-4, atol=0)


def test_what_cannot_be_weighed_is_one_line():
    made = mixture()
    joint = Mixture(made.names, made.members, VolumeConfig().start([60, 60]), made.rig)
    with pytest.raises(ValueError, match="under a volume router no Gaussian has a gate; give a mixture whose router"):
        importance(joint, [(1, 0)])
    with pytest.raises(ValueError, match="importance: no views"):
        importance(made, [])
