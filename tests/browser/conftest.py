"""A real Chromium, where there is one."""

from collections.abc import Iterator

import chromium as installed
import pytest
from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if installed.PATH is None:
        pytest.skip("no Chromium on PATH: install Debian's package chromium")
    with installed.opened() as browser:
        yield browser
