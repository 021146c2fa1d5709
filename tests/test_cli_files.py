"""Files that a verb is given to write: what cannot be written is found before the work, not after it."""

from pathlib import Path

import pytest
import recordings
from command_line import run
from mixtures import mixture

from moegs import benchmark, checkpoint, compact, evaluation, pruning
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture
from moegs.training import students


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `data`, the mixture on its cameras in `made.pt`."""
    found = tmp_path_factory.mktemp("files")
    rig = load_scene(DataConfig(path=recordings.write_folders(found / "data")), with_points=False).rig
    made = mixture(("poly", "key"))
    checkpoint.save(Checkpoint(Mixture(made.names, made.members, made.router, rig)), found / "made.pt")
    return found


WORK = {
    "eval": ((evaluation, "measure"), ("--data", "data")),
    "prune": ((pruning, "importance"), ("--data", "data", "--ratio", "0.5", "--finetune", "2", "--out", "x.pt")),
    "sweep": ((pruning, "importance"), ("--data", "data")),
    "distill": ((students, "distil"), ("--data", "data", "--expert", "poly", "--out", "x.pt")),
    "bench": ((benchmark, "measure"), ()),
    "export": ((compact, "compacted"), ("--compact", "--out", "x.pt")),
}
"""What takes long in each verb, and how the verb is called."""


def refused(monkeypatch: pytest.MonkeyPatch, verb: str, folder: Path, *wrong: object) -> int:
    """The exit code of `verb` in `folder`, whose work fails the test where it is begun."""
    (module, work), options = WORK[verb]
    monkeypatch.setattr(module, work, lambda *_, **__: pytest.fail("the work has begun"))
    monkeypatch.chdir(folder)
    return run(monkeypatch, verb, "made.pt", *options, *wrong)


@pytest.mark.parametrize(
    ("place", "told"), [("folder.json", "folder.json: is a folder; give a file"), ("file/x.json", "x.json: cannot be")]
)
@pytest.mark.parametrize("verb", WORK)
def test_a_report_that_cannot_be_written_is_refused_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    folder: Path,
    verb: str,
    place: str,
    told: str,
) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    before = {path.name for path in folder.iterdir()}
    for flag in ("--json", *(["--markdown"] if verb == "bench" else [])):
        assert refused(monkeypatch, verb, folder, flag, tmp_path / place) == 1
        message = capsys.readouterr().err
        assert told in message
        assert message.count("\n") == 1
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.parametrize("place", ["-", "/dev/null", "made/x.json"])
def test_standard_output_devices_and_folders_to_come_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path, place: str
) -> None:
    where = tmp_path / place if place.startswith("made") else place
    with pytest.raises(pytest.fail.Exception, match="the work has begun"):
        refused(monkeypatch, "eval", folder, "--json", where)


def test_a_student_that_cannot_be_written_is_refused_before_it_learns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "y-twin.pt").mkdir()
    assert refused(monkeypatch, "distill", folder, "--twin", "--out", tmp_path / "y.pt") == 1
    assert "y-twin.pt: is a folder; give a file" in capsys.readouterr().err
