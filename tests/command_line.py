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


def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line with which `moegs` refuses these arguments, exit code 1."""
    assert run(monkeypatch, *arguments) == 1
    told = capsys.readouterr().err
    assert told.startswith("moegs: ")
    assert told.count("\n") == 1
    return told
