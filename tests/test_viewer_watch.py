"""A training run watched in the viewer: what is seen, what is said, what stays, and that nothing is done to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import viewing
from browser_tab import BrowserTab

from moegs import checkpoint, views
from moegs.checkpoint import Checkpoint
from moegs.mixture import Mixture
from moegs.runs import RunFolder, lock, status
from moegs.runs.status import Look, Phase, Point, Status
from moegs.shots import Shot
from moegs.variants import Variants
from viewer import app, training
from viewer.follower import Follower
from viewer.page import Page

SIZE = (64, 48)
pytestmark = pytest.mark.filterwarnings("ignore:Queued a .* on a closed connection:UserWarning")


def phase(name: str, step: int = 3, **values) -> Phase:
    curve = tuple(Point(each, 1 / each, 20.0 + each) for each in range(1, step + 1))
    return Phase(
        **{"name": name, "stage": "experts", "steps": 10, "gaussians": 60, "seconds": 6.0, "curve": curve} | values
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run at its first expert, of which there is a snapshot."""
    made = RunFolder(tmp_path / "run")
    made.path.mkdir()
    made.config.write_text("")
    snapshot(made, "poly", viewing.mixture(("poly",)))
    status.write(Status(phases=(phase("poly"),)), made)
    return made


def snapshot(folder: RunFolder, name: str, mixture: Mixture) -> None:
    checkpoint.save(Checkpoint(mixture), folder.snapshot(name))


def other(kinds: tuple[str, ...] = ("poly",)) -> Mixture:
    """A later state: everything has become smaller."""
    made = viewing.mixture(kinds)
    for expert in made.members:
        for group in expert.groups:
            expert.group(group)["log_scales"].data.sub_(1.0)
    return made


def picture(mixture: Mixture, frame: int = 0, view: str = "depth") -> np.ndarray:
    rig = mixture.rig
    return views.draw(mixture, Shot(rig.cameras[0].fitted(*SIZE), rig.timeline.t(frame), view)).burnt()


@contextmanager
def watched(folder: RunFolder) -> Iterator[BrowserTab]:
    """A tab that looks at the run in `folder`, of which something is to be seen."""
    page, follower = Page("127.0.0.1", 0), Follower(folder.path, "cpu", None)
    loaded = app.load(follower.first(page.say), "cpu", page)
    shown = app.App(page, Variants(loaded, folder.mixture))
    follower.follow(shown.show, shown.tell)
    with BrowserTab(page.port, *SIZE) as tab:
        tab.next_picture()
        yield tab
    follower.close()
    follower.join(5)
    assert not follower.is_alive()
    assert shown.close()
    page.close()


def files(folder: RunFolder) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}


def test_a_newer_snapshot_is_shown_where_one_stands(folder: RunFolder) -> None:
    with lock.hold(folder.lock), watched(folder) as tab:
        before = files(folder)
        tab.next_picture(lambda: tab.set("View", "depth"))
        seen = tab.next_picture(lambda: tab.set("Frame", 4))
        assert np.array_equal(seen, picture(viewing.mixture(("poly",)), 4))
        tab.next_picture(lambda: tab.set("", "mute", nth=0))
        tab.next_picture(lambda: tab.set("", "mute", nth=0))
        position = tab.position.copy()
        assert files(folder) == before, "it only reads"
        seen = tab.next_picture(lambda: snapshot(folder, "poly", other()))
        assert np.array_equal(seen, picture(other(), 4))
        assert np.array_equal(tab.position, position)


def test_the_next_phase_takes_the_place_of_the_last_one_and_time_and_view_stay(folder: RunFolder) -> None:
    with lock.hold(folder.lock), watched(folder) as tab:
        tab.next_picture(lambda: tab.set("View", "depth"))
        tab.next_picture(lambda: tab.set("Frame", 2))
        both = viewing.mixture(("poly", "key"))
        done = phase("poly", 10, finished=True, score=21.5)
        router = phase("router-1", 4, stage="router")

        def go_on() -> None:
            snapshot(folder, "router-1", both)
            status.write(Status(stage="router", phases=(done, router)), folder)

        seen = tab.next_picture(go_on)
        assert np.array_equal(seen, picture(both, 2))
        tab.wait(lambda: "stage router" in tab.html("training"))
        assert "gate:key" in tab.widgets[tab.widget("View")]["options"]
        assert tab.widgets[tab.widget("View")]["value"] == "depth"
        assert tab.widgets[tab.widget("Frame")]["value"] == 2
        assert tab.html("error") == ""


def test_it_says_how_the_run_stands_and_when_it_died(folder: RunFolder) -> None:
    with watched(folder) as tab:
        with lock.hold(folder.lock):
            tab.wait(lambda: 'data-standing="running"' in tab.html("training"))
            line = tab.html("training")
            assert "stage experts" in line
            assert "23.00 dB, loss 0.3333" in line
            assert "about 14 s left" in line
        tab.wait(lambda: "died" in tab.html("training"))
        assert "--resume" in tab.html("training")
        status.write(Status(state="finished", stage="router", score=25.5), folder)
        tab.wait(lambda: "ended well. Mixture: 25.50 dB" in tab.html("training"))


def test_what_is_no_checkpoint_leaves_what_was_shown(folder: RunFolder) -> None:
    with lock.hold(folder.lock), watched(folder) as tab:
        count = len(tab.pictures)
        folder.snapshot("poly").write_bytes(b"nonsense")
        seen = tab.next_picture(lambda: tab.set("View", "depth"))
        assert len(tab.pictures) > count
        assert np.array_equal(seen, picture(viewing.mixture(("poly",))))


def test_of_two_experts_under_way_the_first_is_shown_or_the_one_that_is_named(folder: RunFolder) -> None:
    snapshot(folder, "key", viewing.mixture(("key",)))
    status.write(Status(phases=(phase("poly"), phase("key"))), folder)
    assert Follower(folder.path, "cpu", None).first(lambda text: None) == folder.snapshot("poly")
    assert Follower(folder.path, "cpu", "key").first(lambda text: None) == folder.snapshot("key")
    checkpoint.save(Checkpoint(viewing.mixture()), folder.mixture)
    assert Follower(folder.path, "cpu", None).first(lambda text: None) == folder.mixture


def test_before_there_is_anything_it_says_what_it_waits_for(tmp_path: Path) -> None:
    look = Look("absent", Status())
    assert training.waiting(tmp_path, look).startswith(f"No run in {tmp_path} yet")
    early = Look("running", Status(phases=(phase("poly"),)))
    assert (
        training.waiting(tmp_path, early)
        == f"{tmp_path} is training (poly, step 3 of 10): waiting for its first snapshot"
    )
    failed = Look("failed", replace(early.said, state="failed", message="poly: the loss became nan"))
    assert "The training failed: poly: the loss became nan; nothing to be seen yet" in training.waiting(
        tmp_path, failed
    )


def test_a_follower_that_waits_can_be_closed(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "later", "cpu", None)
    told: list[str] = []

    def close(text: str) -> None:
        told.append(text)
        follower.close()

    with pytest.raises(ValueError, match="nobody waits"):
        follower.first(close)
    assert len(told) == 1
    assert not (tmp_path / "later").exists()


def test_what_cannot_become_a_run_is_refused_in_one_line(folder: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "x.pt").touch()
    with pytest.raises(ValueError, match=r"x.pt: is a file; give the folder"):
        Follower(tmp_path / "x.pt", "cpu", None)
    with pytest.raises(ValueError, match=r"holds several runs; watch one of them: run$"):
        Follower(tmp_path, "cpu", None)
