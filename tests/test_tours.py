"""Tours: the way of the camera through a video, and what time it is meanwhile."""

import math
from dataclasses import replace

import mixtures
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from moegs.cameras import Camera, look_at, pinhole, turntable
from moegs.data.scene import Rig
from moegs.mixture import Mixture
from moegs.shots import Shot, film
from moegs.timeline import Timeline
from moegs.tours import Tour, arc, sway

UP = torch.tensor([0.0, 0, 1])


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return mixtures.mixture()


@pytest.fixture
def shot(mixture: Mixture) -> Shot:
    return Shot(mixture.rig.cameras[0].resized(48, 32), 0.0)


def standing(degrees: float, height: float = 0.5) -> Camera:
    """A camera 4 from the axis, that many degrees to the right of the first direction, looking at the origin."""
    angle = math.radians(degrees)
    center = torch.tensor([4 * math.cos(angle), 4 * math.sin(angle), height])
    return pinhole(32, 24, 30.0, look_at(center, torch.zeros(3), UP))


def rig(*degrees: float) -> Rig:
    cameras = tuple(standing(angle, 0.3 * i) for i, angle in enumerate(degrees))
    box = torch.tensor([[-1.0, -1, -1], [1, 1, 1]])
    names = tuple(map(str, degrees))
    numbers = tuple(range(len(cameras)))
    return Rig(cameras, names, numbers, (), Timeline(6, 10.0), UP, box, torch.zeros(3))


@pytest.mark.parametrize(
    ("cameras", "place", "expected"),
    [
        ((-20.0, 5.0, 30.0), 0.0, (-20.0, 30.0)),
        ((-20.0, 5.0, 30.0), 30.0, (-50.0, 0.0)),
        ((170.0, -170.0, 180.0), 175.0, (-5.0, 15.0)),  # across the seam of the angles
        ((-20.0, 30.0), 50.0, (-70.0, 0.0)),  # it stands beside the arc: the way back belongs to it
        ((0.0, 90.0, 170.0, 250.0), 0.0, (0.0, 250.0)),  # all around: the widest gap is the limit
    ],
)
def test_the_arc_reaches_to_the_outermost_cameras(
    cameras: tuple[float, ...], place: float, expected: tuple[float, float]
) -> None:
    assert arc(rig(*cameras), standing(place)) == pytest.approx(expected, abs=1e-3)


def test_a_sway_stays_among_the_cameras_and_looks_where_they_look() -> None:
    scene = rig(-20.0, 5.0, 30.0)
    path = Tour(seconds=4.0, fps=25.0).cameras(scene, scene.cameras[1])
    angles = [math.degrees(math.atan2(float(c.center[1]), float(c.center[0]))) for c in path]
    assert len(path) == 100
    assert_close(path[0].viewmat, scene.cameras[1].viewmat, atol=1e-5, rtol=0)
    assert min(angles) == pytest.approx(-20, abs=0.1)  # 100 steps meet the ends of a sine that closely
    assert max(angles) == pytest.approx(30, abs=0.1)
    for camera in path:
        assert_close(camera.center.norm(), scene.cameras[1].center.norm())
        assert_close(camera.forward, -camera.center / camera.center.norm(), atol=1e-5, rtol=0)


@given(low=st.floats(-180, 0), high=st.floats(0.2, 180), count=st.integers(2, 200))
def test_a_sway_is_smooth_closed_and_within_its_arc(low: float, high: float, count: int) -> None:
    angles = np.array(sway(low, high, count))
    assert angles[0] == pytest.approx(0, abs=1e-6 * (high - low) + 1e-9)
    assert low - 1e-9 <= angles.min()
    assert angles.max() <= high + 1e-9
    steps = np.abs(np.diff([*angles, angles[0]]))
    assert steps.max() <= (high - low) / 2 * 2 * math.pi / count + 1e-9, "no jump, the last to the first included"


def test_where_all_cameras_stand_in_one_direction_there_is_no_sway() -> None:
    with pytest.raises(ValueError, match=r"^sway: all cameras [^\n]*give degrees to turn instead$"):
        Tour().cameras(rig(10.0), standing(10.0))


def test_a_frozen_turntable_is_the_path_around_the_target_at_one_time(mixture: Mixture, shot: Shot) -> None:
    shots = film(mixture.rig, shot, Tour(90.0, seconds=1.0, fps=6.0))
    path = turntable(shot.camera, mixture.rig.target, mixture.rig.up, 90.0, 6)
    assert len(shots) == 6
    for each, camera in zip(shots, path, strict=True):
        assert_close(each.camera.viewmat, camera.viewmat)
        assert each.t == shot.t


def test_running_time_goes_as_it_was_filmed_and_starts_again(mixture: Mixture, shot: Shot) -> None:
    shots = film(mixture.rig, replace(shot, t=4 / 6), Tour(90.0, seconds=0.4, fps=20.0, running=True))
    frames = [each.t * 6 for each in shots]  # filmed at 10 frames/s, shown at 20: half a frame each
    assert frames == pytest.approx([4, 4.5, 5, 5, 0, 0.5, 1, 1.5], abs=1e-6)  # nothing after the last frame


def test_a_video_without_frames_is_refused(mixture: Mixture, shot: Shot) -> None:
    with pytest.raises(ValueError, match=r"0\.01 s at 30 fps has no frame"):
        film(mixture.rig, shot, Tour(360.0, seconds=0.01))
