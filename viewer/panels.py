"""Panels: the widgets of one tab, made from the table of controls and kept in step with its state."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import viser

from moegs.mixture import Mixture
from moegs.shots import Shot
from moegs.variants import Variants
from viewer import comparing, controls, markup
from viewer.comparing import ComparePanel
from viewer.controls import Choice, Control, FrameSlider, Number, Percent, Switch
from viewer.exports import Progress
from viewer.placeholder import status
from viewer.state import ViewState

PIXEL_WIDTH, PIXEL_TOP = 340, 145
"""Of the panel with one pixel's numbers, in the browser's pixels: below what names the right one of two pictures."""

MUTE_NAMES, SOLO_NAMES = ("mute", "muted"), ("solo", "soloed")
"""Of an expert's two buttons, while they are off and on."""

Change = Callable[[ViewState, float], ViewState]


@dataclass(frozen=True)
class Actions:
    """What widgets set in motion."""

    change: Callable[[Change, bool], None]
    """Changes the state; the flag says that more of the same is likely to follow at once."""
    fly: Callable[[int | None], None]
    """Looks through a camera of the data set, or lets the mouse lead from there."""
    home: Callable[[], None]
    """Goes back to where the tab began."""
    record: Callable[[], None]
    """Makes a video."""
    photograph: Callable[[], None]
    """Makes a screenshot."""
    cancel: Callable[[], None]
    """Stops the video."""


