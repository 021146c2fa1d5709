"""A mixture on a GPU is the mixture on the CPU: pictures, gates and what tile gating leaves out."""

from copy import deepcopy

import pytest
import torch
from backends import no_gpu
from mixtures import mixture
from torch.testing import assert_close

from moegs.mixture import Mixture
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
def test_one_kernel_wants_the_tiles_that_are_wanted(rule: MuteRule, active: tuple[bool, ...] | None) -> None:
    made = mixture(("hex", "emb", "poly"), size=(203, 149))
    assert made.router is not None
    random = torch.Generator().manual_seed(0)
    look = torch.randn(3, 40, 52, 3, generator=random)
    regions = 6 * torch.randn(3, 2, 3, generator=random)
    look[..., 0] += regions.repeat_interleave(20, 1).repeat_interleave(18, 2)[:, :, :52]
    chosen = []
    for device in ("cpu", "cuda"):
        live = None if active is None else torch.tensor(active, device=device)
        gate = Gate(made.router.to(device), made.rig.cameras[0], 0.7, live, rule, skip_below=0.3)
        seen = look.to(device)
        chosen.append(gate(lambda tiles, seen=seen: seen).cpu() if device == "cuda" else gate._wanted(seen, None))
    assert not chosen[0].all()
    assert (chosen[0] == chosen[1]).float().mean() > 0.995  # a bound on the threshold may fall either way
