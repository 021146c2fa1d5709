"""Two pictures in one page, and a pruned one: the same pixels as from the command line, and what is said of them."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import viewing
from browser_tab import BrowserTab
from PIL import Image

from moegs import checkpoint, export
from moegs.checkpoint import Checkpoint
from moegs.compare import Pace
from moegs.mixture import Mixture
from moegs.shots import Comparison, Shot
from moegs.variants import Variants

SIZE = (64, 48)
pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection:UserWarning")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("student") / "student.pt"
    checkpoint.save(Checkpoint(viewing.mixture(("key",))), path)
    return str(path)


@pytest.fixture(scope="module")
def variants(student: str) -> Variants:
    made = viewing.variants()
    made.open(student, "cpu")
    return made


@pytest.fixture(scope="module")
def port(variants: Variants, student: str) -> Iterator[int]:
    """Of a page that was started with --compare student.pt."""
    with viewing.served(variants, student) as port:
        yield port


@pytest.fixture
def tab(port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[BrowserTab]:
    monkeypatch.setattr(Pace, "seconds", 0.0625)  # else each picture burns in another time
    with BrowserTab(port, *SIZE) as tab:
        tab.next_picture()
        tab.next_picture(lambda: tab.set("View", "depth"))  # whose pictures come without loss
        yield tab


def shot(variants: Variants, comparison: Comparison | None, size: tuple[int, int] = SIZE, kept: float = 1.0) -> Shot:
    camera = variants.mixture.rig.cameras[0].fitted(*size)
    return Shot(camera, 0.0, "depth", kept=kept, comparison=comparison)


def test_it_opens_with_what_it_was_given_and_shows_what_draw_gives_to_the_bit(
    tab: BrowserTab, variants: Variants, student: str
) -> None:
    assert tab.widgets[tab.widget("Compare with")]["value"] == student
    assert np.array_equal(tab.pictures[-1], variants.draw(shot(variants, Comparison(student))).burnt())
    assert "<b>A</b> moegs" in tab.html("budget")
    assert re.search(r"<b>B</b> student.*>120<.*>60<.*-50%.*>62.5<", tab.html("budget"), re.DOTALL)


def test_every_control_of_the_comparison_does_what_it_says(tab: BrowserTab, variants: Variants, student: str) -> None:
    for label, value, wanted in (
        ("Divider", 25, Comparison(student, position=0.25)),
        ("Tilt", 20, Comparison(student, position=0.25, tilt=20.0)),
        ("Other side", True, Comparison(student, position=0.0)),
        ("Divider", 0, Comparison(student, position=1.0)),
        ("Other side", False, Comparison(student, position=0.0, tilt=20.0)),
        ("Tilt", 0, Comparison(student, position=0.0)),
        ("Divider", 25, Comparison(student, position=0.25)),
        ("A above B", True, Comparison(student, position=0.25, horizontal=True)),
        ("Way", "difference", Comparison(student, "diff", 0.25, horizontal=True)),
        ("Gain", "8x", Comparison(student, "diff", 0.25, horizontal=True, gain=8)),
        ("Signed", True, Comparison(student, "diff", 0.25, horizontal=True, gain=8, signed=True)),
        ("Other side", True, Comparison(student, position=0.0)),
        ("Other side", False, Comparison(student, "diff", 0.25, horizontal=True, gain=8, signed=True)),
        ("Swap A and B", True, Comparison(student, "diff", 0.25, True, 8, True, swapped=True)),
    ):
        seen = tab.next_picture(lambda label=label, value=value: tab.set(label, value))
        assert np.array_equal(seen, variants.draw(shot(variants, wanted)).burnt()), label


def test_the_divider_moves_over_pictures_that_are_there(tab: BrowserTab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mixture, "render", _raise)
    for position in (10, 60, 90):
        tab.next_picture(lambda position=position: tab.set("Divider", position), quiet=0.2)
    assert tab.html("error") == ""


def test_the_divider_has_its_grip_once_there_is_a_picture(
    port: int, variants: Variants, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = viewing.Held(variants.mixture)
    monkeypatch.setattr(variants.mixture, "render", held)
    with BrowserTab(port, 60, 44) as tab:
        assert held.begun.wait(20)
        tab.widget("Divider")
        assert tab.html("divider") == ""
        held.go.set()
        tab.next_picture()
        assert 'data-at="0.5"' in tab.html("divider")


def test_side_by_side_each_has_half_the_canvas_and_a_pixel_is_read_in_both(
    tab: BrowserTab, variants: Variants, student: str
) -> None:
    seen = tab.next_picture(lambda: tab.set("Way", "side by side"))
    wanted = shot(variants, Comparison(student, "side"), (32, 48))
    assert np.array_equal(seen, variants.draw(wanted).burnt())
    assert seen.shape == (48, 64, 3)
    tab.next_picture(lambda: tab.click((32 + 20.5) / 64, 30.5 / 48))  # in the right one
    a, b = (drawing.render for drawing in variants.draw(wanted).sides)
    reading = tab.html("reading")
    assert "column <b>20</b>, row <b>30</b>" in reading
    first, second = reading.split("B  student")
    assert f"{float(a.logits[1, 30, 20]):.3f}" in first
    red, green, blue = ((255 * b.images[0, 30, 20].clamp(0, 1)) + 0.5).int().tolist()
    assert f"{red}&nbsp;{green}&nbsp;{blue}" in second


def test_only_views_of_both_are_offered(tab: BrowserTab, student: str) -> None:
    view = tab.widgets[tab.widget("View")]
    assert list(view["options"]) == ["rgb", "expert:key", "depth", "alpha"]
    tab.next_picture(lambda: tab.set("Compare with", "nothing"))
    assert "gates" in view["options"]
    tab.next_picture(lambda: tab.set("View", "gates"))
    tab.next_picture(lambda: tab.set("Compare with", student))
    assert view["value"] == "rgb"
    assert tab.html("error") == ""


def test_keys_swap_the_sides_and_go_through_the_ways(tab: BrowserTab, variants: Variants, student: str) -> None:
    tab.next_picture(lambda: tab.command("Swap A and B"))
    seen = tab.next_picture(lambda: tab.command("Compare in the next way"))
    wanted = shot(variants, Comparison(student, "side", swapped=True), (32, 48))
    assert np.array_equal(seen, variants.draw(wanted).burnt())


def test_a_screenshot_is_the_composed_picture_and_holds_its_shot(tab: BrowserTab, variants: Variants) -> None:
    tab.next_picture(lambda: tab.set("Way", "side by side"))
    tab.set("Size", "data set")
    tab.press("Screenshot")
    png = tab.wait(lambda: tab.files.get("moegs-side-depth-cam00-f000.png"))
    with Image.open(io.BytesIO(png)) as image:
        held, pixels = Shot.from_json(image.info[export.SHOT_KEY]), np.asarray(image)
    assert pixels.shape == (32, 96, 3), "both at the data set's own size"
    assert np.array_equal(pixels, variants.draw(held).burnt())


def test_the_kept_share_prunes_what_is_seen_and_tells_what_is_left(tab: BrowserTab, variants: Variants) -> None:
    tab.next_picture(lambda: tab.set("Compare with", "nothing"))
    seen = tab.next_picture(lambda: tab.set("Kept share", 40))
    assert np.array_equal(seen, variants.draw(shot(variants, None, kept=0.4)).burnt())
    counts = [len(expert) for expert in variants.kept(0.4).mixture.members]
    told = tab.html("pruning")
    assert all(f"<b>{count}</b>" in told for count in (*counts, 48))
    assert "<b>62 ms, 16 fps</b>" in told
    assert "By contribution; no fine-tuning has been done." in told
    assert "of 48</span> <span" in tab.html("statistics")


def test_against_all_of_it_nothing_differs_until_something_is_pruned(tab: BrowserTab, variants: Variants) -> None:
    tab.next_picture(lambda: tab.set("Compare with", "unpruned"))
    same = tab.next_picture(lambda: tab.set("Way", "difference"))
    assert np.array_equal(same, variants.draw(shot(variants, Comparison("kept:1", "diff"))).burnt())
    pruned = tab.next_picture(lambda: tab.set("Kept share", 40))
    assert np.array_equal(pruned, variants.draw(shot(variants, Comparison("kept:1", "diff"), kept=0.4)).burnt())
    assert not np.array_equal(pruned, same)


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("Compare with", "expert:nobody"),
        ("Tilt", 50),
        ("Way", "flip"),
        ("Gain", "3x"),
        ("Divider", 400),
        ("Kept share", 0),
    ],
)
def test_a_forged_value_is_told_in_the_page_and_changes_nothing(tab: BrowserTab, label: str, value: object) -> None:
    tab.set(label, value)
    tab.wait(lambda: any(note.startswith("Not possible: ") for note in tab.notes))
    tab.next_picture(lambda: tab.set("View", "alpha"))
    assert tab.html("error") == ""


def test_it_may_open_with_less_of_itself() -> None:
    variants = viewing.variants()
    variants.open("kept:0.45", "cpu")
    with viewing.served(variants, "kept:0.45") as port, BrowserTab(port, *SIZE) as tab:
        tab.next_picture()
        assert list(tab.widgets[tab.widget("Compare with")]["options"][:3]) == ["nothing", "kept:0.45", "unpruned"]
        assert "<b>B</b> moegs, 45% kept" in tab.html("budget")


def test_without_scores_the_panel_says_how_to_get_them() -> None:
    bare = Variants(Checkpoint(viewing.mixture()), Path("made.pt"))
    with viewing.served(bare) as port, BrowserTab(port, *SIZE) as tab:
        tab.next_picture()
        assert "moegs prune made.pt --data DIR --ratio 0 --out made-scored.pt" in tab.html("pruning")
        assert "Kept share" not in {props.get("label") for props in tab.widgets.values()}
        assert list(tab.widgets[tab.widget("Compare with")]["options"]) == ["nothing", "expert:poly", "expert:key"]


def _raise(*arguments: object, **options: object) -> None:
    raise RuntimeError("rendered")
