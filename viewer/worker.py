"""Workers: one render thread per browser tab, and the queue in which all of them take turns."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from moegs.shots import Shot
from moegs.views import Drawing
from viewer.resolution import Resolution, Size

POLL = 0.005
"""Seconds between two looks at whether motion has ended."""


class Turns:
    """A lock that is handed on in the order of asking, so that a long export and every tab advance alike."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._waiting: deque[threading.Event] = deque()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Waits for its turn, and holds it for the length of the block."""
        mine = threading.Event()
        with self._guard:
            self._waiting.append(mine)
            if len(self._waiting) == 1:
                mine.set()
        mine.wait()
        try:
            yield
        finally:
            with self._guard:
                self._waiting.popleft()
                if self._waiting:
                    self._waiting[0].set()


@dataclass(frozen=True)
class Order:
    """What a tab wants to see now."""

    shot: Shot
    """At the size of the canvas."""
    key: Hashable
    """Differs whenever the picture may differ."""
    moving: bool
    """Whether it is likely to differ again at once."""


@dataclass(frozen=True)
class Frame:
    """A drawing on its way to the browser."""

    order: Order
    shot: Shot
    """As drawn: smaller than the canvas while something moves."""
    drawing: Drawing
    seconds: float
    """That drawing took, waiting for its turn included."""

    @property
    def sharp(self) -> bool:
        """Whether it is drawn at the size of the canvas, to stay."""
        return not self.order.moving


class Closed(Exception):  # noqa: N818  (not an error: tabs come and go)
    """The tab is gone."""


class Tab(Protocol):
    """What a worker asks of the tab it works for."""

    def order(self) -> Order | None:
        """What it wants to see now; None while there is nothing to show."""
        ...

    def show(self, frame: Frame) -> None:
        """Brings `frame` to the browser and returns when it has arrived there; raises Closed when the tab is gone."""
        ...

    def fail(self, error: Exception) -> None:
        """Tells the user why there is no picture; the last good one stays."""
        ...


class Worker(threading.Thread):
    """Draws what its tab wants: the newest order wins, one picture is on its way at a time.

    Small while something moves, at the size of the canvas when it rests.
    """

    def __init__(self, tab: Tab, draw: Callable[[Shot], Drawing], now: Callable[[], float] = time.monotonic) -> None:
        super().__init__(daemon=True, name="moegs-render")
        self._tab, self._draw, self._now = tab, draw, now
        self._resolution = Resolution()
        self._changed = threading.Condition()
        self._news = 0
        self._closed = False

    def wake(self) -> None:
        """Says that the tab may want another picture."""
        with self._changed:
            self._news += 1
            self._changed.notify()

    def close(self) -> None:
        """Ends the thread after the picture it is drawing."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def run(self) -> None:
        done: Hashable = None
        sharp = False
        while not self._closed:
            seen = self._news
            try:
                order = self._tab.order()
                if order is None or (order.key == done and (order.moving or sharp)):
                    self._wait(seen, POLL if order is not None and order.moving else None)
                    continue
                done, sharp = order.key, not order.moving
                self._serve(order)
            except Closed:
                return
            except Exception as error:  # whatever a render raises: the page says it, and the next one may work
                sharp = True
                self._tab.fail(error)
                self._wait(seen, POLL)

    def _serve(self, order: Order) -> None:
        camera = order.shot.camera
        canvas = Size(camera.width, camera.height)
        size = self._resolution.moving(canvas) if order.moving else canvas
        shot = order.shot if size == canvas else replace(order.shot, camera=camera.resized(size.width, size.height))
        start = self._now()
        drawing = self._draw(shot)
        self._tab.show(Frame(order, shot, drawing, self._now() - start))
        if drawing.fresh:
            self._resolution.measured(size, self._now() - start)

    def _wait(self, seen: int, seconds: float | None) -> None:
        with self._changed:
            if self._news == seen and not self._closed:
                self._changed.wait(seconds)
