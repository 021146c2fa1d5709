"""Which frame is on, at any moment of the wall clock."""

import pytest

from moegs.timeline import Timeline
from viewer.playback import Playback


def film(**options: float) -> Playback:
    return Playback(Timeline(300, 30.0), **options)  # type: ignore[arg-type]


def test_300_frames_at_30_a_second_take_ten_seconds() -> None:
    playing = film(loop=False).play(100.0)
    assert playing.frame(105.0) == pytest.approx(150)
    assert not playing.ended(109.9)
    assert playing.ended(110.0)


def test_a_slow_renderer_leaves_frames_out() -> None:
    playing = film().play(0.0)
    assert [playing.frame(now) for now in (0.0, 0.5, 1.0)] == [0, 15, 30]


def test_a_loop_begins_again_and_never_passes_the_last_frame() -> None:
    playing = film().play(0.0)
    assert playing.frame(10.5) == pytest.approx(15)
    assert playing.frame(9.99) == 299


def test_without_loop_it_stands_at_the_end_and_plays_again_from_the_start() -> None:
    ended = film(loop=False).play(0.0).pause(99.0)
    assert ended.frame(200.0) == 299
    assert ended.play(300.0).frame(300.0) == 0


def test_whole_frames_are_shown_while_it_runs_unless_it_is_smooth() -> None:
    playing = film().play(0.0)
    assert playing.frame(0.5 + 0.9 / 30) == 15
    assert playing.paced(0.0, smooth=True).frame(0.5 + 0.9 / 30) == pytest.approx(15.9)


def test_another_pace_loses_no_part_of_a_frame() -> None:
    assert film().play(0.0).paced(0.5 + 0.9 / 30, speed=2.0).frame(0.5 + 0.96 / 30) == 16


def test_a_pause_stands_on_the_whole_frame_that_is_on() -> None:
    assert film().play(0.0).pause(0.5 + 0.4 / 30).frame(99.0) == 15


def test_another_speed_goes_on_from_the_same_frame() -> None:
    fast = film().play(0.0).paced(1.0, speed=4.0)
    assert fast.frame(1.0) == pytest.approx(30)
    assert fast.frame(2.0) == pytest.approx(150)


def test_seeking_stays_within_the_film_and_keeps_running() -> None:
    assert film().seek(1000, 0.0).frame(5.0) == 299
    assert film().play(0.0).seek(-4, 1.0).frame(2.0) == pytest.approx(30)


def test_a_film_of_one_frame_stands() -> None:
    assert not Playback(Timeline(1, 30.0)).play(0.0).playing
