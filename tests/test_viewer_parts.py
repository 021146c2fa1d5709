"""The viewer's parts, each without a server."""

import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import viewing
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close
from websockets.datastructures import Headers

from moegs import views
from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.mosaic import grid
from moegs.timeline import Timeline
from moegs.views import Drawing, Shot
from viewer import controls
from viewer.controls import Choice, FrameSlider, Number
from viewer.navigation import Flight, Stage, pose_of
from viewer.origin import allowed
from viewer.page import free_port
from viewer.picking import marked, pixel_at, point_under
from viewer.playback import Playback
from viewer.resolution import CostModel, Resolution, Size, ladder
from viewer.state import ViewState
from viewer.worker import Closed, Frame, Order, Turns, Worker


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


def film(**options: float) -> Playback:
    return Playback(Timeline(300, 30.0), **options)  # type: ignore[arg-type]


class TestPlayback:
    def test_300_frames_at_30_a_second_take_ten_seconds(self) -> None:
        playing = film(loop=False).play(100.0)
        assert playing.frame(105.0) == pytest.approx(150)
        assert not playing.ended(109.9)
        assert playing.ended(110.0)

    def test_a_slow_renderer_leaves_frames_out(self) -> None:
        playing = film().play(0.0)
        assert [playing.frame(now) for now in (0.0, 0.5, 1.0)] == [0, 15, 30]

    def test_a_loop_begins_again_and_never_passes_the_last_frame(self) -> None:
        playing = film().play(0.0)
        assert playing.frame(10.5) == pytest.approx(15)
        assert playing.frame(9.99) == 299

    def test_without_loop_it_stands_at_the_end_and_plays_again_from_the_start(self) -> None:
        ended = film(loop=False).play(0.0).pause(99.0)
        assert ended.frame(200.0) == 299
        assert ended.play(300.0).frame(300.0) == 0

    def test_a_pause_stands_on_the_whole_frame_that_is_on(self) -> None:
        assert film().play(0.0).pause(0.5 + 0.4 / 30).frame(99.0) == 15

    def test_another_speed_goes_on_from_the_same_frame(self) -> None:
        fast = film().play(0.0).paced(1.0, speed=4.0)
        assert fast.frame(1.0) == pytest.approx(30)
        assert fast.frame(2.0) == pytest.approx(150)

    def test_seeking_stays_within_the_film_and_keeps_running(self) -> None:
        assert film().seek(1000, 0.0).frame(5.0) == 299
        assert film().play(0.0).seek(-4, 1.0).frame(2.0) == pytest.approx(30)

    def test_a_film_of_one_frame_stands(self) -> None:
        assert not Playback(Timeline(1, 30.0)).play(0.0).playing


class TestResolution:
    def test_the_cost_model_finds_a_and_b(self) -> None:
        cost = CostModel()
        for pixels in (50_000, 200_000, 100_000, 230_000):
            cost.measured(pixels, 0.02 + pixels * 3e-7)
        assert cost.seconds(150_000) == pytest.approx(0.02 + 0.045, rel=1e-6)

    def test_one_size_alone_is_taken_for_proportional_and_nothing_for_free(self) -> None:
        cost = CostModel()
        assert cost.seconds(10**6) == 0
        cost.measured(100_000, 0.04)
        assert cost.seconds(50_000) == pytest.approx(0.02)

    @given(width=st.integers(64, 4000), height=st.integers(64, 2200))
    def test_never_below_half_nor_360_rows_on_a_large_canvas(self, width: int, height: int) -> None:
        shares = ladder(Size(width, height))
        assert shares[0] == 1
        assert shares == sorted(shares, reverse=True)
        assert shares[-1] == min(0.5, 360 / height)

    def test_it_takes_the_largest_size_within_the_budget(self) -> None:
        resolution, canvas = Resolution(budget=0.05), Size(1280, 720)
        for _ in range(30):
            size = resolution.moving(canvas)
            resolution.measured(size, 0.01 + size.pixels * 1e-7)
        # 0.01 + p * 1e-7 within 0.05: 400,000 pixels, a share of 0.66 of each side; the rung below that is 0.595
        assert size == canvas.scaled(2**-0.75)

    def test_noise_makes_it_no_flicker(self) -> None:
        resolution, canvas = Resolution(budget=0.05), Size(1280, 720)
        noise = np.random.default_rng(0).uniform(0.95, 1.05, 200)
        sizes = []
        for factor in noise:
            sizes.append(resolution.moving(canvas))
            resolution.measured(sizes[-1], factor * (0.01 + sizes[-1].pixels * 1e-7))
        assert len(set(sizes[50:])) == 1

    def test_a_hopeless_scene_stops_at_the_smallest(self) -> None:
        resolution, canvas = Resolution(budget=0.05), Size(640, 360)
        for _ in range(10):
            size = resolution.moving(canvas)
            resolution.measured(size, 2.0)
        assert size == Size(320, 180)


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


