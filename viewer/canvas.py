"""One tab's canvas: when it has found its place, what is put on it, and when that has come."""

import time
from collections import deque
from collections.abc import Callable, Container

import viser

from moegs.views import Pixels
from viewer.worker import Closed

ARRIVAL_TIMEOUT = 2.0
"""Seconds to wait for the browser to say that a picture has come; a hidden tab never does."""
JPEG_MOVING, JPEG_STILL = 70, 92
"""Qualities of the pictures that are sent."""
PNG_PIXELS = 1_000_000
"""Up to so many, a resting picture with a legend is sent without loss, since its colours are numbers."""
SETTLED = 0.3
"""Seconds without a change of the canvas's size after which it has found its place beside the panel."""


class Canvas:
    """Where a tab's pictures are seen."""

    def __init__(self, client: viser.ClientHandle, tabs: Callable[[], Container[int]]) -> None:
        """`tabs`: tells the numbers of those that are open."""
        self._client, self._tabs = client, tabs
        self._arrivals: deque[float] = deque(maxlen=60)
        self._settled = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, pixels."""
        camera = self._client.camera
        return camera.image_width, camera.image_height

    @property
    def gone(self) -> bool:
        """Whether the tab was closed."""
        return self._client.client_id not in self._tabs()

    def settle(self) -> None:
        """Waits, before the first picture, until the panel is there and the canvas has its place beside it."""
        if self._settled:
            return
        self._await_arrival()
        size, since = self.size, time.monotonic()
        while time.monotonic() - since < SETTLED:
            time.sleep(SETTLED / 10)
            if self.size != size:
                size, since = self.size, time.monotonic()
        self._settled = True

    def put(self, pixels: Pixels, sharp: bool, coded: bool) -> None:
        """Sends a picture; `sharp`: at rest; `coded`: its colours are numbers, so that it goes without loss."""
        height, width = pixels.shape[:2]
        lossless = sharp and coded and width * height <= PNG_PIXELS
        self._client.scene.set_background_image(
            pixels, format="png" if lossless else "jpeg", jpeg_quality=JPEG_STILL if sharp else JPEG_MOVING
        )

    def arrived(self) -> None:
        """Waits until the browser has what was sent, and remembers when."""
        self._await_arrival()
        self._arrivals.append(time.monotonic())

    def rate(self, now: float) -> float | None:
        """Pictures per second during the last one; None where there were fewer than two."""
        recent = [at for at in self._arrivals if now - at < 1.0]
        return (len(recent) - 1) / (recent[-1] - recent[0]) if len(recent) > 1 else None

    def _await_arrival(self) -> None:
        """Waits until the browser has taken what was sent: it answers a question that was sent after it."""
        try:
            self._client.local_storage.get_item("moegs", timeout=ARRIVAL_TIMEOUT)
        except TimeoutError:
            return  # a hidden tab, or a very slow link: the next picture may go
        except RuntimeError:
            if self.gone:
                raise Closed from None
