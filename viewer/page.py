"""Page: the web server with a page that says what is being done, open before anything heavy is imported."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import rich
import viser
import websockets.asyncio.server

from viewer.origin import Answer, is_loopback, own_pages_only
from viewer.placeholder import hold, status
from viewer.shell import TITLE, dressed

PORTS = 65536
PORTS_TRIED = 100
"""How many ports are tried, from the one that was asked for upwards."""
BRAND = (0, 88, 150)

Listener = Callable[[viser.ClientHandle], None]


class Page:
    """A server whose tabs see what is being done until somebody takes them over."""

    def __init__(self, host: str, port: int) -> None:
        """Opens it at `host` and the first free port from `port` on; raises ValueError where there is none."""
        self.host, self.port = host, free_port(host, port)
        with _silence(), _answering(lambda answer: own_pages_only(dressed(answer), is_loopback(host))):
            self.server = viser.ViserServer(host=host, port=self.port, label=TITLE, verbose=False)
        self.server.gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=BRAND, control_width="medium"
        )
        self.server.gui.main_panel.dock_right()  # beside the picture, not over it
        self.server.scene.configure_default_lights(enabled=False)
        self._lock = threading.Lock()
        self._text = "Starting"
        self._line = self.server.gui.add_html(status(self._text))
        self._join: Listener | None = None
        self._leave: Listener | None = None
        self.server.on_client_connect(self._joined)
        self.server.on_client_disconnect(self._left)

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        name = "localhost" if is_loopback(self.host) or self.host in ("0.0.0.0", "::") else self.host
        return f"http://{name}:{self.port}"

    def say(self, text: str) -> None:
        """Tells all tabs what is being done."""
        with self._lock:
            self._text = text
            self._line.content = status(text)
            for client in self.server.get_clients().values():
                hold(client, text)

    def hand_over(self, join: Listener, leave: Listener) -> None:
        """Gives all tabs, those that are open and those that come, to `join`; `leave` hears of those that go."""
        with self._lock:
            self._line.remove()
            self._join, self._leave = join, leave
            waiting = list(self.server.get_clients().values())
        for client in waiting:
            join(client)

    def close(self) -> None:
        """Ends the server and all connections."""
        with _silence():
            self.server.stop()

    def _joined(self, client: viser.ClientHandle) -> None:
        with self._lock:
            join = self._join
            if join is None:
                hold(client, self._text)
                client.camera.on_update(self._resized)
                return
        join(client)

    async def _resized(self, camera: viser.CameraHandle) -> None:
        """Fits the placeholder of a tab that still waits to its canvas, which shrinks beside the panel at first."""
        with self._lock:
            if self._join is None:
                hold(camera.client, self._text)

    def _left(self, client: viser.ClientHandle) -> None:
        if self._leave is not None:
            self._leave(client)


def free_port(host: str, port: int) -> int:
    """The first port from `port` on that `host` can be bound to.

    Raises ValueError when there is none, or `host` is not an address of this machine.
    """
    if not 0 <= port < PORTS:
        raise ValueError(f"port {port}: no port of any machine; give 0 to {PORTS - 1}, 0 for any that is free")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise ValueError(f"host '{host}', port {port}: not an address of this machine ({error})") from None
    reason: OSError | None = None
    for number in range(port, min(port + PORTS_TRIED, PORTS)):
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address[0], number))
            except OSError as error:
                reason = error
                continue
            return int(probe.getsockname()[1])
    raise ValueError(f"host '{host}': no free port from {port} on ({reason}); name another with --port")


@contextlib.contextmanager
def _answering(wrap: Callable[[Answer], Answer]) -> Iterator[None]:
    """Puts `wrap` around how servers that viser starts within the block answer requests.

    viser has no option for it, but calls `websockets.asyncio.server.serve` with its own way to answer.
    """
    original = websockets.asyncio.server.serve

    def serve(*args: Any, process_request: Answer, **options: Any) -> Any:
        return original(*args, process_request=wrap(process_request), **options)

    websockets.asyncio.server.serve = serve  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = original  # type: ignore[misc]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps viser's own announcements from the terminal; it makes them through rich whatever it is told."""
    console = rich.get_console()
    quiet, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = quiet