class TestWorker:
    @pytest.fixture
    def tab(self, mixture: Mixture) -> FakeTab:
        return FakeTab(Shot(mixture.rig.cameras[0], 0.0))

    def run(self, tab: FakeTab, draw: Callable[[Shot], object]) -> Worker:
        worker = Worker(tab, draw)  # type: ignore[arg-type]
        worker.start()
        return worker

    def test_a_resting_tab_gets_one_picture_of_its_full_size(self, tab: FakeTab) -> None:
        worker = self.run(tab, lambda shot: None)
        until(lambda: tab.frames)
        time.sleep(0.1)
        worker.close()
        assert [frame.shot for frame in tab.frames] == [tab.wanted.shot]
        assert tab.frames[0].sharp

    def test_the_newest_order_wins_while_a_picture_is_on_its_way(self, tab: FakeTab) -> None:
        tab.arrived.clear()
        worker = self.run(tab, lambda shot: None)
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

    def test_small_while_it_moves_and_sharp_once_it_rests(self, tab: FakeTab) -> None:
        tab.wanted = replace(tab.wanted, moving=True)
        worker = self.run(tab, lambda shot: time.sleep(0.2))
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

    def test_a_failure_is_told_once_and_the_next_order_works(self, tab: FakeTab) -> None:
        def draw(shot: Shot) -> None:
            if shot.t == 0:
                raise RuntimeError("broken")

        worker = self.run(tab, draw)
        until(lambda: tab.errors)
        time.sleep(0.1)
        tab.wanted = replace(tab.wanted, shot=replace(tab.wanted.shot, t=0.5), key=1)
        worker.wake()
        until(lambda: tab.frames)
        worker.close()
        assert [str(error) for error in tab.errors] == ["broken"]

    def test_a_tab_that_cannot_say_what_it_wants_is_told_why_and_asked_again(
        self, tab: FakeTab, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def confused() -> Order:
            raise RuntimeError("no such camera")

        monkeypatch.setattr(tab, "order", confused)
        worker = self.run(tab, lambda shot: None)
        until(lambda: tab.errors)
        monkeypatch.undo()
        until(lambda: tab.frames)
        worker.close()
        assert str(tab.errors[0]) == "no such camera"

    def test_it_ends_with_its_tab(self, tab: FakeTab) -> None:
        tab.gone = True
        worker = self.run(tab, lambda shot: None)
        worker.join(30)
        assert not worker.is_alive()

    def test_turns_are_taken_in_the_order_of_asking(self) -> None:
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


class TestNavigation:
    def test_the_browsers_camera_stands_where_the_cores_does(self, mixture: Mixture) -> None:
        stage = Stage.of(mixture.rig)
        for camera in mixture.rig.cameras:
            again = stage.camera(stage.pose(camera), camera.width, camera.height)
            assert_close(again.viewmat, camera.viewmat, atol=1e-5, rtol=0)  # float32 positions of size 4
            assert_close(again.K[1, 1], camera.K[1, 1], rtol=1e-5, atol=0)

    def test_what_the_browser_reports_is_understood(self, mixture: Mixture) -> None:
        stage, camera = Stage.of(mixture.rig), mixture.rig.cameras[2]
        pose = stage.pose(camera)
        heard = pose_of(stage.wxyz(camera), pose.position, pose.fov)
        np.testing.assert_allclose(heard.forward, pose.forward, atol=1e-6)
        np.testing.assert_allclose(heard.up, pose.up, atol=1e-6)

    def test_every_scene_is_as_large_in_the_browser(self) -> None:
        small, rig = Stage.of(viewing.mixture().rig), viewing.mixture().rig
        grown = tuple(
            replace(camera, viewmat=torch.cat([camera.viewmat[:, :3], camera.viewmat[:, 3:] * 100], 1))
            for camera in rig.cameras
        )
        large = Stage.of(replace(rig, cameras=grown, bounds=100 * rig.bounds))
        for a, b in zip(rig.cameras, grown, strict=True):
            np.testing.assert_allclose(small.pose(a).position, large.pose(b).position, rtol=1e-4)

    def test_it_turns_around_what_it_looks_at(self, mixture: Mixture) -> None:
        stage, camera = Stage.of(mixture.rig), mixture.rig.cameras[1]
        pose, center = stage.pose(camera), stage.orbit_center(camera)
        ahead = (center - pose.position) / np.linalg.norm(center - pose.position)
        np.testing.assert_allclose(ahead, pose.forward, atol=1e-6)
        np.testing.assert_allclose(center / stage.scale, mixture.rig.target.numpy(), atol=0.1)  # all look near it

    def test_a_flight_ends_when_the_mouse_moves_on_and_not_before_it_has_arrived(self, mixture: Mixture) -> None:
        stage = Stage.of(mixture.rig)
        here, there = (stage.pose(mixture.rig.cameras[i]) for i in (0, 2))
        flight = Flight(2, there, since=10.0)
        assert not flight.left_by(here, 10.1), "an old report, from before the flight"
        assert not flight.left_by(there, 10.2)
        assert replace(flight, arrived=True).left_by(here, 10.3)
        assert flight.left_by(here, 15.0), "it cannot get there: the mouse leads all the same"


class TestPicking:
    @given(count=st.integers(1, 9), width=st.integers(12, 90), height=st.integers(12, 90), data=st.data())
    def test_a_click_on_any_tile_finds_the_pixel_that_is_seen_there(
        self, count: int, width: int, height: int, data: st.DataObject
    ) -> None:
        tiles = grid(count, width, height)
        tile = data.draw(st.sampled_from(tiles))
        x = data.draw(st.integers(tile.left, tile.right - 1))
        y = data.draw(st.integers(tile.top, tile.bottom - 1))
        point = point_under((x + 0.5) / width, (y + 0.5) / height, tiles)
        assert point is not None
        assert pixel_at(point, width, height) == (tile.column(x), tile.row(y))
        column, row = tile.place(*point)
        assert (tile.column(column), tile.row(row)) == (tile.column(x), tile.row(y)), "marked where it is seen"

    def test_a_click_beside_all_tiles_picks_nothing(self) -> None:
        assert point_under(0.9, 0.9, grid(3, 60, 60)) is None

    @given(x=st.floats(0, 1), y=st.floats(0, 1), share=st.sampled_from([1.0, 0.5, 0.84]))
    def test_a_smaller_picture_is_read_where_it_shows_the_same_point(self, x: float, y: float, share: float) -> None:
        small = Size(640, 360).scaled(share)
        column, row = pixel_at((x, y), small.width, small.height)
        assert column <= x * small.width <= column + 1
        assert row <= y * small.height <= row + 1

    def test_the_ring_goes_around_the_pixel_and_leaves_it_as_it_is(self) -> None:
        pixels = np.full((60, 80, 3), 128, np.uint8)
        ringed = marked(pixels, (40.5 / 80, 30.5 / 60), grid(1, 80, 60))
        assert (ringed[30, 40] == 128).all()
        assert (ringed != pixels).any()
        changed = np.argwhere((ringed != pixels).any(-1))
        np.testing.assert_allclose(changed.mean(0), (30, 40), atol=0.5)


class TestState:
    def test_heard_is_what_is_soloed_if_any_is_and_not_muted(self, mixture: Mixture) -> None:
        state = ViewState.of(mixture)
        assert state.active is None
        muted = state.toggled_mute(0)
        assert muted.active == (False, True)
        assert muted.toggled_solo(0).active == (False, False), "muted in any case"
        assert muted.toggled_solo(1).active == (False, True)
        assert state.toggled_solo(0).active == (True, False)
        assert state.toggled_solo(0).toggled_mute(1).soloed == (True, False), "muting leaves a solo alone"
        assert muted.toggled_solo(0).toggled_solo(0).active == (False, True)
        assert muted.toggled_mute(0).active is None

    def test_every_control_reads_back_what_it_writes(self, mixture: Mixture) -> None:
        rows = (*controls.TIME, *controls.VIEW, *controls.MUTING, *controls.EXPORT, controls.FRUSTUMS, controls.FRAME)
        for row in rows:
            state = ViewState.of(mixture)
            if isinstance(row, Choice):
                values = list(row.options(mixture))
                assert row.read(state) in values
            else:
                values = [5] if isinstance(row, FrameSlider) else [7.0] if isinstance(row, Number) else [True, False]
            for value in values:
                assert row.read(row.write(state, value, 0.0)) == value, row.label

    def test_steps_go_around_in_a_loop_and_stop_at_the_ends_without(self, mixture: Mixture) -> None:
        state = ViewState.of(mixture)
        assert controls.step(state, -1, 0.0).playback.start == 5
        single = replace(state, playback=replace(state.playback, loop=False))
        assert controls.step(single, -1, 0.0).playback.start == 0
        assert controls.step(single, 10, 0.0).playback.start == 5

    def test_every_key_has_one_meaning(self) -> None:
        keys = [(command.hotkey, command.modifier) for command in controls.COMMANDS]
        assert len(set(keys)) == len(keys)

    def test_its_shot_is_what_the_command_line_would_draw(self, mixture: Mixture) -> None:
        state = replace(ViewState.of(mixture), view="gates").toggled_mute(1)
        camera = mixture.rig.cameras[0]
        assert state.shot(camera, 3.0) == Shot(camera, 0.5, "gates", (True, False))


class TestPage:
    def test_the_next_free_port_is_taken(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            assert free_port("127.0.0.1", port) > port

    def test_an_address_of_another_machine_is_refused_in_one_line(self) -> None:
        with pytest.raises(ValueError, match=r"^host '192\.0\.2\.1'.*[^\n]$"):
            free_port("192.0.2.1", 8080)

    @pytest.mark.parametrize(
        ("origin", "host", "loopback", "answer"),
        [
            ("http://localhost:8080", "localhost:8080", True, True),
            ("http://127.0.0.1:9000", "localhost:8080", True, True),  # a forwarded port
            (None, "localhost:8080", True, True),  # no page at all: curl, a test
            ("https://evil.example", "localhost:8080", True, False),
            ("http://evil.example:8080", "evil.example:8080", True, False),  # a name that resolves to this machine
            ("null", "localhost:8080", True, False),
            ("http://gpu:8080", "gpu:8080", False, True),
            ("http://evil.example", "gpu:8080", False, False),
        ],
    )
    def test_only_the_own_page_may_connect(self, origin: str | None, host: str, loopback: bool, answer: bool) -> None:
        headers = Headers({"Host": host} | ({} if origin is None else {"Origin": origin}))
        assert allowed(headers, loopback) is answer


def test_the_gates_view_keeps_the_pictures_proportions(mixture: Mixture) -> None:
    drawing: Drawing = views.draw(mixture, Shot(_canvas(mixture.rig.cameras[0]), 0.0, "gates"))
    for tile in views.tiles(mixture, "gates", 90, 60):
        assert math.isclose((tile.right - tile.left) / (tile.bottom - tile.top), 1.5)
    assert drawing.pixels.shape == (60, 90, 3)


def _canvas(camera: Camera) -> Camera:
    return camera.fitted(90, 60)
