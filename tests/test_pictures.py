"""The experts' pictures as they are kept while a router learns, and what is learned over them."""

from pathlib import Path

import pytest
import torch
from mixtures import mixture
from test_evaluation import Rendered
from torch.testing import assert_close

from moegs.data.points import NONE
from moegs.data.scene import Scene
from moegs.losses import photometric
from moegs.mixture import Mixture
from moegs.router import VolumeAwareConfig
from moegs.training import pictures
from moegs.training.pictures import KeptPictures, PictureCache, Precision, expert_pictures
from moegs.training.routing import Annealing, RouterTrainee, RouterTraining

ONE = 2 * 48 * 32 * 3
"""Numbers in a camera's pictures of two experts at one frame."""


@pytest.fixture
def made() -> Mixture:
    return mixture(("poly", "key"))


def gradients(made: Mixture, training: RouterTraining) -> list[torch.Tensor]:
    """Of the loss of one picture, by every parameter of the router."""
    trainee = RouterTrainee("router", training, made, Scene(made.rig, Rendered(made, 1), NONE))
    trainee.attempt(0, 1, 2)  # what is kept now is used below
    trainee.attempt(0, 1, 2).loss.backward()
    found = [parameter.grad.clone() for parameter in trainee.module.parameters() if parameter.grad is not None]
    trainee.module.zero_grad()
    return found


@pytest.mark.parametrize(("precision", "tolerance"), [("uint8", 1 / 510), ("half", 1 / 2048)])
def test_kept_pictures_are_the_rendered_ones_within_what_is_stated(
    made: Mixture, precision: Precision, tolerance: float
) -> None:
    images = made.render(made.rig.cameras[1], made.rig.timeline.t(2)).images
    kept = KeptPictures(PictureCache(precision=precision))
    for _ in range(2):  # rendered, then found
        assert_close(expert_pictures(made, 1, 2, kept), images.clamp(0, 1), atol=tolerance + 1e-6, rtol=0)
    assert (len(kept), kept.bytes) == (1, ONE * (1 if precision == "uint8" else 2))


def test_half_keeps_what_lies_outside_of_the_colours_and_uint8_cuts_it_off() -> None:
    images = torch.tensor([-0.25, 0.0, 0.5, 1.0, 1.5]).reshape(1, 1, 5, 1).expand(1, 1, 5, 3)
    assert_close(pictures.unpack(pictures.pack(images, "half")), images, atol=0, rtol=0)
    cut = pictures.unpack(pictures.pack(images, "uint8"))[0, 0, :, 0]
    assert_close(cut, torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]), atol=1 / 510 + 1e-6, rtol=0)


@pytest.mark.parametrize("precision", ["uint8", "half"])
def test_the_gradient_does_not_depend_on_what_has_room(made: Mixture, precision: Precision) -> None:
    kept, bare = (
        gradients(made, RouterTraining(pictures=PictureCache(precision=precision, memory_gb=gb), instants_gb=gb))
        for gb in (1.0, 0.0)
    )
    assert len(kept) == 2 + 2 + 3
    for ours, theirs in zip(kept, bare, strict=True):
        assert torch.equal(ours, theirs)
        assert bool(ours.any())


def test_the_gradient_over_kept_pictures_is_that_of_the_whole_mixture(made: Mixture) -> None:
    training = RouterTraining(pictures=PictureCache(precision="half"))
    ours = gradients(made, training)
    assert made.router is not None
    scene = Scene(made.rig, Rendered(made, 1), NONE)
    picture = made.render(made.rig.cameras[1], made.rig.timeline.t(2)).picture
    photo = scene.photos.at(1, 2).float() / 255
    theirs = torch.autograd.grad(photometric(picture, photo), list(made.router.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        # Colours are off by up to 1/4096, differences of colours by some percent where experts agree.
        assert float((one - other).norm()) < 0.02 * float(other.norm())


def test_what_has_no_room_in_memory_goes_to_disk_and_the_rest_is_rendered_again(made: Mixture, tmp_path: Path) -> None:
    one = ONE / pictures.GB
    kept = KeptPictures(PictureCache(precision="uint8", memory_gb=1.5 * one, disk_gb=2.5 * one, disk_dir=tmp_path))
    first = [expert_pictures(made, 1, frame, kept) for frame in range(5)]
    assert len(kept) == 3  # one in memory, two on disk
    assert list(tmp_path.iterdir()) == []  # the file has no name
    again = [expert_pictures(made, 1, frame, kept) for frame in range(5)]
    for ours, theirs in zip(first, again, strict=True):
        assert torch.equal(ours, theirs)


def test_a_disk_that_cannot_be_written_is_one_line(made: Mixture, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    kept = KeptPictures(PictureCache(memory_gb=0.0, disk_gb=1.0, disk_dir=nowhere))
    with pytest.raises(ValueError, match=r"nowhere: the kept pictures cannot be written there .*set pictures.disk"):
        expert_pictures(made, 1, 0, kept)


def test_frames_gaussians_are_kept_within_their_room(made: Mixture) -> None:
    RouterTrainee("router", RouterTraining(instants_gb=0.25), made, Scene(made.rig, Rendered(made, 1), NONE))
    assert made.instants.limit == 0.25 * pictures.GB


@pytest.mark.parametrize(
    ("annealing", "expected"),
    [
        (Annealing(start=0.3), [0.3, 0.3, 0.3]),
        (Annealing(start=4.0, end=1.0, steps=100, shape="linear"), [4.0, 2.5, 1.0]),
        (Annealing(start=4.0, end=1.0, steps=100), [4.0, 2.0, 1.0]),
    ],
)
def test_the_temperature_of_training_follows_its_schedule(annealing: Annealing, expected: list[float]) -> None:
    assert [annealing.at(step) for step in (0, 50, 300)] == pytest.approx(expected)


def test_training_has_its_own_temperature_and_pictures_the_routers(made: Mixture) -> None:
    scene = Scene(made.rig, Rendered(made, 1), NONE)
    router = VolumeAwareConfig(temperature=0.5)  # as the made mixture's
    training = RouterTraining(router=router, temperature=Annealing(start=2.0, end=0.25, steps=10))
    trainee = RouterTrainee("router", training, made, scene)
    for step, temperature in ((0, 2.0), (10, 0.25)):
        picture = trainee.attempt(step, 1, 2).picture
        assert_close(
            picture, made.render(made.rig.cameras[1], 2 / 6, temperature=temperature).picture, atol=1e-3, rtol=0
        )
    assert made.temperature == 0.5
    plain = RouterTrainee("router", RouterTraining(router=router), made, scene).attempt(0, 1, 2).picture
    assert_close(plain, made.render(made.rig.cameras[1], 2 / 6).picture, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Annealing(start=0.0), "temperature: got 0.0"),
        (lambda: Annealing(start=1.0, end=float("inf")), "temperature: got inf"),
        (lambda: Annealing(start=1.0, steps=0), "steps: got 0"),
        (lambda: PictureCache(memory_gb=-1.0), "memory_gb, disk_gb: got -1"),
        (lambda: RouterTraining(instants_gb=-1.0), "instants_gb: got -1.0"),
        (lambda: RouterTraining(temperatures=(1.0,), temperature=Annealing(start=1.0)), "leave temperature out"),
    ],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(make, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        make()
