"""The calendar, against oracles that share no code with it.

A zone is a step function of the instant. `steps` reads it by asking zoneinfo at instants only, never at a
wall clock time, and `first_showing` searches the steps for the rule that users rely on. The oracle of a
repeat is python-dateutil's own expansion from the rule's first day on, and that of a boundary is the list of
all occurrences.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from datetime import time as dt_time
from functools import cache
from itertools import pairwise, takewhile
from typing import NamedTuple, TypeVar
from zoneinfo import ZoneInfo, available_timezones

import pytest
from dateutil.rrule import rrulestr
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mmd.errors import Refused
from mmd.when import describe, format_duration, parse_duration, parse_instant
from mmd.windows import (
    Occurrence,
    SourceRef,
    Window,
    WindowState,
    begun,
    check_repeat,
    instants,
    key_of,
    local_to_utc,
    next_boundary,
    next_of,
    occurrences,
    open_now,
    parse_repeat,
    state,
    upcoming,
    wanted,
    zone_named,
)

T = TypeVar("T")

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
TICK = timedelta.resolution
BEGINNING, FIRST, LAST = (datetime(year, 1, 1, tzinfo=UTC) for year in (2000, 2024, 2038))
ZONES = sorted(available_timezones())
# Half hours, gaps at midnight, winter time that is the exception, two hours, Ramadan, far east and far west.
ODD_ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/St_Johns",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Chisinau",
    "Europe/Dublin",
    "Pacific/Chatham",
    "Pacific/Easter",
    "Pacific/Kiritimati",
    "UTC",
)


def naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


# -- zones as steps ------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """An offset from UTC, and from when to when it holds."""

    start: datetime
    end: datetime
    offset: timedelta


def offset(name: str, at: datetime) -> timedelta:
    return at.astimezone(ZoneInfo(name)).utcoffset() or timedelta(0)


@cache
def steps(name: str) -> tuple[Step, ...]:
    """What the zone does from FIRST to LAST: between two days that differ, the second at which it changes."""
    found: list[Step] = []
    start, held = BEGINNING, offset(name, FIRST)
    for day in range((LAST - FIRST).days):
        low, high = FIRST + day * DAY, FIRST + (day + 1) * DAY
        if offset(name, high) != held:
            while high - low > SECOND:
                middle = low + (high - low) / 2
                middle = middle.replace(microsecond=0)
                low, high = (middle, high) if offset(name, middle) == held else (low, middle)
            found.append(Step(start, high, held))
            start, held = high, offset(name, high)
    return (*found, Step(start, LAST + 1000 * DAY, held))


def labels(before: Step, after: Step) -> tuple[datetime, datetime]:
    """The wall clock times that a change skips, or shows twice: from the one, to before the other."""
    one, other = sorted((naive(before.end + before.offset), naive(before.end + after.offset)))
    return one, other


def changes(name: str) -> list[tuple[datetime, datetime, datetime]]:
    """The instants at which the zone's clock is put forward or back, each with its labels."""
    found = steps(name)
    return [(before.end, *labels(before, after)) for before, after in pairwise(found)]


def showing(local: datetime, name: str) -> list[datetime]:
    readings = [(step, local.replace(tzinfo=UTC) - step.offset) for step in steps(name)]
    return [reading for step, reading in readings if step.start <= reading < step.end]


def first_showing(local: datetime, name: str) -> datetime:
    """The first instant at which the zone's clock shows `local` or later."""
    readings = [(step, max(step.start, local.replace(tzinfo=UTC) - step.offset)) for step in steps(name)]
    return min(reading for step, reading in readings if reading < step.end)


# -- every zone, every transition ----------------------------------------------------------------------------


def window_of(starts: datetime, name: str, duration: timedelta, **changed: object) -> Window:
    window = Window(
        id="w234567",
        sources=(SourceRef("s1", "HR"),),
        starts_local=starts,
        timezone=name,
        duration=duration,
        reason="patching",
        created_at=BEGINNING,
        effective_from=BEGINNING,
    )
    return replace(window, **changed)  # type: ignore[arg-type] # the names are the window's own


