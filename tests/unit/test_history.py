"""Whether a source was in maintenance: planned, applied and observed, told apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mmd.history import BRIDGE, Answer, Applied, Found, Planned, Seen, Stretch, Timeline, stretches, was
from mmd.posture import Posture

DAY = datetime(2026, 12, 1, tzinfo=UTC)
NORMAL, MAINTENANCE, MIXED, UNKNOWN = (
    Posture.NORMAL,
    Posture.MAINTENANCE,
    Posture.MIXED,
    Posture.UNKNOWN,
)


def at(clock: str) -> datetime:
    hour, minute, second = (*map(int, clock.split(":")), 0)[:3]
    return DAY + timedelta(hours=hour, minutes=minute, seconds=second)


LATER = at("23:59")


def line(
    *seen: tuple[str, Posture, str] | tuple[str, Posture],
    applied: tuple[Applied, ...] = (),
    planned: tuple[Planned, ...] = (),
    found: tuple[Found, ...] = (),
    watched: tuple[tuple[str, str], ...] = (("00:00", "23:58"),),
    looked: str | None = None,
    lost: str | None = None,
) -> Timeline:
    return Timeline(
        source_id="id1",
        source_name="HR",
        seen=tuple(
            Seen(at=at(item[0]), posture=item[1], last_look=at(item[2]) if len(item) == 3 else None)
            for item in seen
        ),
        applied=applied,
        planned=planned,
        found=found,
        watched=tuple((at(since), at(until)) for since, until in watched),
        looked_at=at(looked) if looked else None,
        lost_at=at(lost) if lost else None,
    )


def entry(
    taken: str, entered: str | None = None, restored: str | None = None, released: str | None = None
) -> Applied:
    return Applied(
        snapshot_id="s1",
        window_ids=("w1",),
        taken_at=at(taken),
        entered_at=at(entered) if entered else None,
        restored_at=at(restored) if restored else None,
        released_at=at(released) if released else None,
    )


def recalled(item: Applied, look: str | None) -> Applied:
    """The same of a source that was in maintenance by someone else's hand, last looked at then."""
    return replace(item, recalled=True, last_look=at(look) if look else None)


def asked(timeline: Timeline, clock: str) -> bool | None:
    return was(timeline, at(clock), now=LATER).in_maintenance


