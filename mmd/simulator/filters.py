"""The `filters` and `sorters` of ISC's collections (docs/isc.md §4).

Conditions joined by `and`; each field takes the operators the documents list for it, all else is a 400.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmd.simulator.problems import rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RANGE = _words("eq in ge gt le lt ne isnull sw")

SOURCE_FILTERS: Mapping[str, frozenset[str]] = {
    "id": _RANGE,
    "name": _words("co eq in sw ge gt ne isnull"),
    "type": _words("eq in ge gt ne isnull sw"),
    "owner.id": _RANGE,
    "features": _words("ca co"),
    "created": _RANGE,
    "modified": _RANGE,
    "managementWorkgroup.id": _RANGE,
    "description": _words("eq sw"),
    "authoritative": _words("eq ne isnull"),
    "healthy": _words("isnull"),
    "status": _RANGE,
    "connectionType": _RANGE,
    "connectorName": _words("eq ge gt in ne isnull sw"),
    "category": _words("co eq ge gt in le lt ne sw"),
}
SOURCE_SORTERS = _words(
    "type created modified name owner.name healthy status id description owner.id"
    " accountCorrelationConfig.id accountCorrelationConfig.name managerCorrelationRule.type"
    " managerCorrelationRule.id managerCorrelationRule.name authoritative managementWorkgroup.id"
    " connectorName connectionType"
)
TASK_FILTERS: Mapping[str, frozenset[str]] = {
    "id": _words("eq in"),
    "sourceId": _words("eq in"),
    "completionStatus": _words("eq in isnull"),
    "type": _words("eq in"),
    "launcher": _words("eq in"),
}
TASK_FILTERS_V2024 = {**TASK_FILTERS, "completionStatus": _words("eq in")}
"""The documents of v2024 do not list isnull: only completed tasks were to be had (docs/isc.md §0.11)."""
TASK_SORTERS = _words("created")
IDENTITY_FILTERS: Mapping[str, frozenset[str]] = {
    "id": _words("eq in"),
    "alias": _words("eq sw"),
    "email": _words("eq sw"),
    "firstname": _words("eq sw"),
    "lastname": _words("eq sw"),
}

_TOKEN = re.compile(r'\s*(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<mark>[(),])|(?P<word>[^\s"(),]+))')
_LIST_OPERATORS = frozenset({"in", "ca"})


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `values` is empty for isnull."""

    field: str
    operator: str
    values: tuple[str | bool, ...]

    def holds(self, item: Mapping[str, Any]) -> bool:
        """Tell whether the item meets the condition."""
        found = lookup(item, self.field)
        if self.operator == "isnull" or found is None:
            return self.operator == "isnull" and found is None
        return _OPERATORS[self.operator](found, self.values)


def parse(text: str, allowed: Mapping[str, frozenset[str]]) -> list[Condition]:
    """Return the conditions of a filter expression; 400 for what the collection does not document."""
    tokens = _tokens(text)
    conditions = [_condition(tokens, allowed)]
    while tokens:
        if _next(tokens).lower() != "and":
            raise rejected(f"The filter {text!r} is not supported.")
        conditions.append(_condition(tokens, allowed))
    return conditions


def ordered(
    items: Iterable[Mapping[str, Any]], sorters: str, allowed: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Return the items by the comma-separated sorters, `-` for descending, absent values last."""
    result = list(items)
    for sorter in reversed([part.strip() for part in sorters.split(",")]):
        name = sorter.removeprefix("-")
        if name not in allowed:
            raise rejected(f"Sorting by {name!r} is not supported.")
        result.sort(key=_sort_key(name), reverse=sorter.startswith("-"))
    return result


def lookup(item: Mapping[str, Any], path: str) -> object:
    """The value at a dotted path, or None."""
    found: Any = item
    for step in path.split("."):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _sort_key(name: str) -> Callable[[Mapping[str, Any]], tuple[bool, str]]:
    def key(item: Mapping[str, Any]) -> tuple[bool, str]:
        found = lookup(item, name)
        return found is None, str(found)

    return key


def _tokens(text: str) -> list[re.Match[str]]:
    """The tokens, last first, so that the next one is popped."""
    found: list[re.Match[str]] = []
    place = 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise rejected(f"The filter {text!r} could not be parsed.")
        found.append(match)
        place = match.end()
    return found[::-1]


def _next(tokens: list[re.Match[str]]) -> str:
    if not tokens:
        raise rejected("The filter ends too early.")
    token = tokens.pop()
    return token["word"] or token["mark"] or ""


def _condition(tokens: list[re.Match[str]], allowed: Mapping[str, frozenset[str]]) -> Condition:
    name, operator = _next(tokens), _next(tokens).lower()
    if operator not in allowed.get(name, frozenset()):
        raise rejected(f"Filtering {name!r} by {operator!r} is not supported.")
    if operator == "isnull":
        return Condition(name, operator, ())
    values = _values(tokens) if operator in _LIST_OPERATORS else (_value(tokens),)
    return Condition(name, operator, values)


def _value(tokens: list[re.Match[str]]) -> str | bool:
    if not tokens or tokens[-1]["mark"]:
        raise rejected("A filter needs a value.")
    token = tokens.pop()
    if token["text"] is not None:
        return re.sub(r"\\(.)", r"\1", token["text"])
    return {"true": True, "false": False}.get(token["word"], token["word"])


def _values(tokens: list[re.Match[str]]) -> tuple[str | bool, ...]:
    if _next(tokens) != "(":
        raise rejected("A list of values starts with a parenthesis.")
    values = [_value(tokens)]
    while (mark := _next(tokens)) == ",":
        values.append(_value(tokens))
    if mark != ")":
        raise rejected("A list of values ends with a parenthesis.")
    return tuple(values)


def _contains(found: object, values: tuple[str | bool, ...]) -> bool:
    return isinstance(found, str | list) and all(value in found for value in values)


_OPERATORS: dict[str, Callable[[object, tuple[str | bool, ...]], bool]] = {
    "eq": lambda found, values: found == values[0],
    "ne": lambda found, values: found != values[0],
    "in": lambda found, values: found in values,
    "sw": lambda found, values: str(found).startswith(str(values[0])),
    "co": _contains,
    "ca": _contains,
    "gt": lambda found, values: str(found) > str(values[0]),
    "ge": lambda found, values: str(found) >= str(values[0]),
    "lt": lambda found, values: str(found) < str(values[0]),
    "le": lambda found, values: str(found) <= str(values[0]),
}
