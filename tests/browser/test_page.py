"""The page in a real browser: what a person would try first."""

import re
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest
import viewing
from playwright.sync_api import Browser, Page, expect

from viewer.app import App
from viewer.page import Page as Server

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection:UserWarning"),
]
PATIENCE = 90_000
"""Milliseconds: WebGL in software on a busy machine is slow."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = Server("127.0.0.1", 0)
    app = App(server, viewing.variants())
    yield server.url
    assert app.close()
    server.close()


@pytest.fixture(scope="module")
def complaints() -> list[str]:
    """What the browser's console had to say."""
    return []


@pytest.fixture(scope="module")
def page(chromium: Browser, url: str, complaints: list[str]) -> Iterator[Page]:
    page = chromium.new_page(viewport={"width": 900, "height": 600})
    page.set_default_timeout(PATIENCE)
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    page.locator("[data-moegs=statistics]").wait_for()
    yield page
    page.close()


def canvas(page: Page) -> np.ndarray:
    """What is seen left of the panel."""
    png = page.screenshot(clip={"x": 0, "y": 0, "width": 540, "height": 600})
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(float)


def changed(page: Page, act: Callable[[], None]) -> np.ndarray:
    """The canvas once it differs from what it was before `act`."""
    before = canvas(page)
    act()
    for _ in range(PATIENCE // 200):
        page.wait_for_timeout(200)
        after = canvas(page)
        if np.abs(after - before).mean() > 1:  # of 255: more than any encoder's noise on a picture that stays
            page.wait_for_timeout(500)
            return canvas(page)
    raise AssertionError("the picture did not change")


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label, exact=True).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_a_picture_arrives(page: Page) -> None:
    page.wait_for_timeout(1000)
    assert canvas(page).std() > 10, "coloured blobs on black"
    expect(page.locator("[data-moegs=statistics]")).to_contain_text("of 120 Gaussians in view")


def test_its_tab_has_our_name(page: Page) -> None:
    expect(page).to_have_title("moegs")


def test_nothing_lies_over_the_picture_and_the_panel_tells_of_webgl_in_software(page: Page) -> None:
    page.locator("#webgl-software-rendering").wait_for(state="attached")
    expect(page.locator("#webgl-software-rendering")).to_be_hidden()
    expect(page.locator("[data-moegs=software]")).to_have_text("This browser draws without a GPU, so it is slower")
    expect(page.locator("[data-moegs=software]")).to_be_visible()
    rename = "([from, to]) => { document.getElementById(from).id = to }"
    page.evaluate(rename, ["webgl-software-rendering", "gone"])  # as where there is a GPU
    expect(page.locator("[data-moegs=software]")).to_be_hidden()
    page.evaluate(rename, ["gone", "webgl-software-rendering"])


def test_no_hint_stands_behind_an_open_list(page: Page) -> None:
    view = page.get_by_role("combobox", name="View", exact=True)
    view.hover()
    expect(page.get_by_role("tooltip")).to_be_visible()
    view.click()
    expect(page.get_by_role("option", name="depth", exact=True)).to_be_visible()
    expect(page.locator("[role=tooltip]")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("[role=tooltip]")).to_be_visible()
    page.mouse.move(10, 590)
    expect(page.locator("[role=tooltip]")).to_have_count(0)


def test_the_time_slider_changes_it(page: Page) -> None:
    changed(page, lambda: page.get_by_role("textbox").first.fill("4"))  # beside the slider
    expect(page.locator("[data-moegs=clock]")).to_contain_text("frame 4")


def test_the_space_bar_plays_and_pauses(page: Page) -> None:
    page.mouse.click(270, 400)
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    page.keyboard.press("Escape")


def test_keys_are_for_the_page_again_after_a_choice_with_the_mouse(page: Page) -> None:
    play, pause = (page.get_by_role("button", name=name) for name in ("Play", "Pause"))
    choose(page, "Speed", "2x")
    page.keyboard.press("Space")
    expect(pause).to_be_visible()
    page.get_by_label("Loop").click()
    page.keyboard.press("Space")
    expect(play).to_be_visible()
    expect(page.get_by_label("Loop")).not_to_be_checked()
    page.get_by_label("Loop").click()
    choose(page, "Speed", "1x")


def test_mute_changes_it_and_is_told_in_the_picture(page: Page) -> None:
    changed(page, lambda: page.get_by_role("button", name="mute").first.click())
    button = page.get_by_role("button", name="muted")
    expect(button).to_have_css("background-color", "rgb(194, 65, 12)")
    expect(page.get_by_role("button", name="solo", exact=True).first).to_have_css(
        "background-color", "rgba(0, 0, 0, 0)"
    )
    changed(page, lambda: button.click())


def test_the_gate_view_carries_its_legend(page: Page) -> None:
    heat = changed(page, lambda: choose(page, "View", "gate:poly"))
    corner = heat[-70:, :150]
    # The page blurs its canvas while the machine is busy; no colour of the map has all three channels above 100.
    assert (corner.min(-1) > 120).any(), "white letters"
    assert (corner.max(-1) < 60).mean() > 0.3, "on a dark plate"
    changed(page, lambda: choose(page, "View", "rgb"))


def test_a_click_opens_the_numbers_of_that_pixel(page: Page) -> None:
    page.mouse.click(200, 300)
    reading = page.locator("[data-moegs=reading]")
    expect(reading).to_contain_text("poly")
    expect(reading).to_contain_text("key")
    page.keyboard.press("Escape")
    expect(reading).to_be_hidden()


