"""Scores against what they are by definition, on photos that are known."""

import threading
from dataclasses import replace

import pytest
import torch
from jaxtyping import UInt8
from mixtures import mixture
from torch import Tensor
from torch.testing import assert_close

from moegs import metrics
from moegs.data.points import NONE
from moegs.data.prefetch import Prefetched
from moegs.data.scene import Scene
from moegs.evaluation import Protocol, evaluate, measure, oracle, summary
from moegs.mixture import Mixture
from moegs.router import UniformConfig


class Rendered:
    """Photos that are one expert's own renders, to the nearest of 256 steps."""

    def __init__(self, mixture: Mixture, expert: int) -> None:
        self.mixture, self.expert = mixture, expert

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        rig = self.mixture.rig
        image = self.mixture.render(rig.cameras[camera], rig.timeline.t(frame)).images[self.expert]
        return (image.clamp(0, 1) * 255).round().to(torch.uint8)


@pytest.fixture(scope="module")
def made() -> Mixture:
    return mixture(("poly", "key"))


def test_the_expert_that_is_right_scores_best_and_the_oracle_no_worse(made: Mixture) -> None:
    scores = evaluate(made, Scene(made.rig, Rendered(made, 1), NONE))
    assert scores.pictures == 6
    # Rounding to 1/255 leaves an error of 1/12 of a step squared: 58.9 dB.
    assert scores.experts["key"].psnr > 55
    assert scores.experts["key"].ssim > 0.99
    assert scores.experts["poly"].psnr < 40
    assert scores.oracle.psnr >= scores.experts["key"].psnr
    assert scores.experts["poly"].psnr < scores.average.psnr < scores.experts["key"].psnr
    assert sum(scores.gates.values()) == pytest.approx(1, abs=1e-5)


def test_every_number_of_a_small_mixture_is_its_definition(made: Mixture) -> None:
    """Two experts, two training cameras, two frames: all scores again, picture by picture, from what they are."""
    scene, rig = Scene(made.rig, Rendered(made, 1), NONE), made.rig
    rows = measure(made, scene, Protocol("train", every=3))
    assert [(row.camera, row.frame) for row in rows] == [("cam01", 0), ("cam02", 0), ("cam01", 3), ("cam02", 3)]
    for row in rows:
        number = rig.names.index(row.camera)
        render = made.render(rig.cameras[number], row.frame / 6)
        photo = scene.photos.at(number, row.frame).float() / 255
        errors = (render.images - photo).square().mean(-1)
        first = errors[0] < errors[1]
        ideal = torch.where(first[..., None], render.images[0], render.images[1])
        for name, picture in {"poly": render.images[0], "mixture": render.picture, "oracle": ideal}.items():
            score = row.scores[name]
            assert (score.psnr, score.ssim) == (
                float(metrics.psnr(picture, photo)),
                float(metrics.ssim(picture, photo)),
            )
            alone = float(metrics.lpips(picture[None], photo, "unit"))
            assert score.lpips == pytest.approx(alone, rel=1e-4)  # in a batch float32 sums in another order
        assert row.gates["poly"] == pytest.approx(float(render.gates[0].mean()))
        assert row.best == pytest.approx({"poly": float(first.float().mean()), "key": float((~first).float().mean())})
        lost = (render.picture - photo).square().mean(-1) - (ideal - photo).square().mean(-1)
        assert row.regret["poly"] == pytest.approx(float(lost[first].sum()) / first.numel(), rel=1e-4)
        whole = float((render.picture - photo).square().mean() - (ideal - photo).square().mean())
        assert sum(row.regret.values()) == pytest.approx(whole, rel=1e-4)


