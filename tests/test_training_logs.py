"""TensorBoard's files, read back with TensorBoard's own reader."""

import sys
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pytest
import stamps
from stamps import settings, training
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from moegs import checkpoint, views
from moegs.data import DataConfig
from moegs.shots import Shot
from moegs.training import Sitting, TrainingError, logs, loop, train
from moegs.training.events import Progress, Resumed
from moegs.training.logs import TensorBoard

pytestmark = pytest.mark.usefixtures("stamp_room")


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def test_a_run_leaves_curves_of_every_phase_and_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", 0.0)
    both, out = settings(training("polynomial"), training("keyframe"), snapshot_seconds=1e-9), tmp_path / "run"
    losses: list[float] = []

    def tell(event: object) -> None:
        if isinstance(event, Progress) and event.name == "keyframe":
            losses.append(event.loss)

    train(both, tmp_path, out, tell, Sitting(tensorboard=True))
    assert {path.name for path in (out / "logs").iterdir()} == {
        "polynomial", "keyframe", "router-0.1", "router-1", "mixture"
    }  # fmt: skip
    expert, router = read(out / "logs" / "keyframe"), read(out / "logs" / "router-1")
    assert [each.step for each in expert.Scalars("train/loss")] == list(range(1, 13))
    assert [each.value for each in expert.Scalars("train/loss")] == pytest.approx(losses)
    assert set(expert.Tags()["scalars"]) == {"train/loss", "train/psnr", "train/gaussians", "test/psnr"}
    assert [each.step for each in expert.Images("rgb")] == [1, 12], "the first snapshot, and the end"
    picture, photo = np.split(imageio.imread(expert.Images("rgb")[1].encoded_image_string), 2, axis=1)
    assert np.array_equal(photo, stamps.scene().photos.at(0, 1).numpy()), "the held-out camera's, of the middle frame"
    learned = checkpoint.load(out / "experts" / "keyframe.pt").mixture
    shown = views.draw(learned, Shot(learned.rig.cameras[0], 1 / 3, "rgb")).pixels
    assert np.array_equal(picture, shown), "and what it looks like to the expert"
    assert router.Tags()["images"] == ["rgb", "gate-argmax"]


def test_what_was_written_of_steps_that_a_kill_undid_is_hidden(tmp_path: Path):
    for steps, resumed in ((range(1, 9), None), (range(6, 12), 5)):
        board = TensorBoard(tmp_path, "cpu", DataConfig(path=tmp_path))
        if resumed is not None:
            board.tell(Resumed("poly", resumed))
        for step in steps:
            board.tell(Progress("poly", step, 20, 1.0 + bool(resumed), 20.0, 5, 1.0))
        board.close()
    values = {each.step: each.value for each in read(tmp_path / "poly").Scalars("train/loss")}
    assert values == {step: 1.0 if step < 6 else 2.0 for step in range(1, 12)}
    assert len(read(tmp_path / "poly").Scalars("train/loss")) == 11


def test_without_tensorboard_it_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(TrainingError, match=r"^tensorboard: not installed; pip install 'moegs\[logs\]', or leave"):
        train(settings(training()), tmp_path, tmp_path / "run", sitting=Sitting(tensorboard=True))
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_a_photo_larger_than_the_picture_is_shown_as_large_as_it():
    photo = np.repeat(np.repeat(np.uint8([[[0], [100]], [[200], [50]]]), 4, 0), 4, 1).repeat(3, 2)
    both = logs.beside(np.full((2, 2, 3), 7, np.uint8), photo)
    assert both[..., 0].tolist() == [[7, 7, 0, 100], [7, 7, 200, 50]]
