"""Every way in which something can go wrong has a test that exists, or says why it has none."""

from __future__ import annotations

import ast
from functools import cache

import pytest
from catalogue import ROOT, TARGET, Row, page, rows

STATUSES = {"", "pending", "not built"}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(
        item.name for item in tree.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_every_failure_has_a_test_that_exists_or_a_reason(row: Row) -> None:
    assert row.status in STATUSES
    assert bool(row.tests) != bool(row.status and row.reason)
    for test in row.tests:
        path, _, name = test.partition("::")
        assert name in names_in(path), test


def test_the_catalogue_is_whole() -> None:
    counts = {letter: sum(row.id.startswith(letter) for row in rows()) for letter in "ABCDEFGHI"}
    assert counts == {"A": 14, "B": 32, "C": 9, "D": 19, "E": 20, "F": 14, "G": 6, "H": 10, "I": 12}


def test_the_page_is_what_the_catalogue_says() -> None:
    assert TARGET.read_text("utf-8") == page(), "run: python tests/catalogue.py"
