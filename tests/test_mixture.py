"""Laws of a mixture: its picture is the gated sum of its experts' own pictures, and nothing else."""

import pytest
import torch
from mixtures import mixture
from torch.testing import assert_close

from moegs.mixture import INSTANTS_KEPT, Mixture
from moegs.rasterize import Layer, rasterize

ALL_KINDS = ("hex", "emb", "poly", "key")
T = 2 / 6


@pytest.fixture(scope="module")
def made() -> Mixture:
    return mixture(ALL_KINDS)


def test_the_picture_is_the_gated_sum(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    render = made.render(camera, T)
    assert_close(render.gates.sum(0), torch.ones(camera.height, camera.width))
    assert_close(render.picture, (render.gates[..., None] * render.images).sum(0))
    assert_close(render.alpha, (render.gates[..., None] * render.alphas).sum(0))
    hit = render.alpha > 1e-3
    weighted = (render.gates[..., None] * render.alphas * render.depths).sum(0)
    assert_close(render.depth[hit], (weighted / render.alpha)[hit])
    assert bool(hit.any())


@pytest.mark.parametrize("t", [float("inf"), float("nan"), -0.1, 1.1])
def test_a_time_outside_is_refused(made: Mixture, t: float) -> None:
    with pytest.raises(ValueError, match=r"t: got .*, expected a time in \[0, 1\]"):
        made.render(made.rig.cameras[0], t)


def test_each_image_is_the_experts_own_render(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    render = made.render(camera, T)
    for image, expert in zip(render.images, made.members, strict=True):
        layer = Layer(
            expert.at(T), lowpass=expert.lowpass, near=expert.near, far=expert.far, background=expert.background
        )
        assert_close(image, rasterize([layer], camera).images[0], atol=1e-5, rtol=0)


def test_a_mixture_of_one_expert_is_that_expert() -> None:
    alone = mixture(("poly",))
    render = alone.render(alone.rig.cameras[0], T)
    assert torch.equal(render.picture, render.images[0])
    assert torch.equal(render.gates, torch.ones_like(render.gates))


def test_solo_is_the_experts_own_picture_bit_for_bit(made: Mixture) -> None:
    camera = made.rig.cameras[1]
    for number in range(4):
        render = made.render(camera, T, active=[e == number for e in range(4)])
        assert torch.equal(render.picture, render.images[number])


def test_keep_darkens_by_the_muted_share(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    full, kept = (made.render(camera, T, active=a, mute_rule="keep") for a in (None, (True, True, False, True)))
    assert_close(kept.picture, full.picture - full.gates[2, ..., None] * full.images[2], atol=1e-6, rtol=0)


def test_with_none_live_the_background_is_left(made: Mixture) -> None:
    render = made.render(made.rig.cameras[0], T, active=[False] * 4)
    assert_close(render.picture, made.rig.background.expand_as(render.picture))


def test_temperature_one_is_the_routers_own_only_if_it_says_so(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    own, same, other = (made.render(camera, T, temperature=value).picture for value in (None, 0.5, 1.0))
    assert torch.equal(own, same)
    assert not torch.allclose(own, other, atol=1e-4)


def test_gradients_reach_the_router_alone(made: Mixture) -> None:
    assert made.router is not None
    made.router.requires_grad_(True)
    try:
        made.render(made.rig.cameras[0], T).picture.sum().backward()
        assert all(bool(parameter.grad.any()) for parameter in made.router.parameters() if parameter.grad is not None)
        assert sum(parameter.grad is not None for parameter in made.router.parameters()) == 4 + 4 + 3
        assert all(parameter.grad is None for parameter in made.experts.parameters())
    finally:
        made.zero_grad(set_to_none=True)
        made.router.requires_grad_(False)


def test_moving_the_camera_at_one_time_evaluates_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    made, asked = mixture(), []
    for expert in made.members:
        at = expert.at
        monkeypatch.setattr(expert, "at", lambda t, view=None, at=at: asked.append(t) or at(t, view))
    for camera in made.rig.cameras:
        made.render(camera, T)
    assert asked == [T, T]
    for frame in range(INSTANTS_KEPT + 1):
        made.at(frame / 6)
    made.at(T)
    assert len(made._instants) <= INSTANTS_KEPT


def test_kept_instants_do_not_stay_behind_on_another_device() -> None:
    made = mixture(("hex",))
    made.at(T)
    made.to("meta")
    assert made.at(T)[0].means.device.type == "meta"


def test_wrong_parts_are_refused(made: Mixture) -> None:
    with pytest.raises(ValueError, match="got 2 switches for 4 experts"):
        made.render(made.rig.cameras[0], T, active=[True, False])
    with pytest.raises(ValueError, match="2 experts need a router"):
        Mixture(["a", "b"], made.members[:2], None, made.rig)
    with pytest.raises(ValueError, match="give each a name of its own"):
        Mixture(["a", "a"], made.members[:2], made.router, made.rig)
