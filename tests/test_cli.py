"""The command line as a user meets it: exit codes, one line per failure, and the same pixels as everywhere."""

import errno
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings
import torch
import yaml
from command_line import run
from mixtures import mixture
from PIL import Image

from moegs import checkpoint, demo, export, views
from moegs.checkpoint import Checkpoint
from moegs.data import DataConfig, load_scene
from moegs.mixture import Mixture
from moegs.router import PixelConfig, UniformConfig, VolumeConfig
from moegs.shots import Shot

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "made.pt"
    checkpoint.save(Checkpoint(mixture(("poly", "key"))), path)
    return path


def four_letters(code: float) -> str:
    """A four-character code as text."""
    return int(code).to_bytes(4, "little").decode()


def test_info_tells_what_is_inside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    assert run(monkeypatch, "info", file, "--json", "-") == 0
    captured = capsys.readouterr()
    facts = json.loads(captured.out)
    assert [(e["name"], e["kind"], e["gaussians"]) for e in facts["experts"]] == [
        ("poly", "polynomial", 60),
        ("key", "keyframe", 60),
    ]
    assert (facts["frames"], facts["fps"], facts["cameras"]) == (6, 10.0, {"train": 2, "test": 1})
    assert "poly" in captured.err


@pytest.mark.parametrize("view", ["rgb", "expert:key", "gate:poly", "gates", "gate-argmax"])
def test_render_writes_the_picture_that_draw_gives(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path, view: str
) -> None:
    out = tmp_path / "x.png"
    options = ("--camera", "train:1", "--time", "3", "--view", view, "--size", "64x40", "--mute", "poly")
    assert run(monkeypatch, "render", file, *options, "--out", out) == 0
    made = checkpoint.load(file).mixture
    shot = Shot(made.rig.cameras[2].fitted(64, 40), t=3 / 6, view=view, active=(False, True))
    with Image.open(out) as picture:
        pixels, text = np.asarray(picture), picture.info[export.SHOT_KEY]
    assert np.array_equal(pixels, views.draw(made, shot).burnt())
    assert np.array_equal(pixels, views.draw(made, Shot.from_json(text)).burnt())


def test_a_turntable_is_a_video_of_even_size(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path
) -> None:
    out = tmp_path / "turn.mp4"
    options = ("--turntable", 360, "--seconds", 0.5, "--fps", 12, "--size", "33x21", "--running")
    assert run(monkeypatch, "render", file, *options, "--out", out) == 0
    assert "rounded to 34x22" in capsys.readouterr().err
    video = cv2.VideoCapture(str(out))
    assert [video.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)] == [
        6, 34, 22,
    ]  # fmt: skip
    assert four_letters(video.get(cv2.CAP_PROP_FOURCC)) in ("h264", "avc1")
    assert four_letters(video.get(cv2.CAP_PROP_CODEC_PIXEL_FORMAT)) == "I420"  # planar 4:2:0, which browsers play
    video.release()


def test_a_sway_is_a_video_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path) -> None:
    out = tmp_path / "sway.mp4"
    assert run(monkeypatch, "render", file, "--sway", "--seconds", 0.5, "--fps", 8, "--out", out) == 0
    video = cv2.VideoCapture(str(out))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    video.release()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--sway", "--turntable", "90"), "--sway and --turntable: the camera can go only one way"),
        (("--camera", "test:7"), "camera 'test:7': the test split has 1 cameras"),
        (("--camera", "nowhere"), "camera 'nowhere': give test:0"),
        (("--time", "99"), "give a frame from 0 to 5"),
        (("--view", "gate:hex"), "view 'gate:hex': this checkpoint has rgb, expert:poly"),
        (("--mute", "hex"), "expert 'hex': this checkpoint has poly, key"),
        (("--temperature", "0"), "temperature: got 0.0, expected a positive number"),
        (("--size", "0x5"), "must be at least 1"),
        (("--size", "100000x100000"), "a picture of 100000x100000 has more than 67108864 pixels; make it smaller"),
        (("--size", "99999999999999999999x1"), "size"),
        (("--temperature", "inf", "--mute", "poly"), "temperature: got inf, expected a positive number"),
        (("--size", "big"), "give width and height in pixels, such as 1280x720"),
        (("--skip-below", "1"), "skip_below: got 1.0, expected a share of the gate in [0, 1)"),
        (("--verify-gating",), "--verify-gating: nothing is skipped; give --skip-below too, such as 0.02"),
    ],
)
def test_a_wrong_request_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, "render", file, *options, "--out", tmp_path / "x.png") == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.startswith("moegs: ")
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--seconds", "inf"), "got 360 degrees, inf s and 30 fps; give finite numbers, fps above 0"),
        (("--seconds", "nan"), "got 360 degrees, nan s and 30 fps; give finite numbers"),
        (("--fps", "0"), "fps above 0"),
        (("--fps", "inf"), "give finite numbers"),
        (("--seconds", "1e300", "--fps", "1e300"), "more than 100000 frames; make it shorter"),
        (("--fps=-30", "--seconds=-1"), "fps above 0"),
        (("--seconds", "-3"), "has no frame; make it longer"),
    ],
)
def test_a_turntable_without_an_end_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    assert run(monkeypatch, "render", file, "--turntable", "360", *options, "--out", tmp_path / "x.mp4") == 1
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 9 GiB"), "not enough GPU memory (CUDA out of"),
        (MemoryError("Unable to allocate 9 GiB"), "not enough memory (Unable to allocate 9 GiB); make the picture sm"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes"), "not enough memory (DefaultCPUAllocator"),
    ],
    ids=["gpu", "numpy", "torch"],
)
def test_a_lack_of_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], file: Path, error: Exception, told: str
) -> None:
    def fail(path: Path, device: object) -> None:
        raise error

    monkeypatch.setattr(checkpoint, "load", fail)
    assert run(monkeypatch, "render", file, "--out", file.with_name("x.png")) == 1
    line = capsys.readouterr().err
    assert line.startswith(f"moegs: {told}")
    assert line.count("\n") == 1


