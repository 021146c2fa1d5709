"""Shell: what is changed in viser's web page before it is served, for which viser has no option."""

import gzip
from functools import lru_cache

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from viewer import divider, holding
from viewer.origin import Answer

TITLE = "moegs"
"""Of the browser's tab and of the panel."""

STYLE = """
#moegs-cover {
    position: fixed; inset: 0; z-index: 1000; padding: 1.5em;
    background: #17171a; color: #c9c9cc; font: 1em sans-serif;
}
#webgl-software-rendering, [data-moegs=software] { display: none }
body:has(#webgl-software-rendering) [data-moegs=software] { display: block }
div:has(> [data-moegs=expert]) + div > div > div:first-child { display: none }
div:has(> [data-moegs=expert][data-muted]) + div button:first-child { background: #c2410c; color: #fff }
div:has(> [data-moegs=expert][data-solo]) + div button:last-child { background: #0f766e; color: #fff }
body:has([aria-haspopup=listbox][aria-expanded=true]) [role=tooltip] { visibility: hidden }
[role=tab][aria-selected=true] { color: #c9c9cc !important }
"""
"""The cover; a line in the panel in place of viser's note, over the picture, on WebGL in software; buttons below an
expert's line as wide as the panel, and lit while they are on; no hint behind an open list; the head of the window of a
pixel, which viser writes dark blue on black, legible."""

SCRIPT = """
// Else viser lowers the canvas's resolution for good where WebGL is slow, and with it the size of every picture.
const address = new URL(location)
address.searchParams.set("fixedDpr", Math.min(Math.max(devicePixelRatio, 1), 2))
history.replaceState(null, "", address)
// What viser shows before it has our panel is not meant for the user.
const lift = () => document.getElementById("moegs-cover")?.remove()
addEventListener("DOMContentLoaded", () => {
    const watch = new MutationObserver(() => {
        if (document.querySelector("[data-moegs]")) { watch.disconnect(); lift() }
    })
    watch.observe(document.body, { childList: true, subtree: true })
    setTimeout(lift, 20000)  // no answer from the server: viser says so
})
// Keys do nothing while a list or a check box has them: what the mouse has chosen gives them back to the page.
addEventListener("click", (event) => {
    if (!event.detail || !event.target.closest?.("[role=option], input[type=checkbox]")) return
    setTimeout(() => document.activeElement?.blur())
})
// The widget right behind one of our marks in the panel.
const inputBehind = (name) => {
    let row = document.querySelector(`[data-moegs=${name}]`)
    while (row && !row.nextElementSibling?.querySelector("input")) row = row.parentElement
    return row?.nextElementSibling.querySelector("input:not([type=hidden])")
}
"""


def dressed(answer: Answer) -> Answer:
    """`answer`, but with our title, style and script in the page."""

    def changed(connection: ServerConnection, request: Request) -> Response | None:
        response = answer(connection, request)
        if response is not None and response.headers.get("Content-Type", "").startswith("text/html"):
            response.body = _dress(bytes(response.body), response.headers.get("Content-Encoding") == "gzip")
            del response.headers["Content-Length"]
            response.headers["Content-Length"] = str(len(response.body))
        return response

    return changed


@lru_cache(maxsize=2)
def _dress(body: bytes, zipped: bool) -> bytes:
    plain = gzip.decompress(body) if zipped else body
    style, script = STYLE + divider.STYLE, SCRIPT + divider.SCRIPT + holding.SCRIPT
    head = f"<title>{TITLE}</title><style>{style}</style><script>{script}</script>"
    ours = plain.replace(b"<title>Viser</title>", head.encode(), 1)
    ours = ours.replace(b"<body>", f'<body><div id="moegs-cover">{TITLE}: loading the page &hellip;</div>'.encode(), 1)
    return gzip.compress(ours) if zipped else ours
