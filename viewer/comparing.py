"""Comparing: the widgets that set something beside the picture, and those that prune it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import viser

from moegs import compare
from moegs.shots import MAX_TILT, Gain, Mode, Shot
from moegs.variants import Variants
from viewer import markup
from viewer.controls import Choice, Command, Control, Number, Percent, Shown, Switch
from viewer.state import ViewState

NOTHING, UNPRUNED = "nothing", "unpruned"
"""What the list of what may be set beside says of no comparison, and of all of the checkpoint (kept:1)."""
MODES: dict[str, Mode] = {"wipe": "wipe", "side by side": "side", "difference": "diff"}

Add = Callable[[Control, ViewState], Any]
"""Makes the widget of a row of the table of controls, and keeps it in step."""


def swap(state: ViewState, now: float) -> ViewState:
    """Lets the two sides of a comparison change places."""
    return _compared(state, swapped=not state.comparison.swapped)


def next_mode(state: ViewState, now: float) -> ViewState:
    """Compares in the next way: wipe, side by side, difference."""
    modes = get_args(Mode)
    return _compared(state, mode=modes[(modes.index(state.comparison.mode) + 1) % len(modes)])


def _compared(state: ViewState, **changes: Any) -> ViewState:
    return replace(state, comparison=replace(state.comparison, **changes))


def _beside(state: ViewState, text: str, now: float) -> ViewState:
    return _compared(replace(state, turned=False), other={NOTHING: "", UNPRUNED: "kept:1"}.get(text, text))


def _is(*modes: Mode) -> Shown:
    return lambda state: bool(state.comparison.other) and state.comparison.mode in modes


COMPARE: tuple[Control, ...] = (
    Choice(
        "Compare with",
        lambda variants, state: [NOTHING, *(UNPRUNED if text == "kept:1" else text for text in variants.others)],
        lambda state: {"": NOTHING, "kept:1": UNPRUNED}.get(state.comparison.other, state.comparison.other),
        _beside,
        "A second picture of the same camera and time: one expert alone, all Gaussians while fewer are kept, or what "
        "moegs-view was given by --compare",
    ),
    Choice(
        "Way",
        lambda variants, state: tuple(MODES),
        lambda state: next(name for name, mode in MODES.items() if mode == state.comparison.mode),
        lambda state, name, now: _compared(state, mode=MODES[name]),
        "wipe: A up to a divider, B behind it; side by side: both whole; difference: how far they are apart. Key V",
        _is(*get_args(Mode)),
    ),
    Switch(
        "A above B",
        lambda state: state.comparison.horizontal,
        lambda state, on, now: _compared(state, horizontal=on),
        "Else they stand beside each other",
        _is("wipe", "side"),
    ),
    Number(
        "Tilt",
        -MAX_TILT,
        MAX_TILT,
        lambda state: state.comparison.tilt,
        lambda state, value, now: _compared(state, tilt=float(value)),
        "Degrees that the divider is turned clockwise",
        _is("wipe"),
    ),
    Choice(
        "Gain",
        lambda variants, state: [f"{gain}x" for gain in get_args(Gain)],
        lambda state: f"{state.comparison.gain}x",
        lambda state, text, now: _compared(state, gain=int(text.removesuffix("x"))),
        compare.GAIN_HELP,
        _is("diff"),
    ),
    Switch(
        "Signed",
        lambda state: state.comparison.signed,
        lambda state, on, now: _compared(state, signed=on),
        "Red where A has more, blue where B has",
        _is("diff"),
    ),
)
OTHER_SIDE = Switch(
    "Other side",
    lambda state: state.turned,
    lambda state, on, now: replace(state, turned=on),
    "All of B in place of what is seen, or all of A where all is B. Hold key B to see it for so long",
    _is("wipe", "diff"),
)
DIVIDER = Percent(
    "Divider",
    0,
    lambda state: round(100 * state.comparison.position),
    lambda state, percent, now: _compared(state, position=percent / 100),
    _is("wipe"),
    motion=False,
)
KEPT = Percent(
    "Kept share",
    1,
    lambda state: round(100 * state.kept),
    lambda state, percent, now: replace(state, kept=percent / 100),
)
COMMANDS: tuple[Command, ...] = (
    Command("Compare in the next way", "V", next_mode),
    Command("Swap A and B", "X", swap),
)


class ComparePanel:
    """The folders Compare and Prune of one tab."""

    def __init__(
        self, gui: viser.GuiApi, variants: Variants, state: ViewState, add: Add, swap: Callable[[Any], Any]
    ) -> None:
        """`swap` is called when the sides are to change places."""
        self._variants, self._state = variants, state
        self._seen = False
        """Whether there is a picture, and a divider in it."""
        with gui.add_folder("Compare", expand_by_default=bool(state.comparison.other)):
            for row in COMPARE:
                add(row, state)
            self._divider = gui.add_html("")  # right before its slider, where the page's script looks for it
            add(DIVIDER, state)
            self._turned = gui.add_html(markup.turned())  # right before its check box, likewise
            add(OTHER_SIDE, state)
            self._swap = gui.add_button("Swap A and B", color="gray", icon=viser.Icon.ARROWS_LEFT_RIGHT)
            self._swap.on_click(swap)
            self._budget = gui.add_html("")
        with gui.add_folder("Prune", expand_by_default=False):
            if variants.prunable:
                add(KEPT, state)
            self._kept = gui.add_html(markup.pruning(variants, state.kept))
        self.sync(variants, state)

    def sync(self, variants: Variants, state: ViewState) -> None:
        """Brings what is no row of the table to `state`."""
        self._variants, self._state = variants, state
        compared = state.compared
        self._swap.visible = self._budget.visible = compared is not None
        wiped = compared if compared is not None and compared.mode == "wipe" and not state.turned else None
        self._divider.visible = self._seen and wiped is not None
        self._turned.visible = OTHER_SIDE.shown(state)
        if wiped is not None:
            _set(self._divider, markup.divider(wiped))

    def show(self, shot: Shot) -> None:
        """What the picture of `shot`, which has just been drawn, took."""
        _set(self._kept, markup.pruning(self._variants, shot.kept))
        if not self._seen:
            self._seen = True
            self.sync(self._variants, self._state)
        if shot.comparison is not None:
            a, b = self._variants.sides(shot)
            first, second = compare.ordered(a, b, shot.comparison)
            _set(self._budget, markup.budgets(first.budget, second.budget))


def _set(handle: viser.GuiHtmlHandle, content: str) -> None:
    if handle.content != content:
        handle.content = content
