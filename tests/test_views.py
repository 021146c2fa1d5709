"""Views and shots: every picture of the registry means what its legend says."""

import json
from dataclasses import replace

import mixtures
import numpy as np
import pytest
import torch
from torch.testing import assert_close

from moegs import probe, views
from moegs.legends import DEPTH, HEAT, colorize, expert_color
from moegs.mixture import Mixture
from moegs.router import MuteRule
from moegs.shots import Shot, for_video


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return mixtures.mixture(("poly", "key"))


@pytest.fixture(scope="module")
def shot(mixture: Mixture) -> Shot:
    return Shot(mixture.rig.cameras[0], 0.5)


def test_the_menu_has_every_view_and_each_draws_at_the_shots_size(mixture: Mixture, shot: Shot) -> None:
    expected = ["rgb", "expert:poly", "expert:key", "gate:poly", "gate:key", "gates", "gate-argmax", "gate-entropy"]
    assert views.ids(mixture) == [*expected, "depth", "alpha"]
    for view in views.ids(mixture):
        burnt = views.draw(mixture, replace(shot, view=view)).burnt()
        assert burnt.shape == (shot.camera.height, shot.camera.width, 3)
        assert burnt.dtype == np.uint8


def test_one_expert_without_a_router_has_no_gates() -> None:
    single = mixtures.mixture(("poly",))
    assert views.ids(single) == ["rgb", "expert:poly", "depth", "alpha"]
    with pytest.raises(ValueError, match=r"^view 'gates': this checkpoint has rgb, expert:poly, depth, alpha$"):
        views.draw(single, Shot(single.rig.cameras[0], 0.0, "gates"))


@pytest.mark.parametrize("view", ["nonsense", "gate", "gate:nobody", "rgb:poly", ""])
def test_a_view_that_is_not_there_is_refused_by_name(mixture: Mixture, shot: Shot, view: str) -> None:
    with pytest.raises(ValueError, match=f"^view '{view}': this checkpoint has rgb, "):
        views.draw(mixture, replace(shot, view=view))


def test_rgb_is_the_mixture_rounded_to_eight_bits(mixture: Mixture, shot: Shot) -> None:
    drawing = views.draw(mixture, shot)
    picture = drawing.render.picture.clamp(0, 1).numpy()
    assert np.abs(drawing.pixels / 255 - picture).max() <= 0.5 / 255 + 1e-6
    assert drawing.legend is None
    assert drawing.burnt() is drawing.pixels


def test_a_gate_view_is_the_gate_in_fixed_colours_and_its_mean(mixture: Mixture, shot: Shot) -> None:
    drawing = views.draw(mixture, replace(shot, view="gate:key"))
    gate = drawing.render.gates[1].numpy()
    assert np.array_equal(drawing.pixels, colorize(gate, HEAT))
    assert drawing.legend is not None
    assert drawing.legend.ticks == ("0", "0.5", "1")
    assert drawing.legend.notes == (f"mean {gate.mean():.1%}",)


def test_what_is_skipped_is_skipped_in_every_view_of_the_shot(mixture: Mixture, shot: Shot) -> None:
    gated = views.draw(mixture, replace(shot, skip_below=0.95)).render
    assert bool(gated.logits.isneginf().any())
    direct = mixture.render(shot.camera, shot.t, skip_below=0.95)
    assert torch.equal(gated.picture, direct.picture)


def test_argmax_has_the_winners_hue_darker_where_it_is_close(mixture: Mixture, shot: Shot) -> None:
    drawing = views.draw(mixture, replace(shot, view="gate-argmax"))
    gates = drawing.render.gates.numpy()
    for e in range(2):
        where = gates.argmax(0) == e
        share = drawing.pixels[where].astype(float).sum(1) / sum(expert_color(e))
        margin = (gates[e] - gates[1 - e])[where]
        np.testing.assert_allclose(share, 0.35 + 0.65 * margin, atol=0.02)  # three roundings to 8 bits
    assert drawing.legend is not None
    coverage = [float(swatch.text.split()[1].rstrip("%")) for swatch in drawing.legend.swatches]
    assert sum(coverage) == pytest.approx(100, abs=1)


def test_entropy_is_one_for_equals_and_zero_for_certainty() -> None:
    gates = torch.tensor([[[0.25, 1.0, 0.5]], [[0.25, 0.0, 0.5]], [[0.25, 0.0, 0.0]], [[0.25, 0.0, 0.0]]])
    assert_close(views.gate_entropy(gates), torch.tensor([[1.0, 0.0, 0.5]]))
    assert_close(views.gate_entropy(torch.ones(1, 2, 2)), torch.zeros(2, 2))


@pytest.mark.parametrize("rule", ["renormalize", "keep", "reroute"])
def test_one_live_expert_is_never_undecided(mixture: Mixture, shot: Shot, rule: MuteRule) -> None:
    alone = replace(shot, view="gate-entropy", active=(False, True), mute_rule=rule)
    drawing = views.draw(mixture, alone)
    assert_close(views.gate_entropy(drawing.render.gates), torch.zeros(32, 48), atol=1e-6, rtol=0)
    assert drawing.legend is not None
    assert drawing.legend.notes[0] == "mean 0.00"


@pytest.mark.parametrize("rule", ["renormalize", "keep", "reroute"])
def test_with_none_live_nobody_wins_and_nobody_is_undecided(mixture: Mixture, shot: Shot, rule: MuteRule) -> None:
    silent = replace(shot, view="gate-argmax", active=(False, False), mute_rule=rule)
    drawing = views.draw(mixture, silent)
    assert not drawing.pixels.any()
    assert drawing.legend is not None
    assert [swatch.text for swatch in drawing.legend.swatches] == ["poly 0%", "key 0%"]
    assert not views.gate_entropy(drawing.render.gates).any()