def test_tile_gating_is_of_the_mixture_and_its_rivals_alone() -> None:
    made = mixture(("poly", "key"), size=(88, 56))
    rig, rival = made.rig, Mixture(made.names, made.members, made.router, made.rig)
    scene = Scene(rig, Rendered(made, 1), NONE)
    exact, gated = (
        measure(made, scene, Protocol("test", every=3, skip_below=below), {"rival": rival}) for below in (0.0, 0.95)
    )
    for before, after in zip(exact, gated, strict=True):
        render = made.render(rig.cameras[0], after.frame / 6, skip_below=0.95)
        assert bool(render.logits.isneginf().any()), "something is left out"
        photo = scene.photos.at(0, after.frame).float() / 255
        assert after.scores["mixture"].psnr == float(metrics.psnr(render.picture, photo))
        assert after.scores["mixture"].psnr != before.scores["mixture"].psnr
        assert after.scores["rival"] == after.scores["mixture"]
        assert after.gates["poly"] == pytest.approx(float(render.gates[0].mean()))
        for name in ("poly", "key", "average", "oracle"):
            assert after.scores[name] == before.scores[name]
        assert after.best == before.best
    told = summary(made, gated, Protocol("test", every=3, skip_below=0.95))
    assert told.skip_below == 0.95
    assert "gate is estimated below 0.95" in told.protocol["mixture"]
    assert "mixture" not in summary(made, exact, Protocol("test", every=3)).protocol


def test_means_are_over_all_pictures_alike(made: Mixture) -> None:
    protocol = Protocol("train", every=3)
    rows = measure(made, Scene(made.rig, Rendered(made, 1), NONE), protocol)
    scores = summary(made, rows, protocol)
    assert scores.mixture.psnr == pytest.approx(sum(row.scores["mixture"].psnr for row in rows) / 4)
    assert scores.mixture.lpips == pytest.approx(sum(row.scores["mixture"].lpips or 0 for row in rows) / 4)
    assert scores.best["poly"] == pytest.approx(sum(row.best["poly"] for row in rows) / 4)
    assert scores.regret["key"] == pytest.approx(sum(row.regret["key"] for row in rows) / 4)


def test_rivals_are_scored_by_their_own_pictures(made: Mixture) -> None:
    uniform = Mixture(made.names, made.members, UniformConfig().start([60, 60]), made.rig)
    protocol = Protocol("test", every=5)
    rows = measure(made, Scene(made.rig, Rendered(made, 1), NONE), protocol, {"uniform": uniform})
    scores = summary(made, rows, protocol)
    assert set(scores.rivals) == {"uniform"}
    assert scores.rivals["uniform"].psnr == pytest.approx(scores.average.psnr)
    assert scores.rivals["uniform"].psnr != pytest.approx(scores.mixture.psnr, abs=1e-3)


def test_the_range_of_lpips_is_the_one_asked_for_and_told(made: Mixture) -> None:
    scene = Scene(made.rig, Rendered(made, 1), NONE)
    unit, signed = (
        summary(made, measure(made, scene, protocol), protocol)
        for protocol in (Protocol(every=6), Protocol(every=6, lpips="signed"))
    )
    assert unit.mixture.lpips != pytest.approx(signed.mixture.lpips, rel=1e-3)
    assert unit.mixture.psnr == signed.mixture.psnr
    assert "AlexNet, colours as [0, 1]" in unit.protocol["lpips"]
    assert "AlexNet, colours as [-1, 1]" in signed.protocol["lpips"]


def test_pictures_too_small_for_lpips_have_none() -> None:
    small = mixture(("poly", "key"), size=(24, 16))
    scores = evaluate(small, Scene(small.rig, Rendered(small, 1), NONE), every=6)
    assert scores.mixture.lpips is None
    assert scores.mixture.ssim > 0


def test_progress_counts_every_picture(made: Mixture) -> None:
    heard: list[tuple[int, int]] = []
    scene = Scene(made.rig, Rendered(made, 0), NONE)
    evaluate(made, scene, "train", every=3, on_picture=lambda done, of: heard.append((done, of)))
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


