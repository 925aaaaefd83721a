"""Plain Quartz crons against an oracle: each minute of a span, asked field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from mmd.quartz import read

MINUTE = timedelta(minutes=1)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@st.composite
def fields(draw: st.DrawFn, low: int, high: int) -> tuple[str, frozenset[int]]:
    """A field in one of the plain forms, and the numbers that it means."""
    numbers = st.integers(low, high)
    match draw(st.sampled_from(["*", "list", "range", "step", "from"])):
        case "list":
            chosen = draw(st.lists(numbers, min_size=1, max_size=4))
            return ",".join(map(str, chosen)), frozenset(chosen)
        case "range":
            first, last = sorted(draw(st.tuples(numbers, numbers)))
            return f"{first}-{last}", frozenset(range(first, last + 1))
        case "step":
            every = draw(st.integers(1, high))
            return f"*/{every}", frozenset(range(low, high + 1, every))
        case "from":
            first, every = draw(numbers), draw(st.integers(1, high))
            return f"{first}/{every}", frozenset(range(first, high + 1, every))
    return "*", frozenset(range(low, high + 1))


@given(
    minute=fields(0, 59),
    hour=fields(0, 23),
    day=fields(1, 31),
    month=fields(1, 12),
    weekday=st.none() | fields(1, 7),
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 1)),  # noqa: DTZ001 - Hypothesis wants them naive
)
def test_it_fires_at_the_minutes_whose_every_field_fits(
    minute: tuple[str, frozenset[int]],
    hour: tuple[str, frozenset[int]],
    day: tuple[str, frozenset[int]],
    month: tuple[str, frozenset[int]],
    weekday: tuple[str, frozenset[int]] | None,
    zone: str,
    start: datetime,
) -> None:
    on, of_week = (day[0], "?") if weekday is None else ("?", weekday[0])
    cron = read(f"0 {minute[0]} {hour[0]} {on} {month[0]} {of_week}")
    assert cron is not None
    clock = ZoneInfo(zone)
    since = start.replace(second=0, microsecond=0, tzinfo=UTC)
    expected = []
    for number in range(3 * 24 * 60):
        at = since + number * MINUTE
        local = at.astimezone(clock)
        days_fit = local.day in day[1] if weekday is None else local.isoweekday() % 7 + 1 in weekday[1]
        fits = local.minute in minute[1] and local.hour in hour[1] and local.month in month[1]
        if days_fit and fits and local.fold == 0:
            expected.append(at)
    found = list(cron.fires(since, since + 3 * 24 * 60 * MINUTE, clock))
    in_gap = [at for at in found if not _is_shown(at, clock, minute[1], hour[1])]
    assert [at for at in found if at not in in_gap] == expected


def _is_shown(at: datetime, clock: ZoneInfo, minutes: frozenset[int], hours: frozenset[int]) -> bool:
    """Whether the clock shows a time that fits; one from a gap is shown as another."""
    local = at.astimezone(clock)
    return local.minute in minutes and local.hour in hours


@given(number=st.integers(1, 7))
def test_a_weekday_means_the_same_by_name_and_by_number(number: int) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    by_number, by_name = read(f"0 0 5 ? * {number}"), read(f"0 0 5 ? * {WEEKDAYS[number - 1]}")
    assert by_number is not None
    assert by_name is not None
    span = (since, since + timedelta(days=30), ZoneInfo("UTC"))
    assert list(by_number.fires(*span)) == list(by_name.fires(*span))