class Panel:
    """The widgets of one tab."""

    def __init__(self, client: viser.ClientHandle, variants: Variants, state: ViewState, actions: Actions) -> None:
        self._gui, self._variants, self._actions = client.gui, variants, actions
        self._notify = client.add_notification
        self._bound: list[tuple[Any, Callable[[ViewState], Any]]] = []
        self._choices: list[tuple[Any, Choice]] = []
        self._sometimes: list[tuple[Any, Callable[[ViewState], bool]]] = []
        gui = self._gui
        self._note = gui.add_html("", visible=False)
        self._banner = gui.add_html("", visible=False)
        self._statistics = gui.add_html(status("Drawing the first picture"))
        gui.add_html(markup.software())
        with gui.add_folder("Time"):
            self._add_time(state)
        with gui.add_folder("View"):
            self._add_controls(controls.VIEW, state)
            self._add_cameras(state)
        swap = self._triggered(comparing.swap)
        self._comparing = ComparePanel(gui, variants, state, self._add, swap)
        with gui.add_folder("Experts"):
            self._experts = [self._add_expert(number, state) for number in range(len(self._mixture.names))]
            if len(self._mixture.names) > 1:  # else there is nobody to take over a muted share
                self._add_controls(controls.MUTING, state)
            if self._mixture.router is not None and self._mixture.router.sees_features_alone:
                self._add_controls(controls.GATING, state)
        with gui.add_folder("Export", expand_by_default=False):
            self._add_export(state)
        self._pixel = gui.add_panel(visible=False)
        with self._pixel.add_tab("Pixel"):
            self._reading = gui.add_html("")
            gui.add_button("Close", color="gray").on_click(self._triggered(controls.unpick))
        self._pixel.float(x=-15, y=PIXEL_TOP, width=PIXEL_WIDTH)
        for command in (*controls.COMMANDS, *comparing.COMMANDS):
            handle = gui.add_command(command.label, hotkey=command.hotkey, modifier=command.modifier)
            handle.on_trigger(self._triggered(command.change))

    @property
    def _mixture(self) -> Mixture:
        return self._variants.mixture

    def renew(self, variants: Variants, state: ViewState) -> bool:
        """Shows `variants` in place of an earlier one; False when it has other experts and needs another panel."""
        if (variants.mixture.names, variants.prunable) != (self._mixture.names, self._variants.prunable):
            return False
        self._variants = variants
        self.sync(state)
        return True

    def sync(self, state: ViewState) -> None:
        """Brings every widget to `state`."""
        playing = state.playback.playing
        for handle, row in self._choices:
            options = tuple(row.options(self._variants, state))
            if handle.options != options:
                handle.options = options
        for handle, read in self._bound:
            if not (playing and handle is self._slider):  # it follows the pictures then
                handle.value = read(state)
        for handle, shown in self._sometimes:
            handle.visible = shown(state)
        for number, (row, buttons) in enumerate(self._experts):
            _set(row, markup.expert(self._mixture, number, state))
            buttons.options = _switch_names(state, number)
        self._play.label = "Pause" if playing else "Play"
        self._play.icon = viser.Icon.PLAYER_PAUSE if playing else viser.Icon.PLAYER_PLAY
        self._pixel.visible = state.picked is not None
        self._comparing.sync(self._variants, state)

    def show_time(self, state: ViewState, frame: float) -> None:
        """The frame that the picture shows."""
        _set(self._clock, markup.clock(state, frame))
        if state.playback.playing:  # else the slider leads, and the picture may be a little behind it
            self._slider.value = round(frame)

    def show_note(self, html: str) -> None:
        """A line above everything; none where it is empty."""
        _set(self._note, html)
        self._note.visible = bool(html)

    def show_statistics(self, html: str) -> None:
        _set(self._statistics, html)

    def show_cost(self, shot: Shot) -> None:
        """What both sides of a comparison, and what is left of a pruned mixture, take."""
        self._comparing.show(shot)

    def show_reading(self, html: str) -> None:
        _set(self._reading, html)

    def show_error(self, error: Exception | None) -> None:
        """Why there is no new picture; None once there is."""
        if error is not None:
            _set(self._banner, markup.banner(error))
        self._banner.visible = error is not None

    def show_progress(self, progress: Progress | None) -> None:
        """How far the video is; None when none is being made."""
        running = progress is not None
        if progress is not None:
            self._progress.value = 100 * progress.done / max(1, progress.of)
            _set(self._frames, markup.progress(progress))
        self._progress.visible = self._frames.visible = self._cancel.visible = running
        self._record.visible = not running

    def _add_time(self, state: ViewState) -> None:
        gui, change = self._gui, self._actions.change
        self._clock = gui.add_html(markup.clock(state, state.playback.start))
        self._slider = self._add(controls.FRAME, state)
        self._play = gui.add_button("Play", icon=viser.Icon.PLAYER_PLAY)
        self._play.on_click(self._triggered(controls.play_or_pause))
        steps: dict[str, Change] = {
            "first": lambda state, now: controls.seek(state, 0, now),
            "\N{MINUS SIGN}1": lambda state, now: controls.step(state, -1, now),
            "+1": lambda state, now: controls.step(state, 1, now),
            "last": lambda state, now: controls.seek(state, state.playback.last, now),
        }
        group = gui.add_button_group("Step", tuple(steps))

        group.on_click(self._told(lambda event: change(steps[event.target.value], False)))
        self._add_controls(controls.TIME, state)

    def _add_cameras(self, state: ViewState) -> None:
        numbers = controls.cameras(self._mixture)
        labels = {number: label for label, number in numbers.items()}

        def read(state: ViewState) -> str:
            return controls.FREE if state.flight is None else labels.get(state.flight.number, controls.FREE)

        hint = "Look through a camera of the data set, with its exact lens; moving the mouse leaves it"
        self._gui.add_html(markup.hint(hint))
        handle = self._gui.add_dropdown("Camera", (controls.FREE, *numbers), initial_value=read(state), hint=hint)
        self._bound.append((handle, read))

        def chosen(event: viser.GuiEvent) -> None:
            if event.client is not None:
                self._actions.fly(numbers.get(handle.value))

        handle.on_update(self._told(chosen))
        self._add(controls.FRUSTUMS, state)
        home = self._gui.add_button("Back to the start", color="gray", icon=viser.Icon.HOME)
        home.on_click(self._told(lambda event: self._actions.home()))

    def _add_expert(self, number: int, state: ViewState) -> tuple[viser.GuiHtmlHandle, viser.GuiButtonGroupHandle]:
        row = self._gui.add_html(markup.expert(self._mixture, number, state))
        group = self._gui.add_button_group("", _switch_names(state, number))

        def pressed(event: viser.GuiEvent) -> None:
            if event.target.value in MUTE_NAMES:
                self._actions.change(lambda state, now: state.toggled_mute(number), False)
            else:
                self._actions.change(lambda state, now: state.toggled_solo(number), False)

        group.on_click(self._told(pressed))
        return row, group

    def _add_export(self, state: ViewState) -> None:
        gui, actions = self._gui, self._actions
        self._add_controls(controls.EXPORT, state)
        self._record = gui.add_button("Video", icon=viser.Icon.MOVIE)
        self._record.on_click(self._told(lambda event: actions.record()))
        self._frames = gui.add_html("", visible=False)
        self._progress = gui.add_progress_bar(0.0, visible=False)
        self._cancel = gui.add_button("Cancel", icon=viser.Icon.X, visible=False)
        self._cancel.on_click(self._told(lambda event: actions.cancel()))
        screenshot = gui.add_button("Screenshot", icon=viser.Icon.CAMERA)
        screenshot.on_click(self._told(lambda event: actions.photograph()))

    def _add_controls(self, rows: tuple[Control, ...], state: ViewState) -> None:
        for row in rows:
            self._add(row, state)

    def _add(self, row: Control, state: ViewState) -> Any:
        parts = []
        if row.hint is not None and not isinstance(row, Switch):  # whose label is there to be clicked
            parts.append(self._gui.add_html(markup.hint(row.hint)))
        handle = self._widget(row, state)
        if not isinstance(row, FrameSlider):
            for part in (*parts, handle):
                self._sometimes.append((part, row.shown))
                part.visible = row.shown(state)
        if isinstance(row, Choice):
            self._choices.append((handle, row))
        moving = isinstance(row, FrameSlider) or (isinstance(row, Percent) and row.motion)
        self._bound.append((handle, row.read))

        def changed(event: viser.GuiEvent) -> None:
            if event.client is not None:  # else it was `sync` that set it
                value = handle.value
                self._actions.change(lambda state, now: row.write(state, value, now), moving)

        handle.on_update(self._told(changed))
        return handle

    def _widget(self, row: Control, state: ViewState) -> Any:
        gui = self._gui
        match row:
            case Choice():
                options = tuple(row.options(self._variants, state))
                return gui.add_dropdown(row.label, options, initial_value=row.read(state), hint=row.hint)
            case Switch():
                return gui.add_checkbox(row.label, row.read(state), hint=row.hint)
            case Number():
                return gui.add_number(row.label, row.read(state), min=row.low, max=row.high, hint=row.hint)
            case Percent():
                return gui.add_slider(row.label, row.low, 100, 1, row.read(state), hint=row.hint)
            case FrameSlider():
                last = state.playback.last
                return gui.add_slider(row.label, 0, last, 1, row.read(state), hint=row.hint, disabled=last == 0)

    def _triggered(self, change: Change) -> Callable[[Any], Any]:
        return self._told(lambda event: self._actions.change(change, False))

    def _told(self, react: Callable[[Any], None]) -> Callable[[Any], Any]:
        """`react` as viser wants it: what a wish raises that cannot be met is told in the page, and nothing changes."""

        async def callback(event: Any) -> None:
            try:
                react(event)
            except Exception as error:  # a message may hold anything
                self._notify("Not possible", f"{type(error).__name__}: {error}", color="red")

        return callback


def _switch_names(state: ViewState, number: int) -> tuple[str, str]:
    """What the two buttons of an expert say: what is on is named as it is."""
    return MUTE_NAMES[state.muted[number]], SOLO_NAMES[state.soloed[number]]


def _set(handle: viser.GuiHtmlHandle, content: str) -> None:
    if handle.content != content:
        handle.content = content
