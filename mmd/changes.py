"""What to send to ISC so that a source looks as it should: the steps of entering and restoring, as values.

Pure: from a live observation and the fields it should have, to JSON Patch operations and schedules to create.
The order inside a patch matters, because nothing says that ISC applies one whole (docs/isc.md §10): the
escrow is the first thing on and the last thing off, so that any prefix of a patch can be restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mmd.posture import ESCROW, FLAGS, MARKER, OWN_KEYS, Fields, Json, Observation, Treatment, canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.posture import Snapshot

FEATURES_PATH: Final = "/features"


@dataclass(frozen=True, slots=True)
class Operation:
    """One JSON Patch operation (RFC 6902); `value` means nothing for remove."""

    op: Literal["add", "remove", "replace"]
    path: str
    value: Json = None

    def wire(self) -> dict[str, Json]:
        """Return it as it goes over the wire; ISC's schema has no null values (docs/isc.md §4)."""
        document: dict[str, Json] = {"op": self.op, "path": self.path}
        return document if self.op == "remove" else {**document, "value": self.value}


def shelter(live: Observation, held: Snapshot, escrow: str) -> tuple[Operation, ...]:
    """First write of entering: the second copy, before anything is destroyed, and the forum's cron keys."""
    crons = [key for key in OWN_KEYS if key != MARKER]
    return (
        *_attribute_operations(live, {ESCROW: escrow}, (ESCROW,)),
        *_attribute_operations(live, held.during.attributes, crons),
    )


def suppress(live: Observation, held: Snapshot) -> tuple[Operation, ...]:
    """Second write of entering: the treatment, and the marker last."""
    during = held.during
    return (
        *(() if held.treatment is Treatment.KEEP_FEATURES else _feature_operations(live, during)),
        *_attribute_operations(live, during.attributes, (*FLAGS, MARKER)),
    )


def undo(live: Observation, goal: Fields) -> tuple[Operation, ...]:
    """First write of restoring: the treatment undone, while marker and escrow still tell what is going on."""
    return (
        *_feature_operations(live, goal),
        *_attribute_operations(live, goal.attributes, FLAGS),
    )


def clear(live: Observation, goal: Fields) -> tuple[Operation, ...]:
    """Last write of restoring: mmd's own keys go, the escrow last of all."""
    return (
        *_attribute_operations(live, goal.attributes, (MARKER, *(key for key in OWN_KEYS if key != MARKER))),
        *_attribute_operations(live, {}, (ESCROW,)),
    )


def missing_schedules(live: Mapping[str, str], goal: Mapping[str, str]) -> dict[str, str]:
    """Return the schedules to create, cron by type; one that exists is never overwritten."""
    return {kind: cron for kind, cron in goal.items() if kind not in live}


def without_nulls(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """Return the operations with what would become null taken off instead (docs/isc.md §4)."""
    return tuple(
        Operation("remove", item.path) if item.op == "add" and item.value is None else item
        for item in operations
    )


def _feature_operations(live: Observation, goal: Fields) -> tuple[Operation, ...]:
    if set(live.fields.features) == set(goal.features):
        return ()
    return (Operation("replace", FEATURES_PATH, list(goal.features)),)


def _attribute_operations(
    live: Observation, goal: Mapping[str, Json], keys: Sequence[str]
) -> tuple[Operation, ...]:
    """Bring keys to their goal; what is null counts as absent, and is left as it is."""
    present = live.attributes or {}
    differing = [key for key in keys if canonical(present.get(key)) != canonical(goal.get(key))]
    paths = {key: f"/connectorAttributes/{key}" for key in differing}
    return tuple(
        Operation("add", path, goal[key]) if key in goal else Operation("remove", path)
        for key, path in paths.items()
    )
