"""Origin: which web pages may talk to the server. A page of another site is refused before anything is sent to it."""

import http
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

Answer = Callable[[ServerConnection, Request], Response | None]
"""How a server answers a request: None lets it become a websocket."""


def is_loopback(host: str | None) -> bool:
    """Whether `host`, a name or an address, is this machine seen from itself."""
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed(headers: Headers, bound_to_loopback: bool) -> bool:
    """Whether a request comes from our own page, or from no page at all.

    Bound to the loopback address, page and server must both be named so: then a foreign name that resolves to this
    machine gets nothing. Else the page must come from where the request goes.
    """
    origin, host = headers.get("Origin"), headers.get("Host", "")
    try:
        if bound_to_loopback and not is_loopback(urlsplit(f"//{host}").hostname):
            return False
        if origin is None:
            return True
        page = urlsplit(origin)
        return is_loopback(page.hostname) if bound_to_loopback else page.netloc == host
    except ValueError:  # no address at all, such as http://[::1
        return False


def own_pages_only(answer: Answer, bound_to_loopback: bool) -> Answer:
    """`answer`, but status 403 for foreign pages."""

    def guarded(connection: ServerConnection, request: Request) -> Response | None:
        if not allowed(request.headers, bound_to_loopback):
            return connection.respond(http.HTTPStatus.FORBIDDEN, "moegs: this page may not connect\n")
        return answer(connection, request)

    return guarded