WINDOW = Planned(window_id="w1", key="k", opens_at=at("10:00"), closes_at=at("12:00"), reason="patches")
# The daemon was late by ten minutes; it took eight seconds each way.
LATE = line(
    ("08:00", NORMAL),
    ("10:10:09", MAINTENANCE, "10:08"),
    ("12:00:09", NORMAL, "11:59:40"),
    applied=(entry("10:10:01", "10:10:08", "12:00:08"),),
    planned=(WINDOW,),
)
# It died at half past ten, and came back at one o'clock; nothing was watched meanwhile.
CRASH = line(
    ("08:00", NORMAL),
    ("10:00:09", MAINTENANCE, "09:58"),
    ("13:00:09", NORMAL, "10:29:50"),
    applied=(entry("10:00:01", "10:00:08", "13:00:08"),),
    planned=(WINDOW,),
    watched=(("08:00", "10:28"), ("13:00:30", "15:00")),
)
# Somebody set the marker at some time between 10:00 and 10:05, and took it off between 11:00 and 11:05.
ZOMBIE = line(
    ("08:00", NORMAL),
    ("10:05", MAINTENANCE, "10:00"),
    ("11:05", NORMAL, "11:00"),
    found=(Found(kind="orphan", since=at("10:05"), cleared_at=at("11:05"), detail="the marker is set"),),
)
# It died while it was entering, and went on an hour later.
HALF_WAY = line(
    ("08:00", NORMAL),
    ("11:00:05", MAINTENANCE, "09:58"),
    applied=(entry("10:00:01", "11:00:04"),),
    planned=(WINDOW,),
    watched=(("08:00", "09:58"), ("11:00", "11:30")),
)
# Somebody ended it by hand, and mmd was told to respect that.
BY_HAND = line(
    ("08:00", NORMAL),
    ("10:00:09", MAINTENANCE, "09:58"),
    ("11:00", MIXED, "10:59:30"),
    ("12:00:09", NORMAL, "11:59:40"),
    applied=(entry("10:00:01", "10:00:08", "12:00:08"),),
)
# A frozen process woke up after the restoration; the source was held again and restored again.
REOPENED = line(
    ("08:00", NORMAL),
    ("10:00:09", MAINTENANCE),
    ("11:00:09", NORMAL, "10:59"),
    ("11:10", MIXED, "11:09"),
    ("11:10:30", NORMAL, "11:10"),
    applied=(entry("10:00:01", "10:00:08", "11:10:29"),),
)
# ISC could not be asked for a minute; a sweep noted that, and mmd held the source all along.
UNREADABLE = line(
    ("08:00", NORMAL),
    ("10:00:09", MAINTENANCE),
    ("10:30", UNKNOWN, "10:29"),
    ("10:31", MAINTENANCE, "10:29"),
    applied=(entry("10:00:01", "10:00:08"),),
    watched=(),
)
CASES: dict[str, tuple[Timeline, dict[str, bool | None]]] = {
    "a late entry": (
        LATE,
        {
            "09:59": False,
            "10:05": False,
            "10:10": False,
            "10:10:01": None,
            "10:10:07": None,
            "10:10:08": True,
            "11:00": True,
            "12:00:07": True,
            "12:00:08": False,
            "13:00": False,
        },
    ),
    "a crash": (
        CRASH,
        {"10:15": True, "11:00": True, "12:30": True, "13:00:07": True, "13:00:08": False, "14:00": False},
    ),
    "a zombie": (
        ZOMBIE,
        {
            "10:00": False,
            "10:00:01": None,
            "10:04:59": None,
            "10:05": True,
            "11:00": True,
            "11:02": None,
            "11:05": False,
            "12:00": False,
        },
    ),
    "half entered": (
        HALF_WAY,
        {"09:59": False, "10:00:01": None, "10:30": None, "11:00:04": True, "23:00": True},
    ),
    "ended by hand": (
        BY_HAND,
        {"10:59": True, "10:59:45": None, "11:00": None, "11:30": None, "12:00:08": False, "12:30": False},
    ),
    "held again": (
        REOPENED,
        {"10:30": True, "10:59:30": None, "11:05": False, "11:10:05": None, "11:10:29": False},
    ),
    "unreadable while held": (UNREADABLE, {"10:29": True, "10:30:30": True, "10:45": True, "12:00": True}),
    "never seen": (line(), {"10:00": None}),
    "before it was first seen": (line(("10:00", NORMAL)), {"09:59:59": None, "10:00": False}),
    "planned only": (line(planned=(WINDOW,), watched=()), {"11:00": None}),
    "planned, and seen normal": (line(("08:00", NORMAL), planned=(WINDOW,)), {"11:00": False}),
    "neither one nor the other": (line(("08:00", MIXED)), {"11:00": None}),
    "unreadable": (line(("08:00", NORMAL), ("10:00", UNKNOWN, "09:55")), {"09:50": False, "11:00": None}),
    "a gap with the same on both sides": (
        line(("08:00", NORMAL), watched=(("08:00", "09:00"), ("09:59", "11:00"))),
        {"09:30": False},
    ),
    "a long gap with the same on both sides": (
        line(("08:00", NORMAL), watched=(("08:00", "09:00"), ("10:01", "11:00"))),
        {"09:00": False, "09:30": None, "10:01": False},
    ),
    "a gap with another on either side": (
        line(("08:00", NORMAL), ("09:30", MAINTENANCE), watched=(("08:00", "09:00"), ("09:30", "11:00"))),
        {"09:00": False, "09:15": None, "09:30": True},
    ),
    "after the last look": (line(("08:00", NORMAL), watched=(("08:00", "09:00"),)), {"09:00:01": None}),
    "read by itself after the last sweep": (
        line(("08:00", NORMAL), watched=(("08:00", "09:00"),), looked="09:30"),
        {"09:15": False, "09:30": False, "09:31": None},
    ),
    "gone from the tenant": (
        line(("08:00", NORMAL), looked="10:00", lost="10:05"),
        {"10:00": False, "10:03": None, "11:00": None},
    ),
    "an entry given up for a newer one": (
        line(("08:00", NORMAL), applied=(entry("10:00", "10:01", released="11:00"),)),
        {"10:30": True, "11:30": None},
    ),
    "an entry nobody finished": (
        line(("08:00", NORMAL), applied=(entry("10:00", restored="10:30"),)),
        {"10:15": None, "10:30": False},
    ),
    "a zombie that was adopted after a gap": (
        line(("08:00", MAINTENANCE), applied=(entry("09:30", "09:31"),), watched=(("08:00", "09:00"),)),
        {"09:00": True, "09:15": None, "09:31": True},
    ),
    "a death right after the entry": (
        line(("08:00", NORMAL), ("12:00", MAINTENANCE, "09:58"), applied=(entry("10:00", "10:01"),)),
        {"11:00": True, "12:00": True},
    ),
    "held, and cannot be read any more": (
        line(
            ("10:01", MAINTENANCE),
            applied=(entry("10:00", "10:01"),),
            looked="10:30",
            lost="10:31",
            watched=(),
        ),
        {"12:00": True},
    ),
    "a zombie that no sweep had seen, restored": (
        line(("08:00", NORMAL), applied=(recalled(entry("10:00", restored="10:01"), "09:57"),)),
        {"09:57": False, "09:58": None, "09:59:59": None, "10:00": None, "10:01": False, "11:00": False},
    ),
    "a zombie that no sweep had seen, adopted": (
        line(
            ("08:00", NORMAL),
            ("10:00:01", MAINTENANCE, "09:57"),
            applied=(recalled(entry("10:00", "10:01"), None),),
        ),
        {"09:57": False, "09:58": None, "10:00": None, "10:01": True, "11:00": True},
    ),
    "a zombie that a sweep saw while it was adopted": (
        line(
            ("08:00", NORMAL),
            ("10:00:01", MAINTENANCE, "09:57"),
            applied=(recalled(entry("10:00", "10:01"), "10:00:01"),),
        ),
        {"09:57": False, "09:58": None, "10:00": None, "10:01": True},
    ),
    "a zombie of which no look before is on file": (
        line(("08:00", NORMAL), applied=(recalled(entry("10:00", restored="10:01"), None),)),
        {"08:00": False, "09:00": None, "10:01": False},
    ),
    "a zombie that a sweep had seen, adopted": (
        line(("08:00", MAINTENANCE), applied=(recalled(entry("10:00", "10:01"), "09:57"),)),
        {"09:59": True, "10:00:30": None, "10:01": True},
    ),
    "an adopted zombie": (
        line(("08:00", MAINTENANCE), applied=(entry("10:00", "10:01"),)),
        {"09:59": True, "10:00:30": None, "10:01": True, "20:00": True},
    ),
}


