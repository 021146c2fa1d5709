"""A mixture on a GPU is the mixture on the CPU: pictures, gates and what tile gating leaves out."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from backends import no_gpu
from mixtures import mixture
from torch.testing import assert_close

from moegs.acceleration import Acceleration
from moegs.mixture import Mixture, MixtureRender
from moegs.rasterize.cuda import graphs
from moegs.router import MuteRule
from moegs.router.gating import Gate
from moegs.views import to_pixels

pytestmark = [pytest.mark.gpu, no_gpu]
T = 2 / 6
TOLERANCE = 1e-4
"""float32 on two machines: sums of some hundred terms in pixels, networks of the experts before them."""


@pytest.fixture(scope="module")
def pair() -> tuple[Mixture, Mixture]:
    made = mixture(("hex", "emb", "poly", "key"), count=400, size=(203, 149))
    return made, deepcopy(made).cuda()


@pytest.mark.parametrize("skip_below", [0.0, 0.2])
@pytest.mark.parametrize("active", [None, (True, False, True, True), (False,) * 4])
def test_a_render_is_the_same(
    pair: tuple[Mixture, Mixture], active: tuple[bool, ...] | None, skip_below: float
) -> None:
    with torch.no_grad():
        ours, theirs = (m.render(m.rig.cameras[0], T, active=active, skip_below=skip_below) for m in pair)
    same = (ours.logits.isneginf() == theirs.logits.cpu().isneginf()).all(
        0
    )  # a bound on the threshold may fall either way
    assert same.float().mean() > 0.95
    for name in ("picture", "alpha", "depth"):
        assert_close(getattr(theirs, name).cpu()[same], getattr(ours, name)[same], atol=TOLERANCE, rtol=1e-3)
    assert_close(theirs.gates.cpu()[:, same], ours.gates[:, same], atol=1e-3, rtol=0)
    assert theirs.drawn == pytest.approx(ours.drawn, abs=2)
    assert (to_pixels(theirs.picture) == to_pixels(theirs.picture.cpu())).all()


def test_the_router_learns_from_the_same_picture_as_is_shown(pair: tuple[Mixture, Mixture]) -> None:
    made = deepcopy(pair[1])
    assert made.router is not None
    with torch.no_grad():
        shown = made.render(made.rig.cameras[0], T)
    made.router.requires_grad_(True)
    trained = made.render(made.rig.cameras[0], T)
    assert_close(trained.picture.detach(), shown.picture, atol=TOLERANCE, rtol=0)
    trained.picture.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in made.router.network.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", ["renormalize", "keep", "reroute"])
@pytest.mark.parametrize("active", [None, (True, False, True), (False,) * 3])
@pytest.mark.parametrize("temperature", [0.7, 1e-50])
def test_one_kernel_wants_the_tiles_that_are_wanted(
    rule: MuteRule, active: tuple[bool, ...] | None, temperature: float
) -> None:
    made = mixture(("hex", "emb", "poly"), size=(203, 149))
    assert made.router is not None
    random = torch.Generator().manual_seed(0)
    look = torch.randn(3, 40, 52, 3, generator=random)
    regions = 6 * torch.randn(3, 2, 3, generator=random)
    look[..., 0] += regions.repeat_interleave(20, 1).repeat_interleave(18, 2)[:, :, :52]
    chosen = []
    for device in ("cpu", "cuda"):
        live = None if active is None else torch.tensor(active, device=device)
        gate = Gate(made.router.to(device), made.rig.cameras[0], temperature, live, rule, skip_below=0.3)
        seen = look.to(device)
        chosen.append(gate(lambda tiles, seen=seen: seen).cpu())
    assert not chosen[0].all()
    assert (chosen[0] == chosen[1]).float().mean() > 0.995  # a bound on the threshold may fall either way


@pytest.fixture
def recorded(pair: tuple[Mixture, Mixture]) -> Mixture:
    made = deepcopy(pair[1])
    Acceleration(cuda_graph=True).apply(made)
    return made


def assert_same_frame(ours: MixtureRender, theirs: MixtureRender) -> None:
    for name in ("picture", "alpha", "depth", "gates", "logits", "images", "alphas", "depths", "pairs", "distance"):
        assert_close(getattr(ours, name), getattr(theirs, name), atol=0, rtol=0)
    assert ours.drawn == theirs.drawn


@torch.no_grad()
@pytest.mark.parametrize("skip_below", [0.0, 0.2])
def test_a_recorded_frame_is_the_frame(pair: tuple[Mixture, Mixture], recorded: Mixture, skip_below: float) -> None:
    plain = pair[1]
    frames = []
    for t in (0.0, 0.0, T, 0.5, T):
        for camera in plain.rig.cameras:
            frames.append(recorded.render(camera, t, skip_below=skip_below))
            assert_same_frame(frames[-1], plain.render(camera, t, skip_below=skip_below))
    assert recorded.graphs is not None
    assert recorded.graphs.played == len(frames) - 1  # all but the first
    assert_same_frame(frames[0], plain.render(plain.rig.cameras[0], 0.0, skip_below=skip_below))  # it is still whole


@torch.no_grad()
def test_a_recording_gets_more_room_where_more_is_seen(
    pair: tuple[Mixture, Mixture], recorded: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "LEAST", 1)
    near = pair[1].rig.cameras[0]
    back = torch.zeros(4, 4)
    back[2, 3] = 100.0
    far = replace(near, viewmat=near.viewmat + back)
    needed = []
    for camera in (far, far, near, far, near):
        ours, theirs = (made.render(camera, T) for made in (recorded, pair[1]))
        assert_same_frame(ours, theirs)
        needed.append(int(theirs.pairs))
    assert recorded.graphs is not None
    assert recorded.graphs.played == 4
    assert needed[2] > graphs.SPARE * needed[0]


@torch.no_grad()
def test_recordings_of_several_sizes_share_what_is_drawn(pair: tuple[Mixture, Mixture], recorded: Mixture) -> None:
    sizes = [(203, 149), (96, 64), (203, 149)]
    for t in (0.0, T, 0.5):
        for width, height in sizes:
            camera = pair[1].rig.cameras[1].resized(width, height)
            assert_same_frame(recorded.render(camera, t), pair[1].render(camera, t))


@torch.no_grad()
def test_an_instant_at_which_all_sleep_is_recorded_as_background() -> None:
    made = mixture(("poly",), count=50, size=(64, 48)).cuda()
    (rows,) = (made.members[0].group(name) for name in made.members[0].groups)
    rows["log_time_scales"].data.fill_(-8.0)
    rows["time_centers"].data.fill_(0.0)
    Acceleration(cuda_graph=True).apply(made)
    assert len(made.at(0.9)[0]) == 0
    for t in (0.9, 0.9, 0.0, 0.0, 0.9):
        camera = made.rig.cameras[0]
        assert_same_frame(made.render(camera, t), made.twin().render(camera, t))


@torch.no_grad()
def test_a_recording_follows_the_router_and_leaves_muted_experts_alone(
    pair: tuple[Mixture, Mixture], recorded: Mixture
) -> None:
    camera, plain = pair[1].rig.cameras[0], deepcopy(pair[1])
    for _ in range(3):
        recorded.render(camera, T)
    for made in (recorded, plain):
        made.router.static[1].add_(2.0)  # type: ignore[union-attr, index]
    assert_same_frame(recorded.render(camera, T), plain.render(camera, T))
    muted = (True, False, True, True)
    assert_same_frame(recorded.render(camera, T, active=muted), plain.render(camera, T, active=muted))


@torch.no_grad()
def test_half_precision_is_recorded_too(pair: tuple[Mixture, Mixture], recorded: Mixture) -> None:
    plain = deepcopy(pair[1])
    for made, graph in ((recorded, True), (plain, False)):
        Acceleration(cuda_graph=graph, half=True).apply(made)
        made.instants.forget()
    for t in (T, T, 0.5, T):
        assert_same_frame(recorded.render(plain.rig.cameras[0], t), plain.render(plain.rig.cameras[0], t))
    assert recorded.at(T)[0].sh.dtype == torch.float16
    assert recorded.graphs is not None
    assert recorded.graphs.played == 3


@torch.no_grad()
def test_a_kept_instant_is_drawn_as_a_new_one(pair: tuple[Mixture, Mixture]) -> None:
    made = deepcopy(pair[1])
    near, other = made.rig.cameras[:2]
    made.render(near, T), made.render(other, 0.5)
    gaussians = made.at(T)
    kept = made.render(near, T)
    assert all(one is same for one, same in zip(made.at(T), gaussians, strict=True))
    made.instants.forget()
    assert_same_frame(kept, made.render(near, T))


@torch.no_grad()
def test_half_precision_moves_no_pixel_by_more_than_a_step(pair: tuple[Mixture, Mixture]) -> None:
    made = deepcopy(pair[1])
    Acceleration(half=True).apply(made)
    ours, theirs = (to_pixels(each.render(each.rig.cameras[0], T).picture).astype(int) for each in (made, pair[1]))
    assert abs(ours - theirs).max() <= 1
    assert made.at(T)[0].sh.dtype == torch.float16
