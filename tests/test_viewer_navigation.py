"""Between the browser's camera and ours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import viewing
from torch.testing import assert_close

from moegs.mixture import Mixture
from viewer.navigation import Flight, Stage, pose_of


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


def test_the_browsers_camera_stands_where_the_cores_does(mixture: Mixture) -> None:
    stage = Stage.of(mixture.rig)
    for camera in mixture.rig.cameras:
        again = stage.camera(stage.pose(camera), camera.width, camera.height)
        assert_close(again.viewmat, camera.viewmat, atol=1e-5, rtol=0)  # float32 positions of size 4
        assert_close(again.K[1, 1], camera.K[1, 1], rtol=1e-5, atol=0)


def test_what_the_browser_reports_is_understood(mixture: Mixture) -> None:
    stage, camera = Stage.of(mixture.rig), mixture.rig.cameras[2]
    pose = stage.pose(camera)
    heard = pose_of(stage.wxyz(camera), pose.position, pose.fov)
    np.testing.assert_allclose(heard.forward, pose.forward, atol=1e-6)
    np.testing.assert_allclose(heard.up, pose.up, atol=1e-6)


def test_every_scene_is_as_large_in_the_browser() -> None:
    small, rig = Stage.of(viewing.mixture().rig), viewing.mixture().rig
    grown = tuple(
        replace(camera, viewmat=torch.cat([camera.viewmat[:, :3], camera.viewmat[:, 3:] * 100], 1))
        for camera in rig.cameras
    )
    large = Stage.of(replace(rig, cameras=grown, bounds=100 * rig.bounds))
    for a, b in zip(rig.cameras, grown, strict=True):
        np.testing.assert_allclose(small.pose(a).position, large.pose(b).position, rtol=1e-4)


def test_it_turns_around_what_it_looks_at(mixture: Mixture) -> None:
    stage, camera = Stage.of(mixture.rig), mixture.rig.cameras[1]
    pose, center = stage.pose(camera), stage.orbit_center(camera)
    ahead = (center - pose.position) / np.linalg.norm(center - pose.position)
    np.testing.assert_allclose(ahead, pose.forward, atol=1e-6)
    np.testing.assert_allclose(center / stage.scale, mixture.rig.target.numpy(), atol=0.1)  # all look near it


def test_a_flight_ends_when_the_mouse_moves_on_and_not_before_it_has_arrived(mixture: Mixture) -> None:
    stage = Stage.of(mixture.rig)
    here, there = (stage.pose(mixture.rig.cameras[i]) for i in (0, 2))
    flight = Flight(2, there, since=10.0)
    assert not flight.left_by(here, 10.1), "an old report, from before the flight"
    assert not flight.left_by(there, 10.2)
    assert replace(flight, arrived=True).left_by(here, 10.3)
    assert flight.left_by(here, 15.0), "it cannot get there: the mouse leads all the same"
