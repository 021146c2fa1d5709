"""Two pictures as one: every pixel is A's, B's or how far they are apart; what cannot be compared is refused."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mixtures
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from moegs import checkpoint, compare, views
from moegs.checkpoint import Checkpoint
from moegs.compare import Pace, Side
from moegs.data.scene import Rig
from moegs.legends import ERROR, SIGNED, colorize
from moegs.mixture import Mixture
from moegs.shots import Comparison, Gain, Mode, Shot
from moegs.timeline import Timeline
from moegs.variants import Variants

SCORES = {
    "contribution": {name: torch.rand(60, generator=torch.Generator().manual_seed(3)) for name in ("poly", "key")}
}


@pytest.fixture(scope="module")
def variants() -> Variants:
    return Variants(Checkpoint(mixtures.mixture(), importance=SCORES), Path("made.pt"))


@pytest.fixture(scope="module")
def shot(variants: Variants) -> Shot:
    return Shot(variants.mixture.rig.cameras[0], 0.5, comparison=Comparison("kept:0.4"))


def looks(shot: Shot, mode: Mode, **options: object) -> Shot:
    assert shot.comparison is not None
    return replace(shot, comparison=replace(shot.comparison, mode=mode, **options))  # type: ignore[arg-type]


def alone(variants: Variants, shot: Shot, share: float) -> views.Drawing:
    return views.draw(variants.kept(share).mixture, replace(shot, comparison=None))


@pytest.mark.parametrize("view", ["rgb", "gate:key", "gates", "gate-argmax", "depth"])
@pytest.mark.parametrize("horizontal", [False, True])
def test_a_wipe_is_a_up_to_the_divider_and_b_behind_it(
    variants: Variants, shot: Shot, view: str, horizontal: bool
) -> None:
    shot = replace(looks(shot, "wipe", position=0.25, horizontal=horizontal), view=view)
    pixels = variants.draw(shot).pixels
    a, b = (alone(variants, shot, share).pixels for share in (1.0, 0.4))
    edge, rule = 8 if horizontal else 12, 2  # a quarter of 32 rows or 48 columns; a line of 2, edged by 1 on each side
    if horizontal:
        pixels, a, b = (each.swapaxes(0, 1) for each in (pixels, a, b))
    assert np.array_equal(pixels[:, : edge - rule], a[:, : edge - rule])
    assert np.array_equal(pixels[:, edge + rule :], b[:, edge + rule :])
    assert (pixels[:, edge - 1 : edge + 1] == 255).all()


@pytest.mark.parametrize(("position", "share", "letter"), [(0.0, 0.4, "B"), (1.0, 1.0, "A")])
def test_at_its_ends_a_wipe_is_one_picture_under_its_own_name_alone(
    variants: Variants, shot: Shot, position: float, share: float, letter: str
) -> None:
    drawing = variants.draw(looks(shot, "wipe", position=position))
    assert np.array_equal(drawing.pixels, alone(variants, shot, share).pixels)
    assert [plate.title[0] for _, plate in drawing.plates] == [letter]


@pytest.mark.parametrize("horizontal", [False, True])
@pytest.mark.parametrize("tilt", [30.0, -45.0])
def test_a_tilted_divider_is_turned_clockwise(variants: Variants, shot: Shot, horizontal: bool, tilt: float) -> None:
    seen = variants.draw(looks(shot, "wipe", horizontal=horizontal, tilt=tilt)).pixels
    a, b = (alone(variants, shot, share).pixels for share in (1.0, 0.4))
    # The divider's own direction, down from its middle or to the right, turned; right angles to it B is ahead.
    angle = math.radians(tilt)
    ahead = (-math.sin(angle), math.cos(angle)) if horizontal else (math.cos(angle), math.sin(angle))
    for y, x in np.ndindex(32, 48):
        far = ahead[0] * (x + 0.5 - 24) + ahead[1] * (y + 0.5 - 16)
        if abs(far) > 3:  # clear of the line
            assert np.array_equal(seen[y, x], b[y, x] if far > 0 else a[y, x])
        elif abs(far) < 0.5:  # it stands at a whole pixel of its way
            assert (seen[y, x] == 255).all()


@pytest.mark.parametrize(("position", "share"), [(0.0, 0.4), (1.0, 1.0)])
def test_a_tilted_divider_goes_from_corner_to_corner(
    variants: Variants, shot: Shot, position: float, share: float
) -> None:
    for tilt, horizontal in ((20.0, False), (-20.0, False), (45.0, True)):
        shown = variants.draw(looks(shot, "wipe", position=position, tilt=tilt, horizontal=horizontal))
        assert np.array_equal(shown.pixels, alone(variants, shot, share).pixels)
        assert len(shown.plates) == 1


@pytest.mark.parametrize("horizontal", [False, True])
def test_side_by_side_are_both_pictures_whole_with_their_own_legends(
    variants: Variants, shot: Shot, horizontal: bool
) -> None:
    shot = replace(looks(shot, "side", horizontal=horizontal), view="alpha")
    drawing = variants.draw(shot)
    halves = np.split(drawing.pixels, 2, axis=0 if horizontal else 1)
    assert shot.size == ((48, 64) if horizontal else (96, 32))
    assert drawing.burnt().shape == (shot.size[1], shot.size[0], 3)
    wholes = [alone(variants, shot, share).burnt() for share in (1.0, 0.4)]
    for half, whole, edge in zip(halves, wholes, (slice(0, -2), slice(2, None)), strict=True):
        inner = (edge, slice(None)) if horizontal else (slice(None), edge)
        assert np.array_equal(half[inner], whole[inner])


@pytest.mark.parametrize("gain", [1, 8])
def test_a_difference_is_the_mean_over_channels_up_to_a_fifth_over_the_gain(
    variants: Variants, shot: Shot, gain: Gain
) -> None:
    a, b = (alone(variants, shot, share).render.picture.clamp(0, 1).numpy() for share in (1.0, 0.4))
    drawing = variants.draw(looks(shot, "diff", gain=gain))
    assert np.array_equal(drawing.pixels, colorize(np.abs(a - b).mean(2) * gain / np.float32(0.2), ERROR))
    assert drawing.legend is not None
    assert drawing.legend.ticks == ("0", f"{0.1 / gain:.3g}", f"{0.2 / gain:.3g}")
    assert f"PSNR {-10 * math.log10(np.square(a - b).mean()):.2f} dB" in drawing.legend.notes[0]


def inverse_depth(drawing: views.Drawing, shot: Shot) -> np.ndarray:
    """By its definition: from 0 at twice the distance to the middle of the scene to 1 at half of it; 0 for nothing."""
    away = float((shot.camera.center - drawing.mixture.rig.target).norm())
    share = (1 / drawing.render.depth.numpy() - 0.5 / away) / (2 / away - 0.5 / away)
    return np.where(drawing.render.alpha.numpy() > 0.5, share.clip(0, 1), 0)


SHOWN: dict[str, Callable[[views.Drawing, Shot], np.ndarray]] = {
    "rgb": lambda drawing, shot: drawing.render.picture.clamp(0, 1).numpy(),
    "expert:key": lambda drawing, shot: drawing.render.images[1].clamp(0, 1).numpy(),
    "gate:key": lambda drawing, shot: drawing.render.gates[1, ..., None].numpy(),
    "gate-entropy": lambda drawing, shot: views.gate_entropy(drawing.render.gates)[..., None].numpy(),
    "depth": inverse_depth,
    "alpha": lambda drawing, shot: drawing.render.alpha.numpy(),
}


def test_the_gain_is_of_what_each_view_stands_for_and_the_legend_names_it(variants: Variants, shot: Shot) -> None:
    known = set(compare.views_of(variants.mixture, variants.mixture, "diff"))
    assert set(SHOWN) == known - {"expert:poly", "gate:poly"}
    for view, shown in SHOWN.items():
        asked = replace(looks(shot, "diff", gain=4), view=view)
        a, b = (shown(alone(variants, asked, share), shot) for share in (1.0, 0.4))
        drawing = variants.draw(asked)
        wanted = colorize((np.abs(a - b).mean(2) * 4 / np.float32(0.2)).astype(np.float32), ERROR)
        assert np.abs(drawing.pixels.astype(int) - wanted).max() <= 4  # a step of the colour map: float32 against ours
        assert drawing.legend is not None
        assert drawing.legend.ticks == ("0", "0.025", "0.05")
        named = {"depth": "depth, inverse, 0 far to 1 near", "rgb": "rgb, mean of RGB"}.get(view, view)
        assert f"of {named}" in drawing.legend.title


def test_a_signed_difference_is_light_where_equal_and_red_where_a_has_more() -> None:
    levels = np.array([[[0.5], [0.6], [0.4]]], np.float32)
    signed = compare.difference(levels, np.full_like(levels, 0.5), Comparison(mode="diff", signed=True))
    assert signed[0, 0].min() > 240
    assert signed[0, 1, 0] > signed[0, 1, 2] + 50, "red"
    assert signed[0, 2, 2] > signed[0, 2, 0] + 50, "blue"
    assert np.array_equal(signed[0, 1], colorize(np.array([[0.75]], np.float32), SIGNED)[0, 0])


def test_nothing_differs_where_all_is_kept(variants: Variants, shot: Shot) -> None:
    drawing = variants.draw(replace(shot, comparison=Comparison("kept:1", "diff", gain=32)))
    assert np.array_equal(drawing.pixels, np.broadcast_to(colorize(np.zeros((1, 1), np.float32), ERROR), (32, 48, 3)))
    assert compare.psnr(drawing, "rgb") == math.inf
    assert drawing.legend is not None
    assert drawing.legend.notes == ("equal",)


def test_swapped_they_change_places_and_letters(variants: Variants, shot: Shot) -> None:
    drawing = variants.draw(looks(shot, "wipe", position=1.0, swapped=True))
    assert np.array_equal(drawing.pixels, alone(variants, shot, 0.4).pixels)
    assert drawing.plates[0][1].title == "A  made, 40% kept"


def test_both_are_named_with_what_they_cost(variants: Variants, shot: Shot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pace, "seconds", 0.0625)
    first, second = (plate for _, plate in variants.draw(looks(shot, "diff")).plates)
    kept = variants.kept(0.4).mixture
    megabytes = sum(p.numel() * 4 for p in kept.parameters()) / 1e6
    assert (first.title, second.title) == ("A  made", "B  made, 40% kept")
    assert first.notes[0].startswith("120 Gaussians, ")
    assert second.notes == (f"48 Gaussians, {megabytes:.1f} MB", "62 ms", "16 fps")


def test_a_pace_is_the_median_at_one_size() -> None:
    pace = Pace()
    assert pace.seconds is None
    pace.took(99.0, (4, 4))
    assert pace.seconds is None, "the first of a size is cold"
    for seconds in (3.0, 1.0, 2.0):
        pace.took(seconds, (4, 4))
    assert pace.seconds == 2
    for seconds, told in ((99.0, None), (9.0, 9.0)):
        pace.took(seconds, (8, 8))
        assert pace.seconds == told
    pace.took(5.0, (4, 4))
    assert pace.seconds == 5, "a size that was seen before is warm"


def test_views_are_those_of_both_and_differences_those_of_numbers(variants: Variants, shot: Shot) -> None:
    two, one = variants.mixture, variants.other("expert:key").mixture
    assert compare.views_of(two, one, "wipe") == ["rgb", "expert:key", "depth", "alpha"]
    assert "gates" in compare.views_of(two, two, "wipe")
    assert not {"gates", "gate-argmax"} & set(compare.views_of(two, two, "diff"))
    asked = replace(shot, view="gates", comparison=Comparison("expert:key"))
    told = r"^view 'gates': 'made' and 'key alone' have rgb, expert:key, depth, alpha for wipe$"
    with pytest.raises(ValueError, match=told):
        variants.draw(asked)


def test_one_expert_alone_is_its_own_picture_and_mutes_are_of_a(variants: Variants, shot: Shot) -> None:
    asked = replace(shot, view="expert:key", active=(True, False), comparison=Comparison("expert:key", "diff"))
    a, b = variants.draw(asked).sides
    assert_close(a.render.images[1], b.render.images[0], atol=1e-5, rtol=0)  # one pass against one of its own
    assert b.render.alpha.max() > 0.5, "the other experts' switches say nothing of it"


def test_a_pixel_is_found_in_both_pictures(variants: Variants, shot: Shot) -> None:
    a, b = variants.mixture, variants.other("expert:key").mixture
    left, right = compare.tiles(a, b, looks(shot, "side"))
    assert (left.place(0.5, 0.5), right.place(0.5, 0.5)) == ((24, 16), (72, 16))
    above, below = compare.tiles(a, b, looks(shot, "side", horizontal=True))
    assert (above.place(0.5, 0.5), below.place(0.5, 0.5)) == ((24, 16), (24, 48))
    assert compare.tiles(a, b, looks(shot, "wipe")) == views.tiles(a, "rgb", 48, 32)


def zoomed(rig: Rig) -> Rig:
    twice = torch.tensor([[2.0], [2.0], [1.0]])
    return replace(rig, cameras=tuple(replace(camera, K=camera.K * twice) for camera in rig.cameras))


def moved(rig: Rig) -> Rig:
    viewmat = rig.cameras[1].viewmat.clone()
    viewmat[0, 3] += 0.5
    return replace(rig, cameras=(rig.cameras[0], replace(rig.cameras[1], viewmat=viewmat), rig.cameras[2]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (moved, "different scenes, camera 'cam01' stands elsewhere"),
        (lambda rig: replace(rig, names=("cam00", "cam01", "left")), "different cameras, 'cam02' in one alone"),
        (lambda rig: replace(rig, timeline=Timeline(7, 10.0)), "timelines, 6 frames at 10 frames/s and 7 frames at 10"),
        (zoomed, "different cameras, 'cam00' has another lens"),
    ],
)  # fmt: skip
def test_checkpoints_of_different_scenes_are_refused_saying_why(
    variants: Variants, tmp_path: Path, change: Callable[[Rig], Rig], told: str
) -> None:
    other = mixtures.mixture(("poly",))
    other.rig = change(other.rig)
    checkpoint.save(Checkpoint(other), tmp_path / "b.pt")
    with pytest.raises(
        ValueError, match=rf"^'made' and '\S+b\.pt': [^\n]*{told}[^\n]*; compare mixtures of one data set$"
    ):
        variants.open(str(tmp_path / "b.pt"), "cpu")


def test_the_same_data_at_another_size_is_the_same_scene(variants: Variants) -> None:
    rig = variants.mixture.rig
    compare.check(rig, replace(rig, cameras=tuple(camera.resized(96, 64) for camera in rig.cameras)), ("a", "b"))


def test_a_side_draws_what_draw_draws(variants: Variants, shot: Shot) -> None:
    asked = replace(shot, comparison=None)
    mixture: Mixture = variants.mixture
    assert np.array_equal(Side("x", mixture).draw(asked).pixels, views.draw(mixture, asked).pixels)
