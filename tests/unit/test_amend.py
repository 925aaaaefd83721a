"""What people do to a window: extend, end, cancel, skip, edit; and that history is never rewritten."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mmd.amend import Edit, cancel, edit, end, extend, left_out, over_at, settle, skip
from mmd.errors import Conflict, NotFound
from mmd.windows import SourceRef, Window, WindowState, occurrences, open_at, open_now, state, upcoming

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
START = datetime(2026, 12, 1, 21, tzinfo=UTC)
BEFORE = START - DAY
INSIDE = START + HOUR
AFTER = START + 10 * HOUR


def planned(**changes: object) -> Window:
    window = Window(
        id="w234567",
        sources=(SourceRef("s1", "HR"), SourceRef("s2", "AD")),
        starts_local=datetime(2026, 12, 1, 22),  # noqa: DTZ001 - local
        timezone="Europe/Berlin",
        duration=2 * HOUR,
        reason="patching",
        created_at=BEFORE,
        effective_from=BEFORE,
    )
    return replace(window, **changes)  # type: ignore[arg-type] # the names are the window's own


def daily(**changes: object) -> Window:
    return planned(repeat="FREQ=DAILY", **changes)


def test_ending_closes_what_is_open_and_keeps_its_beginning() -> None:
    ended = end(planned(), INSIDE)
    assert [(item.opens_at, item.closes_at) for item in ended.recorded] == [(START, INSIDE)]
    assert state(ended, INSIDE) is WindowState.ENDED


def test_ending_a_rule_ends_one_occurrence_only() -> None:
    ended = end(daily(), INSIDE)
    assert open_at(ended, INSIDE) is None
    assert upcoming(ended, INSIDE)[0].opens_at == START + DAY


def test_ending_closes_every_occurrence_of_a_window_longer_than_its_period() -> None:
    long = daily(duration=30 * HOUR)
    inside = START + DAY + HOUR
    assert len(open_now(long, inside)) == 2
    assert open_now(end(long, inside), inside) == ()
    assert open_now(cancel(long, inside), inside) == ()


@pytest.mark.parametrize("now", [BEFORE, AFTER])
def test_what_is_not_open_cannot_be_ended(now: datetime) -> None:
    with pytest.raises(Conflict, match="not open"):
        end(planned(), now)


def test_extending_moves_the_end_of_what_is_open_and_nothing_else() -> None:
    longer = extend(daily(), HOUR, INSIDE)
    first, second = list(occurrences(longer, START, START + 2 * DAY))
    assert first.closes_at - first.opens_at == 3 * HOUR
    assert second.closes_at - second.opens_at == 2 * HOUR


def test_extending_a_one_off_to_come_makes_it_longer() -> None:
    longer = extend(planned(), HOUR, BEFORE)
    assert longer.duration == 3 * HOUR
    assert longer.recorded == ()


def test_extending_twice_adds_up() -> None:
    longer = extend(extend(planned(), HOUR, INSIDE), HOUR, INSIDE)
    assert [item.closes_at for item in longer.recorded] == [START + 4 * HOUR]


def test_a_rule_that_is_not_open_is_not_extended() -> None:
    with pytest.raises(Conflict, match="repeats"):
        extend(daily(), HOUR, BEFORE)


@pytest.mark.parametrize("done", ["ended", "cancelled"])
def test_what_is_over_is_neither_extended_cancelled_nor_edited(done: str) -> None:
    window = planned() if done == "ended" else cancel(planned(), BEFORE)
    with pytest.raises(Conflict, match=done):
        extend(window, HOUR, AFTER)
    with pytest.raises(Conflict, match=done):
        cancel(window, AFTER)
    with pytest.raises(Conflict, match=done):
        edit(window, Edit(reason="other"), AFTER)


def test_cancelling_before_the_start_leaves_nothing_on_file() -> None:
    cancelled = cancel(planned(), BEFORE)
    assert cancelled.recorded == ()
    assert state(cancelled, BEFORE) is WindowState.CANCELLED
    assert list(occurrences(cancelled, BEFORE, AFTER)) == []


def test_cancelling_in_the_middle_closes_it_now_and_keeps_what_was() -> None:
    inside = INSIDE + DAY
    cancelled = cancel(daily(), inside)
    assert [item.closes_at for item in cancelled.recorded] == [START + 2 * HOUR, inside]
    assert upcoming(cancelled, inside) == ()


def test_skipping_leaves_out_one_occurrence() -> None:
    skipped = skip(daily(), "2026-12-02T22:00", BEFORE)
    assert [item.opens_at for item in upcoming(skipped, BEFORE, 2)] == [START, START + 2 * DAY]


def test_an_occurrence_of_years_ahead_can_be_skipped() -> None:
    skipped = skip(daily(), "2066-12-02T22:00", BEFORE)
    assert [(item.key, item.skipped) for item in skipped.recorded] == [("2066-12-02T22:00", True)]


def test_what_is_open_is_ended_not_skipped() -> None:
    with pytest.raises(Conflict, match="open now") as refused:
        skip(daily(), "2026-12-01T22:00", INSIDE)
    assert "schedule end w234567" in refused.value.hint


@pytest.mark.parametrize(
    "key", ["2026-12-01T22:00", "2026-12-02T21:00", "nonsense", "", "9999-12-31T23:59", "0001-01-01T00:00"]
)
def test_only_an_occurrence_to_come_is_skipped(key: str) -> None:
    with pytest.raises(NotFound, match="no occurrence"):
        skip(daily(), key, AFTER)


def test_editing_words_changes_nothing_else() -> None:
    assert edit(planned(), Edit(reason="other", ticket="T1"), INSIDE) == replace(
        settle(planned(), INSIDE), reason="other", ticket="T1"
    )


def test_an_edited_rule_keeps_what_has_begun_and_moves_what_is_to_come() -> None:
    moved = edit(daily(), Edit(starts_local=datetime(2026, 12, 1, 23)), INSIDE)  # noqa: DTZ001 - local
    opens = [item.opens_at for item in occurrences(moved, BEFORE, START + 2 * DAY)]
    assert opens == [START, START + HOUR, START + HOUR + DAY]


def test_the_times_of_an_open_one_off_are_not_edited() -> None:
    with pytest.raises(Conflict, match="is open"):
        edit(planned(), Edit(duration=HOUR), INSIDE)
    assert edit(planned(), Edit(duration=HOUR), BEFORE).duration == HOUR


def test_what_has_begun_stays_when_the_zone_is_edited() -> None:
    moved = edit(daily(), Edit(timezone="Asia/Tokyo"), INSIDE)
    assert open_at(moved, INSIDE) == open_at(daily(), INSIDE)


def test_settling_twice_is_settling_once() -> None:
    once = settle(daily(), AFTER + 3 * DAY)
    assert len(once.recorded) == 4
    assert settle(once, AFTER + 3 * DAY) == once


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (planned(), START + 2 * HOUR),
        (daily(), None),
        (daily(until=START + 2 * DAY), START + 2 * DAY + 2 * HOUR),
        (planned(repeat="FREQ=DAILY;COUNT=3"), START + 2 * DAY + 2 * HOUR),
        (extend(planned(), HOUR, INSIDE), START + 3 * HOUR),
        (cancel(daily(), INSIDE), INSIDE),
        (cancel(planned(), BEFORE), BEFORE),
    ],
)
def test_nothing_is_open_from_the_instant_a_window_is_over(window: Window, expected: datetime | None) -> None:
    assert over_at(window) == expected
    if expected is not None:
        assert list(occurrences(window, expected, expected + 400 * DAY)) == []


def test_a_source_is_left_out_of_the_occurrence_it_is_exempt_from() -> None:
    item = open_at(daily(), INSIDE)
    assert item is not None
    pairs = ((daily(), item),)
    exemptions = frozenset({("w234567", item.key, "s1")})
    assert left_out(pairs, "s1", exemptions) == ()
    assert left_out(pairs, "s2", exemptions) == pairs
