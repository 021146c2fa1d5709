"""Navigation: between the browser's camera and the core's, and the flight to a camera of the data set.

The browser sees the scene shrunk or grown to a size of its own, so that its key speed, its clipping and its limits of
zoom, which are fixed numbers, fit every scene.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from moegs import rotations
from moegs.cameras import Camera
from moegs.data.scene import Rig

BROWSER_EXTENT = 3.0
"""How far the data set's cameras reach around their mean in the browser's units."""
ARRIVED = 2e-3
"""A camera is where it was sent within this share of the scene's extent, and looks there within this many radians."""

PATIENCE = 2.0
"""Seconds until a flight counts as arrived whatever the browser says."""

Vector = Float[np.ndarray, " 3"]


@dataclass(frozen=True, eq=False)
class Pose:
    """The browser's camera: what it tells of itself, and what it is told."""

    position: Vector
    """Browser units, world axes."""
    forward: Vector
    """Unit direction that it looks in."""
    up: Vector
    """Unit direction that is up in its picture."""
    fov: float
    """Angle between the upper and the lower edge of the canvas, radians."""


@dataclass(frozen=True)
class Stage:
    """A rig as the browser sees it."""

    rig: Rig
    scale: float
    """Browser units per world unit."""

    @staticmethod
    def of(rig: Rig) -> "Stage":
        """The stage of `rig`, sized by its extent."""
        return Stage(rig, BROWSER_EXTENT / max(rig.extent, 1e-6))

    @property
    def up(self) -> Vector:
        return self.rig.up.double().cpu().numpy()

    def start(self) -> int:
        """The number of the camera to begin with: the first test camera, else the first."""
        return next(iter((*self.rig.test, *self.rig.train, 0)))

    def camera(self, pose: Pose, width: int, height: int) -> Camera:
        """The core's camera with the browser's pose and a canvas of `width` x `height`."""
        down = -pose.up
        rotation = np.stack([np.cross(down, pose.forward), down, pose.forward])
        viewmat = np.eye(4)
        viewmat[:3, :3], viewmat[:3, 3] = rotation, -rotation @ (pose.position / self.scale)
        focal = height / (2 * math.tan(pose.fov / 2))
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        return Camera(torch.from_numpy(viewmat).float(), torch.from_numpy(K).float(), width, height)

    def pose(self, camera: Camera) -> Pose:
        """Where the browser's camera has to be to stand where `camera` stands."""
        center, forward, up = (v.double().cpu().numpy() for v in (camera.center, camera.forward, camera.up))
        return Pose(center * self.scale, forward, up, camera.vertical_fov)

    def wxyz(self, camera: Camera) -> Float[np.ndarray, " 4"]:
        """Rotation camera to world of `camera`, as the browser wants it."""
        return rotations.from_matrix(camera.viewmat[:3, :3].T.double()).cpu().numpy()

    def orbit_center(self, camera: Camera) -> Vector:
        """The point to turn around, browser units: in the middle of the picture, as far as the middle of the scene."""
        depth = float((self.rig.target.to(camera.center) - camera.center) @ camera.forward)
        if depth < 0.05 * BROWSER_EXTENT / self.scale:  # it looks away from the scene
            depth = BROWSER_EXTENT / self.scale
        return (camera.center + depth * camera.forward).double().cpu().numpy() * self.scale


@dataclass(frozen=True)
class Flight:
    """A tab's stay at a camera of the data set: its picture has that camera's exact K until the mouse moves on."""

    number: int
    """The camera's number in the rig."""
    pose: Pose
    since: float
    """Clock in seconds when it was sent there."""
    arrived: bool = False
    """Whether the browser has said that it is there."""

    def left_by(self, pose: Pose, now: float) -> bool:
        """Whether `pose`, which the browser reports at clock `now`, says that the mouse has moved on.

        What it says before it has arrived is older than the flight.
        """
        return not self.reached_by(pose) and (self.arrived or now - self.since > PATIENCE)

    def reached_by(self, pose: Pose) -> bool:
        """Whether `pose` is where this flight goes."""
        distance = float(np.linalg.norm(pose.position - self.pose.position)) / BROWSER_EXTENT
        turn = float(np.linalg.norm(pose.forward - self.pose.forward))
        return distance < ARRIVED and turn < ARRIVED


def pose_of(wxyz: Float[np.ndarray, " 4"], position: Vector, fov: float) -> Pose:
    """The pose that the browser reports: rotation camera to world (OpenCV axes), position, vertical field of view."""
    rotation = rotations.matrix(torch.from_numpy(np.asarray(wxyz, np.float64))[None])[0].numpy()
    return Pose(np.asarray(position, np.float64), rotation[:, 2], -rotation[:, 1], float(fov))
