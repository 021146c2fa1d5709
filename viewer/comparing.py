"""Comparing: the widgets that set something beside the picture, and those that prune it."""

from collections.abc import Callable
from typing import Any

import viser

from moegs import compare
from moegs.shots import Shot
from moegs.variants import Variants
from viewer import controls, markup
from viewer.state import ViewState

Add = Callable[[controls.Control, ViewState], Any]
"""Makes the widget of a row of the table of controls, and keeps it in step."""


class ComparePanel:
    """The folders Compare and Prune of one tab."""

    def __init__(
        self, gui: viser.GuiApi, variants: Variants, state: ViewState, add: Add, swap: Callable[[Any], Any]
    ) -> None:
        """`swap` is called when the sides are to change places."""
        self._variants = variants
        with gui.add_folder("Compare", expand_by_default=bool(state.comparison.other)):
            for row in controls.COMPARE:
                add(row, state)
            self._divider = gui.add_html("")  # right before its slider, where the page's script looks for it
            add(controls.DIVIDER, state)
            self._swap = gui.add_button("Swap A and B", color="gray", icon=viser.Icon.ARROWS_LEFT_RIGHT)
            self._swap.on_click(swap)
            self._budget = gui.add_html("")
        with gui.add_folder("Prune", expand_by_default=False):
            if variants.prunable:
                add(controls.KEPT, state)
            self._kept = gui.add_html(markup.pruning(variants, state.kept))
        self.sync(variants, state)

    def sync(self, variants: Variants, state: ViewState) -> None:
        """Brings what is no row of the table to `state`."""
        self._variants = variants
        compared = state.compared
        self._swap.visible = self._budget.visible = compared is not None
        wiped = compared if compared is not None and compared.mode == "wipe" else None
        self._divider.visible = wiped is not None
        if wiped is not None:
            _set(self._divider, markup.divider(wiped))

    def show(self, shot: Shot) -> None:
        """What the picture of `shot`, which has just been drawn, took."""
        _set(self._kept, markup.pruning(self._variants, shot.kept))
        if shot.comparison is not None:
            a, b = self._variants.sides(shot)
            first, second = compare.ordered(a, b, shot.comparison)
            _set(self._budget, markup.budgets(first.budget, second.budget))


def _set(handle: viser.GuiHtmlHandle, content: str) -> None:
    if handle.content != content:
        handle.content = content
