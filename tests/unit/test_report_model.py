"""What a report concludes from its facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import GRACE, SINCE, UNTIL, applied, at, eventful, facts, finding, line, planned, window

from mmd.findings import Kind
from mmd.history import Timeline
from mmd.report import Change, Live, Report, make


def about(*lines: Timeline, **changes: Any) -> Report:  # noqa: ANN401 - the facts' own
    still = tuple(found for found, end in changes.get("findings", ()) if end is None)
    return make(facts(timelines=lines, present=lines, open_now=still, **changes))


def one(*parts: Timeline, **changes: Any) -> tuple[bool, bool, bool]:  # noqa: ANN401 - as above
    """Of one stay: entered late, never entered, restored late."""
    report = about(*parts, **changes)
    (stay,) = report.stays
    return (stay.entry_late is not None, stay.missed, stay.return_late is not None)


def test_a_stay_within_the_grace_went_as_planned() -> None:
    assert one(line("a", "A", planned=(planned(2, 4),), applied=(applied(2.03, 4.03),))) == (
        False,
        False,
        False,
    )


def test_what_takes_longer_than_the_grace_is_late_by_the_whole_of_it() -> None:
    report = about(line("a", "A", planned=(planned(2, 4),), applied=(applied(2.5, 5),)))
    (stay,) = report.stays
    assert (stay.entry_late, stay.return_late) == (timedelta(minutes=30), timedelta(hours=1))
    assert (report.totals.entered_late, report.totals.restored_late) == (1, 1)


def test_an_occurrence_that_ended_without_an_entry_was_never_entered_and_is_not_late_too() -> None:
    report = about(line("a", "A", planned=(planned(2, 4),)))
    assert (report.totals.never_entered, report.totals.entered_late) == (1, 0)


def test_an_open_occurrence_that_is_not_entered_is_late_and_goes_on_being_later() -> None:
    (stay,) = about(line("a", "A", planned=(planned(20, 30),))).stays
    assert stay.entry_late == timedelta(hours=4)
    assert not stay.missed


def test_what_is_still_to_open_or_to_close_is_not_late() -> None:
    to_close = line("a", "A", planned=(planned(20, 30),), applied=(applied(20, None),))
    assert one(to_close) == (False, False, False)


def test_a_source_that_is_not_back_is_late_until_now() -> None:
    (stay,) = about(line("a", "A", planned=(planned(20, 22),), applied=(applied(20, None),))).stays
    assert stay.return_late == timedelta(hours=2)


def test_a_source_comes_back_when_the_last_of_its_occurrences_closes() -> None:
    both = (planned(2, 4), planned(3, 6, "wother"))
    report = about(line("a", "A", planned=both, applied=(applied(2, 6),)))
    assert report.totals.restored_late == 0
    assert report.totals.entered_late == 0


def test_a_second_occurrence_is_not_told_from_the_first_ones_entry() -> None:
    twice = (planned(2, 4), planned(10, 12))
    report = about(line("a", "A", planned=twice, applied=(applied(2, 4),)))
    assert [stay.missed for stay in report.stays] == [False, True]


@given(
    opens=st.integers(-30, 30),
    lasts=st.integers(1, 20),
    enters=st.integers(0, 10),
    returns=st.integers(0, 10),
)
def test_each_lateness_counts_in_exactly_one_of_two_periods(
    opens: int, lasts: int, enters: int, returns: int
) -> None:
    entered, closes = opens / 10 + enters / 100, (opens + lasts) / 10
    stay = line(
        "a",
        "A",
        planned=(planned(opens / 10, closes),),
        applied=(applied(entered, max(closes, entered) + returns / 100),),
    )
    border = SINCE + timedelta(hours=1)
    whole = facts(since=SINCE - timedelta(days=1), timelines=(stay,))
    parts = (replace(whole, until=border), replace(whole, since=border))
    for name in ("entered_late", "restored_late", "never_entered", "occurrences"):
        assert sum(getattr(make(part).totals, name) for part in parts) == getattr(make(whole).totals, name)


def test_time_in_maintenance_is_what_mmd_did_and_what_others_did_counted_once() -> None:
    report = about(
        line("a", "A", applied=(applied(2, 6),)),
        findings=((finding("a", "A", Kind.ORPHAN, 5), at(8)), (finding("a", "A", Kind.HALF, 10), at(12))),
    )
    (shown,) = report.lines
    assert shown.in_maintenance == timedelta(hours=6)
    assert shown.zombie == ((at(5), at(8)), (at(10), at(12)))


def test_time_outside_of_the_period_does_not_count() -> None:
    (shown,) = about(line("a", "A", applied=(applied(-5, 30),))).lines
    assert shown.actual == ((SINCE, UNTIL),)


def test_drift_inside_of_a_window_is_no_zombie() -> None:
    report = about(
        line("a", "A", applied=(applied(2, 6),)), findings=((finding("a", "A", Kind.PARTIAL, 3), at(4)),)
    )
    assert report.lines[0].zombie == ()
    assert report.totals.findings_opened == 1


def test_a_source_of_which_nothing_is_known_has_no_line() -> None:
    assert about(line("a", "A"), line("b", "B", planned=(planned(2, 3),))).lines[0].source_id == "b"


def test_a_row_says_the_window_that_is_open_and_why() -> None:
    (row,) = about(
        line("a", "A", planned=(planned(20, 30), planned(2, 3, "wold")), applied=(applied(20, None),)),
        live=(Live("a", "A", "JDBC"),),
    ).rows
    assert (row.windows, row.reason, row.ticket, row.owner) == (("wpatch",), "patches", "CHG-7", "ops")
    assert (row.since, row.until, row.finding) == (at(20), at(30), "")


def test_a_row_of_a_source_that_is_not_back_says_what_it_was_entered_for() -> None:
    (row,) = about(
        line("a", "A", planned=(planned(20, 22), planned(2, 3, "wold")), applied=(applied(20, None),)),
        live=(Live("a", "A", "JDBC"),),
        findings=((finding("a", "A", Kind.OVERDUE, 22), None),),
    ).rows
    assert (row.windows, row.until, row.finding) == (("wpatch",), at(22), "overdue")


def test_a_row_knows_why_though_its_window_closed_long_before_the_period() -> None:
    (row,) = about(
        line("a", "A", applied=(applied(-90, None),)),
        live=(Live("a", "A", "JDBC"),),
        windows=(window(),),
        findings=((finding("a", "A", Kind.OVERDUE, -80), None),),
    ).rows
    assert (row.windows, row.ticket, row.until) == (("wpatch",), "CHG-7", at(-80))


def test_a_row_of_a_zombie_says_since_when_and_what_kind() -> None:
    (row,) = about(live=(Live("z", "Z", ""),), findings=((finding("z", "Z", Kind.ORPHAN, 3), None),)).rows
    assert (row.windows, row.reason, row.since, row.finding) == ((), "", at(3), "orphan")


def test_a_finding_that_was_cleared_is_not_of_now() -> None:
    (row,) = about(live=(Live("z", "Z", ""),), findings=((finding("z", "Z", Kind.ORPHAN, 3), at(4)),)).rows
    assert (row.since, row.finding) == (None, "")


def test_rows_are_of_now_however_old_the_period_is() -> None:
    (row,) = make(
        facts(
            now=at(100),
            live=(Live("a", "A", ""),),
            present=(line("a", "A", planned=(planned(99, 110),), applied=(applied(99, None),)),),
            timelines=(line("a", "A", planned=(planned(2, 3, "wold"),), applied=(applied(2, 3),)),),
        )
    ).rows
    assert (row.windows, row.since) == (("wpatch",), at(99))


def test_windows_are_those_that_were_open_or_changed_in_the_period() -> None:
    windows = (window("wopen"), window("wchanged"), window("wother"))
    report = about(
        line("a", "A", planned=(planned(2, 4, "wopen"),)),
        windows=windows,
        changes=(Change(at=at(1), kind="cancelled", actor="ada", window_id="wchanged"),),
    )
    assert [item.id for item in report.windows] == ["wopen", "wchanged"]
    assert (report.totals.cancelled, report.totals.extended) == (1, 0)


def test_the_numbers_of_an_eventful_day() -> None:
    totals = make(eventful()).totals
    assert (totals.in_maintenance_now, totals.windows, totals.occurrences) == (2, 2, 6)
    assert (totals.entered_late, totals.never_entered, totals.restored_late) == (1, 1, 2)
    assert (totals.findings_opened, totals.findings_closed, totals.findings_open) == (4, 2, 2)
    # 02:30 to 06:00 each quarter of an hour, and one group aggregation; "@daily" is not Quartz
    assert (totals.aggregations_skipped, totals.schedules_not_read) == (16, 1)
    assert (totals.extended, totals.ended_early, totals.cancelled, totals.foreign_edits_kept) == (1, 0, 0, 1)


@pytest.mark.parametrize("late", [timedelta(0), GRACE])
def test_the_grace_itself_is_in_time(late: timedelta) -> None:
    hours = late / timedelta(hours=1)
    assert one(line("a", "A", planned=(planned(2, 4),), applied=(applied(2 + hours, 4 + hours),))) == (
        False,
        False,
        False,
    )
