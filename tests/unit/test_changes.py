"""The steps of entering and restoring, as patches."""

from __future__ import annotations

from dataclasses import replace

from samples import BEFORE, TEXT, seen, snapshot

from mmd.changes import Operation, clear, missing_schedules, shelter, suppress, undo, without_nulls
from mmd.posture import (
    ACCOUNTS,
    ESCROW,
    GROUPS,
    HEALTH_FLAG,
    MARKER,
    PROVISIONING_FLAG,
    Fields,
    Observation,
    Treatment,
    merge,
)

ATTRIBUTES = "/connectorAttributes/"


def paths(operations: tuple[Operation, ...]) -> list[str]:
    return [f"{operation.op} {operation.path.removeprefix(ATTRIBUTES)}" for operation in operations]


def applied(live: Observation, operations: tuple[Operation, ...]) -> Observation:
    """Apply operations as ISC would, refusing what RFC 6902 refuses."""
    attributes, features = dict(live.attributes or {}), live.features
    for operation in operations:
        key = operation.path.removeprefix(ATTRIBUTES)
        if operation.path == "/features":
            assert isinstance(operation.value, list)
            features = tuple(str(name) for name in operation.value)
        elif operation.op == "remove":
            del attributes[key]
        else:
            attributes[key] = operation.value
    return replace(live, attributes=attributes, features=features)


def test_the_escrow_is_the_first_thing_on_and_the_marker_the_last() -> None:
    held = snapshot()
    first = shelter(seen(BEFORE), held, TEXT)
    assert paths(first) == [f"add {ESCROW}", "add accountaggregationschedule", "add groupaggregationschedule"]
    second = suppress(applied(seen(BEFORE), first), held)
    assert paths(second) == [
        "replace /features",
        f"add {PROVISIONING_FLAG}",
        f"add {HEALTH_FLAG}",
        f"add {MARKER}",
    ]


def test_the_escrow_is_the_last_thing_off() -> None:
    held = snapshot()
    live = seen(held.during, escrow=TEXT)
    goal = merge(held.after, held.during, live.fields)
    assert paths(undo(live, goal)) == [
        "replace /features",
        f"add {PROVISIONING_FLAG}",
        f"remove {HEALTH_FLAG}",
    ]
    assert paths(clear(live, goal)) == [
        f"remove {MARKER}",
        "remove accountaggregationschedule",
        "remove groupaggregationschedule",
        f"remove {ESCROW}",
    ]


def test_entering_and_restoring_is_the_identity() -> None:
    held, live = snapshot(), seen(BEFORE)
    live = applied(live, shelter(live, held, TEXT))
    live = applied(live, suppress(live, held))
    goal = merge(held.after, held.during, live.fields)
    live = applied(live, undo(live, goal))
    live = applied(live, clear(live, goal))
    assert live.attributes == BEFORE.attributes
    assert set(live.features or ()) == set(BEFORE.features)


def test_what_is_there_already_is_not_sent_again() -> None:
    held = snapshot()
    live = seen(held.during, escrow=TEXT)
    assert shelter(live, held, TEXT) == ()
    assert suppress(live, held) == ()


def test_a_string_is_written_back_as_a_string() -> None:
    live = seen(Fields((), {HEALTH_FLAG: True}))
    assert undo(live, Fields((), {HEALTH_FLAG: "true"})) == (
        Operation("add", ATTRIBUTES + HEALTH_FLAG, "true"),
    )


def test_features_are_not_switched_off_where_the_treatment_leaves_them() -> None:
    held = snapshot(Fields(("A", "B")), Treatment.KEEP_FEATURES)
    assert "replace /features" not in paths(suppress(seen(Fields(("A",))), held))


def test_a_null_that_was_there_is_sent_as_such_or_taken_off_and_is_as_good_as_absent() -> None:
    goal = Fields((), {HEALTH_FLAG: None})
    operations = undo(seen(Fields((), {HEALTH_FLAG: True})), goal)
    assert operations == (Operation("add", ATTRIBUTES + HEALTH_FLAG, None),)
    assert without_nulls(operations) == (Operation("remove", ATTRIBUTES + HEALTH_FLAG),)
    assert undo(seen(Fields(())), goal) == ()


def test_only_missing_schedules_are_created() -> None:
    assert missing_schedules({ACCOUNTS: "theirs"}, {ACCOUNTS: "ours", GROUPS: "ours"}) == {GROUPS: "ours"}


def test_remove_goes_without_a_value() -> None:
    assert Operation("remove", "/x").wire() == {"op": "remove", "path": "/x"}
    assert Operation("add", "/x", False).wire() == {"op": "add", "path": "/x", "value": False}
