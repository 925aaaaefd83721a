"""Decisions about one source, where the table alone does not say it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from samples import NOON, TEXT, seen, snapshot

from mmd.escrow import Claim
from mmd.plan import Case, Held, Verb, decide
from mmd.posture import Observation
from mmd.windows import Occurrence, SourceRef, Window

END = NOON + timedelta(hours=1)
WINDOW = Window(
    id="w23456",
    sources=(SourceRef("id1", "AD"),),
    starts_local=NOON.replace(tzinfo=None),
    timezone="UTC",
    duration=timedelta(hours=1),
    reason="patches",
    created_by="me",
    created_at=NOON,
    effective_from=NOON,
    treatment="full",
)
CLAIM = Claim(
    window_id="w23456",
    key="2026-12-01T12:00:00",
    opens_at=NOON,
    closes_at=END,
    reason="patches",
    ticket="",
    owner="",
    created_by="me",
)
HELD = Held(snapshot=snapshot(), claims=(CLAIM,), text=TEXT, entered_at=NOON, verified=True)


def _case(held: Held, observed: Observation, *, wanted: bool = True) -> Case:
    item = Occurrence("w23456", CLAIM.key, NOON, END)
    return Case(
        source_id="id1",
        source_name="AD",
        wanted=((WINDOW, item),) if wanted else (),
        held=held,
        observed=observed,
    )


def _in_maintenance() -> Observation:
    return seen(HELD.snapshot.during, escrow=TEXT)


@pytest.mark.parametrize(
    ("at", "reason"), [(NOON - timedelta(minutes=1), "window about to open ("), (NOON, "window open (")]
)
def test_a_source_that_is_entered_ahead_says_so(at: datetime, reason: str) -> None:
    item = Occurrence("w23456", CLAIM.key, NOON, END)
    case = Case(
        source_id="id1",
        source_name="AD",
        wanted=((WINDOW, item),),
        observed=seen(HELD.snapshot.before),
        at=at,
    )
    action = decide(case)
    assert action.verb is Verb.ENTER
    assert action.reason.startswith(reason)


def test_a_source_in_maintenance_that_was_verified_is_left_alone() -> None:
    assert decide(_case(HELD, _in_maintenance())).verb is Verb.WAIT


def test_a_source_in_maintenance_that_was_never_verified_is_looked_at() -> None:
    action = decide(_case(replace(HELD, entered_at=None, verified=False), _in_maintenance()))
    assert action.verb is Verb.REENTER
    assert action.reason.startswith("in maintenance, and not verified yet")


def test_what_no_window_wants_is_restored_and_not_verified_first() -> None:
    never = replace(HELD, entered_at=None, verified=False)
    assert decide(_case(never, _in_maintenance(), wanted=False)).verb is Verb.RESTORE
