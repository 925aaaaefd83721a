"""What becomes an alert, when it is told, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from samples import NOON, TEXT, snapshot

from mmd.alerts import (
    NAMED,
    Alert,
    Condition,
    Event,
    Kind,
    Refusal,
    Streak,
    ahead,
    backoff,
    ending,
    found_wrong,
    lasting,
    late,
    prolong,
    refused,
    tell,
    token_end,
    triage,
)
from mmd.findings import Finding
from mmd.findings import Kind as FindingKind
from mmd.plan import Held
from mmd.windows import Occurrence, SourceRef, Window

HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
GRACE = 2 * MINUTE


def condition(number: int = 1, kind: Kind = Kind.FAILED, **changes: str) -> Condition:
    values = {
        "cause": f"{kind.value}:id{number}",
        "source_id": f"id{number}",
        "subject": f"AD {number}",
        "detail": "it does not work",
        "next_step": "look at it",
    }
    return Condition(kind=kind, **{**values, **changes})


def alert(of: Condition, opened_at: datetime = NOON, reminded_at: datetime | None = None) -> Alert:
    return Alert(condition=of, opened_at=opened_at, reminded_at=reminded_at or opened_at)


def window(opens: datetime = NOON, length: timedelta = HOUR, **changes: object) -> Window:
    values = {
        "id": "w1",
        "sources": (SourceRef("id1", "AD"), SourceRef("id2", "HR")),
        "starts_local": opens.replace(tzinfo=None),
        "timezone": "UTC",
        "duration": length,
        "reason": "patch night",
        "created_at": opens - DAY,
        "effective_from": opens - DAY,
    }
    return Window(**{**values, **changes})  # type: ignore[arg-type] # a sample's fields, by name


def test_what_is_new_of_one_kind_is_one_message_however_much_it_is() -> None:
    verdict = triage([condition(n) for n in range(10_000)], [], now=NOON, remind_every=HOUR)
    (message,) = verdict.messages
    assert len(verdict.opened) == 10_000
    assert message.title == "failing: 10,000 sources"
    assert message.body.count("it does not work") == NAMED
    assert "… and 9,980 more" in message.body


def test_each_kind_has_a_message_of_its_own() -> None:
    verdict = triage([condition(1), condition(2, Kind.ZOMBIE)], [], now=NOON, remind_every=HOUR)
    assert [message.title for message in verdict.messages] == ["failing: AD 1", "zombie: AD 2"]


def test_a_message_says_what_is_wrong_since_when_and_what_to_do() -> None:
    (message,) = triage([condition()], [], now=NOON, remind_every=HOUR).messages
    assert message.body == (
        "AD 1 (id1): it does not work (alert since 2026-12-01 12:00Z)\n  next: look at it"
    )


def test_a_reminder_says_still_and_an_end_says_over() -> None:
    old = alert(condition())
    reminded = triage([condition()], [old], now=NOON + HOUR, remind_every=HOUR)
    cleared = triage([], [old], now=NOON + HOUR, remind_every=HOUR)
    assert [message.title for message in reminded.messages] == ["still failing: AD 1"]
    assert reminded.changed[0].reminded_at == NOON + HOUR
    assert [message.title for message in cleared.messages] == ["over: failing: AD 1"]


def test_a_changed_detail_is_kept_and_not_told_again() -> None:
    newer = condition(detail="it works even less")
    verdict = triage([newer], [alert(condition())], now=NOON + MINUTE, remind_every=HOUR)
    assert verdict.messages == ()
    assert [item.condition.detail for item in verdict.changed] == ["it works even less"]


def test_an_alert_that_gives_way_to_another_of_the_same_matter_is_not_told_as_over() -> None:
    orphan = condition(kind=Kind.ZOMBIE, cause="finding:id1:orphan")
    overdue = condition(kind=Kind.ZOMBIE, cause="finding:id1:overdue")
    verdict = triage([overdue], [alert(orphan)], now=NOON, remind_every=HOUR)
    assert [item.condition for item in verdict.cleared] == [orphan]
    assert [message.title for message in verdict.messages] == ["zombie: AD 1"]


def test_hostile_names_cannot_break_a_line_or_hide_one() -> None:
    nasty = condition(subject="AD\r\nBcc: all@example.com\x1b[2J\u202e" + "x" * 500, detail="a\nb" * 900)
    (message,) = triage([nasty], [], now=NOON, remind_every=HOUR).messages
    assert message.title.isprintable()
    assert len(message.title) < 120
    assert all(line.isprintable() for line in message.body.split("\n"))
    assert len(message.body.split("\n")) == 2
    assert len(message.body) < 600


@pytest.mark.parametrize(
    ("kind", "alerted"),
    [
        (FindingKind.OVERDUE, Kind.ZOMBIE),
        (FindingKind.ORPHAN, Kind.ZOMBIE),
        (FindingKind.FOREIGN, Kind.ZOMBIE),
        (FindingKind.HALF, Kind.ZOMBIE),
        (FindingKind.LOST, Kind.DRIFT),
        (FindingKind.PARTIAL, Kind.DRIFT),
        (FindingKind.CONTESTED, Kind.CONTESTED),
    ],
)
def test_every_finding_is_alerted(kind: FindingKind, alerted: Kind) -> None:
    finding = Finding(
        source_id="id1",
        source_name="AD",
        connector="",
        kind=kind,
        since=NOON,
        detail="flag set",
        next_step="`mmd restore id1`",
    )
    (found,) = found_wrong([finding])
    assert (found.kind, found.cause) == (alerted, f"finding:id1:{kind.value}")
    assert found.detail == f"{kind.value}: flag set"


def test_every_kind_of_finding_is_known() -> None:
    parameters = test_every_finding_is_alerted.pytestmark[0].args[1]  # type: ignore[attr-defined] # pytest's own
    assert {kind for kind, _ in parameters} == set(FindingKind)


def occurrence(opens: datetime = NOON) -> Occurrence:
    return Occurrence("w1", f"{opens:%Y-%m-%dT%H:%M}", opens, opens + HOUR)


def test_a_source_is_late_once_the_grace_is_over_and_until_it_is_verified() -> None:
    wanted = {"id1": ((window(), occurrence()),)}
    begun = Held(snapshot=snapshot(), claims=(), text=TEXT)
    entered = Held(snapshot=snapshot(), claims=(), text=TEXT, entered_at=NOON)

    def found(held: dict[str, Held], at: datetime, explained: tuple[str, ...] = ()) -> list[str]:
        return [it.cause for it in late(wanted, held, explained=explained, grace=GRACE, now=at)]

    cause = "late:w1:2026-12-01T12:00:id1"
    assert found({}, NOON + GRACE - MINUTE) == []
    assert found({}, NOON + GRACE) == [cause]
    assert found({"id1": begun}, NOON + GRACE) == [cause]
    assert found({"id1": entered}, NOON + GRACE) == []
    assert found({}, NOON + GRACE, explained=("id1",)) == []


def test_a_refusal_lasts_as_long_as_its_window_is_open() -> None:
    refusal = Refusal("w1", "2026-12-01T12:00", "id2", "ISC refused: features are read-only")
    (found,) = refused([refusal], [window()], NOON)
    assert (found.kind, found.subject) == (Kind.REFUSED, "HR")
    assert "read-only" in found.detail
    assert refused([refusal], [window()], NOON + HOUR) == []


def test_the_end_of_the_token_is_told_in_stages() -> None:
    def causes(days: float) -> list[str]:
        return [found.cause for found in ending(NOON + timedelta(days=days), [], NOON)]

    assert [causes(days) for days in (31, 30, 14, 7.5, 7, 1, -1)] == [
        [],
        ["token:30"],
        ["token:14"],
        ["token:14"],
        ["token:7"],
        ["token:1"],
        ["token:1"],
    ]
    assert ending(None, [], NOON) == []


def test_a_token_that_ends_inside_a_window_is_told_as_soon_as_it_is_planned() -> None:
    planned = window(NOON + 90 * DAY)
    (found,) = ending(NOON + 90 * DAY + MINUTE, [planned], NOON)
    assert "while windows are open: w1" in found.detail
    assert ending(NOON + 90 * DAY + HOUR, [planned], NOON) == []


def test_the_token_is_told_at_each_stage_and_not_in_between() -> None:
    told = []
    alerts: dict[str, Alert] = {}
    for hour in range(0, 40 * 24, 6):
        now = NOON + timedelta(hours=hour)
        conditions = ending(NOON + 35 * DAY, [], now)
        verdict = triage(conditions, alerts.values(), now=now, remind_every=HOUR)
        for gone in verdict.cleared:
            del alerts[gone.condition.cause]
        alerts |= {item.condition.cause: item for item in (*verdict.opened, *verdict.changed)}
        told += [(hour // 24, message.title) for message in verdict.messages]
    title = "the access token ends soon: client_id"
    assert told == [(5, title), (21, title), (28, title), (34, title)]


def test_the_own_token_is_found_among_others() -> None:
    ends = "2027-01-01T00:00:00.000Z"
    others = [{"id": "b", "expirationDate": "2026-01-01T00:00:00Z"}, {"id": "a", "expirationDate": "soon"}]
    assert token_end([*others, {"id": "a", "expirationDate": ends}], "a") == datetime(2027, 1, 1, tzinfo=UTC)
    assert token_end([*others, {"id": "a", "expirationDate": None}], "a") is None


def test_failures_are_told_when_they_last() -> None:
    streaks: dict[str, Streak] = {}
    told = []
    for seconds in (0, 1, 3):
        now = NOON + timedelta(seconds=seconds)
        streaks = prolong(streaks, [condition()], is_over=lambda _: False, now=now)
        told.append(len(lasting(streaks.values(), now)))
    assert told == [0, 0, 1]


def test_a_success_in_between_begins_the_count_anew() -> None:
    streaks = prolong({}, [condition()], is_over=lambda _: False, now=NOON)
    streaks = prolong(streaks, [condition()], is_over=lambda _: False, now=NOON)
    streaks = prolong(streaks, [], is_over=lambda it: it.source_id == "id1", now=NOON)
    streaks = prolong(streaks, [condition()], is_over=lambda _: False, now=NOON)
    assert [streak.times for streak in streaks.values()] == [1]


def test_an_unreachable_tenant_is_told_after_a_minute() -> None:
    down = condition(kind=Kind.UNREACHABLE)
    streaks = prolong({}, [down], is_over=lambda _: False, now=NOON)
    streaks = prolong(streaks, [down], is_over=lambda _: False, now=NOON + timedelta(seconds=59))
    assert lasting(streaks.values(), NOON + timedelta(seconds=59)) == []
    assert lasting(streaks.values(), NOON + MINUTE) == [down]


def test_a_clock_that_was_ahead_delays_neither_the_first_word_nor_the_next() -> None:
    down, ahead_by = condition(kind=Kind.UNREACHABLE), timedelta(days=365)
    streaks = prolong({}, [down], is_over=lambda _: False, now=NOON + ahead_by)
    streaks = prolong(streaks, [down], is_over=lambda _: False, now=NOON)
    assert lasting(streaks.values(), NOON + MINUTE) == [down]
    told = triage([down], [], now=NOON + ahead_by, remind_every=4 * HOUR).opened
    again = triage([down], told, now=NOON, remind_every=4 * HOUR)
    assert [message.title for message in again.messages] == ["still unreachable: AD 1"]
    assert triage([down], again.changed, now=NOON + HOUR, remind_every=4 * HOUR).messages == ()


def test_waits_grow_from_half_a_minute_to_an_hour() -> None:
    assert [round(backoff(n).total_seconds()) for n in (1, 2, 3, 8, 9, 10_000)] == [
        30,
        60,
        120,
        3600,
        3600,
        3600,
    ]


def test_openings_and_closings_are_announced_ahead() -> None:
    planned, leads = window(), (HOUR, 10 * MINUTE)

    def titles(at: datetime) -> list[str]:
        return [message.title for message in tell([it.event for it in ahead([planned], leads, at)])]

    assert titles(NOON - HOUR - MINUTE) == []
    assert titles(NOON - HOUR) == ["to be taken into maintenance: 2 sources"]
    assert titles(NOON - timedelta(seconds=1)) == ["to be taken into maintenance: 2 sources"]
    assert titles(NOON) == []  # it closes in an hour, as it opens: nothing to say
    assert titles(NOON + 50 * MINUTE) == ["to be restored: 2 sources"]
    assert titles(NOON + HOUR) == []


def test_of_several_leads_that_have_passed_the_shortest_counts() -> None:
    leads = (HOUR, 10 * MINUTE)
    long, short, shorter = (ahead([window()], leads, NOON - minutes * MINUTE) for minutes in (30, 10, 5))
    assert [len(found) for found in (long, short, shorter)] == [1, 1, 1]
    assert long[0].cause != short[0].cause
    assert short == shorter
    assert short[0].at == NOON


def test_an_extended_window_is_announced_anew() -> None:
    longer = window(length=2 * HOUR)
    first = ahead([window()], (10 * MINUTE,), NOON + 55 * MINUTE)
    second = ahead([longer], (10 * MINUTE,), NOON + 115 * MINUTE)
    assert first[0].cause != second[0].cause


def test_hostile_names_of_events_cannot_break_a_line() -> None:
    (message,) = tell([Event(kind=Kind.RESTORED, subject="AD\n\x1b[2J" + "x" * 500, detail="back\r\nBcc: x")])
    assert message.title.isprintable()
    assert message.body.isprintable()
    assert len(message.body) < 200


def test_events_of_one_kind_are_one_message() -> None:
    events = [Event(kind=Kind.RESTORED, subject=f"AD {n}", detail="back") for n in range(30)]
    messages = tell([*events, Event(kind=Kind.OPENED, subject="HR", detail="verified")])
    assert [message.title for message in messages] == ["restored: 30 sources", "in maintenance: HR"]
    assert "… and 10 more" in messages[0].body
