"""Text from elsewhere, made harmless.

Source names, reasons and owners are other people's words: they may carry terminal escapes, line breaks, or
marks that turn the direction of reading. Pure.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from itertools import accumulate
from typing import Final

# Cc: controls. Cf: formats, among them the bidirectional marks. Zl, Zp: line and paragraph separators.
# Cs: lone surrogates, which no encoder takes.
_HARMFUL: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# What a spreadsheet takes for the beginning of a formula; full-width forms are folded into these.
_FORMULA: Final = frozenset("=+-@")


def printable(text: str) -> str:
    """Return one line that a terminal shows as it is: what is harmful becomes a visible escape."""
    return "".join(
        _escaped(letter) if unicodedata.category(letter) in _HARMFUL else letter for letter in text
    )


def _escaped(letter: str) -> str:
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"  # noqa: PLR2004 - one byte


def width(text: str) -> int:
    """Return how many columns a terminal gives the text."""
    return sum(_columns(letter) for letter in text)


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def fitted(text: str, columns: int) -> str:
    """Return the text cut or padded to a number of columns."""
    used = [0, *accumulate(_columns(letter) for letter in text)]
    if used[-1] > columns:
        kept = bisect_right(used, columns - 1) - 1
        return text[:kept] + "…" + " " * (columns - 1 - used[kept])
    return text + " " * (columns - used[-1])


def inert(text: str) -> str:
    """Return a cell of one line that no spreadsheet takes for a formula."""
    shown = printable(text)
    return f"'{shown}" if unicodedata.normalize("NFKC", shown.lstrip()[:1]) in _FORMULA else shown
