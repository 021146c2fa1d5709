import math

import pytest
import torch
from torch.testing import assert_close

from moegs.cameras import Camera, look_at, pinhole, turntable

UP = torch.tensor([0.0, 0, 1])


def off_centre() -> Camera:
    K = torch.tensor([[80.0, 0, 30], [0, 90, 20], [0, 0, 1]])
    return Camera(look_at(torch.tensor([3.0, 1, 1]), torch.zeros(3), UP), K, 64, 48)


def project(camera: Camera, point: torch.Tensor) -> torch.Tensor:
    seen = camera.viewmat[:3, :3] @ point + camera.viewmat[:3, 3]
    return (camera.K @ seen)[:2] / seen[2]


def test_rays_pass_through_their_pixel_centres() -> None:
    camera = off_centre()
    rays = camera.rays()
    assert rays.shape == (48, 64, 3)
    for row, column in ((0, 0), (20, 30), (47, 63)):
        point = camera.center + 5 * rays[row, column]
        assert_close(project(camera, point), torch.tensor([column + 0.5, row + 0.5]), atol=1e-4, rtol=0)


def test_a_resized_view_keeps_every_point_at_its_share_of_the_picture() -> None:
    camera, point = off_centre(), torch.tensor([0.2, 0.1, -0.3])
    small = camera.resized(32, 12)
    assert_close(project(small, point) / torch.tensor([32.0, 12]), project(camera, point) / torch.tensor([64.0, 48]))


def test_a_fitted_view_holds_the_picture_centred_with_square_pixels() -> None:
    camera, point = off_centre(), torch.tensor([0.2, 0.1, -0.3])
    wide = camera.fitted(256, 96)  # twice the size, and 64 more columns on each side
    assert_close(project(wide, point), 2 * project(camera, point) + torch.tensor([64.0, 0]))


def test_look_at_puts_the_target_in_the_middle_and_up_upwards() -> None:
    center, target = torch.tensor([3.0, 1, 1]), torch.tensor([1.0, -1, 0.5])
    camera = pinhole(10, 10, 20.0, look_at(center, target, UP))
    assert_close(project(camera, target), torch.tensor([5.0, 5.0]))
    assert_close(camera.center, center)
    assert project(camera, target + 0.1 * UP)[1] < 5
    assert_close(torch.linalg.det(camera.viewmat), torch.tensor(1.0))


@pytest.mark.parametrize("target", [[3.0, 1, 1], [3.0, 1, 9]])
def test_look_at_refuses_a_view_without_a_direction(target: list[float]) -> None:
    with pytest.raises(ValueError, match="look_at"):
        look_at(torch.tensor([3.0, 1, 1]), torch.tensor(target), UP)


def test_depth_grows_along_the_direction_it_looks_in_alone() -> None:
    camera = off_centre()
    right = torch.linalg.cross(camera.forward, camera.up)
    steps = torch.stack([2 * camera.forward, -camera.forward, camera.forward + 3 * camera.up - 4 * right])
    assert_close(camera.depths(camera.center + steps), torch.tensor([2.0, -1.0, 1.0]))


def test_a_turntable_keeps_distance_height_and_the_target_in_place() -> None:
    camera, target = off_centre(), torch.tensor([0.5, 0.2, 0.1])
    views = turntable(camera, target, UP, 360.0, 8)
    assert_close(views[0].viewmat, camera.viewmat, atol=1e-5, rtol=0)
    for view in views:
        assert_close((view.center - target).norm(), (camera.center - target).norm())
        assert_close(view.center @ UP, camera.center @ UP)
        assert_close(project(view, target), project(camera, target), atol=1e-3, rtol=0)
    # An eighth of a turn, counted in the plane across the axis.
    flat = [(view.center - target)[:2] for view in views[:2]]
    assert_close(torch.dot(flat[0], flat[1]) / flat[0].norm() ** 2, torch.tensor(math.cos(math.pi / 4)))


def test_an_empty_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        pinhole(0, 5, 1.0)
