"""Laws of a mixture: its picture is the gated sum of its experts' own pictures, and nothing else."""

from dataclasses import replace

import pytest
import torch
from mixtures import mixture, rig
from torch.testing import assert_close

from moegs.gaussians import Gaussians
from moegs.instants import INSTANTS_BYTES, size
from moegs.mixture import Mixture, blend
from moegs.rasterize import Layer, rasterize
from moegs.router.volume_aware import VolumeAwareRouter

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


def test_experts_learn_from_the_blend_under_gates_that_do_not(made: Mixture, backend: str) -> None:
    """As under a router without parameters: of each picture the gradient is its gate."""
    camera, layers = made.rig.cameras[0], made.layers(made.at(T), T)
    result = rasterize([replace(layer, features=None, feature_background=None) for layer in layers], camera)
    result = replace(result, **{name: getattr(result, name).to(backend) for name in ("images", "alphas", "depths")})
    gates = torch.full(result.images.shape[:3], 0.25, device=backend)
    images = result.images.clone().requires_grad_()
    picture, _, _ = blend(gates, replace(result, images=images))
    picture.sum().backward()
    assert images.grad is not None
    assert_close(images.grad, torch.full_like(images, 0.25))


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


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[Mixture, list[float]]:
    """A mixture, and the times that its first expert has been asked for."""
    made, times = mixture(), []
    at = made.members[0].at
    monkeypatch.setattr(made.members[0], "at", lambda t, view=None: times.append(t) or at(t, view))
    return made, times


def test_a_loop_through_all_frames_evaluates_no_network_the_second_time(asked: tuple[Mixture, list[float]]) -> None:
    made, times = asked
    frames = [made.rig.timeline.t(frame) for frame in range(made.rig.timeline.frames)]
    for t in frames * 3:
        made.render(made.rig.cameras[0], t)
    assert times == frames


def test_instants_are_kept_within_their_bytes_and_the_oldest_go(asked: tuple[Mixture, list[float]]) -> None:
    made, times = asked
    one = size(made.at(0.0))
    made.instants.limit = int(2.5 * one)
    for t in (0.1, 0.0, 0.2):  # 0.1 is the one that was not used for longest
        made.at(t)
    assert made.instants.bytes == 2 * one
    del times[:]
    for t in (0.0, 0.2, 0.1):
        made.at(t)
    assert times == [0.1]


def test_the_instant_asked_for_last_is_kept_whatever_its_size(asked: tuple[Mixture, list[float]]) -> None:
    made, times = asked
    with made.instants.within(0):
        for t in (0.1, 0.1, 0.2, 0.2):
            made.at(t)
        assert times == [0.1, 0.2]
        assert len(made.instants) == 1
    assert made.instants.limit == INSTANTS_BYTES


@pytest.mark.parametrize("how", ["written", "loaded", "stepped", "replaced"])
def test_kept_instants_are_those_of_the_experts_as_they_are(how: str) -> None:
    made, other = mixture(("hex", "key")), mixture(("hex", "key"))
    made.at(T)
    with torch.no_grad():
        for parameter in other.experts.parameters():
            parameter.add_(0.01)
    if how == "written":
        with torch.no_grad():
            for parameter in made.experts.parameters():
                parameter.add_(0.01)
    elif how == "loaded":
        made.load_state_dict(other.state_dict())
    elif how == "stepped":
        other = mixture(("hex", "key"))
        for expert in (*made.members, *other.members):
            expert.begin_step(0)  # the hexplane's deformation begins later
    else:
        for ours, theirs in zip(made.members, other.members, strict=True):
            for name in ours.groups:
                ours.groups[name] = theirs.groups[name]
        other.members[0].field = made.members[0].field  # type: ignore[assignment]
        other.members[0].first = made.members[0].first  # type: ignore[assignment]
        other.members[0].heads = made.members[0].heads  # type: ignore[assignment]
    for ours, theirs in zip(made.at(T), other.at(T), strict=True):
        assert torch.equal(ours.means, theirs.means)
        assert torch.equal(ours.scales, theirs.scales)


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


@torch.no_grad()
def test_what_the_router_writes_on_an_instant_is_what_it_would_write_now() -> None:
    kept, camera = mixture(("poly", "key")), rig().cameras[0]
    for t in (0.5, 0.5, 0.2, 0.5):
        assert torch.equal(kept.render(camera, t).picture, mixture(("poly", "key")).render(camera, t).picture)
    before = kept.render(camera, 0.5).gates
    assert isinstance(kept.router, VolumeAwareRouter)
    kept.router.static[0].add_(1.0)
    after = kept.render(camera, 0.5).gates
    fresh = mixture(("poly", "key"))
    assert isinstance(fresh.router, VolumeAwareRouter)
    fresh.router.static[0].add_(1.0)
    assert torch.equal(after, fresh.render(camera, 0.5).gates)
    assert not torch.equal(after, before)


def test_it_writes_once_for_all_cameras_at_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = mixture(("poly", "key"))
    written = []
    features = VolumeAwareRouter.features

    def counted(router: VolumeAwareRouter, expert: int, gaussians: Gaussians, t: float) -> torch.Tensor:
        written.append((expert, t))
        return features(router, expert, gaussians, t)

    monkeypatch.setattr(VolumeAwareRouter, "features", counted)
    with torch.no_grad():
        for camera in made.rig.cameras:
            made.render(camera, 0.5)
    assert written == [(0, 0.5), (1, 0.5)]
