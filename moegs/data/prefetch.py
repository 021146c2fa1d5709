"""Photos read ahead by worker threads, while the step before them is computed."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from jaxtyping import UInt8
from torch import Tensor

from moegs.data.scene import Photos

Pair = tuple[int, int]
"""Camera and frame."""


class Prefetched:
    """The photos of another, those that are expected already read. To be asked by one thread."""

    def __init__(self, photos: Photos, threads: int = 2) -> None:
        self._photos = photos
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="photos")
        self._coming: dict[Pair, Future[Tensor]] = {}

    def expect(self, pairs: Sequence[Pair]) -> None:
        """Starts to read what will be asked for next; what was expected before and is not named is forgotten."""
        for pair in set(self._coming) - set(pairs):
            self._coming.pop(pair).cancel()
        for pair in pairs:
            if pair not in self._coming:
                self._coming[pair] = self._pool.submit(self._read, pair)

    def __str__(self) -> str:
        return str(self._photos)

    def _read(self, pair: Pair) -> Tensor:
        return self._photos.at(*pair).clone()  # a mapped file is read when it is looked at: now, not in the step

    def at(self, camera: int, frame: int) -> UInt8[Tensor, "H W 3"]:
        """The photo of camera number `camera` at `frame`, RGB; what reading it ahead raised is raised here."""
        coming = self._coming.pop((camera, frame), None)
        return self._photos.at(camera, frame) if coming is None else coming.result()
