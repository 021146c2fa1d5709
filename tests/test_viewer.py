"""The viewer as a whole, over a real socket, seen by a tab that is no browser."""

import gzip
import math
import time
from urllib.request import Request, urlopen

import numpy as np
import pytest
import viewing
from browser_tab import BrowserTab
from viewing import SIZE

from moegs import views
from moegs.cameras import Camera
from moegs.mixture import Mixture
from moegs.shots import Shot

# viser warns of a message to a tab that has just closed; tests close theirs in the middle of everything.
pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection:UserWarning")


def start(mixture: Mixture) -> Camera:
    return mixture.rig.cameras[0].fitted(*SIZE)


def far_from(picture: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(picture.astype(float) - other).mean())


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_the_page_has_our_title(port: int, encoding: str) -> None:
    with urlopen(Request(f"http://127.0.0.1:{port}/", headers={"Accept-Encoding": encoding}), timeout=20) as answer:
        body = answer.read()
        assert answer.headers["Content-Encoding"] == encoding
    html = gzip.decompress(body) if encoding == "gzip" else body
    assert html.count(b"<title>moegs</title>") == 1
    assert html.rstrip().endswith(b"</html>"), "nothing is cut off"


def test_the_resting_picture_is_what_draw_gives_to_the_bit(tab: BrowserTab, viewed: Mixture) -> None:
    picture = tab.next_picture(lambda: tab.set("View", "gate-argmax"))
    assert tab.formats[-1] == "png"  # lossless, so that bits can be compared
    assert np.array_equal(picture, views.draw(viewed, Shot(start(viewed), 0.0, "gate-argmax")).burnt())


def test_it_starts_at_the_first_test_camera_and_a_jpeg_comes_close(tab: BrowserTab, viewed: Mixture) -> None:
    drawn = views.draw(viewed, Shot(start(viewed), 0.0)).burnt()
    assert tab.pictures[-1].shape == drawn.shape
    assert (
        far_from(tab.pictures[-1], drawn) < 6
    )  # of 255: what JPEG loses on blobs of a few pixels, whose colours it halves


def test_time_slider_and_keys_choose_the_frame(tab: BrowserTab, viewed: Mixture) -> None:
    tab.next_picture(lambda: tab.set("View", "depth"))
    picture = tab.next_picture(lambda: tab.set("Frame", 3))
    t = viewed.rig.timeline.t(3)
    assert np.array_equal(picture, views.draw(viewed, Shot(start(viewed), t, "depth")).burnt())
    assert "frame <b>3</b>" in tab.html("clock")
    assert "<b>0.30 s</b>" in tab.html("clock")
    tab.next_picture(lambda: tab.command("Next frame"))
    assert "frame <b>4</b>" in tab.html("clock")
    tab.next_picture(lambda: tab.command("Last frame"))
    assert "frame <b>5</b>" in tab.html("clock")
    assert tab.widgets[tab.widget("Frame")]["value"] == 5


def test_playing_runs_and_a_pause_stands_on_a_whole_frame(tab: BrowserTab) -> None:
    tab.command("Play or pause")
    tab.wait(lambda: tab.widgets[tab.widget("Pause")])
    seen = len(tab.pictures)
    tab.wait(lambda: len(tab.pictures) > seen + 5)
    tab.next_picture(lambda: tab.command("Play or pause"))
    frame = tab.html("clock").split("frame <b>")[1].split("<")[0]
    assert tab.widgets[tab.widget("Frame")]["value"] == int(frame)


