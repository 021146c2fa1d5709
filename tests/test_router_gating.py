"""Tile gating: what is dropped, and that it costs no more than it may."""

from typing import get_args

import pytest
import torch
from mixtures import mixture
from torch import Tensor
from torch.testing import assert_close

from moegs.mixture import Mixture
from moegs.rasterize import SAMPLE, TILE, Look, rasterize, sampled, tile_grid
from moegs.router import MuteRule, gates, gating

SIZE = (88, 56)  # no multiple of a tile
T = 2 / 6


@pytest.fixture(scope="module")
def made() -> Mixture:
    """Each expert is trusted in a third of the room."""
    made = mixture(("hex", "emb", "poly"), size=SIZE)
    assert made.router is not None
    thirds = [lambda x, y: x < 0, lambda x, y: (x >= 0) & (y < 0), lambda x, y: (x >= 0) & (y >= 0)]
    for number, (expert, mine) in enumerate(zip(made.members, thirds, strict=True)):
        x, y, _ = expert.at(T).means.unbind(1)
        made.router.static[number].data[:, 0] = torch.where(mine(x, y), 2.0, -2.0)
    return made


def largest(values: Tensor) -> Tensor:
    """E Y X: the largest of `values`, E H W, in each tile, pixel by pixel."""
    experts, height, width = values.shape
    rows, columns = tile_grid(width, height)
    found = values.new_full((experts, rows, columns), -torch.inf)
    for y in range(rows):
        for x in range(columns):
            part = values[:, y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE]
            found[:, y, x] = part.flatten(1).amax(1)
    return found


@pytest.mark.parametrize("rule", get_args(MuteRule))
@pytest.mark.parametrize("muted", [None, 0])
@pytest.mark.parametrize("threshold", [0.02, 0.05, 0.2, 0.3])
def test_with_exact_bounds_no_pixel_is_further_off_than_what_was_dropped(
    made: Mixture, threshold: float, muted: int | None, rule: MuteRule
) -> None:
    active = None if muted is None else torch.arange(3) != muted
    exact = made.render(made.rig.cameras[0], T, active=None if active is None else active.tolist(), mute_rule=rule)
    bounds = largest(gating.matters(exact.logits, made.temperature, active, rule))
    live = gating.over_pixels(gating.wanted(bounds, threshold), *SIZE)
    assert not live.all()
    assert live.any(0).all()
    share = gates(exact.logits.masked_fill(~live, -torch.inf), made.temperature, active, rule)
    colors = exact.images
    dark = torch.cat([colors, torch.zeros_like(colors[:1])]) if active is not None and rule == "keep" else colors
    gap = (dark[:, None] - dark[None]).abs().amax((0, 1, 4))
    error = ((share[..., None] * colors).sum(0) - exact.picture).abs().amax(-1)
    assert bool((error <= (len(made.names) - 1) * threshold * gap + 1e-6).all())


