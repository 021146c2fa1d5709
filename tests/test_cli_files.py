"""Files that a verb is given to write: never lost, whole or not there, and what cannot be written found beforehand."""

import errno
import json
from pathlib import Path

import filmed
import pytest
from command_line import refusal, run
from mixtures import mixture
from PIL import Image

from moegs import benchmark, compact, evaluation, pruning
from moegs.training import students


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `data`, the mixture on its cameras in `made.pt`."""
    return filmed.write(tmp_path_factory.mktemp("files"), mixture(("poly", "key"))).parent


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
    ("place", "told"),
    [("folder.json", "folder.json: is a folder; give a file"), ("file/x.json", "file is a file, not a folder")],
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


def test_a_folder_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    folder = tmp_path / "x.png"
    folder.mkdir()
    assert run(monkeypatch, "render", made_file, "--out", folder, "--force") == 1
    assert capsys.readouterr().err == f"moegs: {folder}: is a folder; give a file\n"


def test_json_overwrites_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    mine, before = tmp_path / "mine.json", made_file.read_bytes()
    mine.write_text("mine")
    assert run(monkeypatch, "info", made_file, "--json", mine) == 1
    assert mine.read_text() == "mine"
    for each in (made_file, tmp_path / "link.pt"):
        if each != made_file:
            each.symlink_to(made_file)
        assert run(monkeypatch, "info", made_file, "--json", each, "--force") == 1
        assert "is the file that is read; choose another name" in capsys.readouterr().err
    assert made_file.read_bytes() == before
    assert run(monkeypatch, "info", made_file, "--json", mine, "--force") == 0
    assert json.loads(mine.read_text())["frames"] == 6


TWO = {
    "prune": ("prune", "--data", "data", "--ratio", "0.5", "--out", "a.pt", "--json"),
    "export": ("export", "--compact", "--out", "a.pt", "--json"),
    "distill": ("distill", "--data", "data", "--expert", "poly", "--twin", "--out", "a.pt", "--json"),
    "bench": ("bench", "--markdown", "a.pt", "--json"),
}
"""How verbs that write several files are called, up to the name of the last."""


@pytest.mark.parametrize("verb", TWO)
def test_no_output_is_written_over_another_whatever_their_paths_look_like(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path, verb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("data", "made.pt"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "link.json").symlink_to("a.pt")
    twin = ["a-twin.pt", "a.run", "a.run/x.json"] if verb == "distill" else []
    for same in ("a.pt", "./a.pt", tmp_path / "a.pt", "link.json", *twin):
        first, *rest = TWO[verb]
        told = refusal(monkeypatch, capsys, first, "made.pt", *rest, same, "--force")
        assert "is written as" in told or "is written too" in told
    (tmp_path / "a.pt").touch()
    (tmp_path / "hard.json").hardlink_to(tmp_path / "a.pt")
    first, *rest = TWO[verb]
    assert "is written as" in refusal(monkeypatch, capsys, first, "made.pt", *rest, "hard.json", "--force")
    assert not (tmp_path / "a.run").exists()


def test_an_output_in_the_folder_of_another_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    frames = tmp_path / "frames"
    options = ("--ply", frames, "--compact", "--out", frames / "x.pt")
    assert "one cannot lie in the other" in refusal(monkeypatch, capsys, "export", made_file, *options)
    assert not frames.exists()


@pytest.mark.parametrize(
    ("verb", "options"),
    [
        ("bench", ("--against", "other.pt", "--json")),
        ("bench", ("--against", "other.pt", "--markdown")),
        ("eval", ("--data", "data", "--routers", "other.pt", "--json")),
        ("eval", ("--data", "data", "--routers", "run", "--json")),
        ("distill", ("--data", "data", "--expert", "poly", "--config", "other.pt", "--out", "x.pt", "--json")),
        ("compare", ("other.pt", "--out")),
    ],
)
def test_force_overwrites_no_second_file_that_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, folder: Path,
    verb: str, options: tuple[str, ...],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").symlink_to(folder / "data")
    (tmp_path / "run").mkdir()
    read = tmp_path / ("run/other.pt" if "run" in options else "other.pt")
    read.write_text("mine")
    assert "is the file that is read" in refusal(
        monkeypatch, capsys, verb, folder / "made.pt", *options, read, "--force"
    )
    assert read.read_text() == "mine"


@pytest.mark.parametrize(
    ("out", "reason"),
    [("a" * 300 + ".png", "File name too long"), ("x\ny.png", None), ("/proc/x.png", "cannot be written")],
)
def test_a_place_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    made_file: Path,
    out: str,
    reason: str | None,
) -> None:
    place = tmp_path / out
    if reason is None:
        place.mkdir()
    assert run(monkeypatch, "render", made_file, "--out", place) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert (reason or "is a folder; give a file") in told


def test_a_full_disk_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    def fail(picture: Image.Image, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert run(monkeypatch, "render", made_file, "--out", tmp_path / "x.png") == 1
    assert capsys.readouterr().err == (
        f"moegs: {tmp_path / 'x.png'}: cannot be written (No space left on device); choose another place, or make room "
        "there\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_file: Path) -> None:
    out = tmp_path / "x.png"
    out.write_text("mine")
    assert run(monkeypatch, "render", made_file, "--out", out) == 1
    assert out.read_text() == "mine"
    assert run(monkeypatch, "render", made_file, "--out", out, "--force") == 0
    with Image.open(out) as picture:
        assert picture.size == (48, 32)