def forms(low: datetime, high: datetime, name: str) -> list[tuple[Window, list[datetime]]]:
    """Eight windows around a gap or fold, each with the nominal starts it has within two days of it."""
    middle = low + (high - low) // 2
    at_middle = [middle + day * DAY for day in range(-3, 4)]
    return [
        (window_of(low - SECOND, name, HOUR), [low - SECOND]),
        (window_of(low, name, 30 * MINUTE), [low]),
        (window_of(middle, name, 2 * HOUR), [middle]),
        (window_of(middle, name, 2 * HOUR, fold=1), [middle]),
        (window_of(high - SECOND, name, SECOND), [high - SECOND]),
        (window_of(high, name, 4 * HOUR), [high]),
        (window_of(at_middle[0], name, 3 * HOUR, repeat="FREQ=DAILY"), at_middle),
        (window_of(low - 14 * DAY, name, 26 * HOUR, repeat="FREQ=WEEKLY"), [low]),
    ]


def check_form(window: Window, nominal: list[datetime], change: datetime) -> int:
    """Compare a window with the oracle near a change; return how many occurrences were compared."""
    since, until = change - 2 * DAY, change + 2 * DAY
    opens = [first_showing(local, window.timezone) for local in nominal]
    if window.fold:
        opens = [(showing(local, window.timezone) or opens)[-1] for local in nominal]
    expected = [
        Occurrence(window.id, key_of(local), at, at + window.duration)
        for local, at in zip(nominal, opens, strict=True)
        if at < until and at + window.duration > since
    ]
    found = list(occurrences(window, since, until))
    assert found == expected, window
    for item in found:
        near = (item.opens_at - TICK, item.opens_at, item.closes_at - TICK, item.closes_at)
        assert [item in open_now(window, at) for at in near] == [False, True, True, False]
    return len(found)


def check_zones(names: list[str]) -> int:
    return sum(
        check_form(window, nominal, change)
        for name in names
        for change, low, high in changes(name)
        for window, nominal in forms(low, high, name)
    )


@pytest.mark.slow
def test_windows_near_each_transition_of_odd_zones_open_as_the_rule_says() -> None:
    assert check_zones(list(ODD_ZONES)) > 3_000


# In parts, so that two cores share them.
@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_windows_near_every_transition_of_every_zone_open_as_the_rule_says(
    part: int, tally: Callable[[str, int], None]
) -> None:
    assert len(ZONES) > 500
    compared = check_zones(ZONES[part::4])
    assert compared > 12_500
    tally("T11 occurrences compared", compared)


@pytest.mark.parametrize("name", ODD_ZONES)
def test_a_scan_of_every_minute_finds_the_same_instants(name: str) -> None:
    zone = ZoneInfo(name)
    for change, low, high in changes(name)[4:8]:
        minutes = [change + n * MINUTE for n in range(-30 * 60, 30 * 60)]
        shown = [naive(at.astimezone(zone)) for at in minutes]
        for n in range(-120, 120, 5):
            for local in (low + n * MINUTE, high + n * MINUTE):
                first = next(at for at, wall in zip(minutes, shown, strict=True) if wall >= local)
                assert local_to_utc(local, zone) == first
                assert instants(local, zone) == tuple(
                    at for at, wall in zip(minutes, shown, strict=True) if wall == local
                )


# -- windows as people may plan them -------------------------------------------------------------------------


def subset(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=most, unique=True).map(",".join)


