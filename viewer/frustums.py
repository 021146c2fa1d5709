"""Frustums: the data set's cameras, drawn into the scene."""

from collections.abc import Mapping

import viser

from viewer.navigation import Stage


def add(client: viser.ClientHandle, stage: Stage, cameras: Mapping[str, int]) -> dict[int, viser.CameraFrustumHandle]:
    """The rig's `cameras`, numbers by label, in the scene by their number; unseen at first."""
    found = {}
    for label, number in cameras.items():
        camera = stage.rig.cameras[number]
        pose = stage.pose(camera)
        found[number] = client.scene.add_camera_frustum(
            f"/cameras/{number}",
            pose.fov,
            camera.width / camera.height,
            scale=0.1,
            thickness=1.5,
            thickness_units="screen",
            color=(230, 159, 0) if label.startswith("test") else (150, 150, 150),
            position=pose.position,
            wxyz=stage.wxyz(camera),
            visible=False,
        )
    return found
