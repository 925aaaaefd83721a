"""Windows by example: expansion, states, unions, what is on file, and what a repeat may say."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
import zoneinfo
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from mmd.errors import Refused
from mmd.windows import (
    Occurrence,
    SourceRef,
    Window,
    WindowState,
    begun,
    check_repeat,
    instants,
    last_opening,
    local_to_utc,
    next_boundary,
    next_of,
    occurrences,
    open_at,
    open_now,
    parse_repeat,
    state,
    upcoming,
    wanted,
    zone_named,
)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TICK = timedelta.resolution
BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str) -> datetime:
    """Read an instant in UTC, or a wall clock time where the text says nothing of a zone."""
    return datetime.fromisoformat(text)


def planned(starts: str = "2026-12-01T22:00", repeat: str | None = None, **changes: object) -> Window:
    window = Window(
        id="w234567",
        sources=(SourceRef("s1", "HR"), SourceRef("s2", "AD")),
        starts_local=at(starts),
        timezone="Europe/Berlin",
        duration=2 * HOUR,
        repeat=parse_repeat(repeat) if repeat else None,
        reason="patching",
        created_at=at("2026-01-01T00:00Z"),
        effective_from=at("2020-01-01T00:00Z"),
    )
    return replace(window, **changes)  # type: ignore[arg-type] # the names are the window's own


def opening(window: Window, since: str, until: str) -> list[str]:
    return [f"{item.opens_at:%m-%dT%H:%MZ}" for item in occurrences(window, at(since), at(until))]


def keys(window: Window, limit: int = 4, now: str = "2026-11-01T00:00Z") -> list[str]:
    return [item.key for item in upcoming(window, at(now), limit)]


# -- one-off windows -----------------------------------------------------------------------------------------


def test_a_one_off_opens_by_its_zone_and_closes_after_its_duration() -> None:
    (item,) = occurrences(planned(), at("2026-01-01T00:00Z"), at("2027-01-01T00:00Z"))
    assert item == Occurrence(
        "w234567", "2026-12-01T22:00", at("2026-12-01T21:00Z"), at("2026-12-01T23:00Z"), skipped=False
    )


def test_an_occurrence_is_open_from_its_opening_until_before_its_closing() -> None:
    opens, closes = at("2026-12-01T21:00Z"), at("2026-12-01T23:00Z")
    assert open_at(planned(), opens - TICK) is None
    assert open_at(planned(), opens)
    assert open_at(planned(), closes - TICK)
    assert open_at(planned(), closes) is None


def test_what_closes_as_the_range_begins_or_opens_as_it_ends_is_not_in_it() -> None:
    assert opening(planned(), "2026-12-01T23:00Z", "2026-12-02T00:00Z") == []
    assert opening(planned(), "2026-12-01T20:00Z", "2026-12-01T21:00Z") == []
    assert opening(planned(), "2026-12-01T22:59Z", "2026-12-02T00:00Z") == ["12-01T21:00Z"]


def test_a_one_off_in_a_fold_opens_at_the_instant_that_was_meant() -> None:
    first, second = planned("2026-10-25T02:30"), planned("2026-10-25T02:30", fold=1)
    assert upcoming(first, first.created_at)[0].opens_at == at("2026-10-25T00:30Z")
    assert upcoming(second, first.created_at)[0].opens_at == at("2026-10-25T01:30Z")
    assert last_opening(second) == at("2026-10-25T01:30Z")


def test_a_far_away_one_off_is_still_planned() -> None:
    assert state(planned("2150-01-01T00:00"), at("2026-01-01T00:00Z")) is WindowState.PLANNED


def test_a_window_that_takes_effect_after_its_start_never_opens() -> None:
    late = planned(effective_from=at("2026-12-01T21:00:01Z"))
    assert state(late, at("2026-12-01T21:30Z")) is WindowState.ENDED
    assert open_at(replace(late, effective_from=at("2026-12-01T21:00Z")), at("2026-12-01T21:30Z"))


def test_a_key_has_seconds_only_if_the_start_has() -> None:
    assert keys(planned("2026-12-01T22:00:05")) == ["2026-12-01T22:00:05"]
    assert keys(planned("2026-12-01T22:00:00")) == ["2026-12-01T22:00"]


# -- repeats and daylight saving -----------------------------------------------------------------------------


def test_a_repeat_keeps_its_wall_clock_time_across_a_change() -> None:
    daily = planned("2026-10-20T22:00", "FREQ=DAILY")
    assert opening(daily, "2026-10-24T00:00Z", "2026-10-27T00:00Z") == [
        "10-24T20:00Z",
        "10-25T21:00Z",
        "10-26T21:00Z",
    ]


def test_in_a_gap_it_opens_when_the_gap_ends() -> None:
    daily = planned("2027-03-01T02:30", "FREQ=DAILY")
    (item,) = occurrences(daily, at("2027-03-27T23:00Z"), at("2027-03-28T23:00Z"))
    assert (item.key, item.opens_at) == ("2027-03-28T02:30", at("2027-03-28T01:00Z"))
    assert item.closes_at == at("2027-03-28T03:00Z")


def test_the_day_that_a_zone_skipped_opens_as_the_next_begins() -> None:
    samoa = ZoneInfo("Pacific/Apia")  # there was no 30 December 2011
    assert local_to_utc(at("2011-12-30T22:00"), samoa) == at("2011-12-30T10:00Z")
    assert local_to_utc(at("2011-12-31T00:00"), samoa) == at("2011-12-30T10:00Z")


def test_in_a_fold_it_opens_at_the_first_and_once() -> None:
    daily = planned("2026-10-01T02:30", "FREQ=DAILY", fold=1)
    assert opening(daily, "2026-10-24T22:00Z", "2026-10-25T23:00Z") == ["10-25T00:30Z"]


def test_a_duration_is_elapsed_time_whatever_the_clock_does() -> None:
    night = planned("2026-10-24T22:00", duration=6 * HOUR)
    (item,) = upcoming(night, at("2026-10-01T00:00Z"))
    assert item.closes_at.astimezone(BERLIN).isoformat() == "2026-10-25T03:00:00+01:00"


def test_instants_are_none_in_a_gap_and_two_in_a_fold() -> None:
    assert instants(at("2027-03-28T02:30"), BERLIN) == ()
    assert instants(at("2027-03-28T03:30"), BERLIN) == (at("2027-03-28T01:30Z"),)
    assert instants(at("2026-10-25T02:30"), BERLIN) == (at("2026-10-25T00:30Z"), at("2026-10-25T01:30Z"))


@pytest.mark.parametrize(
    ("starts", "repeat", "expected"),
    [
        ("2026-12-01T22:00", "FREQ=DAILY;INTERVAL=3", ["12-01", "12-04", "12-07", "12-10"]),
        ("2026-12-01T22:00", "FREQ=DAILY;BYDAY=SA,SU", ["12-05", "12-06", "12-12", "12-13"]),
        ("2026-12-30T22:00", "FREQ=DAILY;BYMONTHDAY=-1,1", ["12-31", "01-01", "01-31", "02-01"]),
        ("2026-12-01T22:00", "FREQ=DAILY;BYMONTH=2", ["02-01", "02-02", "02-03", "02-04"]),
        ("2026-12-01T22:00", "FREQ=WEEKLY", ["12-01", "12-08", "12-15", "12-22"]),
        ("2026-12-02T22:00", "FREQ=WEEKLY;BYDAY=MO,SU", ["12-06", "12-07", "12-13", "12-14"]),
        ("2026-12-02T22:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU", ["12-06", "12-15", "12-20", "12-29"]),
        (
            "2026-12-02T22:00",
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,SU;WKST=SU",
            ["12-13", "12-15", "12-27", "12-29"],
        ),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYDAY=3TU", ["12-15", "01-19", "02-16", "03-16"]),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYDAY=-1FR,1FR", ["12-04", "12-25", "01-01", "01-29"]),
        ("2026-12-31T22:00", "FREQ=MONTHLY", ["12-31", "01-31", "03-31", "05-31"]),
        ("2026-12-01T22:00", "FREQ=MONTHLY;INTERVAL=5", ["12-01", "05-01", "10-01", "03-01"]),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYMONTHDAY=13;BYDAY=FR", ["08-13", "10-13", "04-13", "07-13"]),
        (
            "2026-12-01T22:00",
            "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1",
            ["12-31", "01-29", "02-26", "03-31"],
        ),
        ("2027-05-31T22:00", "FREQ=YEARLY", ["05-31", "05-31", "05-31", "05-31"]),
        ("2027-05-31T22:00", "FREQ=YEARLY;BYMONTH=7,8", ["07-31", "08-31", "07-31", "08-31"]),
        ("2027-05-31T22:00", "FREQ=YEARLY;BYDAY=1MO", ["01-03", "01-01", "01-07", "01-06"]),
        ("2027-05-31T22:00", "FREQ=YEARLY;BYMONTH=9;BYDAY=1MO", ["09-06", "09-04", "09-03", "09-02"]),
        ("2026-12-01T22:00", "FREQ=DAILY;COUNT=2", ["12-01", "12-02"]),
        ("2026-12-02T22:00", "FREQ=WEEKLY;BYDAY=TU;COUNT=1", ["12-08"]),
        ("2026-12-01T22:00", "FREQ=DAILY;UNTIL=20261202T210000Z", ["12-01", "12-02"]),
        ("2026-12-01T22:00", "FREQ=DAILY;UNTIL=20261202T205959Z", ["12-01"]),
    ],
)
def test_a_repeat_comes_round_as_the_rfc_says(starts: str, repeat: str, expected: list[str]) -> None:
    assert [key[5:10] for key in keys(planned(starts, repeat))] == expected


def test_until_is_the_last_instant_at_which_it_may_open() -> None:
    daily = planned(repeat="FREQ=DAILY", until=at("2026-12-03T21:00Z"))
    assert keys(daily) == ["2026-12-01T22:00", "2026-12-02T22:00", "2026-12-03T22:00"]
    assert keys(replace(daily, until=at("2026-12-03T20:59:59Z"))) == ["2026-12-01T22:00", "2026-12-02T22:00"]


def test_until_in_the_second_pass_of_a_fold_comes_after_all_of_the_first() -> None:
    daily = planned("2026-10-24T02:50", "FREQ=DAILY", until=at("2026-10-25T01:10Z"))  # 02:10 again
    assert keys(daily, now="2026-10-01T00:00Z") == ["2026-10-24T02:50", "2026-10-25T02:50"]


def test_the_last_opening_is_the_first_of_all_ends() -> None:
    counted = planned(repeat="FREQ=DAILY;COUNT=3")
    assert last_opening(counted) == at("2026-12-03T21:00Z")
    assert last_opening(replace(counted, until=at("2026-12-02T00:00Z"))) == at("2026-12-02T00:00Z")
    assert last_opening(planned(repeat="FREQ=DAILY;UNTIL=20270101T000000Z")) == at("2027-01-01T00:00Z")
    assert last_opening(planned(repeat="FREQ=DAILY")) is None


def test_a_window_across_midnight_belongs_to_the_day_it_opened() -> None:
    daily = planned("2026-12-01T23:00", "FREQ=DAILY", duration=3 * HOUR)
    found = open_at(daily, at("2026-12-05T00:30Z"))
    assert found
    assert found.key == "2026-12-04T23:00"


def test_a_window_longer_than_its_period_overlaps_itself() -> None:
    daily = planned(repeat="FREQ=DAILY", duration=30 * HOUR)
    inside = at("2026-12-03T22:00Z")
    assert [item.key for item in open_now(daily, inside)] == ["2026-12-02T22:00", "2026-12-03T22:00"]
    latest = open_at(daily, inside)
    assert latest
    assert latest.key == "2026-12-03T22:00"
    assert len(wanted([daily], inside)["s1"]) == 2


def test_of_several_open_occurrences_the_one_that_closes_last_counts() -> None:
    extended = on_file("2026-12-02T22:00", "2026-12-02T21:00Z", "2026-12-10T00:00Z")
    daily = planned(repeat="FREQ=DAILY", recorded=(extended,))
    assert open_at(daily, at("2026-12-03T22:00Z")) is extended


def test_the_next_of_a_window_is_the_open_one_else_the_one_to_come() -> None:
    daily = planned(repeat="FREQ=DAILY")
    for now, key in (("2026-12-02T22:00Z", "2026-12-02T22:00"), ("2026-12-02T23:00Z", "2026-12-03T22:00")):
        found = next_of(daily, at(now))
        assert found
        assert found.key == key
    assert next_of(planned(), at("2027-01-01T00:00Z")) is None


# -- states, unions, boundaries ------------------------------------------------------------------------------


def test_a_window_goes_from_planned_through_active_to_ended() -> None:
    found = [state(planned(), at(f"2026-12-01T{hour}:00Z")) for hour in (20, 21, 22, 23)]
    assert found == ["planned", "active", "active", "ended"]


def test_a_repeat_is_planned_between_two_occurrences() -> None:
    assert state(planned(repeat="FREQ=DAILY"), at("2026-12-05T12:00Z")) is WindowState.PLANNED


def test_a_cancelled_window_generates_nothing_and_keeps_what_is_on_file() -> None:
    past = Occurrence("w234567", "2026-12-01T22:00", at("2026-12-01T21:00Z"), at("2026-12-01T21:30Z"))
    gone = planned(repeat="FREQ=DAILY", cancelled_at=at("2026-12-01T21:30Z"), recorded=(past,))
    assert state(gone, at("2026-12-01T22:00Z")) is WindowState.CANCELLED
    assert list(occurrences(gone, at("2026-01-01T00:00Z"), at("2028-01-01T00:00Z"))) == [past]
    assert begun(gone, at("2026-01-01T00:00Z"), at("2028-01-01T00:00Z")) == ()


def test_overlapping_windows_are_a_union() -> None:
    one = planned()
    other = planned("2026-12-01T23:00", id="w765432", sources=(SourceRef("s2", "AD"), SourceRef("s3", "Old")))
    found = wanted([one, other], at("2026-12-01T22:30Z"))
    assert {key: [window.id for window, _ in pairs] for key, pairs in found.items()} == {
        "s1": ["w234567"],
        "s2": ["w234567", "w765432"],
        "s3": ["w765432"],
    }
    assert wanted([one, other], at("2026-12-01T23:30Z")).keys() == {"s2", "s3"}
    assert wanted([one, other], at("2026-12-02T00:00Z")) == {}


def test_the_next_boundary_is_the_first_opening_or_closing_of_any_window() -> None:
    windows = [planned(), planned("2026-12-01T23:00", id="w765432")]
    now, found = at("2026-01-01T00:00Z"), []
    while (now := next_boundary(windows, now) or at("9999-01-01T00:00Z")).year < 9999:
        found.append(f"{now:%H:%M}")
    assert found == ["21:00", "22:00", "23:00", "00:00"]


def test_a_boundary_is_an_opening_also_while_another_occurrence_is_open() -> None:
    daily = planned(repeat="FREQ=DAILY", duration=30 * HOUR)
    assert next_boundary([daily], at("2026-12-02T20:00Z")) == at("2026-12-02T21:00Z")
    assert next_boundary([daily], at("2026-12-02T21:00Z")) == at("2026-12-03T03:00Z")


# -- what is on file -----------------------------------------------------------------------------------------


def on_file(key: str, opens: str, closes: str, *, skipped: bool = False) -> Occurrence:
    return Occurrence("w234567", key, at(opens), at(closes), skipped=skipped)


def test_what_is_on_file_wins_over_the_definition() -> None:
    extended = on_file("2026-12-02T22:00", "2026-12-02T21:00Z", "2026-12-03T05:00Z")
    daily = planned(repeat="FREQ=DAILY", recorded=(extended,))
    found = list(occurrences(daily, at("2026-12-01T00:00Z"), at("2026-12-04T00:00Z")))
    assert [item.key[8:10] for item in found] == ["01", "02", "03"]
    assert found[1] is extended


def test_what_was_skipped_is_left_out_unless_asked_for() -> None:
    skipped = on_file("2026-12-02T22:00", "2026-12-02T21:00Z", "2026-12-02T23:00Z", skipped=True)
    daily = planned(repeat="FREQ=DAILY", recorded=(skipped,))
    assert open_at(daily, at("2026-12-02T22:00Z")) is None
    assert keys(daily, 2) == ["2026-12-01T22:00", "2026-12-03T22:00"]
    assert next_boundary([daily], at("2026-12-02T12:00Z")) == at("2026-12-03T21:00Z")
    both = occurrences(daily, at("2026-12-02T00:00Z"), at("2026-12-04T00:00Z"), skipped=True)
    assert [item.skipped for item in both] == [True, False]


def test_a_one_off_that_was_skipped_has_ended() -> None:
    skipped = on_file("2026-12-01T22:00", "2026-12-01T21:00Z", "2026-12-01T23:00Z", skipped=True)
    assert state(planned(recorded=(skipped,)), at("2026-11-01T00:00Z")) is WindowState.ENDED


def test_what_has_begun_and_is_not_on_file_is_to_be_recorded_once() -> None:
    daily = planned(repeat="FREQ=DAILY")
    since, now = at("2026-12-01T21:00Z"), at("2026-12-03T21:00Z")
    found = begun(daily, since, now)
    assert [item.key for item in found] == ["2026-12-02T22:00", "2026-12-03T22:00"]
    assert begun(replace(daily, recorded=found), since, now) == ()


def test_an_edit_never_opens_anything_before_it() -> None:
    edited = planned(repeat="FREQ=DAILY", effective_from=at("2026-12-02T21:00:01Z"))
    assert begun(edited, at("2026-01-01T00:00Z"), at("2026-12-04T00:00Z"))[0].key == "2026-12-03T22:00"
    assert keys(edited, 1) == ["2026-12-03T22:00"]


def forget_zones() -> None:
    zone_named.cache_clear()
    ZoneInfo.clear_cache()


@pytest.fixture
def changing_zone(tmp_path: Path) -> Iterator[Path]:
    """A zone "Test/Zone" whose data a test replaces, as an update of tzdata does."""
    (tmp_path / "Test").mkdir()
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath([str(tmp_path), *before])
    yield tmp_path / "Test" / "Zone"
    zoneinfo.reset_tzpath(before)
    forget_zones()


def test_new_zone_data_moves_what_is_to_come_and_nothing_that_has_begun(changing_zone: Path) -> None:
    def install(name: str) -> None:
        folder = next(Path(it) for it in zoneinfo.TZPATH if (Path(it) / name).is_file())
        shutil.copyfile(folder / name, changing_zone)
        forget_zones()  # as a restart does

    install("Europe/Berlin")
    daily = planned(repeat="FREQ=DAILY", timezone="Test/Zone")
    now = at("2026-12-02T21:30Z")
    settled = replace(daily, recorded=begun(daily, at("2026-12-01T00:00Z"), now))
    install("Africa/Lagos")  # the same hour in winter
    assert opening(settled, "2026-12-01T00:00Z", "2026-12-04T00:00Z") == opening(
        daily, "2026-12-01T00:00Z", "2026-12-04T00:00Z"
    )
    install("Europe/London")  # an hour later by UTC
    assert opening(settled, "2026-12-01T00:00Z", "2026-12-04T00:00Z") == [
        "12-01T21:00Z",
        "12-02T21:00Z",
        "12-03T22:00Z",
    ]
    assert keys(settled, 2, "2026-12-02T21:30Z") == ["2026-12-03T22:00", "2026-12-04T22:00"]


# -- zones ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "Europe",
        "europe/berlin",
        "Europe/Berlin\n",
        "../../etc/passwd",
        "/etc/localtime",
        "right/Europe/Berlin",
        "posix/Europe/Berlin",
        "a\0b",
        "\ud800",
        "x" * 10_000,
    ],
)
def test_what_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(Refused) as caught:
        zone_named(name)
    assert caught.value.message.isprintable()
    assert caught.value.message.isascii()
    assert caught.value.hint


def test_a_mistyped_zone_gets_the_nearest_as_a_hint() -> None:
    with pytest.raises(Refused, match="Europe/Berln") as caught:
        zone_named("Europe/Berln")
    assert caught.value.hint == "did you mean Europe/Berlin?"


# -- what a repeat may say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("FREQ=DAILY", "FREQ=DAILY"),
        (" rrule:freq=weekly;byday=su,mo ", "FREQ=WEEKLY;BYDAY=MO,SU"),
        ("INTERVAL=1;FREQ=WEEKLY;WKST=MO", "FREQ=WEEKLY"),
        ("FREQ=WEEKLY;WKST=SU;INTERVAL=02", "FREQ=WEEKLY;INTERVAL=2;WKST=SU"),
        ("FREQ=MONTHLY;BYDAY=+3TU,-1FR", "FREQ=MONTHLY;BYDAY=3TU,-1FR"),
        ("FREQ=YEARLY;BYDAY=-53MO", "FREQ=YEARLY;BYDAY=-53MO"),
        ("FREQ=YEARLY;BYSETPOS=1;BYMONTH=7,1", "FREQ=YEARLY;BYMONTH=1,7;BYSETPOS=1"),
        ("FREQ=MONTHLY;BYMONTHDAY=31,-1", "FREQ=MONTHLY;BYMONTHDAY=-1,31"),
        ("FREQ=DAILY;COUNT=1000", "FREQ=DAILY;COUNT=1000"),
        ("FREQ=DAILY;UNTIL=20261231T220000z", "FREQ=DAILY;UNTIL=20261231T220000Z"),
    ],
)
def test_a_repeat_is_kept_in_one_form(text: str, canonical: str) -> None:
    assert parse_repeat(text) == canonical
    assert parse_repeat(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "needs FREQ"),
        ("WEEKLY", "needs FREQ"),
        ("every saturday", "needs FREQ"),
        ("FREQ=", "FREQ must be one of"),
        ("FREQ=HOURLY", "FREQ must be one of"),
        ("FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30", "FREQ must be one of"),
        ("FREQ=DAILY;", "cannot have ''"),
        ("FREQ=DAILY;X-NAME=1", "cannot have 'X-NAME'"),
        ("FREQ=DAILY;BYHOUR=3", "cannot have 'BYHOUR'"),
        ("FREQ=YEARLY;BYWEEKNO=3", "cannot have 'BYWEEKNO'"),
        ("FREQ=DAILY;FREQ=DAILY", "FREQ is given twice"),
        ("DTSTART:20260101T000000\nRRULE:FREQ=DAILY", "cannot have"),
        ("FREQ=DAILY\nDTSTART:20260101T000000", "FREQ must be one of"),
        ("FREQ=DAILY\n", "FREQ must be one of"),
        ("FREQ=DAILY;INTERVAL=0", "INTERVAL must be"),
        ("FREQ=DAILY;INTERVAL=-1", "INTERVAL must be"),
        ("FREQ=DAILY;INTERVAL=1000", "INTERVAL must be"),
        ("FREQ=DAILY;INTERVAL=1.5", "INTERVAL must be"),
        ("FREQ=DAILY;COUNT=0", "COUNT must be"),
        ("FREQ=DAILY;COUNT=1001", "COUNT must be"),
        ("FREQ=DAILY;COUNT=2;UNTIL=20261231T220000Z", "exclude each other"),
        ("FREQ=DAILY;UNTIL=20261231", "UNTIL must be in UTC"),
        ("FREQ=DAILY;UNTIL=20261231T220000", "UNTIL must be in UTC"),
        ("FREQ=DAILY;UNTIL=20261331T220000Z", "UNTIL must be in UTC"),
        ("FREQ=DAILY;BYMONTH=13", "BYMONTH must be numbers from 1 to 12"),
        ("FREQ=DAILY;BYMONTH=-1", "BYMONTH must be"),
        ("FREQ=DAILY;BYMONTH=1,1", "each once"),
        ("FREQ=MONTHLY;BYMONTHDAY=32", "BYMONTHDAY must be"),
        ("FREQ=MONTHLY;BYMONTHDAY=0", "BYMONTHDAY must be"),
        ("FREQ=MONTHLY;BYMONTHDAY=", "BYMONTHDAY must be"),
        ("FREQ=WEEKLY;BYMONTHDAY=1", "does not go with WEEKLY"),
        ("FREQ=WEEKLY;BYDAY=XX", "BYDAY must"),
        ("FREQ=WEEKLY;BYDAY=MO,MO", "BYDAY must"),
        ("FREQ=WEEKLY;BYDAY=3TU", "go with MONTHLY and YEARLY"),
        ("FREQ=MONTHLY;BYDAY=0TU", "BYDAY must"),
        ("FREQ=MONTHLY;BYDAY=6TU", "counts at most to 5"),
        ("FREQ=YEARLY;BYDAY=-54TU", "counts at most to 53"),
        ("FREQ=YEARLY;BYMONTH=3;BYDAY=6TU", "counts at most to 5"),
        ("FREQ=MONTHLY;BYDAY=3TU,FR", "do not mix"),
        ("FREQ=WEEKLY;BYDAY=MO,TU;BYSETPOS=1", "goes with MONTHLY and YEARLY"),
        ("FREQ=MONTHLY;BYSETPOS=1", "picks from the days"),
        ("FREQ=MONTHLY;BYDAY=MO;BYSETPOS=367", "BYSETPOS must be"),
        ("FREQ=WEEKLY;WKST=XX", "WKST must be"),
        ("FREQ=DAILY;COUNT=\u0663", "plain characters"),
        ("FREQ=DAILY;BYDAY=" + "MO," * 1000, "plain characters"),
    ],
)
def test_anything_else_is_refused_with_a_reason_and_a_hint(text: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_repeat(text)
    assert reason in caught.value.message
    assert caught.value.message.isprintable()
    assert caught.value.hint


def test_a_time_of_day_in_a_repeat_is_answered_by_naming_the_option() -> None:
    with pytest.raises(Refused) as caught:
        parse_repeat("FREQ=DAILY;BYHOUR=22")
    assert "--start" in caught.value.hint


@pytest.mark.parametrize(
    ("starts", "repeat"),
    [
        ("2026-12-01T22:00", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30"),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=20"),
        ("2026-12-01T22:00", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"),
        ("2026-12-01T22:00", "FREQ=DAILY;INTERVAL=7;BYDAY=MO"),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=300"),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYDAY=MO;BYMONTHDAY=29;BYMONTH=2"),
        ("2026-12-01T22:00", "FREQ=DAILY;UNTIL=20261201T000000Z"),
        ("1990-12-01T22:00", "FREQ=YEARLY;INTERVAL=40"),
        ("2026-12-01T22:00", "FREQ=MONTHLY;BYMONTHDAY=31;BYMONTH=2;COUNT=3"),
    ],
)
def test_a_repeat_that_does_not_come_round_in_five_years_is_refused_at_once(starts: str, repeat: str) -> None:
    began = time.process_time()
    with pytest.raises(Refused, match="within five years"):
        check_repeat(planned(starts, repeat))
    assert time.process_time() - began < 1


def test_a_repeat_that_comes_round_or_has_come_round_is_not_refused() -> None:
    check_repeat(planned(repeat="FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"))
    check_repeat(planned("2090-12-01T22:00", "FREQ=DAILY"))
    check_repeat(planned("1990-12-01T22:00", "FREQ=YEARLY;INTERVAL=4"))
    first = on_file("2026-12-01T22:00", "2026-12-01T21:00Z", "2026-12-01T23:00Z")
    check_repeat(planned(repeat="FREQ=DAILY;COUNT=1", recorded=(first,)))
    check_repeat(planned())


# -- cost ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "repeat",
    ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SA", "FREQ=MONTHLY;BYDAY=3TU", "FREQ=YEARLY", "FREQ=DAILY;COUNT=1000"],
)
def test_the_age_of_a_rule_costs_nothing(repeat: str) -> None:
    now = at("2026-12-01T00:00Z")

    def cost(starts: str) -> float:
        window = planned(starts, repeat, effective_from=at("1900-01-01T00:00Z"))
        upcoming(window, now)
        began = time.process_time()
        for _ in range(100):
            upcoming(window, now)
            next_boundary([window], now)
        return (time.process_time() - began) / 100

    assert cost("1924-01-01T22:00") < 0.002
    assert cost("1924-01-01T22:00") < 5 * cost("2026-01-01T22:00") + 0.0001


def test_a_window_that_does_not_repeat_needs_no_dateutil() -> None:
    code = "import sys, mmd.when, mmd.windows; sys.exit('dateutil' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
