"""A run's events as TensorBoard's scalars and pictures, one line of curves per phase. Needs the extra [logs]."""

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from moegs import checkpoint, views
from moegs.data import DataConfig, load_scene
from moegs.data.scene import Scene
from moegs.shots import Shot
from moegs.system import Device
from moegs.system import device as device_called
from moegs.training.events import Event, Progress, Resumed, Saved, Scored, Snapshot
from moegs.training.loop import TrainingError
from moegs.views import Pixels

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

PICTURE_SECONDS = 60.0
"""At least so long between two pictures of a phase: each is loaded and drawn."""
PICTURE_WIDTH = 640
"""At most, pixels."""
SEEN = ("rgb", "gate-argmax")
"""The views that are drawn, where a snapshot has them."""
COMPARED = "rgb"
"""The one of them that gets the photo beside it."""


class TensorBoard:
    """Writes what it is told into one folder."""

    def __init__(self, folder: Path, device: Device, data: DataConfig) -> None:
        """`data`: where the photos lie. Raises ValueError in one line when TensorBoard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise TrainingError(
                "tensorboard: not installed; pip install 'moegs[logs]', or leave --tensorboard out"
            ) from None
        self._make, self._folder = SummaryWriter, folder
        self._device: Device = device
        self._data = data
        self._writers: dict[str, SummaryWriter] = {}
        self._steps: dict[str, int] = {}
        self._drawn: dict[str, float] = {}

    def tell(self, event: Event) -> None:
        """Writes `event`, if there is something in it to write."""
        match event:
            case Resumed():  # what was written of later steps, before the kill, is hidden
                self._writers[event.name] = self._make(str(self._folder / event.name), purge_step=event.step + 1)
            case Progress():
                self._steps[event.name] = event.step
                for key, value in (("loss", event.loss), ("psnr", event.psnr), ("gaussians", event.gaussians)):
                    self._writer(event.name).add_scalar(f"train/{key}", value, event.step)
            case Scored():
                self._writer(event.name).add_scalar(f"{event.split}/psnr", event.psnr, self._steps.get(event.name, 0))
            case Snapshot():
                now = time.monotonic()
                if now - self._drawn.get(event.name, -PICTURE_SECONDS) >= PICTURE_SECONDS:
                    self._drawn[event.name] = now
                    self._picture(event.name, event.path, event.step)
            case Saved():
                self._picture(event.name, event.path, self._steps.get(event.name, 0))

    def close(self) -> None:
        """Writes what is left."""
        for writer in self._writers.values():
            writer.close()

    def _writer(self, name: str) -> "SummaryWriter":
        if name not in self._writers:
            self._writers[name] = self._make(str(self._folder / name))
        return self._writers[name]

    @cached_property  # when there is something to show: the run has made the data ready by then
    def _scene(self) -> Scene:
        return load_scene(self._data, with_points=False)

    @torch.no_grad()
    def _picture(self, name: str, path: Path, step: int) -> None:
        """Draws the first test camera's middle frame, or the nearest to it that it has a photo of; the photo beside."""
        mixture = checkpoint.load(path, device_called(self._device)).mixture
        rig = mixture.rig
        number = next(iter((*rig.test, *rig.train)))
        frame = min(self._scene.frames(number), key=lambda frame: abs(frame - rig.timeline.frames // 2))
        camera = rig.cameras[number]
        if camera.width > PICTURE_WIDTH:
            camera = camera.resized(PICTURE_WIDTH, round(camera.height * PICTURE_WIDTH / camera.width))
        for view in [view for view in SEEN if view in views.ids(mixture)]:
            drawn = views.draw(mixture, Shot(camera, rig.timeline.t(frame), view)).burnt()
            if view == COMPARED:
                drawn = beside(drawn, self._scene.photos.at(number, frame).numpy())
            self._writer(name).add_image(view, drawn, step, dataformats="HWC")


def beside(picture: Pixels, photo: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "H two_W 3"]:
    """Both in one, the photo to the right, as large as the picture."""
    from PIL import Image

    height, width = picture.shape[:2]
    return np.concatenate(
        [picture, np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.BOX))], 1
    )
