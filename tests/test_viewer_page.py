"""The web server, and which pages may talk to it."""

import socket
from types import SimpleNamespace

import pytest
import viewing
from websockets.datastructures import Headers

from viewer import app
from viewer.origin import allowed
from viewer.page import free_port


def test_the_next_free_port_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert free_port("127.0.0.1", port) > port


def test_an_address_of_another_machine_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^host '192\.0\.2\.1'.*[^\n]$"):
        free_port("192.0.2.1", 8080)


@pytest.mark.parametrize(
    ("origin", "host", "loopback", "answer"),
    [
        ("http://localhost:8080", "localhost:8080", True, True),
        ("http://127.0.0.1:9000", "localhost:8080", True, True),  # a forwarded port
        (None, "localhost:8080", True, True),  # no page at all: curl, a test
        ("https://evil.example", "localhost:8080", True, False),
        ("http://evil.example:8080", "evil.example:8080", True, False),  # a name that resolves to this machine
        ("null", "localhost:8080", True, False),
        ("http://gpu:8080", "gpu:8080", False, True),
        ("http://evil.example", "gpu:8080", False, False),
    ],
)
def test_only_the_own_page_may_connect(origin: str | None, host: str, loopback: bool, answer: bool) -> None:
    headers = Headers({"Host": host} | ({} if origin is None else {"Origin": origin}))
    assert allowed(headers, loopback) is answer


def test_a_tab_that_closed_while_its_session_was_made_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """viser tells of a tab that goes once, which may be before its session is there."""
    open_tabs, listeners, closed = {7: None}, [], []

    def session(client: SimpleNamespace, studio: object) -> SimpleNamespace:
        return SimpleNamespace(close=lambda: closed.append(client.client_id), threads=list)

    monkeypatch.setattr(app, "Session", session)
    scene = SimpleNamespace(set_up_direction=lambda up: None)
    page = SimpleNamespace(
        server=SimpleNamespace(get_clients=lambda: open_tabs, scene=scene),
        hand_over=lambda join, leave: listeners.extend((join, leave)),
    )
    shown = app.App(page, viewing.variants())  # type: ignore[arg-type]
    join, leave = listeners
    join(SimpleNamespace(client_id=7))
    leave(SimpleNamespace(client_id=8))
    join(SimpleNamespace(client_id=8))
    assert closed == [8]
    assert shown.close()
    assert closed == [8, 7]
