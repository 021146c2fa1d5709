"""Render threads: the newest order wins, small while it moves, and in turns."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import viewing

from moegs.mixture import Mixture
from moegs.shots import Shot
from viewer.worker import Closed, Frame, Order, Turns, Worker

DRAWN = SimpleNamespace(fresh=True)


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


class FakeTab:
    """A tab whose order the test sets, and that keeps what it is shown."""

    def __init__(self, shot: Shot) -> None:
        self.wanted = Order(shot, 0, moving=False)
        self.frames: list[Frame] = []
        self.errors: list[Exception] = []
        self.arrived = threading.Event()
        self.arrived.set()
        self.gone = False

    def order(self) -> Order:
        return self.wanted

    def show(self, frame: Frame) -> None:
        if self.gone:
            raise Closed
        self.frames.append(frame)
        self.arrived.wait(30)

    def fail(self, error: Exception) -> None:
        self.errors.append(error)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def tab(mixture: Mixture) -> FakeTab:
    return FakeTab(Shot(mixture.rig.cameras[0], 0.0))


def run(tab: FakeTab, draw: Callable[[Shot], object]) -> Worker:
    worker = Worker(tab, draw)  # type: ignore[arg-type]
    worker.start()
    return worker


def test_a_resting_tab_gets_one_picture_of_its_full_size(tab: FakeTab) -> None:
    worker = run(tab, lambda shot: DRAWN)
    until(lambda: tab.frames)
    time.sleep(0.1)
    worker.close()
    assert [frame.shot for frame in tab.frames] == [tab.wanted.shot]
    assert tab.frames[0].sharp


def test_the_newest_order_wins_while_a_picture_is_on_its_way(tab: FakeTab) -> None:
    tab.arrived.clear()
    worker = run(tab, lambda shot: DRAWN)
    until(lambda: tab.frames)
    for key in (1, 2, 3):
        tab.wanted = replace(tab.wanted, key=key)
        worker.wake()
    time.sleep(0.1)
    assert len(tab.frames) == 1, "one picture is on its way at a time"
    tab.arrived.set()
    until(lambda: len(tab.frames) == 2)
    worker.close()
    assert tab.frames[1].order.key == 3


def test_small_while_it_moves_and_sharp_once_it_rests(tab: FakeTab) -> None:
    tab.wanted = replace(tab.wanted, moving=True)
    worker = run(tab, lambda shot: (time.sleep(0.2), DRAWN)[1])
    for key in (1, 2):
        until(lambda key=key: len(tab.frames) == key)
        tab.wanted = replace(tab.wanted, key=key)
        worker.wake()
    until(lambda: len(tab.frames) == 3)
    tab.wanted = replace(tab.wanted, moving=False)  # nobody wakes it: it looks itself
    until(lambda: len(tab.frames) == 4)
    worker.close()
    full = tab.wanted.shot.camera
    assert tab.frames[2].shot.camera.width == full.width // 2
    assert tab.frames[2].shot.t == tab.wanted.shot.t
    assert tab.frames[3].sharp
    assert tab.frames[3].shot.camera is full


def test_a_failure_is_told_once_and_the_next_order_works(tab: FakeTab) -> None:
    def draw(shot: Shot) -> object:
        if shot.t == 0:
            raise RuntimeError("broken")
        return DRAWN

    worker = run(tab, draw)
    until(lambda: tab.errors)
    time.sleep(0.1)
    tab.wanted = replace(tab.wanted, shot=replace(tab.wanted.shot, t=0.5), key=1)
    worker.wake()
    until(lambda: tab.frames)
    worker.close()
    assert [str(error) for error in tab.errors] == ["broken"]


def test_a_tab_that_cannot_say_what_it_wants_is_told_why_and_asked_again(
    tab: FakeTab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def confused() -> Order:
        raise RuntimeError("no such camera")

    monkeypatch.setattr(tab, "order", confused)
    worker = run(tab, lambda shot: DRAWN)
    until(lambda: tab.errors)
    monkeypatch.undo()
    until(lambda: tab.frames)
    worker.close()
    assert str(tab.errors[0]) == "no such camera"


def test_it_ends_with_its_tab(tab: FakeTab) -> None:
    tab.gone = True
    worker = run(tab, lambda shot: DRAWN)
    worker.join(30)
    assert not worker.is_alive()


def test_turns_are_taken_in_the_order_of_asking() -> None:
    turns, heard = Turns(), []
    stop = threading.Event()

    def greedy() -> None:
        while not stop.is_set():
            with turns.turn():
                heard.append("greedy")
                until(lambda: len(turns._waiting) > 1 or stop.is_set())

    thread = threading.Thread(target=greedy)
    thread.start()
    until(lambda: heard)
    for _ in range(5):
        with turns.turn():
            heard.append("modest")
    stop.set()
    thread.join()
    first = heard.index("modest")
    assert heard[first : first + 9].count("modest") == 5, "one each, in turn"
