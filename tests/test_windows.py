"""Gaussians that sleep: whatever is left out at a time could not be seen, and nothing else changes."""

import weakref
from copy import deepcopy
from typing import Any

import pytest
import torch
from backends import BACKENDS
from mixtures import mixture
from small_experts import SMALL, stirred
from torch import Tensor
from torch.testing import assert_close

from moegs.density import resize
from moegs.experts.base import Expert
from moegs.experts.windows import Awake, Windows
from moegs.gaussians import ALPHA_MIN, Gaussians
from moegs.mixture import Mixture
from moegs.router import VolumeConfig

TIMED = ["polynomial", "polynomial, two segments", "keyframe"]
TIMELESS = ["hexplane", "embedding"]
TIMES = [*(k / 64 for k in range(65)), 0.123, 0.4999999, 1 / 3]
EXACT = 1e-6
"""Of colours: torch may round a function of fewer rows otherwise, where its vectors end."""


def brief(name: str) -> Expert:
    """An expert most of whose Gaussians show for a short while only."""
    expert = stirred(SMALL[name])
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for group in expert.groups:
            rows = expert.group(group)
            rows["logit_opacities"].copy_(2 * torch.randn(rows["logit_opacities"].shape, generator=generator))
            if "log_time_scales" in rows:
                rows["log_time_scales"].uniform_(-5.0, 0.0)
                rows["time_centers"].uniform_(-0.3, 1.3)
            if "log_time_widths" in rows:
                rows["log_time_widths"].uniform_(-4.0, 0.0)
                rows["time_centers"].uniform_(0.0, 9.0)
    return expert


def whole(expert: Expert, t: float) -> Gaussians:
    """All Gaussians: nothing sleeps where gradients are recorded."""
    with torch.enable_grad():
        return expert.at(t)


def rows_of(gaussians: Gaussians) -> Tensor:
    return torch.arange(len(gaussians)) if gaussians.rows is None else gaussians.rows


@pytest.mark.parametrize("name", TIMED)
def test_only_what_is_below_the_alpha_floor_sleeps_at_any_time(name: str) -> None:
    expert, shares = brief(name), []
    for t in TIMES:
        with torch.no_grad():
            culled = expert.at(t)
        everything = whole(expert, t)
        kept = torch.isin(rows_of(everything), rows_of(culled))
        assert (everything.opacities[~kept] < ALPHA_MIN).all(), t
        assert torch.equal(rows_of(culled), rows_of(everything)[kept])
        for field in ("means", "quats", "scales", "opacities", "sh"):
            assert_close(getattr(culled, field), getattr(everything, field)[kept], atol=1e-6, rtol=1e-5)
        shares.append(len(culled) / len(everything))
    assert min(shares) < 0.8  # else nothing was shown of sleeping


@pytest.mark.parametrize("name", TIMELESS)
def test_what_knows_no_time_never_sleeps(name: str) -> None:
    with torch.no_grad():
        assert brief(name).at(0.3).rows is None


@pytest.mark.parametrize("name", TIMED)
def test_where_something_learns_everybody_is_awake(name: str) -> None:
    expert = brief(name)
    everything = whole(expert, 0.3)
    everything.opacities.sum().backward()
    expert.culled = False
    with torch.no_grad():
        assert len(expert.at(0.3)) == len(everything)


def wake(expert: Expert) -> None:
    """Makes every Gaussian show at all times."""
    with torch.no_grad():
        for group in expert.groups:
            rows = expert.group(group)
            rows["logit_opacities"].fill_(3.0)
            for name in ("log_time_scales", "log_time_widths"):
                if name in rows:
                    rows[name].fill_(9.0)


def asleep(expert: Expert, t: float) -> set[int]:
    """The numbers of the rows that are left out at `t`."""
    with torch.no_grad():
        left = set(rows_of(expert.at(t)).tolist())
    return set(rows_of(whole(expert, t)).tolist()) - left


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize("how", ["written", "loaded", "learned"])
def test_nobody_sleeps_on_once_parameters_have_changed(name: str, how: str) -> None:
    expert = brief(name)
    assert asleep(expert, 0.3)
    if how == "written":
        wake(expert)
    elif how == "loaded":
        other = deepcopy(expert)
        wake(other)
        expert.load_state_dict(other.state_dict())
    else:
        optimizer = torch.optim.SGD(expert.parameters(), lr=1.0)
        for group in expert.groups:
            for key, value in expert.group(group).items():
                if key in ("logit_opacities", "log_time_scales", "log_time_widths"):
                    value.grad = torch.full_like(value, -30.0)
        optimizer.step()
    assert not asleep(expert, 0.3)


