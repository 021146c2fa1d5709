"""How large a scene is: rates and sizes are measured in it."""

from dataclasses import replace

import pytest
import stamps
import torch

from moegs.cameras import look_at, pinhole
from moegs.data.scene import Rig

UP = torch.tensor([0.0, -1.0, 0.0])


def rig_of(*places: tuple[float, float, float]) -> Rig:
    cameras = tuple(
        pinhole(8, 8, 8.0, look_at(torch.tensor(p, dtype=torch.float32), torch.tensor([0.0, 0, 9]), UP)) for p in places
    )
    numbers = tuple(range(len(cameras)))
    names = tuple(map(str, numbers))
    return replace(stamps.scene().rig, cameras=cameras, names=names, train=numbers, test=())


def test_the_extent_is_how_far_training_cameras_stand_from_their_mean() -> None:
    rig = rig_of((-1, 0, 0), (1, 0, 0), (0, 0, 50))
    assert replace(rig, train=(0, 1), test=(2,)).extent == pytest.approx(1.1)


@pytest.mark.parametrize("places", [[(1, 2, 0)], [(1, 2, 0), (1, 2, 0)]], ids=["one camera", "one place"])
def test_cameras_in_one_place_leave_it_to_the_bounds(places: list[tuple[float, float, float]]) -> None:
    rig = replace(rig_of(*places), bounds=torch.tensor([[-1.0, 0, 0], [2, 4, 0]]))
    assert rig.extent == pytest.approx(2.5)
    assert replace(rig, bounds=torch.zeros(2, 3)).extent == 1.0
