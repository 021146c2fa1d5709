import pytest
from hypothesis import given
from hypothesis import strategies as st

from moegs.timeline import Timeline

CLIP = Timeline(frames=30, fps=10.0)
OWN = Timeline(frames=3, fps=10.0, times=(0.0, 0.5, 1.0))


def test_frame_k_of_n_is_at_k_over_n() -> None:
    assert CLIP.t(12) == 12 / 30
    assert CLIP.seconds == 3.0


def test_a_data_sets_own_times_are_kept() -> None:
    assert [OWN.t(frame) for frame in range(3)] == [0.0, 0.5, 1.0]
    assert OWN.t(0.5) == 0.25


@given(st.floats(0, 2))
@pytest.mark.parametrize("timeline", [CLIP, OWN])
def test_frame_undoes_t(timeline: Timeline, frame: float) -> None:
    assert timeline.frame(timeline.t(frame)) == pytest.approx(frame, abs=1e-9)


@pytest.mark.parametrize(("text", "frame"), [("12", 12), ("0", 0), ("29", 29), ("1.2s", 12), ("0s", 0), ("2.5", 2.5)])
def test_a_time_is_a_frame_or_seconds(text: str, frame: float) -> None:
    assert CLIP.parse(text) == pytest.approx(frame / 30)


@pytest.mark.parametrize("text", ["30", "-1", "3s", "nan", "inf"])
def test_a_time_outside_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"give a frame from 0 to 29, or 0s to 2\.9s"):
        CLIP.parse(text)


@pytest.mark.parametrize("fps", [23.976, 24.0, 25.0, 30.0, 60.0, 120.0])
@pytest.mark.parametrize("frames", [2, 30, 31, 300, 1001])
def test_the_end_that_a_refusal_names_is_accepted(frames: int, fps: float) -> None:
    clip = Timeline(frames, fps)
    with pytest.raises(ValueError, match="outside the scene") as refused:
        clip.parse(f"{frames}s")
    last = str(refused.value).rsplit(" ", 1)[1]
    assert clip.parse(last) == pytest.approx(clip.t(frames - 1), rel=1e-3)
    with pytest.raises(ValueError, match="outside the scene"):
        clip.parse(f"{frames / fps}s")


@pytest.mark.parametrize("text", ["", "s", "noon", "12 s2"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="give a frame number such as 12"):
        CLIP.parse(text)


@pytest.mark.parametrize("times", [(0.0, 0.5), (0.0, 0.5, 0.5), (0.0, 0.5, 1.5)])
def test_times_must_rise_within_the_unit_interval(times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="timeline:"):
        Timeline(frames=3, fps=1.0, times=times)
