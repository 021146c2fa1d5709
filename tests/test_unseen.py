"""Unseen cameras: where they stand, what stands for their photos, how often they are drawn."""

from dataclasses import replace

import pytest
import stamps
import torch
from mixtures import rig
from stamps import FRAMES, teaching
from torch.testing import assert_close

from moegs.losses import photometric
from moegs.training.distill import Distilled, Teacher
from moegs.training.pictures import PictureCache
from moegs.training.sampling import Shuffled
from moegs.training.unseen import WithUnseen, between, widened


def test_unseen_cameras_stand_between_those_that_filmed() -> None:
    around = rig(cameras=5)
    wide = between(around, 9, seed=1)
    assert (wide.train, wide.test, len(wide.cameras)) == (around.train, around.test, 14)
    assert wide.names[5:] == tuple(f"unseen{i:03}" for i in range(9))
    centers = torch.stack([around.cameras[i].center for i in around.train])
    for camera in wide.cameras[5:]:
        assert_close(camera.viewmat[:3, :3] @ camera.viewmat[:3, :3].T, torch.eye(3), atol=1e-5, rtol=0)
        nearest = (centers - camera.center).norm(dim=1)
        assert float(nearest.min()) <= 0.5 * 1.6  # on a line between two of four in a row, 0.4 apart
        assert float(centers[:, 0].min()) <= float(camera.center[0]) <= float(centers[:, 0].max())
        to_middle = torch.nn.functional.normalize(-camera.center, dim=0)
        assert float(camera.forward @ to_middle) > 0.99  # as all of them look at the origin
    assert between(around, 9, seed=1).cameras[7].viewmat.equal(wide.cameras[7].viewmat)
    assert between(around, 0, seed=1).cameras == around.cameras
    with pytest.raises(ValueError, match="1 training cameras; between them there is no place"):
        between(replace(around, train=(1,)), 1, seed=0)


def test_an_unseen_cameras_photo_is_the_mixtures_picture() -> None:
    scene, made = stamps.scene(), teaching()
    wide = between(scene.rig, 2, seed=0)
    teacher = Teacher(made, "polynomial", wide, PictureCache())
    both = widened(scene, wide, teacher.picture)
    assert torch.equal(both.photo(1, 2), scene.photo(1, 2))
    wanted = made.render(wide.cameras[5], 2 / FRAMES).picture.clamp(0, 1)
    assert_close(both.photo(5, 2), wanted, rtol=0, atol=1 / 510 + 1e-3)
    assert both.pairs([5]) == [(5, 0), (5, 1), (5, 2)]
    part = widened(replace(scene, seen=((0,), (0, 2), (1,), (2,))), wide, teacher.picture)
    assert part.pairs([1, 4]) == [(1, 0), (1, 2), (4, 0), (4, 1), (4, 2)]
    picture, photo = torch.rand(2, 18, 24, 3, generator=torch.Generator().manual_seed(5))
    alone = Distilled(teacher, 4, 0.5, 0.2).loss(picture, photo, 4, 0)
    assert_close(alone, photometric(picture, photo))


def test_unseen_cameras_get_their_share_of_the_steps_and_the_rest_is_drawn_as_ever() -> None:
    torch.manual_seed(0)
    inner = Shuffled([(1, 0), (1, 1)])
    draws = WithUnseen(inner, [(7, 0), (7, 1), (8, 0)], share=0.6)
    drawn = [draws.draw(step)[0] for step in range(600)]
    unseen = [pair for pair in drawn if pair[0] > 1]
    assert 300 < len(unseen) < 420  # 360 on average, 12 apart by chance
    assert {unseen.count(pair) // 10 for pair in set(unseen)} <= set(range(9, 15))
    state = draws.state_dict()
    random = torch.get_rng_state()
    ahead = [draws.draw(0) for _ in range(9)]
    again = WithUnseen(Shuffled([(1, 0), (1, 1)]), [(7, 0), (7, 1), (8, 0)], share=0.6)
    again.load_state_dict(state)
    torch.set_rng_state(random)
    assert [again.draw(0) for _ in range(9)] == ahead