def test_another_failure_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    def fail(path: Path, device: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(checkpoint, "load", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        run(monkeypatch, "render", file, "--out", file.with_name("x.png"))


def test_a_folder_is_not_written_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path
) -> None:
    folder = tmp_path / "x.png"
    folder.mkdir()
    assert run(monkeypatch, "render", file, "--out", folder, "--force") == 1
    assert capsys.readouterr().err == f"moegs: {folder}: is a folder; give a file\n"


def test_json_overwrites_nothing_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path
) -> None:
    mine, before = tmp_path / "mine.json", file.read_bytes()
    mine.write_text("mine")
    assert run(monkeypatch, "info", file, "--json", mine) == 1
    assert mine.read_text() == "mine"
    for each in (file, tmp_path / "link.pt"):
        if each != file:
            each.symlink_to(file)
        assert run(monkeypatch, "info", file, "--json", each, "--force") == 1
        assert "is the file that is read; choose another name" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert run(monkeypatch, "info", file, "--json", mine, "--force") == 0
    assert json.loads(mine.read_text())["frames"] == 6


def test_what_has_no_number_is_null_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "one.pt"
    checkpoint.save(Checkpoint(mixture(("poly",)), scores={"mixture": {"psnr": math.inf}}), path)
    assert run(monkeypatch, "info", path, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["scores"] == {"mixture": {"psnr": None}}


@pytest.mark.parametrize(
    ("out", "reason"),
    [("a" * 300 + ".png", "File name too long"), ("x\ny.png", None), ("/proc/x.png", "cannot be written")],
)
def test_a_place_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: Path,
    out: str,
    reason: str | None,
) -> None:
    place = tmp_path / out
    if reason is None:
        place.mkdir()
    assert run(monkeypatch, "render", file, "--out", place) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert (reason or "is a folder; give a file") in told


def test_a_full_disk_is_one_line_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path
) -> None:
    def fail(picture: Image.Image, path: Path, **options: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    assert run(monkeypatch, "render", file, "--out", tmp_path / "x.png") == 1
    assert capsys.readouterr().err == (
        f"moegs: {tmp_path / 'x.png'}: cannot be written (No space left on device); choose another place, or make room "
        "there\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("redirection", "code", "told"),
    [
        ("> /dev/full", 1, "moegs: standard output: No space left on device; choose another place, or make room there"),
        (">&-", 1, "moegs: --json -: standard output is closed; open it, or give a file"),
        ("> >(true)", 1, ""),
    ],
)
def test_an_output_that_takes_nothing(file: Path, redirection: str, code: int, told: str) -> None:
    line = f"sleep 0; {sys.executable} -m moegs info {file} --json - {redirection}"
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, cwd=ROOT)
    own = [each for each in answer.stderr.splitlines() if each.startswith(("moegs:", "Traceback", "Exception"))]
    assert (answer.returncode, own) == (code, [told] if told else [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["while it imports", "in a video"])
def test_what_is_stopped_says_so_and_leaves_nothing(
    tmp_path: Path, file: Path, number: signal.Signals, when: str
) -> None:
    out = tmp_path / "turn.mp4"
    command = [sys.executable, "-m", "moegs", "render", file, "--turntable", "360", "--seconds", "3000", "--out", out]
    process = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, text=True, cwd=ROOT,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    if when == "in a video":
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".turn.*.mp4")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    else:
        time.sleep(0.5)  # torch alone takes longer
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == "moegs: stopped\n"
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []


