"""What a tab exports: screenshots and videos, drawn here and sent to it as downloads."""

import io
from pathlib import Path

import numpy as np
import pytest
import recordings
import torch
from browser_tab import BrowserTab
from PIL import Image
from viewing import SIZE

from moegs import export, views
from moegs.mixture import Mixture
from moegs.shots import Shot

# viser warns of a message to a tab that has just closed; tests close theirs in the middle of everything.
pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection:UserWarning")


def test_a_screenshot_holds_its_shot(tab: BrowserTab, viewed: Mixture) -> None:
    tab.set("Size", "data set")
    tab.press("Screenshot")
    png = tab.wait(lambda: tab.files.get("moegs-rgb-cam00-f000.png"))
    with Image.open(io.BytesIO(png)) as image:
        shot = Shot.from_json(image.info[export.SHOT_KEY])
        pixels = np.asarray(image)
    assert torch.equal(shot.camera.K, viewed.rig.cameras[0].K), "the data set's camera to the pixel"
    assert np.array_equal(pixels, views.draw(viewed, shot).burnt())


def test_files_are_named_by_what_they_show_and_no_two_alike(tab: BrowserTab) -> None:
    tab.next_picture(lambda: tab.set("View", "gate:poly"))
    tab.next_picture(lambda: tab.set("Frame", 3))
    for name in ("moegs-gate-poly-cam00-f003.png", "moegs-gate-poly-cam00-f003-2.png"):
        tab.press("Screenshot")
        tab.wait(lambda name=name: tab.files.get(name))
    tab.next_picture(lambda: tab.move(tuple(1.2 * tab.position)))
    tab.press("Screenshot")
    tab.wait(lambda: tab.files.get("moegs-gate-poly-free-f003.png"))
    assert tab.immediate == dict.fromkeys(tab.files, True), "no second click"


def test_a_turntable_comes_as_a_video_and_odd_sizes_are_told(port: int, tmp_path: Path) -> None:
    with BrowserTab(port, 65, 48) as tab:
        tab.next_picture()
        tab.set("Seconds", 0.5)
        tab.set("Frames/s", 10)
        assert not tab.widgets[tab.widget("Degrees")]["visible"], "a sway has the arc of the cameras"
        tab.set("Camera way", "turntable")
        tab.wait(lambda: tab.widgets[tab.widget("Degrees")]["visible"])
        tab.press("Video")
        tab.wait(lambda: " of 5" in tab.html("progress"))
        video = tab.wait(lambda: tab.files.get("moegs-rgb-cam00-f000-turntable.mp4"), 60)
        (tmp_path / "turn.mp4").write_bytes(video)
        assert [frame.shape for frame in recordings.read_video(tmp_path / "turn.mp4")] == 5 * [(48, 66, 3)]
        assert any("65x48 is odd" in note for note in tab.notes)


@pytest.mark.parametrize("size", [(0, 0), (100_000, 100_000)])
def test_an_export_of_no_size_is_told_in_the_page(
    port: int, capfd: pytest.CaptureFixture[str], size: tuple[int, int]
) -> None:
    with BrowserTab(port, *SIZE) as tab, BrowserTab(port, *SIZE) as other:
        tab.next_picture()
        other.wait(lambda: other.pictures)
        tab.size = size
        tab.send_camera()
        for button in ("Screenshot", "Video"):
            tab.notes.clear()
            tab.press(button)
            tab.wait(lambda: any(note.startswith("Not possible: ") for note in tab.notes))
        other.next_picture(lambda: other.set("View", "depth"))  # nobody is held up
    assert capfd.readouterr().err == ""


def test_a_cancelled_video_is_not_kept(tab: BrowserTab) -> None:
    tab.set("Seconds", 60)
    tab.press("Video")
    tab.wait(lambda: tab.widgets[tab.widget("Cancel")]["visible"])
    tab.press("Cancel")
    tab.wait(lambda: any("Cancelled" in note for note in tab.notes), 60)
    assert tab.files == {}
    assert not tab.widgets[tab.widget("Cancel")]["visible"]
