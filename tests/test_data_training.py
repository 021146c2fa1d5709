"""Data sets that a run trains on: a moving camera, warnings that are shown, frames in another place."""

from dataclasses import replace
from pathlib import Path

import pytest
import recordings
import torch
from stamps import KINDS

from moegs import checkpoint
from moegs.data import DataConfig, load_scene
from moegs.density import DensityConfig
from moegs.experts.polynomial import PolynomialConfig
from moegs.training import Sitting, TrainConfig, train
from moegs.training.events import Event, Preparing, Skipped, Told
from moegs.training.experts import ExpertTrainee, ExpertTraining
from moegs.training.sampling import Shuffled


def settings(**data: object) -> TrainConfig:
    config = DataConfig(path=Path("made"), random_points=60, **data)  # type: ignore[arg-type]
    expert = PolynomialConfig(sh_degree=0, degree=1)
    return TrainConfig(
        data=config, experts=(ExpertTraining(name="p", expert=expert, steps=6, density=DensityConfig()),)
    )


def test_a_moving_camera_trains_at_its_own_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moegs.data.points.find_spec", lambda name: None)
    recordings.write_dnerf(tmp_path / "made")
    heard: list[Event] = []
    path = train(settings(cache_dir=Path("cache")), tmp_path, tmp_path / "run", heard.append)
    loaded = checkpoint.load(path)
    assert loaded.mixture.rig.timeline.times == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert loaded.scores["pictures"] == 2
    told = [event for event in heard if isinstance(event, Told)]
    assert [event.warning for event in told] == [False, True]
    assert "nerfstudio ('transforms_train.json'), 5 cameras to train and 2 held out, 5 frames of 32x24" in told[0].text
    assert "starts from 60 random points" in told[1].text
    decoded = [event for event in heard if isinstance(event, Preparing)]
    assert [(event.done, event.of) for event in decoded] == [(1, 2), (2, 2)]  # the footage of each file
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2


def test_a_run_goes_on_with_its_frames_in_another_place(tmp_path: Path) -> None:
    recordings.write_n3v(tmp_path / "made")
    recordings.write_points(tmp_path / "made" / "points_0000.npz")
    first = settings(cache_dir=Path("cache"))
    train(first, tmp_path, tmp_path / "run")
    moved = replace(first, data=replace(first.data, cache_dir=Path("elsewhere"), cache="memory"))
    heard: list[Event] = []
    train(moved, tmp_path, tmp_path / "run", heard.append, Sitting(resume=True))
    assert [type(event) for event in heard] == [Skipped, Skipped]


@pytest.mark.parametrize(("kind", "count"), [("polynomial", 32), ("hexplane", 20), ("embedding", 20), ("keyframe", 20)])
def test_the_polynomial_expert_alone_starts_from_the_points_of_later_frames(kind: str, count: int, tmp_path: Path):
    recordings.write_n3v(tmp_path)
    recordings.write_points(tmp_path / "points_0000.npz")
    recordings.write_points(tmp_path / "points_0002.npz", count=12)
    scene = load_scene(DataConfig(path=tmp_path, cache="memory"))
    trainee = ExpertTrainee(ExpertTraining(name="e", expert=KINDS[kind]), scene, torch.device("cpu"))
    assert len(trainee.expert) == count
    if kind == "polynomial":
        centers = torch.cat([group["time_centers"] for group in trainee.expert.groups.values()])
        assert int((centers > 0).sum()) == 12


def test_the_next_pictures_are_told_in_the_order_in_which_they_are_drawn() -> None:
    told: list[list[tuple[int, int]]] = []
    draws = Shuffled([(0, 0), (0, 1), (0, 2), (1, 1), (2, 0), (2, 2)], expect=lambda pairs: told.append(list(pairs)))
    drawn = [draws.draw(0)[0] for _ in range(6)]
    assert told[0] == drawn[:4]
    assert told[2] == drawn[2:6]
    assert told[5] == drawn[5:]
