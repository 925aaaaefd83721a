"""Tables: aligned, and cut only where a terminal has no room."""

from __future__ import annotations

from mmd.cli.output import Table, as_table

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


def test_not_even_a_file_gets_a_line_without_end() -> None:
    (line,) = as_table(Table(("A", "B"), [("y" * 5000, "z")])).splitlines()[1:]
    assert line == "y" * 299 + "…  z"


def test_no_rows_are_no_table() -> None:
    assert as_table(Table(("A",), [])) == ""