def test_dragging_leaves_the_camera_of_the_data_set(page: Page) -> None:
    camera = page.get_by_role("combobox", name="Camera", exact=True)
    expect(camera).to_have_value("test:0  cam00")

    def drag() -> None:
        page.mouse.move(270, 400)
        page.mouse.down()
        page.mouse.move(330, 420, steps=5)
        page.mouse.up()

    changed(page, drag)
    expect(camera).to_have_value("free")
    changed(page, lambda: page.get_by_role("button", name="Back to the start").click())
    expect(camera).to_have_value("test:0  cam00")


def test_the_picture_at_rest_has_every_pixel_of_the_canvas(page: Page) -> None:
    box = page.locator("canvas[data-engine]").bounding_box()
    assert box is not None
    assert "fixedDpr=1" in page.url, "viser keeps the resolution of its canvas, however slow the browser is"
    expect(page.locator("[data-moegs=statistics]")).to_contain_text(
        f"{box['width']:.0f}\N{MULTIPLICATION SIGN}{box['height']:.0f}"
    )


def test_nothing_that_an_expert_is_called_is_cut_off(page: Page) -> None:
    row = page.locator("[data-moegs=expert]").first
    expect(row).to_have_text("poly polynomial60 Gaussians")
    assert row.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_a_screenshot_is_saved_at_one_click(page: Page) -> None:
    page.get_by_text("Export", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Screenshot").click()
    assert re.fullmatch(r"moegs-rgb-cam00-f00\d\.png", download.value.suggested_filename)
    assert cv2.imread(str(download.value.path())).shape[:2] == (
        600,
        page.locator("canvas[data-engine]").evaluate("e => e.width"),
    )
    page.get_by_text("Export", exact=True).click()


def test_the_divider_of_a_wipe_is_dragged_with_the_pointer(page: Page) -> None:
    page.get_by_text("Compare", exact=True).click()
    changed(page, lambda: choose(page, "Compare with", "expert:key"))
    grip = page.locator("#moegs-grip")
    grip.wait_for()
    box, whole = grip.bounding_box(), page.locator("canvas[data-engine]").bounding_box()
    assert box is not None
    assert whole is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    assert abs(x - whole["width"] / 2) < 2, "in the middle at first"

    def drag() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(0.2 * whole["width"], y, steps=5)
        page.mouse.up()

    changed(page, drag)
    expect(page.locator("[data-moegs=divider]")).to_have_attribute("data-at", "0.2")
    expect(page.get_by_role("combobox", name="Camera", exact=True)).to_have_value("test:0  cam00")  # it is no orbit


def test_the_grip_of_a_tilted_divider_is_on_it_and_follows_the_pointer(page: Page) -> None:
    changed(page, lambda: page.get_by_label("Tilt").fill("45"))
    mark, grip = page.locator("[data-moegs=divider]"), page.locator("#moegs-grip")
    expect(mark).to_have_attribute("data-angle", "45")
    whole = page.locator("canvas[data-engine]").bounding_box()
    assert whole is not None
    width, height = whole["width"], whole["height"]

    def away(x: float, y: float) -> float:
        """The share of the divider's way from corner to corner at which it goes through a point."""
        return 0.5 + (x - width / 2 + y - height / 2) / (width + height)

    def middle() -> tuple[float, float]:
        box = grip.bounding_box()
        assert box is not None
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    page.wait_for_timeout(500)
    assert abs(away(*middle()) - 0.2) < 0.01
    goal = (0.7 * width, 0.4 * height)

    def drag() -> None:
        page.mouse.move(*middle())
        page.mouse.down()
        page.mouse.move(*goal, steps=5)
        page.mouse.up()

    changed(page, drag)
    expect(mark).to_have_attribute("data-at", f"{round(100 * away(*goal)) / 100:g}")


def test_the_other_side_is_seen_while_its_key_is_held(page: Page) -> None:
    wiped = canvas(page)
    whole = changed(page, lambda: page.keyboard.down("b"))
    expect(page.get_by_label("Other side")).to_be_checked()
    expect(page.locator("#moegs-grip")).to_be_hidden()
    again = changed(page, lambda: page.keyboard.up("b"))
    expect(page.get_by_label("Other side")).not_to_be_checked()
    assert np.abs(again - wiped).mean() < 1 < np.abs(whole - wiped).mean()
    page.get_by_label("Tilt").fill("4")
    page.keyboard.type("b")  # while something is typed it is a letter
    expect(page.get_by_label("Other side")).not_to_be_checked()
    changed(page, lambda: choose(page, "Compare with", "nothing"))
    expect(page.locator("#moegs-grip")).to_be_hidden()
    page.get_by_text("Compare", exact=True).click()


def test_the_prune_slider_leaves_fewer_gaussians(page: Page) -> None:
    page.get_by_text("Prune", exact=True).click()
    pruning = page.locator("[data-moegs=pruning]")
    expect(pruning).to_contain_text("120of 120100%")
    changed(page, lambda: page.get_by_role("textbox").nth(1).fill("40"))
    expect(pruning).to_contain_text("48of 12040%")
    expect(page.locator("[data-moegs=statistics]")).to_contain_text("of 48 Gaussians in view")
    page.get_by_role("textbox").nth(1).fill("100")
    page.get_by_text("Prune", exact=True).click()


def test_the_console_has_no_error(page: Page, complaints: list[str]) -> None:
    page.wait_for_timeout(200)
    assert complaints == []