@pytest.mark.parametrize(
    ("name", "clock", "expected"),
    [(name, clock, expected) for name, (_, answers) in CASES.items() for clock, expected in answers.items()],
)
def test_it_was_or_was_not_or_is_not_known(name: str, clock: str, expected: bool | None) -> None:
    assert asked(CASES[name][0], clock) is expected


def test_what_is_to_come_is_not_known_and_what_is_planned_is_said() -> None:
    answer = was(LATE, at("11:00"), now=at("10:59"))
    assert answer == Answer(
        None,
        (
            "planned: w1 from 2026-12-01T10:00:00Z to 2026-12-01T12:00:00Z: patches",
            "observed: nothing, because the instant is still to come",
        ),
    )


def test_now_is_no_longer_to_come() -> None:
    assert was(LATE, at("11:00"), now=at("11:00")).in_maintenance is True


def evidence(timeline: Timeline, clock: str) -> tuple[str, ...]:
    return was(timeline, at(clock), now=LATER).evidence


def test_a_late_entry_shows_what_was_planned_beside_what_was() -> None:
    assert (
        evidence(LATE, "10:05")
        == (
            "planned: w1 from 2026-12-01T10:00:00Z to 2026-12-01T12:00:00Z: patches",
            "applied: nothing",
            "observed: seen normal at 2026-12-01T08:00:00Z, then in maintenance at 2026-12-01T10:10:09Z",
            "observed: the tenant was watched from 2026-12-01T00:00:00Z to 2026-12-01T23:58:00Z",
        )
        or "nobody looked" in evidence(LATE, "10:09")[-1]
    )


