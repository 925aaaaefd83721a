"""Whatever a clock that was far ahead has put on file as begun, a window does what people say of it then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import START, World

from mmd.amend import Edit, cancel, edit, extend, settle
from mmd.errors import Conflict
from mmd.simulator.people import Forum
from mmd.simulator.problems import Problem
from mmd.windows import SourceRef, Window, occurrences, open_now, state, wanted

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
AHEAD = 100 * DAY
NOW = datetime(2026, 12, 1, 12, 30, tzinfo=UTC)

hours = st.integers(1, 60).map(lambda number: number * HOUR)
jumps = st.integers(0, 60 * 24).map(lambda number: number * HOUR)
edits = st.builds(
    Edit,
    starts_local=st.none() | st.integers(1, 400).map(lambda n: datetime(2026, 12, 1, 12) + n * HOUR),  # noqa: DTZ001 - local
    duration=st.none() | hours,
    timezone=st.sampled_from([None, "Asia/Tokyo"]),
    reason=st.sampled_from([None, "other"]),
)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    starts = datetime(2026, 12, 1, 12) + draw(st.integers(-200, 400)) * HOUR  # noqa: DTZ001 - local
    return Window(
        id="w1",
        sources=(SourceRef("id1", "AD"),),
        starts_local=starts,
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        duration=draw(hours),
        repeat=draw(st.sampled_from([None, "FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SA"])),
        reason="patching",
        created_at=starts.replace(tzinfo=UTC) - DAY,
        effective_from=starts.replace(tzinfo=UTC) - DAY,
    )


def after(change: Callable[[Window], Window], window: Window) -> Window | str:
    try:
        return change(window)
    except Conflict as refused:
        return refused.message


@given(windows(), jumps)
def test_a_cancelled_window_wants_nothing_any_more(window: Window, jump: timedelta) -> None:
    cancelled = after(lambda it: cancel(it, NOW), settle(window, NOW + jump))
    assert isinstance(cancelled, Window) is isinstance(after(lambda it: cancel(it, NOW), window), Window)
    if isinstance(cancelled, Window):
        assert list(occurrences(cancelled, NOW, NOW + AHEAD)) == []
        before = list(occurrences(cancel(window, NOW), NOW - AHEAD, NOW + AHEAD))
        assert list(occurrences(cancelled, NOW - AHEAD, NOW + AHEAD)) == before


@given(windows(), jumps, jumps)
def test_a_window_that_was_cancelled_by_a_wrong_clock_wants_nothing_either(
    window: Window, jump: timedelta, later: timedelta
) -> None:
    cancelled = after(lambda it: cancel(it, NOW + jump), window)
    if isinstance(cancelled, Window):
        assert wanted([cancelled], NOW + later) == {}


@given(windows(), jumps, edits)
def test_an_edited_window_opens_when_it_is_asked_to_and_never_else(
    window: Window, jump: timedelta, change: Edit
) -> None:
    one, other = (after(lambda it: edit(it, change, NOW), it) for it in (window, settle(window, NOW + jump)))
    _same(one, other)


@given(windows(), jumps, hours)
def test_an_extended_window_lasts_longer(window: Window, jump: timedelta, by: timedelta) -> None:
    one, other = (after(lambda it: extend(it, by, NOW), it) for it in (window, settle(window, NOW + jump)))
    _same(one, other)


def _same(one: Window | str, other: Window | str) -> None:
    """Whether two windows were open, and will be open, at the same times."""
    if isinstance(one, str) or isinstance(other, str):
        assert one == other
        return
    span = (NOW - AHEAD, NOW + AHEAD)
    assert list(occurrences(one, *span)) == list(occurrences(other, *span))
    assert state(one, NOW) is state(other, NOW)


# --- In a daemon's life -----------------------------------------------------------------------------------


@pytest.fixture
def it() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def on_file(it: World, window: Window) -> Window:
    found = it.store.plans.get(window.id)
    assert found is not None
    return found


def test_nothing_counts_as_begun_by_a_clock_that_is_not_trusted(it: World) -> None:
    window = it.plan(it.ids[:1], after=3600, repeat="FREQ=DAILY")
    it.run(1)
    it.clock.skew = 60 * DAY
    it.run(2, hold_enters=True)
    it.clock.skew = timedelta(0)
    it.run(1, hold_enters=True)
    assert on_file(it, window).recorded == ()
    it.clock.pass_by(3600)
    it.run(1)
    assert [item.opens_at for item in on_file(it, window).recorded] == [START + HOUR]


@pytest.mark.parametrize("cancelled", [True, False])
def test_what_a_wrong_clock_put_on_file_wants_no_source_after_a_change(it: World, cancelled: bool) -> None:
    source = it.ids[0]
    window = it.plan([source], after=3600, repeat="FREQ=DAILY")
    it.clock.skew = 20 * DAY
    it.run(1)
    assert len(on_file(it, window).recorded) == 20
    it.clock.skew = timedelta(0)
    now = it.clock.now()
    later = Edit(starts_local=window.starts_local + 6 * HOUR)
    it.put(cancel(on_file(it, window), now) if cancelled else edit(on_file(it, window), later, now))
    it.clock.pass_by((DAY + HOUR).total_seconds())
    assert open_now(on_file(it, window), it.clock.now()) == ()
    it.run(2)
    assert it.restored(source)
    assert it.store.holds.held() == {}
    it.clock.pass_by((6 * HOUR).total_seconds())
    it.run(2)
    assert it.in_maintenance(source) is not cancelled


def test_what_mmd_did_before_its_clock_went_back_is_not_taken_for_late(it: World) -> None:
    source = it.ids[0]
    it.plan([source], lasting=60)
    it.run(2)
    it.clock.skew = timedelta(hours=-3)
    it.run(3, hold_enters=True)
    assert not it.held
    Forum(it.tenant).enable(source)
    it.clock.skew = timedelta(0)
    it.clock.pass_by(DAY.total_seconds())
    it.begin()
    it.run(3)
    assert it.in_maintenance(source)
    assert not it.held


def test_a_clock_that_is_not_trusted_makes_no_hold_stronger(it: World) -> None:
    source = it.ids[0]
    features = it.tenant.sources[source]["features"]
    it.plan([source], lasting=4 * 3600, treatment="keep-features")
    it.plan([source], after=7 * 86_400, lasting=86_400)
    it.run(2)
    it.clock.skew = 7 * DAY + HOUR
    it.run(1, hold_enters=True)
    it.clock.skew = timedelta(0)
    it.run(2)
    assert it.tenant.sources[source]["features"] == features
    assert it.in_maintenance(source)


def test_what_failed_by_a_clock_that_was_ahead_is_tried_as_soon_as_the_clock_is_right(it: World) -> None:
    source = it.ids[0]
    it.plan([source], lasting=3600)
    it.run(2)
    it.clock.skew = DAY
    it.patch = _unanswered
    it.run(1)
    it.clock.skew, it.patch = timedelta(0), None
    it.clock.pass_by(3600)
    it.run(3)
    assert it.restored(source)
    assert not it.held


def _unanswered(*_: object) -> NoReturn:
    raise Problem(503)
