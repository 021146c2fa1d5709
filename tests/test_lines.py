"""Names may hold anything: what is printed and drawn of them is one line, as it is."""

import io
from pathlib import Path

import filmed
import numpy as np
import pytest
from command_line import run
from mixtures import mixture
from rich.console import Console
from rich.table import Table

from moegs.consoles import escape, say
from moegs.legends import Legend, Swatch
from moegs.lines import one_line, threshold
from moegs.training.events import Told
from moegs.training.progress import show


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a b\u00e9\U0001f697", "a b\u00e9\U0001f697"),
        ("a\nb", "a\\nb"),
        ("\x1b[1m", "\\x1b[1m"),
        ("\u2028\ud800", "\\u2028\\ud800"),
    ],
    ids=["plain", "newline", "escape", "separator"],
)
def test_what_would_end_a_line_is_its_escape(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(("share", "text"), [(0.02, "0.02"), (0.95, "0.95"), (0.9999999, "0.9999999")])
def test_what_is_less_than_1_is_not_printed_as_1(share: float, text: str) -> None:
    assert threshold(share) == text


@pytest.mark.parametrize("name", ["we [/b] ird.pt", "a[bold]b.pt", "a\\[b].pt", "pip install 'moegs[colmap]'"])
def test_brackets_are_printed_as_they_are(name: str) -> None:
    text = io.StringIO()
    console = Console(file=text, width=200)
    say(console, name)
    table = Table(title=escape(name))
    table.add_row(escape(name))
    console.print(table)
    assert text.getvalue().splitlines()[0] == name
    assert text.getvalue().count(name) == 3


def test_a_trainings_warnings_keep_their_brackets() -> None:
    text = io.StringIO()
    with show(Console(file=text)) as on_event:
        on_event(Told("install it with pip install 'moegs[colmap]'", warning=True))
    assert text.getvalue() == "warning: install it with pip install 'moegs[colmap]'\n"


@pytest.mark.parametrize("flat", [False, True])
def test_a_legend_draws_names_with_ends_of_lines(flat: bool) -> None:
    black = np.zeros((240, 320, 3), np.uint8)
    broken = Legend("a\nb", swatches=(Swatch((9, 9, 9), "c\rd"),), notes=("e\n",), flat=flat)
    whole = Legend("a\\nb", swatches=(Swatch((9, 9, 9), "c\\rd"),), notes=("e\\n",), flat=flat)
    assert np.array_equal(broken.burn(black), whole.burn(black))


def test_compared_files_and_names_with_ends_of_lines_are_drawn_and_told_in_one_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, made_file: Path
) -> None:
    (tmp_path / "b\nc.pt").symlink_to(made_file)
    for number, options in enumerate(((), ("--names", "A", "b\nc"))):
        out = tmp_path / f"{number}.png"
        assert run(monkeypatch, "compare", made_file, tmp_path / "b\nc.pt", *options, "--out", out) == 0
        assert capsys.readouterr().out.splitlines()[2].startswith("B  b\\nc: ")


def test_prune_tells_a_name_in_brackets_as_it_is_and_for_the_shell(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = filmed.write(tmp_path, mixture(("poly", "key")))
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "prune", path, "--data", "data", "--ratio", "0.5", "--out", "we [/b] ird.pt") == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told == "we [/b] ird.pt: look at it with: moegs-view 'we [/b] ird.pt'"