def test_names_in_brackets_are_no_markup(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "one.pt"
    checkpoint.save(Checkpoint(mixture(("poly",)), provenance={"data": "[/room]"}), path)
    assert run(monkeypatch, "info", path) == 0
    assert "[/room]" in capsys.readouterr().out


def test_a_file_that_is_there_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path) -> None:
    out = tmp_path / "x.png"
    out.write_text("mine")
    assert run(monkeypatch, "render", file, "--out", out) == 1
    assert out.read_text() == "mine"
    assert run(monkeypatch, "render", file, "--out", out, "--force") == 0
    with Image.open(out) as picture:
        assert picture.size == (48, 32)


def test_eval_scores_the_experts_and_what_they_are_measured_against(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With the choices of data that it was trained with, and without points, which scoring does not need."""
    data, path, made = recordings.write_folders(tmp_path / "tiny"), tmp_path / "made.pt", mixture(("poly", "key"))
    (data / "points_0000.npz").unlink()
    rig = load_scene(DataConfig(path=data, downscale=2), with_points=False).rig
    checkpoint.save(Checkpoint(Mixture(made.names, made.members, made.router, rig)), path)
    assert run(monkeypatch, "eval", path, "--data", data) == 1
    assert "are 32x24, those of the checkpoint 16x12; give the same downscale" in capsys.readouterr().err
    assert run(monkeypatch, "eval", path, "--data", data, "--set", "downscale=2", "--json", "-") == 0
    scores = json.loads(capsys.readouterr().out)
    assert set(scores["experts"]) == set(scores["gates"]) == {"poly", "key"}
    for score in (*scores["experts"].values(), scores["mixture"], scores["average"], scores["oracle"]):
        assert set(score) == {"psnr", "ssim", "lpips"}
    assert scores["oracle"]["psnr"] >= max(score["psnr"] for score in scores["experts"].values())


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Mixture]:
    """A folder with a data set in `data` and a run's `mixture.pt` and `state`, and the mixture."""
    folder = tmp_path_factory.mktemp("filmed")
    data, made = recordings.write_folders(folder / "data"), mixture(("poly", "key"))
    own = Mixture(made.names, made.members, made.router, load_scene(DataConfig(path=data), with_points=False).rig)
    checkpoint.save(Checkpoint(own), folder / "mixture.pt")
    (folder / "router-1.state.pt").write_bytes(b"of a run that goes on")
    return folder, own


def test_eval_tells_of_decoding_the_cameras_that_it_scores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, filmed: tuple[Path, Mixture]
) -> None:
    folder, mixture = filmed
    asked = ("eval", folder / "mixture.pt", "--data", folder / "data", "--cache-dir", tmp_path)
    monkeypatch.setenv("FORCE_COLOR", "1")  # what makes a terminal of it for rich
    assert run(monkeypatch, *asked) == 0
    told = capsys.readouterr().err
    assert "1/1" in told
    assert "cameras decoded" in told
    assert len(list(tmp_path.glob("*.npy"))) == len(mixture.rig.test) == 1
    monkeypatch.delenv("FORCE_COLOR")
    assert run(monkeypatch, *asked) == 0
    assert "decoded" not in capsys.readouterr().err


