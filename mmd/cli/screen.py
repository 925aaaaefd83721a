"""Where the demo is shown: a terminal, with a picture that changes below the lines; or a plain stream."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from mmd.text import fitted, printable

STYLES: Final = {"bold": "1", "dim": "2", "green": "32", "yellow": "33", "magenta": "35", "cyan": "36"}
_ROOM: Final = (80, 24)  # columns and rows without which the picture would not stay in place

Cell = tuple[str, str]  # a text and the name of its style, or ""


class Screen:
    """Lines go above, the picture stays below; off a terminal, and with NO_COLOR, there are only lines."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        size = shutil.get_terminal_size()
        terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        fits = size.columns >= _ROOM[0] and size.lines >= _ROOM[1]
        self.moving = terminal and fits and not os.environ.get("NO_COLOR")
        self._columns = size.columns
        self._picture: list[str] = []

    def line(self, text: str = "", style: str = "") -> None:
        """Write one line above the picture."""
        shown = printable(text)
        written = self._styled(shown, style) if self.moving else shown
        self._write(f"{self._over_picture()}{written}\n{self._drawn()}")

    def picture(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Put these lines where the picture was; off a terminal they are not shown."""
        made = [self._cut(line) for line in lines]
        if self.moving and made != self._picture:
            over = self._over_picture()
            self._picture = made
            self._write(over + self._drawn())

    def write_out(self, lines: Sequence[Sequence[Cell]]) -> None:
        """Write a picture down as lines, where it is not seen moving."""
        if not self.moving:
            for line in lines:
                self.line("".join(text for text, _ in line).rstrip())

    def leave_picture(self) -> None:
        """Let the picture stand as it is; what follows goes below it."""
        self._picture = []

    def _over_picture(self) -> str:
        """Go up to the picture's first line and clear from there (ECMA-48: CUU, ED)."""
        return f"\x1b[{len(self._picture)}A\x1b[J" if self._picture else ""

    def _drawn(self) -> str:
        return "".join(f"{line}\n" for line in self._picture)

    def _cut(self, line: Sequence[Cell]) -> str:
        """A line that wraps would put everything above it out of place."""
        room, made = self._columns - 1, ""
        for text, style in line:
            shown = printable(text)[:room]
            room -= len(shown)
            made += self._styled(shown, style)
        return made

    def _styled(self, text: str, style: str) -> str:
        return f"\x1b[{STYLES[style]}m{text}\x1b[0m" if style and text else text

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def cell(text: str, columns: int, style: str = "") -> Cell:
    """A text in a column of the picture."""
    return fitted(printable(text), columns), style
