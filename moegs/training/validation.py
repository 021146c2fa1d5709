"""Validation: the PSNR of a mixture's pictures over some of the photos, for whoever chooses by it."""

from collections.abc import Callable, Sequence

import torch

from moegs import metrics
from moegs.data.scene import Scene
from moegs.mixture import Mixture

EVERY = 3
"""Of the photos of a camera that choose between routers, each so many."""


def photos(scene: Scene, cameras: Sequence[int]) -> list[tuple[int, int]]:
    """Camera and frame of every third photo of each of `cameras`, its first among them."""
    return [(camera, frame) for camera in cameras for frame in scene.frames(camera)[::EVERY]]


@torch.no_grad()
def mean_psnr(
    mixture: Mixture,
    scene: Scene,
    pairs: Sequence[tuple[int, int]],
    on_picture: Callable[[int, int], None] = lambda done, of: None,
) -> float:
    """Mean PSNR of the mixture's pictures of `pairs` (camera, frame), which are not empty, dB.

    `on_picture` hears how many pictures are done of how many.
    """
    total = 0.0
    for done, (camera, frame) in enumerate(scene.in_turn(pairs), 1):
        picture = mixture.render(mixture.rig.cameras[camera], mixture.rig.timeline.t(frame)).picture
        total += float(metrics.psnr(picture, scene.photo(camera, frame, mixture.device)))
        on_picture(done, len(pairs))
    return total / len(pairs)
