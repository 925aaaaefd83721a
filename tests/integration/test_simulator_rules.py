"""The simulator's rules as values: JSON Patch, cron expressions, filters."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmd.simulator import filters, jsonpatch
from mmd.simulator.cron import is_quartz
from mmd.simulator.problems import Problem

DOCUMENT: dict[str, Any] = {"a": 1, "b": {"c": [1, 2], "x/y": 0, "m~n": 0}, "f": ["P", "Q"], "t": True}


def op(name: str, path: str, *value: object, **more: object) -> dict[str, Any]:
    return {"op": name, "path": path, **({"value": value[0]} if value else {}), **more}


def patched(*operations: dict[str, Any]) -> Any:  # noqa: ANN401 - any JSON
    return jsonpatch.apply(DOCUMENT, list(operations))


@pytest.mark.parametrize(
    ("operation", "pointer", "expected"),
    [
        (op("add", "/n", 5), "/n", 5),
        (op("add", "/a", 5), "/a", 5),
        (op("add", "/b/c/1", 9), "/b/c", [1, 9, 2]),
        (op("add", "/b/c/-", 9), "/b/c", [1, 2, 9]),
        (op("add", "/b/c/2", 9), "/b/c", [1, 2, 9]),
        (op("add", "/b/x~1y", 7), "/b/x~1y", 7),
        (op("replace", "/b/m~0n", 7), "/b/m~0n", 7),
        (op("replace", "/f", []), "/f", []),
        (op("replace", "", {"a": 2}), "/a", 2),
        (op("add", "", {"a": 2}), "/a", 2),
        (op("replace", "/f/0", "Z"), "/f", ["Z", "Q"]),
        (op("remove", "/b/c/0"), "/b/c", [2]),
        (op("copy", "/n", **{"from": "/b"}), "/n", DOCUMENT["b"]),
        (op("move", "/b/c/-", **{"from": "/a"}), "/b/c", [1, 2, 1]),
        (op("move", "/a", **{"from": "/a"}), "/a", 1),
        (op("test", "/b/c", [1.0, 2]), "/a", 1),
    ],
    ids=str,
)
def test_an_operation_does_what_rfc_6902_says(
    operation: dict[str, Any], pointer: str, expected: object
) -> None:
    result = patched(operation, op("test", pointer, expected))
    assert jsonpatch.apply(result, [op("test", pointer, expected)]) == result


@pytest.mark.parametrize(
    "operation",
    [
        op("remove", "/n"),
        op("replace", "/n", 1),
        op("add", "/n/deeper", 1),
        op("add", "/a/deeper", 1),
        op("add", "/t/deeper/still", 1),
        op("test", "/b/c/x", 1),
        op("add", "/b/c/3", 1),
        op("add", "/b/c/01", 1),
        op("remove", "/b/c/-"),
        op("remove", "/b/c/2"),
        op("remove", ""),
        op("test", "/a", 2),
        op("test", "/t", 1),
        op("test", "/f", ["Q", "P"]),
        op("move", "/b/c/-", **{"from": "/b"}),
        op("move", "/n", **{"from": "/none"}),
        op("copy", "/n"),
        op("add", "/n"),
        op("add", "/n", None),
        op("add", "n", 1),
        op("increase", "/a", 1),
        {"op": "add", "value": 1},
        {"path": "/a", "value": 1},
        "add",
    ],
    ids=str,
)
def test_a_bad_operation_refuses_the_whole_patch(operation: dict[str, Any]) -> None:
    before = copy.deepcopy(DOCUMENT)
    with pytest.raises(Problem) as refusal:
        patched(op("add", "/first", 1), operation)
    assert refusal.value.status == 400
    assert before == DOCUMENT


def test_a_patch_that_is_no_array_is_refused() -> None:
    with pytest.raises(Problem):
        jsonpatch.apply(DOCUMENT, {"op": "remove", "path": "/a"})


def test_null_is_stored_only_where_it_is_allowed() -> None:
    assert jsonpatch.apply({}, [op("add", "/n", None)], allow_null=True) == {"n": None}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=4), st.text(max_size=4), json_values)
def test_what_is_added_can_be_tested_and_removed(document: dict[str, Any], key: str, value: object) -> None:
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    added = jsonpatch.apply(
        document, [op("add", pointer, value), op("test", pointer, value)], allow_null=True
    )
    assert added == {**document, key: value}
    removed = jsonpatch.apply(added, [op("remove", pointer)])
    assert removed == {other: held for other, held in document.items() if other != key}


@pytest.mark.parametrize(
    "expression",
    [
        "0 0 5,13,21 * * ?",
        "0 0 12 1/1 * ? *",
        "0 0 6 * * ?",
        "0 15 2 ? * MON-FRI",
        "0 45 2 ? * 2-6",
        "0 0 3 ? * 1#1",
        "0 0 4 L * ?",
        "0 0 4 LW * ?",
        "0 0 4 15W * ?",
        "0 0 4 ? * 6L",
        "0 20 7 * * ? 2024-2099",
        "0 0/30 * * JAN,jul ?",
        "*/5 * * ? * sun",
    ],
)
def test_a_quartz_expression_is_taken(expression: str) -> None:
    assert is_quartz(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 5 * * *",
        "0 0 6 * * *",
        "0 0 6 ? * ?",
        "0 0 6 ? * 0",
        "0 0 6 ? * 8",
        "60 0 6 * * ?",
        "0 0 24 * * ?",
        "0 0 6 32 * ?",
        "0 0 6 * 13 ?",
        "0 0 6 * * ? 1969",
        "0 0 6 * * ? 2024 7",
        "0 0 6 */0 * ?",
        "0 0 ? * * ?",
        "0 0 6 MON * ?",
        "every day",
    ],
)
def test_what_quartz_would_not_take_is_refused(expression: str) -> None:
    assert not is_quartz(expression)


ITEM = {"id": "b2", "name": 'Q&A "x"', "owner": {"id": "o1"}, "features": ["P", "Q"], "authoritative": True}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('id eq "b2"', True),
        ('id eq "b"', False),
        ('id in ("a1", "b2")', True),
        ('id gt "b1" and id le "b2"', True),
        ('id ge "b3"', False),
        ('id lt "b2"', False),
        ('id ne "b2"', False),
        ('id sw "b"', True),
        ('name eq "Q&A \\"x\\""', True),
        ('name co "&A"', True),
        ('owner.id eq "o1"', True),
        ('features ca ("P","Q")', True),
        ('features ca ("P","R")', False),
        ('features co "Q"', True),
        ("authoritative eq true", True),
        ("healthy isnull", True),
        ("authoritative isnull", False),
        ('description eq "x"', False),
    ],
)
def test_a_filter_holds_for_what_it_says(text: str, *, holds: bool) -> None:
    conditions = filters.parse(text, filters.SOURCE_FILTERS)
    assert all(condition.holds(ITEM) for condition in conditions) is holds


@pytest.mark.parametrize(
    "text",
    [
        'connectorAttributes.maintenancemode eq "true"',
        'healthy eq "true"',
        'id co "b"',
        'id eq "a" or id eq "b"',
        'not id eq "a"',
        "id eq",
        "id",
        'id in "a"',
        'id in ("a"',
        'id in ("a" "b")',
        "id in ()",
        'id eq "unclosed',
    ],
)
def test_a_filter_that_is_not_documented_is_refused(text: str) -> None:
    with pytest.raises(Problem) as refusal:
        filters.parse(text, filters.SOURCE_FILTERS)
    assert refusal.value.status == 400
