"""Pictures rendered once and kept, for what learns over others that do not change meanwhile."""

import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from moegs.mixture import Mixture

GB = 10**9
Precision = Literal["half", "uint8"]
LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class PictureCache:
    """How pictures are kept while something learns over them: of every expert for a router, of the mixture and a gate
    for a student, for each camera and frame."""

    precision: Precision = "half"
    """`half`: 2 bytes, within 1/4096 of a colour below 1. `uint8`: 1 byte, within 1/510 of a colour in [0, 1]; others
    are cut off. All pictures go through it, kept or not, so that what is learned does not depend on the room."""
    memory_gb: float = 2.0
    """Of these pictures, on the device of what learns. What has no room there goes to the disk."""
    disk_gb: float = 0.0
    """Of a file mapped into memory, which goes when the training ends. What has no room there either is rendered
    again. Worth it where rendering is slower than the disk, and each picture is needed more than once."""
    disk_dir: Path | None = None
    """Where the file lies; None: the system's folder for temporary files."""

    def __post_init__(self) -> None:
        if not (self.memory_gb >= 0 and self.disk_gb >= 0):
            raise ValueError(
                f"memory_gb, disk_gb: got {self.memory_gb:g} and {self.disk_gb:g}, expected numbers of 0 or more"
            )


class KeptPictures:
    """Pictures by camera and frame; those first asked for are kept.

    A list that is gone through again and again, in whatever order, would find nothing in a cache that keeps the newest.
    """

    def __init__(self, config: PictureCache) -> None:
        self.config = config
        self._kept: dict[tuple[int, int], Tensor] = {}
        self._memory_left, self._disk_left = int(config.memory_gb * GB), int(config.disk_gb * GB)
        self._file = None

    def at(
        self, camera: int, frame: int, device: torch.device, make: Callable[[], Float[Tensor, "E H W C"]]
    ) -> Float[Tensor, "E H W C"]:
        """What `make` gives for the rig's camera number `camera` at `frame`, as precise as kept, on `device`."""
        found = self._kept.get((camera, frame))
        if found is None:
            found = self._keep((camera, frame), pack(make(), self.config.precision))
        return unpack(found.to(device))

    def __len__(self) -> int:
        """How many cameras and frames are kept."""
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """What is kept, in memory and on disk."""
        return sum(packed.nbytes for packed in self._kept.values())

    def _keep(self, key: tuple[int, int], packed: Tensor) -> Tensor:
        if packed.nbytes <= self._memory_left:
            self._memory_left -= packed.nbytes
            self._kept[key] = packed
        elif packed.nbytes <= self._disk_left:
            self._disk_left -= packed.nbytes
            self._kept[key] = self._mapped(packed)
        return packed

    def _mapped(self, packed: Tensor) -> Tensor:
        """The same numbers at the end of the file, which has no name: a killed run leaves none."""
        array = packed.cpu().numpy()
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self.config.disk_dir)  # noqa: SIM115 (closed below)
                weakref.finalize(self, self._file.close)
            place = self._file.seek(0, 2)
            self._file.write(array.tobytes())
            self._file.flush()
        except OSError as error:
            folder = self.config.disk_dir or tempfile.gettempdir()
            raise ValueError(
                f"{folder}: the kept pictures cannot be written there ({error.strerror}); set pictures.disk_dir or "
                "a smaller pictures.disk_gb"
            ) from None
        # Copy on write: torch asks for arrays that may be written, the file stays as it is.
        return torch.from_numpy(np.memmap(self._file, array.dtype, "c", place, array.shape))


@torch.no_grad()
def expert_pictures(mixture: Mixture, camera: int, frame: int, kept: KeptPictures) -> Float[Tensor, "E H W 3"]:
    """What each expert of `mixture` shows from the rig's camera number `camera` at `frame`, as precise as `kept`."""
    place, t = mixture.rig.cameras[camera], mixture.rig.timeline.t(frame)
    return kept.at(camera, frame, mixture.device, lambda: mixture.experts_alone(place, t))


def pack(images: Float[Tensor, "E H W C"], precision: Precision) -> Tensor:
    """`images` as they are kept."""
    if precision == "half":
        return images.half()
    return (images.clamp(0, 1) * LEVELS).round().to(torch.uint8)


def unpack(packed: Tensor) -> Float[Tensor, "E H W C"]:
    """Kept images as colours."""
    return packed.float() / LEVELS if packed.dtype == torch.uint8 else packed.float()
