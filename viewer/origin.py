"""Origin: which web pages may talk to the server. A page of another site is refused before anything is sent to it."""

import http
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import websockets.asyncio.server
from websockets.datastructures import Headers


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
    if bound_to_loopback and not is_loopback(urlsplit(f"//{host}").hostname):
        return False
    if origin is None:
        return True
    page = urlsplit(origin)
    return is_loopback(page.hostname) if bound_to_loopback else page.netloc == host


@contextmanager
def own_pages_only(bound_to_loopback: bool) -> Iterator[None]:
    """Makes servers that viser starts within the block refuse foreign pages with status 403.

    viser has no option for it, but calls `websockets.asyncio.server.serve` with a check of requests, to which this adds
    its own.
    """
    original = websockets.asyncio.server.serve

    def guarded(*args: Any, process_request: Any, **options: Any) -> Any:
        def check(connection: Any, request: Any) -> Any:
            if not allowed(request.headers, bound_to_loopback):
                return connection.respond(http.HTTPStatus.FORBIDDEN, "moegs: this page may not connect\n")
            return process_request(connection, request)

        return original(*args, process_request=check, **options)

    websockets.asyncio.server.serve = guarded  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = original  # type: ignore[misc]
