"""Lines: text that holds names, which may hold anything, as one line; and numbers in it, not rounded wrongly."""

import unicodedata

BREAKS = ("Cc", "Cs", "Zl", "Zp")
"""Categories of Unicode that no line holds: control characters, halves of characters, ends of lines and paragraphs."""


def one_line(text: str) -> str:
    """`text` with what would end the line, or cannot be written at all, as its escape, such as \\n."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter) in BREAKS else letter
        for letter in text
    )


def threshold(share: float) -> str:
    """`share`, less than 1, in few digits that do not make it 1."""
    short = f"{share:g}"
    return short if float(short) < 1 else str(share)
