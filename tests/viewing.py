"""The made mixture as the viewer's tests see it: with lenses whose principal point is not in the middle."""

from dataclasses import replace

import mixtures

from moegs.cameras import Camera
from moegs.mixture import Mixture


def mixture(kinds: tuple[str, ...] = ("poly", "key")) -> Mixture:
    """Two experts, or others, six frames, three cameras, the first held out."""
    made = mixtures.mixture(kinds)
    made.rig = replace(made.rig, cameras=tuple(map(_off_centre, made.rig.cameras)))
    return made


def _off_centre(camera: Camera) -> Camera:
    K = camera.K.clone()
    K[:2, 2] += K.new_tensor([0.06, -0.03]) * camera.width
    return replace(camera, K=K)
