"""Which pictures come next."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch.testing import assert_close

from moegs.training.sampling import LossGuided, LossGuidedConfig, OneFrame, Sampler, Shuffled, ShuffledConfig

CENTERS = torch.tensor([[0.0, 0, 0], [1.0, 0, 0], [5.0, 0, 0]])
CAMERAS = (4, 7, 9)


def guided(**values: int) -> LossGuided:
    return LossGuided(LossGuidedConfig(**{"uniform_until": 10, "hold_steps": 0} | values), CAMERAS, 4, CENTERS)


def every(cameras: Sequence[int], frames: int) -> list[tuple[int, int]]:
    return [(camera, frame) for camera in cameras for frame in range(frames)]


def test_cameras_that_filmed_some_frames_only_are_drawn_at_these():
    pairs = [(0, 0), (1, 1), (2, 1), (2, 3)]
    draws = Shuffled(pairs)
    assert draws.frames == 4
    assert sorted(draws.draw(0)[0] for _ in range(4)) == pairs
    draws.frames = 2
    assert sorted(draws.draw(0)[0] for _ in range(3)) == pairs[:3]


def test_frames_that_join_come_with_the_next_order():
    draws = Shuffled(every((1, 2), 4))
    draws.frames = 1
    first = [draws.draw(0)[0]]
    draws.frames = 3
    first.append(draws.draw(1)[0])
    assert sorted(first) == [(1, 0), (2, 0)]
    assert sorted(draws.draw(2)[0] for _ in range(6)) == [(c, f) for c in (1, 2) for f in range(3)]


def test_a_batch_is_so_many_of_the_order():
    draws = Shuffled(every((1, 2), 3), batch=4)
    pictures = [picture for step in range(3) for picture in draws.draw(step)]
    assert Counter(pictures) == Counter({(c, f): 2 for c in (1, 2) for f in range(3)})


def test_one_frame_is_seen_by_different_cameras():
    draws = OneFrame(CAMERAS, 5, batch=2)
    seen = [draws.draw(step) for step in range(200)]
    assert all(a[1] == b[1] and a[0] != b[0] for a, b in seen)
    assert {frame for (_, frame), _ in seen} == set(range(5))
    assert len(OneFrame(CAMERAS, 5, batch=9).draw(0)) == 3


def test_the_next_camera_stands_at_least_the_median_distance_away():
    # The different distances are 0, 1, 4, 5: their median is 4, and camera 0 and 1 never follow each other.
    draws = guided()
    cameras = [draws.draw(step)[0][0] for step in range(300)]
    assert all({a, b} != {4, 7} and a != b for a, b in pairwise(cameras))
    assert set(cameras) == set(CAMERAS)


def shares(draws: LossGuided, step: int, count: int = 4000) -> torch.Tensor:
    torch.manual_seed(0)
    found = torch.zeros(draws.frames)
    for _ in range(count):
        found[draws.draw(step)[0][1]] += 1
    return found / count


def test_after_the_switch_each_second_frame_is_drawn_in_proportion_to_its_error_above_the_least():
    draws = guided()
    errors = torch.tensor([[0.1, 0.2, 0.1, 0.4], [0.1, 0.1, 0.3, 0.2], [0.0, 0.0, 0.0, 0.2]])
    for number, camera in enumerate(CAMERAS):
        for frame in range(4):
            draws.note(camera, frame, float(errors[number, frame]))
    sums = errors.sum(0)
    expected = (sums - sums.min()) / (sums - sums.min()).sum()
    uniform = torch.full((4,), 0.25)
    # Iterations count from 1: step 11 is the twelfth. Four standard deviations of 4000 draws are 0.03.
    assert_close(shares(draws, step=11), expected, atol=0.03, rtol=0)
    assert shares(draws, step=11)[0] == 0  # the least one is never drawn
    assert_close(shares(draws, step=12), uniform, atol=0.03, rtol=0)
    assert_close(shares(draws, step=7), uniform, atol=0.03, rtol=0)  # even, but before the switch


def test_equal_errors_are_drawn_uniformly():
    assert_close(shares(guided(), step=11), torch.full((4,), 0.25), atol=0.03, rtol=0)


def test_a_frame_is_held_for_some_steps_by_other_cameras():
    draws = guided(hold_every=8, hold_steps=3, uniform_until=1)
    pictures = []
    for step in range(15, 21):  # iterations 16 to 21
        pictures.append((*draws.draw(step)[0], draws.held))
    assert [held for _, _, held in pictures] == [True, True, True, False, False, False]
    assert len({frame for _, frame, _ in pictures[:4]}) == 1  # as published one more step keeps it, unheld


def test_nothing_is_held_before_the_switch():
    draws = guided(hold_every=2, hold_steps=1, uniform_until=100)
    for step in range(50):
        draws.draw(step)
        assert not draws.held


@pytest.mark.parametrize(
    "make", [lambda: Shuffled(every(CAMERAS, 4), 2), lambda: OneFrame(CAMERAS, 4, 2), lambda: guided(hold_steps=3)]
)
def test_a_sampler_goes_on_where_it_was(make):
    def draw(sampler: Sampler, steps: range) -> list:
        found = []
        for step in steps:
            found.append(sampler.draw(step))
            for camera, frame in found[-1]:
                sampler.note(camera, frame, 0.1 * frame + 0.01 * camera)
        return found

    torch.manual_seed(0)
    one = make()
    draw(one, range(53))
    state, random = one.state_dict(), torch.get_rng_state()
    kept = {key: value.clone() if isinstance(value, torch.Tensor) else value for key, value in state.items()}
    expected = draw(one, range(53, 90))
    other = make()
    other.load_state_dict(kept)
    torch.set_rng_state(random)
    assert draw(other, range(53, 90)) == expected


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="batch: got 0"):
        ShuffledConfig(batch=0)
    with pytest.raises(ValueError, match="hold fewer steps than all"):
        LossGuidedConfig(hold_every=5, hold_steps=5)
