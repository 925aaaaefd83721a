"""Whose doing it is what is amiss on a source after its release."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from samples import NOON

from mmd.aftermath import LATE, is_late, is_owed
from mmd.posture import ACCOUNTS, GROUPS, Json

DELETE, POST = f"DELETE schedule {ACCOUNTS}", f"POST schedule {ACCOUNTS}"
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Told:
    """A line of the journal, so many minutes after noon."""

    minute: float
    kind: str
    body: dict[str, Json] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        return NOON + self.minute * MINUTE


def intent(minute: float, request: str = DELETE) -> Told:
    return Told(minute, "intent", {"request": request})


def outcome(minute: float, how: str = "ok", request: str = DELETE) -> Told:
    return Told(minute, "outcome", {"request": request, "outcome": how})


@pytest.mark.parametrize(
    ("lines", "within", "afterwards"),
    [
        ([], False, False),
        ([intent(0), outcome(0)], False, False),
        ([intent(0), outcome(31)], True, True),
        ([intent(0)], True, False),
        ([intent(0), outcome(0, "unknown")], True, False),
        ([intent(0), outcome(0, "unknown"), intent(1), outcome(1)], False, False),
        ([intent(20), outcome(20, "unknown"), intent(21), outcome(21)], True, False),
        ([intent(0), outcome(0, "rejected")], False, False),
    ],
    ids=[
        "never sent",
        "answered",
        "answered after the release",
        "never answered",
        "a gateway's timeout",
        "one long ago, and once more",
        "one lately, and once more",
        "refused",
    ],
)
def test_a_request_may_be_carried_out_late(lines: list[Told], *, within: bool, afterwards: bool) -> None:
    released = NOON + 30 * MINUTE
    told = sorted([*lines, Told(30, "released")], key=lambda line: line.minute)
    assert is_late(told, DELETE, released, released + MINUTE) is within
    assert is_late(told, DELETE, released, released + LATE) is afterwards
    assert not is_late(told, f"DELETE schedule {GROUPS}", released, released + MINUTE)


def test_a_clock_that_went_back_makes_no_answer_late() -> None:
    told = [intent(100), outcome(100), Told(30, "released")]
    assert not is_late(told, DELETE, NOON + 30 * MINUTE, NOON + 31 * MINUTE)


@pytest.mark.parametrize(
    ("lines", "owed"),
    [
        ([], False),
        ([intent(0), outcome(0)], True),
        ([intent(0), outcome(0), Told(1, "entered")], False),
        ([intent(0), outcome(0), Told(1, "verified"), intent(2), outcome(2)], True),
        ([intent(0), outcome(0), intent(1, POST), outcome(1, "unknown", POST)], False),
        ([intent(0), outcome(0, "rejected")], False),
        ([intent(0)], False),
    ],
    ids=["never", "deleted", "seen gone", "deleted again", "created since", "refused", "not known"],
)
def test_a_schedule_is_owed(lines: list[Told], *, owed: bool) -> None:
    assert is_owed(lines, ACCOUNTS) is owed
    assert not is_owed(lines, GROUPS)
