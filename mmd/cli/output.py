"""Printing: data on stdout as a table, JSON, CSV or bare ids; everything else on stderr.

Whatever came from elsewhere is made harmless before a terminal sees it (`mmd.text`). JSON has
`schema_version` and instants as RFC 3339 in UTC; it is for programs, and `ensure_ascii` keeps control
characters escaped.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import TYPE_CHECKING, Any, Final

import click

from mmd.text import fitted, inert, printable, width

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SCHEMA_VERSION: Final = 1
FORMATS: Final = ("table", "json", "csv", "id")
_GAP: Final = "  "
# Columns of a cell: on a terminal that the rows do not fit into, and elsewhere.
_WIDEST: Final = 48
_LONGEST: Final = 300


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people: one heading and one text per column; `ids` are what `-o id` prints, one a row."""

    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    ids: Sequence[str] = ()


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a reading command `-o`."""
    return click.option(
        "-o", "--output-format", "form", type=click.Choice(FORMATS), default="table", help="How to print it."
    )(command)


def emit(form: str, data: Mapping[str, Any], table: Table, *, empty: str = "") -> None:
    """Print the same thing in the form asked for; `empty` goes to stderr where a table has no rows."""
    match form:
        case "json":
            click.echo(as_json(data))
        case "csv":
            click.echo(as_csv(table), nl=False)
        case "id":
            for name in table.ids:
                click.echo(printable(name))
        case _:
            click.echo(as_table(table, _columns()), nl=False)
            if empty and not table.rows:
                say(empty)


def as_json(data: Mapping[str, Any]) -> str:
    """Return one JSON object."""
    return json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return instant(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def instant(value: datetime) -> str:
    """Return an instant as RFC 3339 in UTC, with as many digits as it needs."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def as_table(table: Table, columns: float = inf) -> str:
    """Return aligned columns; nothing at all where there are no rows.

    Cells but the last of a row are cut: at 48 columns where rows are wider than `columns`, else at 300.
    """
    if not table.rows:
        return ""
    rows = [tuple(printable(text) for text in row) for row in (table.headings, *table.rows)]
    last = len(table.headings) - 1
    needed = [max(width(row[column]) for row in rows) for column in range(last + 1)]
    widest = _WIDEST if sum(needed) + last * len(_GAP) > columns else _LONGEST
    lines = []
    for row in rows:
        cells = [
            fitted(text, min(wide, widest)) for text, wide in zip(row[:last], needed[:last], strict=True)
        ]
        lines.append(_GAP.join([*cells, row[last]]).rstrip())
    return "\n".join(lines) + "\n"


def _columns() -> float:
    """How wide the terminal is; a file or a pipe is as wide as it has to be."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else inf


def as_csv(table: Table) -> str:
    """Return CSV with a heading; a cell that a spreadsheet would run as a formula gets an apostrophe."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.headings)
    writer.writerows([tuple(inert(cell) for cell in row) for row in table.rows])
    return buffer.getvalue()


def say(message: str) -> None:
    """Tell a person something that is not data."""
    click.echo(printable(message), err=True)


def progress(message: str) -> None:
    """Tell a person how far a long work has come, on one line that replaces itself; silent off a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{printable(message)}", err=True, nl=False)


def progress_done() -> None:
    """Take the progress line away."""
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