def test_a_crash_shows_until_when_mmd_held_it() -> None:
    assert evidence(CRASH, "12:30") == (
        "planned: nothing",
        (
            "applied: entered by mmd from 2026-12-01T10:00:01Z for w1, verified in maintenance at"
            " 2026-12-01T10:00:08Z, back at 2026-12-01T13:00:08Z"
        ),
        "observed: seen in maintenance at 2026-12-01T10:00:09Z, then normal at 2026-12-01T13:00:09Z",
        "observed: nobody watched the whole tenant then",
    )


def test_a_zombie_shows_its_finding() -> None:
    assert evidence(ZOMBIE, "10:30")[1:4] == (
        "applied: nothing",
        "observed: seen in maintenance at 2026-12-01T10:05:00Z, then normal at 2026-12-01T11:05:00Z",
        "observed: orphan from 2026-12-01T10:05:00Z until 2026-12-01T11:05:00Z: the marker is set",
    )


def test_where_nobody_looked_it_says_between_what() -> None:
    assert evidence(ZOMBIE, "10:02")[-1] == (
        "observed: nobody looked at the source after 2026-12-01T10:00:00Z, until 2026-12-01T10:05:00Z"
    )


@pytest.mark.parametrize(
    ("timeline", "clock", "said"),
    [
        (HALF_WAY, "10:30", "verified in maintenance only at 2026-12-01T11:00:04Z, not back yet"),
        (CASES["an entry nobody finished"][0], "10:15", "never verified in maintenance, back at"),
        (CASES["an entry given up for a newer one"][0], "10:30", "given up at 2026-12-01T11:00:00Z"),
        (LATE, "13:00", "applied: back, and verified, at 2026-12-01T12:00:08Z"),
        (line(), "10:00", "observed: seen not by then"),
        (line(), "10:00", "observed: nobody looked at the source before that"),
        (UNREADABLE, "10:30:30", "observed: seen unreadable at"),
        (BY_HAND, "11:30", "observed: seen half in maintenance, neither one nor the other, at"),
        (
            line(found=(Found(kind="half", since=at("09:00"), detail="health check is off"),)),
            "10:00",
            "observed: half from 2026-12-01T09:00:00Z and it still is: health check is off",
        ),
    ],
)
def test_the_evidence_says_so(timeline: Timeline, clock: str, said: str) -> None:
    assert said in "\n".join(evidence(timeline, clock))


def test_each_sentence_names_its_lane() -> None:
    for timeline, answers in CASES.values():
        for clock in answers:
            lanes = [sentence.partition(": ")[0] for sentence in evidence(timeline, clock)]
            assert lanes == sorted(lanes, key=["planned", "applied", "observed"].index)
            assert set(lanes) == {"planned", "applied", "observed"}


def test_a_posture_is_known_in_stretches() -> None:
    known = stretches(line(("08:00", NORMAL), ("10:05", MAINTENANCE, "10:00")))
    whole = [item for item in known if item.since != item.until]
    assert whole == [
        Stretch(at("08:00"), at("10:00"), NORMAL),
        Stretch(at("10:05"), at("23:58"), MAINTENANCE),
    ]


def test_a_bridge_spans_an_hour() -> None:
    assert timedelta(hours=1) == BRIDGE
