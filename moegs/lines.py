"""Lines: text that holds names, which may hold anything, as one line."""

import unicodedata

BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode that no line holds: control characters, halves of characters, ends of lines and paragraphs."""


def one_line(text: str) -> str:
    """`text` with what would end the line, or cannot be written at all, as its escape, such as \\n."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in BREAKS else letter
        for letter in text
    )
