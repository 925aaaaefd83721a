"""Tables: aligned, and cut only where a terminal has no room."""

from __future__ import annotations

import sys

import pytest

from mmd.cli.output import Table, as_table, emit

LONG = "x" * 60
TABLE = Table(("NAME", "WHY", "ID"), [(LONG, "patching", "s1"), ("AD", LONG, "s2")])


def test_a_table_that_goes_into_a_file_is_whole() -> None:
    lines = as_table(TABLE).splitlines()
    assert [line.split() for line in lines] == [
        ["NAME", "WHY", "ID"],
        [LONG, "patching", "s1"],
        ["AD", LONG, "s2"],
    ]
    assert {line.rindex(name) for line, name in zip(lines, ("ID", "s1", "s2"), strict=True)} == {124}


def test_on_a_terminal_long_cells_are_cut_only_where_a_row_does_not_fit() -> None:
    assert as_table(TABLE, 126) == as_table(TABLE)
    lines = as_table(TABLE, 125).splitlines()
    assert lines[1].split() == ["x" * 47 + "…", "patching", "s1"]
    assert lines[2].split() == ["AD", "x" * 47 + "…", "s2"]
    assert {line.rindex(name) for line, name in zip(lines, ("ID", "s1", "s2"), strict=True)} == {100}


def test_a_terminal_is_asked_how_wide_it_is_and_a_pipe_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "125")
    emit("table", {}, TABLE)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit("table", {}, TABLE)
    assert capsys.readouterr().out == as_table(TABLE) + as_table(TABLE, 125)


def test_a_long_name_does_not_push_the_rest_out_of_sight() -> None:
    (line,) = as_table(Table(("A", "B"), [("y" * 5000, "z")])).splitlines()[1:]
    assert line == "y" * 299 + "…  z"


def test_no_rows_are_no_table() -> None:
    assert as_table(Table(("A",), [])) == ""