def rule(freq: str, **parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Build rules of one frequency, each part there or not."""
    chosen = st.fixed_dictionaries({}, optional=parts)
    return chosen.map(
        lambda given: ";".join([f"FREQ={freq}", *(f"{name}={it}" for name, it in given.items())])
    )


WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
weekdays = subset(st.sampled_from(WEEKDAYS), 4)
ordinals = subset(
    st.builds("{}{}".format, st.sampled_from((1, 2, 3, 4, -1, -2)), st.sampled_from(WEEKDAYS)), 3
)
month_days = subset(st.sampled_from((1, 2, 13, 28, -1, -5)).map(str), 3)
months = subset(st.integers(1, 12).map(str), 6)
position = st.sampled_from(("1", "-1"))
counted = st.integers(1, 60).map(str)
week_start = st.sampled_from(WEEKDAYS)


def interval(*sizes: int) -> st.SearchStrategy[str]:
    return st.sampled_from(sizes or (1, 2, 3, 5, 11)).map(str)


# Rules that come round for ever: python-dateutil, the oracle, would search 8,000 years for one that does not.
sound_rules = st.one_of(
    rule("DAILY", INTERVAL=interval(), COUNT=counted),
    rule("DAILY", INTERVAL=interval(1, 2, 5), BYDAY=weekdays, BYMONTHDAY=month_days, WKST=week_start),
    rule("DAILY", INTERVAL=interval(), BYDAY=weekdays, BYMONTH=months, COUNT=counted),
    rule("WEEKLY", INTERVAL=interval(), BYDAY=weekdays, WKST=week_start, COUNT=counted),
    rule("WEEKLY", INTERVAL=interval(), BYDAY=weekdays, WKST=week_start, BYMONTH=months),
    rule("MONTHLY", INTERVAL=interval(), BYDAY=st.one_of(weekdays, ordinals), COUNT=counted),
    rule("MONTHLY", INTERVAL=interval(), BYMONTHDAY=month_days),
    rule("MONTHLY", INTERVAL=interval(1, 5), BYMONTH=months, BYMONTHDAY=month_days),
    weekdays.flatmap(lambda days: rule(f"MONTHLY;BYDAY={days}", INTERVAL=interval(), BYSETPOS=position)),
    rule("YEARLY", INTERVAL=interval(1, 2, 3), BYMONTHDAY=month_days, BYMONTH=months, COUNT=counted),
    rule("YEARLY", INTERVAL=interval(1, 2, 3), BYDAY=ordinals, BYMONTH=months),
    months.flatmap(lambda in_them: rule(f"YEARLY;BYMONTH={in_them}", BYDAY=weekdays, BYSETPOS=position)),
)


def local_starts(name: str, years: range) -> st.SearchStrategy[datetime]:
    """Draw starts near what the zone skips or shows twice, or anywhere; not on a 29th, 30th or 31st."""
    anywhere = st.datetimes(datetime(years[0], 1, 1), datetime(years[-1], 1, 1))  # noqa: DTZ001 - local
    edges = [low for change, low, _ in changes(name) if change.year in years]
    near = st.builds(
        lambda low, days, minutes: low + days * DAY + minutes * MINUTE,
        st.sampled_from(edges or [naive(FIRST)]),
        st.integers(-20, 1),
        st.integers(-90, 120),
    )
    whole = st.one_of(near, anywhere).map(lambda at: at.replace(microsecond=0))
    return whole.filter(lambda at: at.day <= 28)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    """Draw a window, in part with an end, in part with something on file, in part cancelled."""
    name = draw(st.sampled_from(ODD_ZONES))
    starts = draw(local_starts(name, range(2026, 2029)))
    repeat = draw(st.one_of(st.none(), sound_rules.map(parse_repeat)))
    lasting = draw(st.sampled_from((SECOND, 30 * MINUTE, 2 * HOUR, 24 * HOUR, 30 * HOUR, 80 * HOUR)))
    window = window_of(starts, name, lasting, repeat=repeat, fold=draw(st.integers(0, 1)))
    planned = expanded(window, starts.replace(tzinfo=UTC) + 100 * DAY)
    if draw(st.booleans()):
        window = replace(
            window, until=draw(st.sampled_from([starts.replace(tzinfo=UTC) + 30 * DAY, *opening(planned)]))
        )
    if draw(st.booleans()) and planned:
        window = replace(
            window,
            effective_from=draw(st.sampled_from(opening(planned)[:5])) + draw(st.sampled_from((0, 1))) * TICK,
        )
    kept = draw(st.lists(st.sampled_from(planned), max_size=4, unique=True)) if planned else []
    recorded = tuple(
        replace(
            item,
            skipped=draw(st.booleans()),
            closes_at=item.closes_at + draw(st.sampled_from((-1, 0, 5000))) * SECOND / 2,
        )
        for item in kept
    )
    cancelled_at = draw(st.one_of(st.none(), st.none(), st.none(), st.just(starts.replace(tzinfo=UTC))))
    return replace(window, recorded=recorded, cancelled_at=cancelled_at)


def opening(items: list[Occurrence]) -> list[datetime]:
    return [item.opens_at for item in items]


def nominal(window: Window, last: datetime) -> list[datetime]:
    """Every local start up to `last`, from the first on, as python-dateutil has it."""
    if window.repeat is None:
        return [window.starts_local]
    return list(takewhile(lambda at: at <= last, rrulestr(window.repeat, dtstart=window.starts_local)))


def expanded(window: Window, until: datetime) -> list[Occurrence]:
    """The oracle: everything of a window that opens before `until`, in order, skipped or not."""
    end = window.cancelled_at or datetime.max.replace(tzinfo=UTC)
    found = {
        item.key: replace(item, closes_at=min(item.closes_at, end))
        for item in window.recorded
        if item.opens_at < end
    }
    for local in nominal(window, naive(until) + 2 * DAY) if window.cancelled_at is None else ():
        at = first_showing(local, window.timezone)
        if window.fold and window.repeat is None:
            at = (showing(local, window.timezone) or [at])[-1]
        if at >= window.effective_from and (window.until is None or at <= window.until):
            found.setdefault(key_of(local), Occurrence(window.id, key_of(local), at, at + window.duration))
    return sorted((item for item in found.values() if item.opens_at < until), key=lambda item: item.opens_at)


def probes(items: list[Occurrence]) -> list[datetime]:
    """The instants at, just before and just after each boundary."""
    edges = {at for item in items for at in (item.opens_at, item.closes_at)}
    return sorted(at + n * TICK for at in edges for n in (-1, 0, 1))


@pytest.mark.slow
@given(windows())
def test_membership_and_boundaries_agree_with_the_list_of_all_occurrences(window: Window) -> None:
    since = window.starts_local.replace(tzinfo=UTC) + 3 * DAY
    until = since + 40 * DAY
    every = [item for item in expanded(window, until + 20 * DAY) if not item.skipped]
    listed = [item for item in every if item.opens_at < until and item.closes_at > since]
    assert list(occurrences(window, since, until)) == listed
    for now in probes(listed[:3] + listed[-2:]):
        if now >= until:
            continue
        inside = [item for item in every if item.opens_at <= now < item.closes_at]
        assert list(open_now(window, now)) == inside
        assert wanted([window], now) == ({"s1": tuple((window, item) for item in inside)} if inside else {})
        to_come = [item for item in every if item.opens_at > now]
        assert list(upcoming(window, now, 2))[: len(to_come)] == to_come[:2]
        later = [at for item in every for at in (item.opens_at, item.closes_at) if at > now]
        if later and min(later) < until:
            assert next_boundary([window], now) == min(later)
        if window.cancelled_at is None and (inside or to_come):
            assert state(window, now) is (WindowState.ACTIVE if inside else WindowState.PLANNED)
            assert next_of(window, now) in (inside or to_come[:1])


@given(windows())
def test_what_was_skipped_is_listed_when_asked_for(window: Window) -> None:
    until = window.starts_local.replace(tzinfo=UTC) + 40 * DAY
    assert list(occurrences(window, BEGINNING, until, skipped=True)) == expanded(window, until)


@given(windows(), st.integers(0, 40), st.integers(0, 40))
def test_what_has_begun_is_what_opened_since_and_is_not_on_file(
    window: Window, after: int, days: int
) -> None:
    since = window.starts_local.replace(tzinfo=UTC) + after * DAY
    now = since + days * DAY
    expected = [
        item for item in expanded(window, now + TICK) if since < item.opens_at and item not in window.recorded
    ]
    assert list(begun(window, since, now)) == expected


@given(windows(), st.integers(0, 40), st.sampled_from(ODD_ZONES))
def test_putting_what_has_begun_on_file_changes_nothing_and_fixes_it(
    window: Window, days: int, elsewhere: str
) -> None:
    start = window.starts_local.replace(tzinfo=UTC)
    now, until = start + days * DAY, start + 60 * DAY
    before = list(occurrences(window, BEGINNING, until))
    settled = replace(window, recorded=window.recorded + begun(window, BEGINNING, now))
    assert list(occurrences(settled, BEGINNING, until)) == before
    assert begun(settled, BEGINNING, now) == ()
    moved = replace(
        settled, timezone=elsewhere, duration=HOUR, effective_from=max(now + TICK, window.effective_from)
    )
    past = [item for item in before if item.opens_at <= now]
    assert [item for item in occurrences(moved, BEGINNING, until) if item.opens_at <= now] == past


@pytest.mark.slow
@given(st.lists(windows(), min_size=2, max_size=4), st.data())
def test_several_windows_are_the_union_of_each(several: list[Window], data: st.DataObject) -> None:
    named = [replace(window, id=f"w{n}", recorded=()) for n, window in enumerate(several)]
    shared = [replace(window, sources=(*window.sources, SourceRef(window.id, ""))) for window in named]
    moments = [at for window in shared for at in probes(expanded(window, LAST - 4000 * DAY)[:3])]
    assume(moments)
    now = data.draw(st.sampled_from(moments))
    found = wanted(shared, now)
    each = [wanted([window], now) for window in shared]
    assert found == {
        key: tuple(pair for one in each for pair in one.get(key, ()))
        for key in {key for one in each for key in one}
    }
    nexts = [at for window in shared if (at := next_boundary([window], now)) is not None]
    assert next_boundary(shared, now) == min(nexts, default=None)


@pytest.mark.slow
@given(
    st.sampled_from(ODD_ZONES).flatmap(lambda name: local_starts(name, range(1990, 2027))),
    sound_rules,
    st.integers(0, 14_000),
)
@example(datetime(1990, 1, 31), "FREQ=MONTHLY", 13_500)  # noqa: DTZ001 - local
@example(datetime(1992, 2, 29), "FREQ=YEARLY", 13_500)  # noqa: DTZ001 - local
@example(datetime(1999, 12, 31), "FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", 10_000)  # noqa: DTZ001 - local
def test_an_old_rule_comes_round_as_if_expanded_from_its_first_day(
    starts: datetime, repeat: str, days: int
) -> None:
    window = window_of(
        starts, "UTC", HOUR, repeat=parse_repeat(repeat), effective_from=datetime(1980, 1, 1, tzinfo=UTC)
    )
    now = starts.replace(tzinfo=UTC) + days * DAY
    whole = [at for at in nominal(window, naive(now) + 4000 * DAY) if at > naive(now)]
    found = [item.key for item in upcoming(window, now, 5)]
    assert found[: len(whole)] == [key_of(at) for at in whole[:5]]


# -- any text ------------------------------------------------------------------------------------------------

NOW = datetime(2026, 11, 23, 10, 30, 15, 500, tzinfo=UTC)
any_time = st.from_regex(
    r"(now|today|tomorrow|sat|monday| |T|Z|:|/|\.|\+|-|22|02:30|2026-12-01|2027-03-28|\+01:00|\0){0,8}",
    fullmatch=True,
)
any_duration = st.from_regex(r"\+?(P|PT|T|1|30|99|0|\u0663|w|d|h|m|s|W|D|H|M|S|-|\.){0,9}", fullmatch=True)
any_rule = st.from_regex(
    r"(RRULE:)?FREQ=(DAILY|WEEKLY|MONTHLY|YEARLY|HOURLY)"
    r"(;(INTERVAL|COUNT|UNTIL|BYDAY|BYMONTHDAY|BYSETPOS|BYHOUR|WKST|X)="
    r"(0|1|-1|1000|MO|-1FR|MO,TU|20261231T220000Z|\u0663|\nDTSTART:1)){0,3}",
    fullmatch=True,
)


def attempt(call: Callable[[], T]) -> T | None:
    """Return what the call returns, or None if it refuses: readably, and with a hint."""
    try:
        return call()
    except Refused as caught:
        refusal = caught
    assert refusal.message.isprintable()
    assert refusal.hint.isprintable()
    assert refusal.hint
    return None


@given(st.one_of(st.text(), any_time, any_duration), st.sampled_from(ODD_ZONES))
def test_any_text_is_a_time_or_refused_and_a_time_can_be_echoed(text: str, name: str) -> None:
    found = attempt(lambda: parse_instant(text, zone=name, now=NOW))
    if found is None:
        return
    assert found.at.utcoffset() == timedelta(0)
    assert local_to_utc(found.local, ZoneInfo(name), found.fold) == found.at
    assert describe(found.at, name, NOW).isprintable()


@given(st.one_of(st.text(), any_duration))
def test_any_text_is_a_duration_or_refused_and_a_duration_reads_back(text: str) -> None:
    found = attempt(lambda: parse_duration(text))
    if found is None:
        return
    assert SECOND <= found <= 366 * DAY
    assert parse_duration(format_duration(found)) == found


@given(st.integers(1, 366 * 86_400).map(lambda n: n * SECOND))
def test_a_duration_reads_back_as_it_was_written(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text())
def test_any_text_is_a_zone_or_refused(text: str) -> None:
    found = attempt(lambda: zone_named(text))
    assert found is None or found.key == text


@given(st.sampled_from(ODD_ZONES), st.data())
def test_a_local_time_is_read_if_the_clock_shows_it_once(name: str, data: st.DataObject) -> None:
    local = data.draw(local_starts(name, range(2026, 2029)))
    text = f"{local:%Y-%m-%d %H:%M:%S}"
    shown = showing(local, name)
    for at in shown:
        exact = at.astimezone(ZoneInfo(name)).isoformat()
        assert parse_instant(exact, zone=name, now=NOW).at == at
    if len(shown) == 1:
        assert parse_instant(text, zone=name, now=NOW).at == shown[0]
        return
    with pytest.raises(Refused) as caught:
        parse_instant(text, zone=name, now=NOW)
    assert ("twice" if shown else "does not exist") in caught.value.message


@given(st.sampled_from(ODD_ZONES), st.times(), st.data())
def test_a_time_of_day_is_the_next_that_the_clock_shows(
    name: str, clock: dt_time, data: st.DataObject
) -> None:
    now = data.draw(local_starts(name, range(2026, 2029))).replace(tzinfo=UTC)
    text = f"{clock:%H:%M:%S}"
    found = attempt(lambda: parse_instant(text, zone=name, now=now))
    if found is None:  # the next is skipped or shown twice, as the test above has it
        return
    assert f"{found.at.astimezone(ZoneInfo(name)):%H:%M:%S}" == text
    near = [at for day in (-2, -1, 0, 1) for at in showing(found.local + day * DAY, name)]
    assert min(at for at in near if at > now) == found.at


many = st.integers(1, 1000).map(str)
wild_rules = st.sampled_from(("DAILY", "WEEKLY", "MONTHLY", "YEARLY")).flatmap(
    lambda freq: rule(
        freq,
        INTERVAL=st.integers(1, 999).map(str),
        COUNT=many,
        BYMONTH=months,
        BYMONTHDAY=subset(st.integers(-31, 31).filter(bool).map(str), 4),
        BYDAY=st.one_of(weekdays, ordinals),
        BYSETPOS=st.integers(-366, 366).filter(bool).map(str),
        WKST=week_start,
    )
)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.one_of(st.text(), any_rule, wild_rules), local_starts("UTC", range(1990, 2030)))
@example("FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", datetime(1990, 1, 1))  # noqa: DTZ001 - local
@example("FREQ=DAILY;INTERVAL=7;BYDAY=MO", datetime(1991, 1, 1))  # noqa: DTZ001 - local
@example("FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20", datetime(1990, 1, 1))  # noqa: DTZ001 - local
@example("FREQ=YEARLY;BYDAY=53SU;BYSETPOS=366", datetime(1990, 1, 1))  # noqa: DTZ001 - local
def test_any_text_is_a_rule_or_refused_and_no_rule_takes_long(text: str, starts: datetime) -> None:
    canonical = attempt(lambda: parse_repeat(text))
    if canonical is None:
        return
    assert parse_repeat(canonical) == canonical
    window = window_of(starts, "Europe/Berlin", HOUR, repeat=canonical)
    began = time.process_time()
    attempt(lambda: check_repeat(window))
    next_boundary([window], NOW)
    state(window, NOW)
    assert time.process_time() - began < 1
