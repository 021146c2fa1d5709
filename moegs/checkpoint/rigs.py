"""The cameras and the time of a scene as plain values, as files hold them, and back."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from moegs import config
from moegs.cameras import Camera
from moegs.checkpoint.checks import check_camera, check_tensors
from moegs.data.scene import Rig
from moegs.timeline import Timeline


def pack_rig(rig: Rig) -> dict[str, Any]:
    """Tensors and plain values of all that `rig` is."""
    return {
        "cameras": {
            "viewmats": torch.stack([camera.viewmat for camera in rig.cameras]).cpu(),
            "Ks": torch.stack([camera.K for camera in rig.cameras]).cpu(),
            "sizes": [[camera.width, camera.height] for camera in rig.cameras],
            "names": list(rig.names),
        },
        "splits": {"train": list(rig.train), "test": list(rig.test)},
        "timeline": config.dump(rig.timeline),
        "up": rig.up.cpu(),
        "bounds": rig.bounds.cpu(),
        "background": rig.background.cpu(),
    }


def unpack_rig(scene: Mapping[str, Any], where: str) -> Rig:
    """The rig that was packed; raises ValueError for what makes none, after `where` it stands."""
    cameras = scene["cameras"]
    count = len(cameras["names"])
    shapes = {"viewmats": (count, 4, 4), "Ks": (count, 3, 3), "up": (3,), "bounds": (2, 3), "background": (3,)}
    stored = {name: value for name, value in {**scene, **cameras}.items() if isinstance(value, Tensor)}
    check_tensors(stored, {name: torch.empty(shape) for name, shape in shapes.items()}, where)
    for name, viewmat, K in zip(cameras["names"], cameras["viewmats"], cameras["Ks"], strict=True):
        check_camera(viewmat, K, f"{where}: camera '{name}'")
    views = zip(cameras["viewmats"], cameras["Ks"], cameras["sizes"], strict=True)
    return Rig(
        cameras=tuple(Camera(viewmat, K, int(width), int(height)) for viewmat, K, (width, height) in views),
        names=tuple(str(name) for name in cameras["names"]),
        train=tuple(int(i) for i in scene["splits"]["train"]),
        test=tuple(int(i) for i in scene["splits"]["test"]),
        timeline=config.build(Timeline, dict(scene["timeline"]), f"{where}.timeline"),
        up=scene["up"],
        bounds=scene["bounds"],
        background=scene["background"],
    )
