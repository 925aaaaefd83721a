"""The periods of the reports that come by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmd.report.period import period_before

NOW = datetime(2026, 11, 23, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "zone", "since", "until", "name"),
    [
        ("1d", "UTC", "2026-11-22T00:00", "2026-11-23T00:00", "mmd-2026-11-22"),
        ("1d", "Europe/Berlin", "2026-11-21T23:00", "2026-11-22T23:00", "mmd-2026-11-22"),
        ("7d", "UTC", "2026-11-16T00:00", "2026-11-23T00:00", "mmd-2026-11-16-7d"),  # Monday to Monday
        ("6h", "UTC", "2026-11-23T00:00", "2026-11-23T06:00", "mmd-2026-11-23T0000Z-6h"),
        ("90m", "Asia/Kolkata", "2026-11-23T09:00", "2026-11-23T10:30", "mmd-2026-11-23T0900Z-1h30m"),
        ("45s", "UTC", "2026-11-23T10:29:15", "2026-11-23T10:30", "mmd-2026-11-23T102915Z-45s"),
    ],
)
def test_a_period_has_round_ends_and_a_name(every: str, zone: str, since: str, until: str, name: str) -> None:
    unit = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}[every[-1]]
    period = period_before(NOW, timedelta(**{unit: int(every[:-1])}), zone)
    ends = [datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (since, until)]
    assert [period.since, period.until, period.name] == [*ends, name]


def test_a_day_on_which_the_clocks_change_is_still_one_day() -> None:
    period = period_before(datetime(2026, 10, 26, 1, tzinfo=UTC), timedelta(days=1), "Europe/Berlin")
    assert (period.until - period.since, period.name) == (timedelta(hours=25), "mmd-2026-10-25")


@given(
    now=st.datetimes(datetime(2020, 1, 2), datetime(2090, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - UTC
    every=st.sampled_from(
        [
            timedelta(seconds=7),
            timedelta(minutes=11),
            timedelta(hours=5),
            timedelta(days=1),
            timedelta(days=3),
        ]
    ),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Chatham"]),
)
def test_periods_follow_each_other_without_a_gap_and_each_has_its_own_name(
    now: datetime, every: timedelta, zone: str
) -> None:
    last = period_before(now, every, zone)
    assert last.since < last.until <= now
    before = period_before(last.until - timedelta(microseconds=1), every, zone)
    assert before.until == last.since
    assert before.name != last.name
    assert period_before(last.until, every, zone) == last