def test_depth_keeps_its_colours_while_time_runs(mixture: Mixture, shot: Shot) -> None:
    legends = {views.draw(mixture, replace(shot, view="depth", t=t)).legend for t in (0.0, 0.3, 0.7)}
    assert len(legends) == 1
    distance = float((shot.camera.center - mixture.rig.target).norm())
    legend = legends.pop()
    assert legend is not None
    assert [float(tick.strip("farne ")) for tick in legend.ticks] == pytest.approx(
        [2 * distance, 0.8 * distance, distance / 2], rel=0.01
    )


def test_depth_is_black_beside_everything_and_coloured_by_its_inverse(mixture: Mixture, shot: Shot) -> None:
    drawing = views.draw(mixture, replace(shot, view="depth"))
    alpha, depth = drawing.render.alpha[..., 0].numpy(), drawing.render.depth[..., 0].numpy()
    assert (drawing.pixels[alpha <= 0.5] == 0).all()
    distance = drawing.render.distance
    near, far = distance / views.DEPTH_SPAN, distance * views.DEPTH_SPAN
    share = (1 / depth - 1 / far) / (1 / near - 1 / far)
    hit = alpha > 0.5
    assert np.array_equal(drawing.pixels[hit], colorize(share.astype(np.float32), DEPTH)[hit])


def test_what_differs_from_the_trained_mixture_is_written_into_the_picture(mixture: Mixture, shot: Shot) -> None:
    muted = views.draw(mixture, replace(shot, active=(True, False), mute_rule="keep")).legend
    assert muted is not None
    assert muted.notes == ("muted: key (keep)",)
    silent = views.draw(mixture, replace(shot, active=(False, False)))
    assert silent.legend is not None
    assert silent.legend.notes == ("all experts muted: background only",)
    assert_close(silent.render.picture[0, 0], mixture.rig.background)
    hot = views.draw(mixture, replace(shot, temperature=3.0)).legend
    assert hot is not None
    assert hot.notes == ("what-if: temperature 3",)
    gated = views.draw(mixture, replace(shot, skip_below=0.25)).legend
    assert gated is not None
    assert gated.notes == ("what-if: experts skipped below gate 0.25",)
    assert views.draw(mixture, replace(shot, temperature=mixture.temperature)).legend is None


def test_a_shot_survives_json_to_the_last_bit(mixture: Mixture, shot: Shot) -> None:
    full = replace(
        shot, t=1 / 3, view="gates", active=(True, False), mute_rule="reroute", temperature=0.1, skip_below=0.02
    )
    again = Shot.from_json(full.to_json())
    assert torch.equal(again.camera.viewmat, full.camera.viewmat)
    assert torch.equal(again.camera.K, full.camera.K)
    assert replace(again, camera=full.camera) == full


def test_a_shot_of_before_tile_gating_is_exact(shot: Shot) -> None:
    older = json.loads(replace(shot, skip_below=0.5).to_json())
    del older["skip_below"]
    assert Shot.from_json(json.dumps(older)).skip_below == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"camera": 3}', '{"camera": {"viewmat": []}, "t": 0}'])
def test_what_is_no_shot_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^shot: not the JSON of one \([^\n]*\)$"):
        Shot.from_json(text)


@pytest.mark.parametrize(
    ("key", "value"), [("mute_rule", "loudest"), ("t", "noon"), ("active", 1), ("lens", "wide"), ("skip_below", 1.0)]
)
def test_a_shot_with_a_wrong_entry_is_refused_by_its_name(shot: Shot, key: str, value: object) -> None:
    text = json.dumps(json.loads(shot.to_json()) | {key: value})
    with pytest.raises(ValueError, match=rf"^shot: not the JSON of one \([^\n]*{key}"):
        Shot.from_json(text)


class TestVideo:
    @pytest.mark.parametrize(("size", "rounded"), [((48, 32), (48, 32)), ((33, 16), (34, 16)), ((1, 1), (2, 2))])
    def test_video_has_even_sides(
        self, mixture: Mixture, shot: Shot, size: tuple[int, int], rounded: tuple[int, int]
    ) -> None:
        camera = shot.camera.fitted(*size)
        asked = replace(shot, camera=camera, view="alpha", temperature=2.0)
        even, notes = for_video(asked)
        assert (even.camera.width, even.camera.height) == rounded
        assert replace(even, camera=camera) == asked
        told = (f"{size[0]}x{size[1]} is odd, which H.264 cannot hold: rounded to {rounded[0]}x{rounded[1]}",)
        assert notes == (() if size == rounded else told)


class TestProbe:
    def test_it_reads_the_tensors(self, mixture: Mixture, shot: Shot) -> None:
        render = views.draw(mixture, shot).render
        reading = probe.read(mixture, render, 30, 11)
        assert reading.color == tuple(render.picture[11, 30].tolist())
        assert [row.name for row in reading.experts] == ["poly", "key"]
        assert [row.gate for row in reading.experts] == render.gates[:, 11, 30].tolist()
        assert sum(row.gate for row in reading.experts) == pytest.approx(1, abs=1e-6)
        assert [row.depth for row in reading.experts] == render.depths[:, 11, 30, 0].tolist()

    @pytest.mark.parametrize(("x", "y"), [(-1, 0), (48, 0), (0, 32)])
    def test_outside_of_the_picture_is_refused(self, mixture: Mixture, shot: Shot, x: int, y: int) -> None:
        render = views.draw(mixture, shot).render
        with pytest.raises(ValueError, match="outside of the picture of 48x32"):
            probe.read(mixture, render, x, y)