@pytest.mark.parametrize("name", TIMED)
def test_the_same_gaussians_sleep_in_another_order_of_rows(name: str) -> None:
    expert, before, moved = brief(name), 0, {}
    asleep_before = asleep(expert, 0.3)
    for group, count in expert.counts().items():
        order = torch.arange(count - 1, -1, -1)
        resize(expert, group, order, {})
        expert.rows_changed({group: order})
        moved |= {before + row: before + count - 1 - row for row in range(count)}
        before += count
    assert asleep(expert, 0.3) == {moved[row] for row in asleep_before}


def twice(router: str) -> tuple[Mixture, Mixture]:
    """A mixture of brief experts, and the same one in which nobody sleeps."""
    made = mixture(("poly", "key"), count=400, size=(88, 56))
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        poly, key = (expert.group(list(expert.groups)[-1]) for expert in made.members)
        poly["log_time_scales"].copy_(torch.rand(400, generator=generator) * -4)
        key["time_centers"].copy_(torch.rand(key["time_centers"].shape, generator=generator) + 1)
        key["log_time_widths"].fill_(-9.0)
    if router == "volume":
        made = Mixture(made.names, made.members, VolumeConfig().start([400, 400]), made.rig).requires_grad_(False)
    waking = deepcopy(made)
    for expert in waking.members:
        expert.culled = False
    return made, waking


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("router", ["volume-aware", "volume"])
def test_the_picture_is_the_same_without_those_that_sleep(backend: str, router: str) -> None:
    culled, waking = (made.to(backend) for made in twice(router))
    camera = culled.rig.cameras[0]
    for t in (0.0, 0.4, 0.8):
        assert sum(map(len, culled.at(t))) < sum(map(len, waking.at(t)))
        with torch.no_grad():
            ours, theirs = (made.render(camera, t, skip_below=0.1) for made in (culled, waking))
        for name in ("picture", "alpha", "gates", "images"):
            assert_close(getattr(ours, name), getattr(theirs, name), atol=EXACT, rtol=0)


@pytest.mark.parametrize("name", TIMED)
def test_what_is_written_into_any_parameter_shows_in_the_window_that_is_kept(name: str) -> None:
    expert = brief(name)
    with torch.no_grad():
        for parameter in expert.groups.parameters():
            expert.at(0.3)
            parameter.add_(0.2)
            culled, expert.culled = expert.at(0.3), False
            everything, expert.culled = expert.at(0.3), True
            assert len(culled) < len(everything)
            kept = torch.isin(rows_of(everything), rows_of(culled))
            for part in ("means", "quats", "scales", "opacities", "sh"):
                assert_close(getattr(culled, part), getattr(everything, part)[kept], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", TIMED)
def test_rows_are_gathered_once_in_a_window_and_kept_of_one_window_only(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expert = brief(name)
    given: list[weakref.ref[Awake]] = []  # what the rows of some of a group are gathered in, as long as anyone has it
    ask = Windows.awake

    def noted(self: Windows, *arguments: Any, **also: Any) -> Awake:
        awake = ask(self, *arguments, **also)
        given.extend([] if awake.numbers is None else [weakref.ref(awake)])
        return awake

    monkeypatch.setattr(Windows, "awake", noted)
    with torch.no_grad():
        expert.at(0.3)
        parts = [part() for part in given]
        expert.at(0.3 + 1e-4)
        again = [part() for part in given[len(parts) :]]
        assert parts
        assert all(first is second for first, second in zip(parts, again, strict=True))
        del parts, again
        for k in range(64):
            expert.at(k / 64)
    left = {id(part()) for part in given if part() is not None}
    assert len({id(part) for part in given}) > len(expert.groups) >= len(left)