@pytest.mark.parametrize("rule", get_args(MuteRule))
def test_whoever_gets_the_muted_share_in_some_pixel_is_drawn(rule: MuteRule) -> None:
    """One tile: the muted expert has nearly all, and the best of the others is another in its left half than in its
    right."""
    share = torch.empty(3, TILE, TILE)
    share[0], share[1], share[2] = 0.98, 0.012, 0.008
    share[1:, :, TILE // 2 :] = share[1:, :, TILE // 2 :].flip(0)
    logits, active = share.log(), torch.tensor([False, True, True])
    live = gating.over_pixels(gating.wanted(largest(gating.matters(logits, 1.0, active, rule)), 0.02), TILE, TILE)
    exact = gates(logits, 1.0, active, rule)
    found = gates(logits.masked_fill(~live, -torch.inf), 1.0, active, rule)
    assert (found - exact).clamp_min(0).sum(0).max() <= 2 * 0.02


def test_skip_below_zero_is_exact_and_the_same_bit_for_bit(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    assert torch.equal(made.render(camera, T).picture, made.render(camera, T, skip_below=0.0).picture)


def test_the_picture_is_the_exact_one_where_nothing_was_dropped(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    exact, gated = made.render(camera, T), made.render(camera, T, skip_below=0.2)
    skipped = gated.logits.isneginf()
    assert 0.05 < skipped.float().mean() < 0.9
    whole = ~skipped.any(0)
    assert_close(gated.picture[whole], exact.picture[whole], atol=1e-6, rtol=0)
    assert_close(gated.gates.sum(0), torch.ones(camera.height, camera.width))
    assert bool((gated.gates[skipped] == 0).all())
    assert gated.pairs < exact.pairs
    for e, expert in enumerate(made.members):
        assert_close(gated.images[e][skipped[e]], expert.background.expand(int(skipped[e].sum()), 3))


def test_the_samples_look_along_the_rays_of_their_pixels(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    sparse = sampled(camera)
    rows, columns = tile_grid(*SIZE)
    assert (sparse.width, sparse.height) == (columns * TILE // SAMPLE, rows * TILE // SAMPLE)
    fine = camera.rays()[SAMPLE // 2 :: SAMPLE, SAMPLE // 2 :: SAMPLE]
    assert_close(sparse.rays()[: fine.shape[0], : fine.shape[1]], fine, atol=1e-6, rtol=0)


def test_the_first_look_is_what_is_drawn_then(made: Mixture) -> None:
    camera, looks = made.rig.cameras[0], []

    def everywhere(look: Look) -> Tensor:
        looks.append(look(None))
        return torch.ones(3, *tile_grid(*SIZE), dtype=torch.bool)

    features = rasterize(made.layers(made.at(T), T), camera, choose=everywhere).features
    fine = features[:, SAMPLE // 2 :: SAMPLE, SAMPLE // 2 :: SAMPLE]
    assert_close(looks[0][:, : fine.shape[1], : fine.shape[2]], fine, atol=1e-5, rtol=0)


def test_the_estimate_hardly_ever_drops_a_gate_above_the_threshold(made: Mixture) -> None:
    """Not a law, since it samples; but without its margin of a tile it would be wrong in many pixels."""
    assert made.router is not None
    for camera in made.rig.cameras:
        exact = made.render(camera, T)
        dropped = made.render(camera, T, skip_below=0.2).logits.isneginf()
        assert (dropped & (exact.gates >= 0.2)).float().mean() < 0.002
        assert exact.gates[dropped].max() < 0.3


@pytest.mark.parametrize("rule", ["renormalize", "keep", "reroute"])
def test_muting_and_gating_go_together(made: Mixture, rule: str) -> None:
    camera = made.rig.cameras[0]
    options = {"active": [True, False, True], "mute_rule": rule}
    exact, gated = (made.render(camera, T, **options, skip_below=s) for s in (0.0, 1e-6))  # type: ignore[arg-type]
    assert_close(gated.picture, exact.picture, atol=1e-5, rtol=0)
    alone = made.render(camera, T, active=[False, True, False], mute_rule="renormalize", skip_below=0.3)
    assert_close(alone.picture, alone.images[1])
    assert bool((alone.alphas[1] > 0.5).any())


def test_the_tile_of_the_largest_gate_stays_whatever_the_threshold(made: Mixture) -> None:
    camera = made.rig.cameras[0]
    gated = made.render(camera, T, skip_below=0.99)
    assert bool(gated.logits.isfinite().any(0).all())


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (3, 4), (4, 7), (15, 20), (9, 2)])
def test_one_tile_in_nine_is_beside_every_tile(size: tuple[int, int]) -> None:
    few = gating.one_in_nine(*size)
    places = few.nonzero()
    every = torch.ones(size).nonzero()
    assert bool(((every[:, None] - places).abs().amax(-1) <= 1).any(1).all())
    assert len(places) == -(-size[0] // 3) * -(-size[1] // 3)


@pytest.mark.parametrize("threshold", [0.05, 0.2, 0.4, 0.9])
def test_looking_twice_drops_what_one_look_at_everything_does(made: Mixture, threshold: float) -> None:
    camera, times = made.rig.cameras[0], []
    gate = gating.Gate(made.router, camera, made.temperature, None, "renormalize", threshold)  # type: ignore[arg-type]
    answers = []

    def choose(look: Look) -> Tensor:
        answers.append(gating.wanted(gate.bounds(look(None)), threshold))

        def noted(tiles: Tensor | None) -> Tensor:
            assert tiles is not None
            times.append(tiles)
            return torch.where(shown(tiles), look(tiles), torch.nan)  # what was not asked for is not used

        return gate(noted)

    def shown(tiles: Tensor) -> Tensor:
        side = TILE // SAMPLE
        return tiles.repeat_interleave(side, 0).repeat_interleave(side, 1)[..., None]

    found = rasterize(made.layers(made.at(T), T), camera, choose=choose).tiles
    assert found is not None
    assert torch.equal(found, answers[0])
    assert not bool(found.all())
    assert len(times) == 2


def test_where_nothing_can_be_dropped_one_tile_in_nine_is_looked_at(made: Mixture) -> None:
    camera, asked = made.rig.cameras[0], []
    gate = gating.Gate(made.router, camera, 1e3, None, "renormalize", 0.2)  # type: ignore[arg-type]

    def choose(look: Look) -> Tensor:
        def noted(tiles: Tensor | None) -> Tensor:
            asked.append(tiles)
            return look(tiles)

        return gate(noted)

    found = rasterize(made.layers(made.at(T), T), camera, choose=choose).tiles
    assert found is not None
    assert bool(found.all())
    assert [int(tiles.sum()) for tiles in asked] == [4]  # of 4 x 6


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_what_is_no_share_is_refused(made: Mixture, threshold: float) -> None:
    with pytest.raises(ValueError, match="expected a share of the gate"):
        made.render(made.rig.cameras[0], T, skip_below=threshold)


def test_tiles_that_do_not_fit_the_picture_are_refused(made: Mixture) -> None:
    wrong = torch.ones(3, 2, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"tiles of shape \(3, 2, 2\) were chosen, there are \(3, 4, 6\)"):
        rasterize(made.layers(made.at(T), T), made.rig.cameras[0], choose=lambda look: wrong)
