"""What tests share: the backend to run on; a data set of pictures; a made mixture as a file, and in the viewer."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from backends import BACKENDS

if TYPE_CHECKING:
    from browser_tab import BrowserTab

    from moegs.mixture import Mixture


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    """The name of a backend; a test with this argument runs once for each that this machine has."""
    return request.param


@pytest.fixture(autouse=True, scope="session")
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded frames of the tests do not stay in the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """Three cameras with four pictures each."""
    import recordings  # here: its video encoder is not on every GPU machine

    return recordings.write_folders(tmp_path / "tiny")


@pytest.fixture
def stamp_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever data a training in this process asks for, it gets the scene of `stamps`."""
    import stamps

    from moegs.training import logs, phases, students, thinning

    for module in (logs, phases, students, thinning):
        monkeypatch.setattr(module, "load_scene", lambda data, **_: stamps.scene())


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a made mixture of two experts, to be read."""
    from mixtures import mixture

    from moegs import checkpoint
    from moegs.checkpoint import Checkpoint

    path = tmp_path_factory.mktemp("made") / "made.pt"
    checkpoint.save(Checkpoint(mixture(("poly", "key"))), path)
    return path


@pytest.fixture(scope="module")
def viewed() -> "Mixture":
    """The mixture that a page shows."""
    import viewing  # here: the viewer is not on every GPU machine

    return viewing.mixture()


@pytest.fixture(scope="module")
def port(viewed: "Mixture") -> Iterator[int]:
    """Of the page that shows it."""
    import viewing

    with viewing.served(viewing.variants(viewed)) as port:
        yield port


@pytest.fixture
def tab(port: int) -> "Iterator[BrowserTab]":
    """One that looks at it, once its first picture has come."""
    import viewing
    from browser_tab import BrowserTab

    with BrowserTab(port, *viewing.SIZE) as tab:
        tab.next_picture()
        yield tab