class Watched(Rendered):
    """Photos that tell which of them has been read."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__(mixture, 0)
        self.photos = {(camera, frame): super(Watched, self).at(camera, frame) for camera in (1, 2) for frame in (0, 3)}
        self.read = {pair: threading.Event() for pair in self.photos}

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        self.read[camera, frame].set()
        return self.photos[camera, frame]


def test_the_next_photos_are_read_while_one_is_scored(made: Mixture) -> None:
    photos = Watched(made)
    ahead = Prefetched(photos)
    coming = [(2, 0), (1, 3), (2, 3)]

    def look(done: int, of: int) -> None:
        if done < of:
            assert photos.read[coming[done - 1]].wait(60), "before it is asked for"

    rows = measure(made, Scene(made.rig, ahead, NONE, expect=ahead.expect), Protocol("train", every=3), on_picture=look)
    assert rows == measure(made, Scene(made.rig, photos, NONE), Protocol("train", every=3))


def test_the_oracle_takes_the_nearest_expert_in_each_pixel() -> None:
    photo = torch.zeros(1, 2, 3)
    images = torch.tensor([[[[0.1, 0, 0], [0.9, 0.9, 0.9]]], [[[0.2, 0, 0], [0, 0.3, 0]]]])
    assert_close(oracle(images, photo), torch.tensor([[[0.1, 0, 0], [0, 0.3, 0]]]))


def test_another_data_set_is_refused(made: Mixture) -> None:
    other = mixture(("poly", "key"))
    other.rig.cameras[0].viewmat[0, 3] += 1
    with pytest.raises(ValueError, match="the cameras of the data are not those of the checkpoint"):
        evaluate(made, Scene(other.rig, Rendered(other, 0), NONE))


def test_held_out_is_what_the_checkpoint_held_out(made: Mixture) -> None:
    """Not what the data would hold out today: scored on photos of camera 0 alone, the right expert is right."""
    seen: list[int] = []

    class Photos(Rendered):
        def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
            seen.append(camera)
            return super().at(camera, frame)

    assert made.rig.test == (0,)
    other = replace(made.rig, train=(0, 1), test=(2,))
    evaluate(made, Scene(other, Photos(made, 1), NONE), every=3)
    assert set(seen) == {0}


def test_other_times_and_lenses_are_refused(made: Mixture) -> None:
    photos = Rendered(made, 0)
    timeline = replace(made.rig.timeline, fps=25.0)
    with pytest.raises(ValueError, match="the data has 6 frames at 25 fps, the checkpoint 6 at 10, or they stand at"):
        evaluate(made, Scene(replace(made.rig, timeline=timeline), photos, NONE))
    longer = made.rig.cameras[0].K * torch.tensor([[1.1], [1.1], [1.0]])
    cameras = (replace(made.rig.cameras[0], K=longer), *made.rig.cameras[1:])
    with pytest.raises(ValueError, match="the lenses of the data are not those of the checkpoint; give its own data"):
        evaluate(made, Scene(replace(made.rig, cameras=cameras), photos, NONE))


def test_photos_of_another_size_are_refused(made: Mixture) -> None:
    other = mixture(("poly", "key"), size=(24, 16))
    told = "the pictures of the data are 24x16, those of the checkpoint 48x32; give the same downscale"
    with pytest.raises(ValueError, match=told):
        evaluate(made, Scene(other.rig, Rendered(other, 0), NONE))


def test_an_expert_with_the_name_of_a_score_is_refused(made: Mixture) -> None:
    named = Mixture(["poly", "oracle"], made.members, made.router, made.rig)
    with pytest.raises(ValueError, match="an expert is called 'oracle', as a score is"):
        evaluate(named, Scene(made.rig, Rendered(made, 0), NONE))
    with pytest.raises(ValueError, match="an expert is called 'poly', as a score is"):
        measure(made, Scene(made.rig, Rendered(made, 0), NONE), Protocol(), {"poly": made})


def test_a_split_without_cameras_says_which_has_some(made: Mixture) -> None:
    rig = replace(made.rig, train=(*made.rig.train, *made.rig.test), test=())
    sole = Mixture(made.names, made.members, made.router, rig)
    with pytest.raises(ValueError, match="the test split of the checkpoint has no camera; score the train split"):
        evaluate(sole, Scene(rig, Rendered(made, 1), NONE))