def test_a_change_while_it_plays_does_not_throw_the_slider_back(
    tab: BrowserTab, viewed: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = viewing.Held(viewed)
    slider = tab.widgets[tab.widget("Frame")]
    tab.command("Play or pause")
    tab.wait(lambda: slider["value"] > 0)
    monkeypatch.setattr(viewed, "render", held)
    assert held.begun.wait(20)
    stands = slider["value"]
    tab.set("", "mute", nth=0)
    tab.wait(lambda: "data-muted" in tab.html("expert"))
    assert slider["value"] == stands
    held.go.set()
    tab.command("Play or pause")


def buttons(tab: BrowserTab) -> list[tuple[str, ...]]:
    """What the two buttons of each expert say."""
    return [tuple(p["options"]) for p in tab.widgets.values() if p["type"] == "GuiButtonGroupMessage"][1:]


def test_mute_and_solo_show_what_is_left_and_that_they_are_on(tab: BrowserTab, viewed: Mixture) -> None:
    tab.next_picture(lambda: tab.set("View", "alpha"))
    muted = tab.next_picture(lambda: tab.set("", "mute", nth=0))
    shot = Shot(start(viewed), 0.0, "alpha", active=(False, True))
    assert np.array_equal(muted, views.draw(viewed, shot).burnt())
    assert buttons(tab) == [("muted", "solo"), ("mute", "solo")]
    none = tab.next_picture(lambda: tab.set("", "solo", nth=0))
    assert np.array_equal(none, views.draw(viewed, Shot(start(viewed), 0.0, "alpha", (False, False))).burnt())
    assert buttons(tab) == [("muted", "soloed"), ("mute", "solo")]
    solo = tab.next_picture(lambda: tab.set("", "muted", nth=0))
    assert np.array_equal(solo, views.draw(viewed, Shot(start(viewed), 0.0, "alpha", (True, False))).burnt())
    assert buttons(tab) == [("mute", "soloed"), ("mute", "solo")]


def test_moving_the_mouse_leaves_the_camera_of_the_data_set(tab: BrowserTab, viewed: Mixture) -> None:
    label = tab.widgets[tab.widget("Camera")]["options"][2]
    tab.next_picture(lambda: tab.set("Camera", label))
    picture = tab.next_picture(lambda: tab.set("View", "depth"))
    camera = viewed.rig.cameras[viewed.rig.train[0]].fitted(*SIZE)
    assert np.array_equal(picture, views.draw(viewed, Shot(camera, 0.0, "depth")).burnt())
    away = tab.next_picture(lambda: tab.move(tuple(1.2 * tab.position)))
    assert tab.widgets[tab.widget("Camera")]["value"] == "free"
    assert not np.array_equal(away, picture)


def test_a_lost_camera_finds_back_to_the_start(tab: BrowserTab, viewed: Mixture) -> None:
    tab.next_picture(lambda: tab.set("View", "depth"))
    tab.next_picture(lambda: tab.move(tuple(3 * tab.position)))
    picture = tab.next_picture(lambda: tab.press("Back to the start"))
    assert np.array_equal(picture, views.draw(viewed, Shot(start(viewed), 0.0, "depth")).burnt())


def test_a_picture_of_the_canvas_as_it_was_before_is_not_shown(
    port: int, viewed: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = viewing.Held(viewed)
    with BrowserTab(port, *SIZE) as tab:
        tab.next_picture()
        monkeypatch.setattr(viewed, "render", held)
        tab.set("View", "depth")
        assert held.begun.wait(20)
        seen = len(tab.pictures)
        tab.size = (40, 30)
        tab.next_picture(lambda: (tab.send_camera(), time.sleep(0.3), held.go.set()))
        assert {picture.shape for picture in tab.pictures[seen:]} == {(30, 40, 3)}


def test_a_click_reads_the_tensors_at_that_pixel_and_follows_time(tab: BrowserTab, viewed: Mixture) -> None:
    tab.next_picture(lambda: tab.click((20 + 0.5) / 64, (30 + 0.5) / 48))
    render = views.draw(viewed, Shot(start(viewed), 0.0)).render
    assert "column <b>20</b>, row <b>30</b>" in tab.html("reading")
    assert f"{float(render.gates[0, 30, 20]):.1%}" in tab.html("reading")
    assert f"{float(render.logits[1, 30, 20]):.3f}" in tab.html("reading")
    red, green, blue = ((255 * render.images[0, 30, 20].clamp(0, 1)) + 0.5).int().tolist()
    assert f"{red}&nbsp;{green}&nbsp;{blue}" in tab.html("reading")
    assert f">{float(render.depths[0, 30, 20, 0]):#.3g}<" in tab.html("reading")
    tab.next_picture(lambda: tab.set("Frame", 4))
    later = views.draw(viewed, Shot(start(viewed), viewed.rig.timeline.t(4))).render
    assert f"{float(later.logits[1, 30, 20]):.3f}" in tab.html("reading")


def test_a_failing_render_is_told_and_the_next_one_works(
    tab: BrowserTab, viewed: Mixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(tab.pictures)
    with monkeypatch.context() as broken:
        broken.setattr(viewed, "render", _raise)
        tab.set("View", "alpha")
        tab.wait(lambda: "out of memory" in tab.html("error"))
        assert len(tab.pictures) == before, "the last good picture stays"
    tab.next_picture(lambda: tab.set("View", "depth"))
    assert tab.html("error") == ""


def test_two_tabs_each_have_their_own_state(tab: BrowserTab, port: int) -> None:
    with BrowserTab(port, 32, 24) as other:
        other.wait(lambda: other.pictures)
        before = len(tab.pictures)
        other.next_picture(lambda: other.set("View", "depth"))
        assert len(tab.pictures) == before
        assert tab.widgets[tab.widget("View")]["value"] == "rgb"


def test_a_tab_that_never_answers_gets_one_picture_and_holds_nobody_up(tab: BrowserTab, port: int) -> None:
    with BrowserTab(port, *SIZE, acknowledge=False) as silent:
        silent.wait(lambda: silent.pictures)
        silent.command("Play or pause")
        begun, seen = time.monotonic(), len(tab.pictures)
        tab.command("Play or pause")
        tab.wait(lambda: len(tab.pictures) >= seen + 8)
        tab.command("Play or pause")
        waited = time.monotonic() - begun
        assert len(silent.pictures) <= 2 + waited / 2  # one every two seconds, when waiting for an answer ends


@pytest.mark.parametrize(
    ("label", "value"),
    [("Seconds", math.nan), ("Degrees", math.nan), ("Frames/s", math.inf), ("Speed", "0x"), ("Speed", "abcx")],
)
def test_a_forged_value_is_told_in_the_page_and_changes_nothing(
    tab: BrowserTab, capfd: pytest.CaptureFixture[str], label: str, value: object
) -> None:
    tab.set(label, value)
    tab.wait(lambda: any(note.startswith("Not possible: ") for note in tab.notes))
    tab.next_picture(lambda: tab.set("View", "depth"))
    assert tab.html("error") == ""
    assert capfd.readouterr().err == ""


def test_one_expert_without_a_router_is_shown_too() -> None:
    with viewing.served(viewing.variants(viewing.mixture(("poly",)))) as port, BrowserTab(port, *SIZE) as tab:
        tab.next_picture()
        assert tab.widgets[tab.widget("View")]["options"] == ["rgb", "expert:poly", "depth", "alpha"]
        assert "Muted share" not in {props.get("label") for props in tab.widgets.values()}
        tab.next_picture(lambda: tab.click(0.5, 0.5))
        assert "100.0%" in tab.html("reading")
        assert ">60 <" in tab.html("expert")
        tab.next_picture(lambda: tab.set("", "mute", nth=0))
        assert buttons(tab) == [("muted", "solo")]


def _raise(*arguments: object, **options: object) -> None:
    raise RuntimeError("out of memory")
