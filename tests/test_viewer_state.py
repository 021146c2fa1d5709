"""What one tab has chosen, and the controls that change it."""

from dataclasses import replace

import pytest
import viewing

from moegs.mixture import Mixture
from moegs.shots import Shot
from viewer import comparing, controls
from viewer.controls import Choice, FrameSlider, Number, Percent
from viewer.state import ViewState


@pytest.fixture(scope="module")
def mixture() -> Mixture:
    return viewing.mixture()


def test_heard_is_what_is_soloed_if_any_is_and_not_muted(mixture: Mixture) -> None:
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


def test_every_control_reads_back_what_it_writes(mixture: Mixture) -> None:
    rows = (
        *controls.TIME, *controls.VIEW, *controls.MUTING, *comparing.COMPARE, *controls.EXPORT,
        controls.FRUSTUMS, controls.FRAME, comparing.DIVIDER, comparing.KEPT,
    )  # fmt: skip
    variants = viewing.variants(mixture)
    for row in rows:
        state = ViewState.of(mixture)
        if isinstance(row, Choice):
            values = list(row.options(variants, state))
            assert row.read(state) in values
        elif isinstance(row, Percent):
            values = range(row.low, 101)
        else:
            values = [5] if isinstance(row, FrameSlider) else [7.0] if isinstance(row, Number) else [True, False]
        for value in values:
            assert row.read(row.write(state, value, 0.0)) == value, row.label


def test_steps_go_around_in_a_loop_and_stop_at_the_ends_without(mixture: Mixture) -> None:
    state = ViewState.of(mixture)
    assert controls.step(state, -1, 0.0).playback.start == 5
    single = replace(state, playback=replace(state.playback, loop=False))
    assert controls.step(single, -1, 0.0).playback.start == 0
    assert controls.step(single, 10, 0.0).playback.start == 5


def test_every_key_has_one_meaning() -> None:
    keys = [(command.hotkey, command.modifier) for command in (*controls.COMMANDS, *comparing.COMMANDS)]
    assert len(set(keys)) == len(keys)


def test_its_shot_is_what_the_command_line_would_draw(mixture: Mixture) -> None:
    state = replace(ViewState.of(mixture), view="gates").toggled_mute(1)
    camera = mixture.rig.cameras[0]
    assert state.shot(camera, 3.0) == Shot(camera, 0.5, "gates", (True, False))
    (row,) = controls.GATING
    assert row.write(state, 0.02, 0.0).shot(camera, 3.0) == Shot(camera, 0.5, "gates", (True, False), skip_below=0.02)
