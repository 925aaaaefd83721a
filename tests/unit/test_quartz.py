"""Quartz crons by example: each form that is read, and what is not."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from mmd.quartz import read
from mmd.simulator.kinds import KINDS

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")


def days(expression: str, since: date, until: date) -> list[str]:
    """The days on which it fires, as month-day."""
    return [f"{at:%m-%d}" for at in instants(expression, since, until)]


def instants(expression: str, since: date, until: date, zone: ZoneInfo = UTC_ZONE) -> list[datetime]:
    cron = read(expression)
    assert cron is not None, expression
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (since, until))
    return list(cron.fires(start, end, zone))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0 0 6 L * ?", ["11-30", "12-31"]),
        ("0 0 6 L-2 * ?", ["11-28", "12-29"]),
        ("0 0 6 LW * ?", ["11-30", "12-31"]),
        ("0 0 6 15W * ?", ["11-16", "12-15"]),  # 15 November is a Sunday
        ("0 0 6 1W * ?", ["11-02", "12-01"]),  # never into the month before: 1 November is a Sunday
        ("0 0 6 28W * ?", ["11-27", "12-28"]),  # a Saturday
        ("0 0 6 ? * 6L", ["11-27", "12-25"]),
        ("0 0 6 ? * friL", ["11-27", "12-25"]),
        ("0 0 6 ? * 2#1", ["11-02", "12-07"]),
        ("0 0 6 ? * MON#5", ["11-30"]),
        ("0 0 6 ? DEC L", ["12-05", "12-12", "12-19", "12-26"]),  # L alone is Saturday
        ("0 0 6 ? 12 1", ["12-06", "12-13", "12-20", "12-27"]),  # 1 is Sunday, unlike in Unix
        ("0 0 6 31 * ?", ["12-31"]),
        ("0 0 6 1/10 NOV ?", ["11-01", "11-11", "11-21"]),
        ("0 0 6 29-2 * ?", ["11-01", "11-02", "11-29", "11-30", "12-01", "12-02", "12-29", "12-30", "12-31"]),
        ("0 0 6 1 * ? 2027", []),
        ("0 0 6 1 * ? 2020-2026/2", ["11-01", "12-01"]),
    ],
)
def test_days_of_the_special_forms(expression: str, expected: list[str]) -> None:
    assert days(expression, date(2026, 11, 1), date(2027, 1, 1)) == expected


def test_the_last_weekday_of_a_month_that_ends_on_a_weekend_is_the_friday() -> None:
    assert days("0 0 6 LW * ?", date(2026, 1, 1), date(2026, 3, 1)) == ["01-30", "02-27"]


def test_the_first_weekday_after_a_saturday_the_first_is_the_third() -> None:
    assert days("0 0 6 1W * ?", date(2026, 8, 1), date(2026, 9, 1)) == ["08-03"]


def test_a_range_over_the_end_goes_on_at_the_beginning() -> None:
    hours = [at.hour for at in instants("0 0 22-2/2 * * ?", date(2026, 11, 1), date(2026, 11, 2))]
    assert hours == [0, 2, 22]
    week = days("0 0 6 ? * FRI-MON", date(2026, 11, 1), date(2026, 11, 8))
    assert week == ["11-01", "11-02", "11-06", "11-07"]


def test_it_fires_by_the_clock_of_the_zone() -> None:
    assert instants("0 30 5 * * ?", date(2026, 7, 1), date(2026, 7, 2), BERLIN) == [
        datetime(2026, 7, 1, 3, 30, tzinfo=UTC)
    ]


def test_a_time_that_the_clock_skips_fires_as_much_later_as_it_jumps_and_once() -> None:
    found = instants("0 0/30 2,3 29 3 ?", date(2026, 3, 29), date(2026, 3, 30), BERLIN)
    assert [at.astimezone(BERLIN).strftime("%H:%M") for at in found] == ["03:00", "03:30"]


def test_a_time_that_the_clock_shows_twice_fires_at_the_first() -> None:
    found = instants("0 30 2 * * ?", date(2026, 10, 25), date(2026, 10, 26), BERLIN)
    assert found == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC)]


def test_a_span_takes_its_beginning_in_and_leaves_its_end_out() -> None:
    cron = read("0 0 * * * ?")
    assert cron is not None
    begin = datetime(2026, 11, 1, 4, tzinfo=UTC)
    found = list(cron.fires(begin, begin + timedelta(hours=2), UTC_ZONE))
    assert found == [begin, begin + timedelta(hours=1)]


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "0 5 * * *",  # Unix
        "0 0 5 * * ? 2026 1",
        "0 0 5 * * *",  # Quartz demands a ?
        "0 0 5 ? * ?",
        "60 0 5 * * ?",
        "0 0 24 * * ?",
        "0 0 5 0 * ?",
        "0 0 5 32 * ?",
        "0 0 5 * 13 ?",
        "0 0 5 ? * 0",
        "0 0 5 ? * 8",
        "0 0 5 ? * MON#6",
        "0 0 5 ? * MON#1,TUE#1",
        "0 0 5 1,L * ?",
        "0 0 5 31W * ?",
        "0 0 5 * FEX ?",
        "0 0/0 5 * * ?",
        "0 0/60 5 * * ?",
        "0 0 5 * * ? 2027-2026",
        "0 0 5 * * ? 1969",
        "0 0 5-- * * ?",
        "0 , 5 * * ?",
        "0 0 ٥ * * ?",  # noqa: RUF001 - an Arabic digit
        "0 0 5 * * ? " + "2026," * 200,
        "@daily",
    ],
)
def test_what_is_of_no_such_form_is_not_read(expression: str) -> None:
    assert read(expression) is None


def test_every_cron_of_the_simulated_tenant_is_read() -> None:
    crons = [cron for kind in KINDS for cron in kind.crons.values()]
    assert crons
    assert all(read(cron) for cron in crons)
