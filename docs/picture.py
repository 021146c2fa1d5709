"""The README's picture: the viewer on the demo, photographed in a headless Chromium.

    python docs/picture.py [--out docs/viewer.png]

Needs the extra [test] and Chromium on the PATH.
"""

import re
import subprocess
import sys
from pathlib import Path

import tyro
from playwright.sync_api import Page

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import chromium  # noqa: E402  (after the path)


def main(out: Path = ROOT / "docs" / "viewer.png", view: str = "gate-argmax", frame: int = 12) -> None:
    """Opens the demo at one frame in one view, asks one pixel, and writes what the page looks like."""
    if chromium.PATH is None:
        sys.exit("no Chromium on the PATH")
    command = [sys.executable, "-u", "-m", "viewer", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server, chromium.opened() as browser:
        try:
            assert server.stdout is not None
            address = re.search(r"http://\S+", server.stdout.readline())
            assert address is not None
            page = browser.new_page(viewport={"width": 1280, "height": 720})
            page.goto(address[0])
            photograph(page, out, view, frame)
        finally:
            server.terminate()


def photograph(page: Page, out: Path, view: str, frame: int) -> None:
    """Sets the page's controls, waits until the picture is sharp, and takes it."""
    page.locator("[data-moegs=statistics]").wait_for(timeout=120_000)
    page.add_style_tag(content="[data-moegs=software] { display: none !important }")  # true of this browser alone
    page.get_by_role("textbox").first.fill(str(frame))
    page.get_by_role("combobox", name="View", exact=True).click()
    page.get_by_role("option", name=view, exact=True).click()
    page.wait_for_timeout(3000)
    page.mouse.click(430, 330)
    page.wait_for_timeout(4000)
    page.screenshot(path=out)


if __name__ == "__main__":
    tyro.cli(main)
