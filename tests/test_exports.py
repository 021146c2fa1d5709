"""The viewer's exports: names and progress."""

import pytest

from viewer.exports import Progress, file_name


def test_a_name_has_no_sign_that_a_file_system_refuses() -> None:
    assert file_name("demo", "gate:hex plane", "cam/00", "f012") == "demo-gate-hex-plane-cam-00-f012"


def test_what_is_left_takes_as_long_as_what_is_done() -> None:
    assert Progress(30, 120, 10.0).left == pytest.approx(30)
