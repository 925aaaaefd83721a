"""Aggregations that did not run because their schedule was away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from report_samples import SINCE, UNTIL, at

from mmd.report.skipped import MOST, Schedule, Skipped, left_out


def away(cron: str, since: float, until: float | None, source: str = "a") -> Schedule:
    return Schedule(
        source_id=source,
        source_name=source.upper(),
        kind="ACCOUNT_AGGREGATION",
        cron=cron,
        since=at(since),
        until=None if until is None else at(until),
    )


def missed(*schedules: Schedule, zone: str | None = "UTC") -> list[Skipped]:
    return list(left_out(schedules, SINCE, UNTIL, zone))


def test_each_run_that_fell_into_the_maintenance_counts() -> None:
    (found,) = missed(away("0 0 5,13,21 * * ?", 4, 14))
    assert (found.count, found.first, found.last) == (2, at(5), at(13))


def test_the_same_schedule_in_two_spells_is_one_line() -> None:
    (found,) = missed(away("0 0 * * * ?", 1, 2.5), away("0 0 * * * ?", 10, 11.5))
    assert (found.count, found.first, found.last) == (4, at(1), at(11))


def test_spells_that_overlap_count_once() -> None:
    (found,) = missed(away("0 0 * * * ?", 1, 3.5), away("0 0 * * * ?", 2, 4.5))
    assert found.count == 4


def test_a_schedule_that_would_not_have_run_is_not_in_the_list() -> None:
    assert missed(away("0 0 5 * * ?", 6, 8)) == []


def test_what_is_outside_of_the_period_is_not_counted() -> None:
    (found,) = missed(away("0 0 12 * * ?", -48, None))
    assert found.count == 1
    assert missed(away("@daily", -48, -24)) == []


def test_crons_run_by_the_clock_of_the_tenant() -> None:
    (found,) = missed(away("0 0 5 * * ?", 3.5, 4.5), zone="Europe/Berlin")
    assert found.first == at(4)
    assert missed(away("0 0 5 * * ?", 3.5, 4.5), zone=None) == []


def test_a_cron_that_cannot_be_read_is_said_to_be_so() -> None:
    (found,) = missed(away("0 5 * * *", 1, 20))
    assert found.count is None


def test_counting_stops_somewhere_and_says_so() -> None:
    (found,) = missed(away("* * * * * ?", 0, 24))
    assert (found.count, found.more) == (MOST, True)
    assert found.last == datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=MOST - 1)
