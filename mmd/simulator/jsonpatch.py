"""JSON Patch (RFC 6902) over JSON Pointer (RFC 6901): whole, or not at all.

The functions take a document and return a new one; nothing given to them is changed.
Every refusal is a 400 Problem, as ISC's guide to patch requests has it (docs/isc.md §4).
"""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from mmd.simulator.problems import rejected

if TYPE_CHECKING:
    from collections.abc import Callable

Json: TypeAlias = Any  # a decoded JSON value: checked where it is used, as any peer's input is
Operation: TypeAlias = dict[str, Json]

_INDEX = re.compile(r"0|[1-9][0-9]*")
_WRITES_VALUE = frozenset({"add", "replace", "test"})
_TAKES_FROM = frozenset({"move", "copy"})


def apply(document: Json, operations: Json, *, allow_null: bool = False) -> Json:
    """Return `document` with all operations applied in order; the first that fails refuses them all."""
    result = copy.deepcopy(document)
    for operation in checked(operations, allow_null=allow_null):
        result = _HANDLERS[operation["op"]](result, operation)
    return result


def checked(operations: Json, *, allow_null: bool = False) -> list[Operation]:
    """Return the operations when their form is right; nothing is applied."""
    if not isinstance(operations, list):
        raise rejected("A JSON patch is an array of operations.")
    for operation in operations:
        _check_form(operation, allow_null=allow_null)
    return operations


def touched(operation: Operation) -> list[str]:
    """The pointers that an operation may change."""
    if operation["op"] == "test":
        return []
    return [operation["path"], operation["from"]] if operation["op"] == "move" else [operation["path"]]


def split(pointer: str) -> list[str]:
    """The unescaped steps of a JSON Pointer."""
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise rejected(f"The path {pointer!r} is not a JSON pointer.")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]


def same(left: Json, right: Json) -> bool:
    """JSON equality: numbers by value, and true is not 1 (RFC 6902 §4.6)."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def _check_form(operation: Json, *, allow_null: bool) -> None:
    if not isinstance(operation, dict) or operation.get("op") not in _HANDLERS:
        raise rejected("An operation must have one of the ops add, remove, replace, move, copy, test.")
    if not isinstance(operation.get("path"), str):
        raise rejected("An operation must have a path.")
    if operation["op"] in _TAKES_FROM and not isinstance(operation.get("from"), str):
        raise rejected(f"The op {operation['op']} must have a from.")
    if operation["op"] in _WRITES_VALUE:
        _check_value(operation, allow_null=allow_null)


def _check_value(operation: Operation, *, allow_null: bool) -> None:
    if "value" not in operation:
        raise rejected(f"The op {operation['op']} must have a value.")
    if operation["value"] is None and not allow_null:
        raise rejected(f"The value of {operation['path']} must not be null.")


def _down(node: Json, step: str, pointer: str) -> Json:
    if isinstance(node, dict) and step in node:
        return node[step]
    if isinstance(node, list) and _INDEX.fullmatch(step) and int(step) < len(node):
        return node[int(step)]
    raise rejected(f"The path {pointer} does not exist.")


def _read(document: Json, pointer: str) -> Json:
    node = document
    for step in split(pointer):
        node = _down(node, step, pointer)
    return node


def _parent(document: Json, pointer: str) -> tuple[Json, str]:
    """The container that a pointer ends in, and its last step."""
    *above, last = split(pointer)
    node = document
    for step in above:
        node = _down(node, step, pointer)
    if not isinstance(node, dict | list):
        raise rejected(f"The path {pointer} does not exist.")
    return node, last


def _put(document: Json, pointer: str, value: Json) -> Json:
    if pointer == "":
        return value
    parent, last = _parent(document, pointer)
    if isinstance(parent, dict):
        parent[last] = value
    else:
        parent.insert(_insertion(parent, last, pointer), value)
    return document


def _insertion(array: list[Json], step: str, pointer: str) -> int:
    if step == "-":
        return len(array)
    if _INDEX.fullmatch(step) and int(step) <= len(array):
        return int(step)
    raise rejected(f"The path {pointer} is outside its array.")


def _add(document: Json, operation: Operation) -> Json:
    return _put(document, operation["path"], copy.deepcopy(operation["value"]))


def _remove_at(document: Json, pointer: str) -> Json:
    if pointer == "":
        raise rejected("The whole document cannot be removed.")
    parent, last = _parent(document, pointer)
    _down(parent, last, pointer)
    if isinstance(parent, dict):
        del parent[last]
    else:
        del parent[int(last)]
    return document


def _remove(document: Json, operation: Operation) -> Json:
    return _remove_at(document, operation["path"])


def _replace(document: Json, operation: Operation) -> Json:
    if operation["path"] == "":
        return copy.deepcopy(operation["value"])
    parent, last = _parent(document, operation["path"])
    _down(parent, last, operation["path"])
    parent[last if isinstance(parent, dict) else int(last)] = copy.deepcopy(operation["value"])
    return document


def _move(document: Json, operation: Operation) -> Json:
    source, target = operation["from"], operation["path"]
    if target.startswith(f"{source}/"):
        raise rejected("A value cannot be moved into itself.")
    value = _read(document, source)
    return document if source == target else _put(_remove_at(document, source), target, value)


def _copy(document: Json, operation: Operation) -> Json:
    return _put(document, operation["path"], copy.deepcopy(_read(document, operation["from"])))


def _test(document: Json, operation: Operation) -> Json:
    if not same(_read(document, operation["path"]), operation["value"]):
        raise rejected(f"The test of {operation['path']} failed.")
    return document


_HANDLERS: dict[str, Callable[[Json, Operation], Json]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
