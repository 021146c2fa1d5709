"""The command `moegs` as a user calls it, in this process."""

import sys

import pytest

from moegs.__main__ import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `moegs` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["moegs", *map(str, arguments)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
