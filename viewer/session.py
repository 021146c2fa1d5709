"""Session: one browser tab, with its own state, camera, panel and worker."""

import threading
import time
from dataclasses import replace

import viser

from moegs.cameras import Camera
from moegs.shots import Shot
from viewer import exports, frustums, markup
from viewer.canvas import Canvas
from viewer.controls import cameras
from viewer.darkroom import Darkroom
from viewer.exports import Video
from viewer.inspector import inspected
from viewer.navigation import Flight, Pose, Stage, pose_of
from viewer.panels import Actions, Change, Panel
from viewer.picking import marked, point_under
from viewer.placeholder import hold
from viewer.state import ViewState
from viewer.studio import Studio
from viewer.worker import Closed, Frame, Order, Worker

QUIET = 0.12
"""Seconds without a change after which a tab counts as at rest."""
STATISTICS_INTERVAL = 0.25
"""Seconds between two updates of the line while something moves."""


class Session:
    """One tab: it answers its worker's questions and its panel's wishes."""

    def __init__(self, client: viser.ClientHandle, studio: Studio) -> None:
        self._client, self._studio = client, studio
        self._canvas = Canvas(client, studio.clients)
        self._stage = Stage.of(studio.mixture.rig)
        self._lock = threading.RLock()
        self._version = 0
        self._touched = -1e9
        self._told = 0.0
        self._failed = False
        self._renewals = self._ordered = 0
        self._state = ViewState.of(studio.mixture, studio.beside)
        self._pose: Pose | None = None
        self._worker = Worker(self, studio.draw)
        hold(client, "Drawing the first picture")
        self._panel = self._new_panel()
        self._darkroom = Darkroom(client, studio, lambda progress: self._panel.show_progress(progress))
        self._frustums = frustums.add(client, self._stage, cameras(studio.mixture))
        self._client.camera.up_direction = self._stage.up
        self.home()
        client.camera.on_update(self._camera_moved)
        client.scene.on_click()(self._clicked)
        self._worker.start()

    @property
    def state(self) -> ViewState:
        return self._state

    def close(self) -> None:
        """Ends the worker and a video in the making, each after the frame it is at."""
        self._worker.close()
        self.cancel()

    def threads(self) -> list[threading.Thread]:
        """Those that may still be drawing."""
        return [self._worker, *self._darkroom.threads()]

    def change(self, change: Change, moving: bool = False) -> None:
        """Takes over what `change` makes of the state; `moving`: more of it is likely to follow at once."""
        now = time.monotonic()
        with self._lock:
            state = change(self._state, now)
            if state.compared != self._state.compared:
                state = state.fitted(self._studio.variants)
            if state == self._state:
                return
            self._state = state
            self._version += 1
            if moving:
                self._touched = now
            self._panel.sync(state)
            for number, frustum in self._frustums.items():  # not that of the camera one looks through
                frustum.visible = state.frustums and (state.flight is None or state.flight.number != number)
        self._worker.wake()

    def renew(self) -> None:
        """Takes up the studio's new mixture; the camera, the time and what was chosen stay where it has them."""
        variants = self._studio.variants
        with self._lock:
            self._renewals += 1
            self._version += 1
            if not self._panel.renew(variants, self._state):
                self._state = self._state.carried_to(variants)
                self._client.gui.reset()
                self._panel = self._new_panel()
        self._worker.wake()

    def show_note(self) -> None:
        """Shows the studio's line."""
        with self._lock:
            self._panel.show_note(self._studio.note)

    def fly(self, number: int | None) -> None:
        """Looks through camera `number` of the data set; None: the mouse leads from here."""
        if number is None:
            self.change(lambda state, now: replace(state, flight=None))
            return
        camera = self._studio.mixture.rig.cameras[number].fitted(*self._canvas.size)
        pose = self._stage.pose(camera)
        with self._lock:
            self._pose = pose
            self.change(lambda state, now: replace(state, flight=Flight(number, pose, now)))
            with self._client.atomic():
                self._client.camera.position = pose.position
                self._client.camera.look_at = self._stage.orbit_center(camera)
                self._client.camera.fov = pose.fov

    def home(self) -> None:
        """Goes back to the camera that the tab began with."""
        self.fly(self._stage.start())

    def order(self) -> Order | None:
        """What this tab wants to see now."""
        self._canvas.settle()
        now = time.monotonic()
        with self._lock:
            if self._state.playback.ended(now):
                self.change(lambda state, now: replace(state, playback=state.playback.pause(now)))
            state, version, self._ordered = self._state, self._version, self._renewals
            width, height = self._canvas.size
            if self._pose is None or width < 1 or height < 1:
                return None
            camera = self._camera(self._pane())
            moving = state.playback.playing or now - self._touched < QUIET
        frame = state.playback.frame(now)
        return Order(state.shot(camera, frame), (version, frame, width, height), moving)

    def show(self, frame: Frame) -> None:
        """Sends `frame` and what belongs to it, and waits until the browser has it."""
        if self._canvas.gone:
            raise Closed
        if self._ordered < self._renewals:  # drawn of a mixture that is no longer shown
            return
        asked = frame.order.shot.camera
        if (asked.width, asked.height) != self._pane():
            return  # it would be squeezed: the canvas has changed since, and a picture of its new size is next
        pixels = frame.drawing.burnt()
        state = self._state
        with self._client.atomic():
            if state.picked is not None:
                self._panel.show_reading(inspected(frame, self._studio.variants, state.picked))
                pixels = marked(pixels, state.picked, self._studio.variants.tiles(frame.shot))
            coded = any(each.legend is not None for each in (frame.drawing, *frame.drawing.sides))
            self._canvas.put(pixels, frame.sharp, coded)
            with self._lock:  # a pause while this was drawn must not be followed by an older frame number
                self._panel.show_time(self._state, state.timeline.frame(frame.shot.t))
            if self._failed:
                self._panel.show_error(None)
                self._failed = False
            if self._tell_statistics(frame):
                self._panel.show_cost(frame.shot)
        self._canvas.arrived()

    def fail(self, error: Exception) -> None:
        """Shows in the page why there is no new picture; the last good one stays."""
        if self._ordered < self._renewals:  # what was ordered is no longer there to be drawn
            return
        self._failed = True
        if not self._canvas.gone:
            self._panel.show_error(error)

    def photograph(self) -> None:
        """Makes a screenshot of the chosen size and sends it."""
        self._darkroom.photograph(*self._export_shot())

    def record(self) -> None:
        """Makes a video of the chosen kind and sends it."""
        shot, name = self._export_shot()
        options = self._state.export
        self._darkroom.record(Video(shot, options.tour(), exports.file_name(name, options.way)))

    def cancel(self) -> None:
        """Stops the video in the making."""
        self._darkroom.cancel()

    def _new_panel(self) -> Panel:
        actions = Actions(self.change, self.fly, self.home, self.record, self.photograph, self.cancel)
        panel = Panel(self._client, self._studio.variants, self._state, actions)
        panel.show_note(self._studio.note)
        return panel

    def _pane(self) -> tuple[int, int]:
        """Width and height of each picture on the canvas: side by side there are two."""
        (width, height), (across, down) = self._canvas.size, self._state.panes
        return width // across, height // down

    def _camera(self, size: tuple[int, int]) -> Camera:
        flight = self._state.flight
        if flight is not None:
            return self._studio.mixture.rig.cameras[flight.number].fitted(*size)
        assert self._pose is not None
        return self._stage.camera(self._pose, *self._canvas.size).fitted(*size)

    def _export_shot(self) -> tuple[Shot, str]:
        """What is exported now, and the name of its file without suffix."""
        with self._lock:
            state, canvas = self._state, self._canvas.size
            cameras = self._studio.mixture.rig.cameras
            own = cameras[self._stage.start() if state.flight is None else state.flight.number]
            size = state.export.frame_size(own, canvas, state.panes)
            # Fitted from the camera itself, so that a data set camera at its own size is met to the pixel.
            camera = self._camera(canvas) if state.flight is None else own
            frame = state.playback.frame(time.monotonic())
            place = "free" if state.flight is None else self._studio.mixture.rig.names[state.flight.number]
            way = () if state.compared is None else (state.compared.mode,)
            name = exports.file_name(self._studio.name, *way, state.view, place, f"f{round(frame):03d}")
            return state.shot(camera.fitted(*size), frame), name

    async def _camera_moved(self, camera: viser.CameraHandle) -> None:
        now = time.monotonic()
        pose = pose_of(camera.wxyz, camera.position, camera.fov)
        with self._lock:
            flight = self._state.flight
            if flight is not None and flight.left_by(pose, now):
                self.change(lambda state, now: replace(state, flight=None))
            elif flight is not None:
                arrived = flight.arrived or flight.reached_by(pose)
                self._state = replace(self._state, flight=replace(flight, arrived=arrived))
                self._worker.wake()  # the canvas may have another size
                return
            self._pose = pose
            self._version += 1
            self._touched = now
        self._worker.wake()

    def _clicked(self, event: viser.SceneClickEvent) -> None:
        with self._lock:
            width, height = self._pane()
            if width < 1 or height < 1:
                return
            shot = self._state.shot(self._camera((width, height)), 0)
            point = point_under(event.screen_pos, shot.size, self._studio.variants.tiles(shot))
            self.change(lambda state, now: replace(state, picked=point))

    def _tell_statistics(self, frame: Frame) -> bool:
        """Whether it was time to."""
        now = time.monotonic()
        if not frame.sharp and now - self._told < STATISTICS_INTERVAL:
            return False
        self._told = now
        rate = self._canvas.rate(now) or 1 / max(frame.seconds, 1e-3)
        self._panel.show_statistics(markup.statistics(frame, None if frame.sharp else rate))
        return True
