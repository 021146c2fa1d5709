"""Consoles: what is printed through rich is printed as it is, brackets and colons in names too; and how often."""

from rich import markup
from rich.console import Console
from rich.text import Text

from moegs.lines import one_line

LINE_SECONDS = 30.0
"""Between two lines of what takes long, where the output is no terminal ..."""
SOON_SECONDS = 5.0
"""... or less in its first two minutes, a quarter of its time so far, but no less than this."""


def console(stderr: bool = False) -> Console:
    """Standard output, or standard error; a name such as :car: is no picture there."""
    return Console(stderr=stderr, emoji=False)


def pause(seconds: float) -> float:
    """How long what has taken so many `seconds` stays silent between two lines, seconds."""
    return min(LINE_SECONDS, max(SOON_SECONDS, seconds / 4))


def escape(text: str) -> str:
    """`text` in one line as a table, which reads markup, shows it as it is."""
    return markup.escape(one_line(text))


def say(console: Console, text: str) -> None:
    """Prints `text` as one line, as it is; where the terminal is narrower, that breaks it."""
    console.print(Text(one_line(text)), soft_wrap=True)
