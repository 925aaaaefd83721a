"""The failure catalogue: reading tests/catalogue.toml, and writing docs/failures.md from it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "tests" / "catalogue.toml"
TARGET: Final = ROOT / "docs" / "failures.md"
_HEAD: Final = """\
# What can go wrong

Each way in which mmd, its machine, the network, ISC or people can get in the way of a window; what mmd must
then do; and the tests that show that it does. Written from `tests/catalogue.toml` by `python
tests/catalogue.py`; a test fails when a row has no test that exists. The numbers are those of
[reliability.md](reliability.md).
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One way in which something goes wrong. `status` is empty where tests show what happens."""

    id: str
    fault: str
    required: str
    tests: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""


def rows() -> list[Row]:
    """Every row, in order."""
    found = tomllib.loads(SOURCE.read_text("utf-8"))
    del found["sections"]
    return [Row(id=name, **{**row, "tests": tuple(row.get("tests", ()))}) for name, row in found.items()]


def page() -> str:
    """docs/failures.md, as it should be."""
    sections: dict[str, str] = tomllib.loads(SOURCE.read_text("utf-8"))["sections"]
    parts = [_HEAD]
    for letter, title in sections.items():
        lines = [_line(row) for row in rows() if row.id.startswith(letter)]
        parts.append(f"\n## {letter}. {title}\n\n| # | fault | required | shown by |\n|---|---|---|---|\n")
        parts.append("".join(lines))
    return "".join(parts)


def _line(row: Row) -> str:
    shown = "<br>".join(_named(test) for test in row.tests) or f"{row.status}: {row.reason}"
    return f"| {row.id} | {row.fault} | {row.required} | {shown} |\n"


def _named(test: str) -> str:
    """A test as a link to its file, by its sentence."""
    path, _, name = test.partition("::")
    sentence = re.sub(r"^test_", "", name).replace("_", " ")
    return f"[{sentence}](../{path})"


if __name__ == "__main__":
    TARGET.write_text(page(), "utf-8")