def test_eval_puts_routers_side_by_side(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, filmed: tuple[Path, Mixture]
) -> None:
    folder, made = filmed
    for name, settings in {"a": PixelConfig(), "b": VolumeConfig(), "c": UniformConfig()}.items():
        rival = Mixture(made.names, made.members, settings.start([60, 60]), made.rig)
        checkpoint.save(Checkpoint(rival), tmp_path / f"{name}.pt")
    out = tmp_path / "scores.json"
    asked = ("--routers", tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt", folder, "--per-expert")
    assert run(monkeypatch, "eval", folder / "mixture.pt", "--data", folder / "data", *asked, "--json", out) == 0
    printed, facts = capsys.readouterr().out, json.loads(out.read_text())
    for word in ("pixel", "volume", "uniform", "oracle", "volume-aware, this one", "regret", "AlexNet", "sigma 1.5"):
        assert word in printed
    own = f"volume-aware ({folder.name}/mixture)"  # the run's own router, given again through its folder
    assert set(facts["rivals"]) == {"pixel", "volume", "uniform", own}
    assert facts["rivals"][own] == facts["mixture"]
    assert facts["rivals"]["uniform"]["psnr"] == pytest.approx(facts["average"]["psnr"])
    assert facts["router"]["kind"] == "volume-aware"
    assert sum(facts["best"].values()) == pytest.approx(1, abs=1e-5)
    assert len(facts["per_picture"]) == facts["pictures"] == 4
    assert [row["frame"] for row in facts["per_frame"]] == [0, 1, 2, 3]
    (camera,) = facts["per_camera"].values()
    assert camera["mixture"] == facts["mixture"]  # one camera: its means are all
    assert facts["per_frame"][2]["oracle"] == facts["per_picture"][2]["scores"]["oracle"]


def test_eval_refuses_routers_that_do_not_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, filmed: tuple[Path, Mixture]
) -> None:
    folder, _ = filmed
    (tmp_path / "empty").mkdir()
    checkpoint.save(Checkpoint(mixture(("poly",))), tmp_path / "alone.pt")
    checkpoint.save(Checkpoint(mixture(("poly", "key"), count=50)), tmp_path / "others.pt")
    for path, told in {
        "empty": "no checkpoint with a router in this folder",
        "alone.pt": "one expert alone, without a router",
        "others.pt": "its experts are others, so the routers do not compare",
    }.items():
        asked = ("--data", folder / "data", "--routers", tmp_path / path)
        assert run(monkeypatch, "eval", folder / "mixture.pt", *asked) == 1
        message = capsys.readouterr().err
        assert told in message
        assert message.count("\n") == 1


@pytest.mark.parametrize("arguments", [("paint",), ("render",), ("info", "a", "b"), ("eval", "x.pt", "--split", "dev")])
def test_wrong_usage_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments) == 2
    capsys.readouterr()


def test_a_missing_checkpoint_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info", "nowhere.pt") == 1
    assert capsys.readouterr().err == "moegs: nowhere.pt: does not exist; give a checkpoint file written by moegs\n"


def test_python_m_moegs_and_version() -> None:
    command = [sys.executable, "-m", "moegs", "--version"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert answer.stdout.startswith("moegs 0.")


def test_system_says_what_there_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info", "--system", "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {"torch", "cuda", "nvcc", "gsplat", "numba", "thread pools"} <= set(facts)
    assert "layer" in facts["numba"]


def test_the_demo_is_a_mixture_of_the_four_kinds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.path().stat().st_size <= 20_000_000
    assert run(monkeypatch, "info", "--json", "-") == 0
    facts = json.loads(capsys.readouterr().out)
    assert {e["kind"] for e in facts["experts"]} == {"hexplane", "embedding", "polynomial", "keyframe"}
    assert facts["frames"] == 30


def test_train_scales_and_places_each_of_several_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = recordings.write_folders(tmp_path / "tiny")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(
            f"data: {{path: tiny}}\nexperts: [{{name: {name}, steps: 20, expert: {{kind: polynomial, sh_degree: 0}}}}]"
        )
    configs, out = [tmp_path / "one.yaml", tmp_path / "two.yaml"], tmp_path / "runs"
    options = ("--out", out, "--budget", "0.25", "--set", "snapshot_seconds=0", "--device", "cpu")
    assert run(monkeypatch, "train", *configs, *options) == 0
    for name in ("one", "two"):
        made = checkpoint.load(out / name / "mixture.pt")
        assert (made.mixture.names, made.mixture.members[0].step) == ((name,), 5)
        written = yaml.safe_load((out / name / "config.yaml").read_text())
        assert written["data"]["path"] == str(data)
    captured = capsys.readouterr()
    assert "one/one: step 5/5" in captured.err
    assert f"moegs-view {out / 'two' / 'mixture.pt'}" in captured.out
    assert run(monkeypatch, "train", *configs, *options) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("moegs: 2 of 2 runs failed; one: ")
    assert "two: holds this very run already, finished; add --resume" in told
    assert run(monkeypatch, "train", *configs, *options, "--resume") == 0


def test_train_refuses_what_has_no_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    demo = Path(__file__).parent.parent / "configs" / "demo.yaml"
    assert run(monkeypatch, "train", demo, demo, "--out", tmp_path) == 1
    assert "2 configurations, but 1 names" in capsys.readouterr().err
    assert run(monkeypatch, "train", demo, "--out", tmp_path, "--budget", "0") == 1
    assert "budget: got 0, expected a share" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
