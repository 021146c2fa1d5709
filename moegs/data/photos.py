"""Photos of a scene, from its footage through a store of decoded frames."""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from moegs.data.config import DataConfig
from moegs.data.recording import Take
from moegs.data.scene import OnPrepared
from moegs.data.stores import GB, Disk, Memory, Roll, Store, amount, folder_of
from moegs.data.timing import listed

Place = tuple[Roll, int]


class CachedPhotos:
    """The frames of every camera; the first question about a camera decodes all of its frames."""

    def __init__(self, places: Sequence[dict[int, Place]], store: Store) -> None:
        self._places, self._store = places, store
        """Of each camera's frames: the roll that has them, and where in it."""

    def rolls(self, cameras: Iterable[int]) -> list[Roll]:
        """All that there is to decode of these cameras."""
        return list(dict.fromkeys(roll for camera in cameras for roll, _ in self._places[camera].values()))

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        """The photo of camera number `camera` at `frame`, RGB: a view of the cache, not to be written into.

        Raises ValueError when the camera has none, or its files cannot be decoded.
        """
        places = self._places[camera]
        if frame not in places:
            raise ValueError(f"photos: no frame {frame} of camera {camera}; it has {listed(map(str, places))}")
        return torch.from_numpy(self._store.frame(*places[frame]))

    def prepare(self, cameras: Sequence[int], on_prepared: OnPrepared) -> None:
        """As `Scene.prepare` says."""
        rolls = self.rolls(cameras)
        for done, _ in enumerate(self._store.fill(rolls), start=1):
            on_prepared(f"decoded frames, {self}", done, len(rolls))

    def __str__(self) -> str:
        """Where the frames stay and how many bytes they take when all are decoded."""
        return f"{amount(sum(roll.bytes for roll in self.rolls(range(len(self._places)))))} in {self._store}"


def cached(
    takes: Sequence[Take], pictures: Sequence[dict[int, int]], sizes: Sequence[tuple[int, int]], config: DataConfig
) -> CachedPhotos:
    """Photos at these sizes in the store that `config` asks for; `pictures`: which of its footage each take uses.

    Raises ValueError when all frames together do not fit its budget.
    """
    shared: dict[int, list[int]] = {}
    for take, own in zip(takes, pictures, strict=True):
        shared.setdefault(id(take.footage), []).extend(own.values())
    rolls: dict[int, Roll] = {}
    places = []
    for take, own, size in zip(takes, pictures, sizes, strict=True):
        key = id(take.footage)
        if own and key not in rolls:
            frames = range(min(shared[key]), max(shared[key]) + 1)
            rolls[key] = Roll(take.footage, frames, size, config.resize)
        places.append({frame: (rolls[key], place - rolls[key].frames.start) for frame, place in own.items()})
    return CachedPhotos(places, _store(list(rolls.values()), config))


def _store(rolls: Sequence[Roll], config: DataConfig) -> Store:
    size = sum(roll.bytes for roll in rolls) / GB
    disk = Disk(folder_of(config), int(config.disk_gb * GB), rolls)
    kind = config.cache
    if kind == "auto":
        fits_disk = size <= config.disk_gb and disk.has_room(rolls)
        kind = "disk" if fits_disk or size > config.memory_gb else "memory"
    budget = config.memory_gb if kind == "memory" else config.disk_gb
    if size > budget:
        raise ValueError(
            f"{config.path}: the decoded frames take {size:.3g} GB, but data.{kind}_gb is {budget:g}; raise it, set a "
            "larger data.downscale or fewer frames with data.end" + (", or set data.cache to disk" * (kind == "memory"))
        )
    return Memory() if kind == "memory" else disk
