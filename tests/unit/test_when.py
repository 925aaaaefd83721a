"""Times and durations by example: what is read, what is refused and why, and how it is echoed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from mmd.errors import Refused
from mmd.when import Instant, describe, format_duration, parse_duration, parse_instant, span, takes_effect

# A Monday; 11:30:15 in Berlin.
NOW = datetime(2026, 11, 23, 10, 30, 15, 500, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOSTILE = [
    "\0",
    "\x1b[31m",
    "\ud800",
    "\u0662\u0662:00",
    "9" * 100_000,
    "a" * 100_000,
    "2026-12-01T" * 5000,
    "\n",
]


def berlin(text: str, now: datetime = NOW) -> Instant:
    return parse_instant(text, zone="Europe/Berlin", now=now)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", "2026-11-23 10:30:15"),
        ("+30m", "2026-11-23 11:00:15"),
        ("+P1DT2H", "2026-11-24 12:30:15"),
        ("22:00", "2026-11-23 21:00:00"),
        ("9:00", "2026-11-24 08:00:00"),
        ("11:30:15", "2026-11-24 10:30:15"),
        ("11:30:16", "2026-11-23 10:30:16"),
        ("today 09:00", "2026-11-23 08:00:00"),
        ("tomorrow 22:00", "2026-11-24 21:00:00"),
        ("Tomorrow  22:00", "2026-11-24 21:00:00"),
        ("sat 02:00", "2026-11-28 01:00:00"),
        ("SATURDAY 02:00", "2026-11-28 01:00:00"),
        ("mon 12:00", "2026-11-23 11:00:00"),
        ("mon 11:00", "2026-11-30 10:00:00"),
        ("2026-12-01 22:00", "2026-12-01 21:00:00"),
        (" 2026-12-01T22:00:30 ", "2026-12-01 21:00:30"),
        ("2026-12-01T22:00Z", "2026-12-01 22:00:00"),
        ("2026-12-01t22:00:00.123z", "2026-12-01 22:00:00"),
        ("2026-12-01T22:00:00-05:30", "2026-12-02 03:30:00"),
        ("2026-12-01 22:00+14:00", "2026-12-01 08:00:00"),
    ],
)
def test_each_form_is_read(text: str, expected: str) -> None:
    assert berlin(text).at == datetime.fromisoformat(expected + "Z")


def test_an_instant_says_what_a_window_needs_to_know() -> None:
    assert berlin("2026-12-01T21:00Z") == berlin("2026-12-01 22:00")
    assert berlin("2026-12-01 22:00") == Instant(
        at=datetime(2026, 12, 1, 21, tzinfo=UTC),
        local=datetime.fromisoformat("2026-12-01T22:00"),
        zone="Europe/Berlin",
        fold=0,
    )


def test_an_offset_says_which_of_two_equal_times_is_meant() -> None:
    first, second = berlin("2026-10-25T02:30+02:00"), berlin("2026-10-25T02:30+01:00")
    assert first.local == second.local == datetime.fromisoformat("2026-10-25T02:30")
    assert (first.fold, second.fold) == (0, 1)
    assert second.local.fold == 0
    assert second.at - first.at == HOUR


def test_a_time_of_day_is_the_next_in_the_zone_and_not_in_utc() -> None:
    late = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)  # the 24th in Berlin
    assert berlin("tomorrow 10:00", late).local.day == 25
    assert berlin("today 10:00", late).local.day == 24
    assert parse_instant("22:00", zone="Asia/Tokyo", now=NOW).at == datetime(2026, 11, 23, 13, tzinfo=UTC)


def test_a_time_of_day_that_is_now_is_tomorrow() -> None:
    at_ten = datetime(2026, 11, 23, 21, tzinfo=UTC)
    assert berlin("22:00", at_ten).at - at_ten == 24 * HOUR


def test_a_time_of_day_for_an_end_is_the_next_after_the_start() -> None:
    start = berlin("sat 22:00")
    end = parse_instant("02:00", zone="Europe/Berlin", now=NOW, after=start.at)
    assert span(start, end, None, NOW) == 4 * HOUR


def test_the_next_time_of_day_is_not_one_that_the_clock_has_skipped() -> None:
    after_the_gap = datetime(2027, 3, 28, 1, 10, tzinfo=UTC)
    assert berlin("02:30", after_the_gap).at == datetime(2027, 3, 29, 0, 30, tzinfo=UTC)


def test_the_next_time_of_day_is_not_one_that_was_shown_twice_already() -> None:
    after_the_fold = datetime(2026, 10, 25, 1, 40, tzinfo=UTC)
    assert berlin("02:30", after_the_fold).at == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)
    with pytest.raises(Refused, match="happens twice"):
        berlin("02:30", after_the_fold - HOUR)


@pytest.mark.parametrize(
    ("text", "reason", "hint"),
    [
        ("", "a time is missing", "2026-12-01 22:00"),
        ("12/01/2026", "which number is the month", "year first"),
        ("1.12.2026 22:00", "which number is the month", "year first"),
        ("2026-12-01", "no time of day", '"2026-12-01 00:00"'),
        ("-5m", "negative", "+30m"),
        ("noon", "not a time", "tomorrow 22:00"),
        ("someday 22:00", "not a time", "sat 02:00"),
        ("tomorrow", "not a time", "tomorrow 22:00"),
        ("now+5m", "not a time", "+30m"),
        ("2026-12-01T22:00+0100", "not a time", "+01:00"),
        ("2026-12-01 22:00\n", "not a time", "22:00"),
        ("24:00", "no such time of day", "00:00"),
        ("2026-12-31 23:59:60", "no such time of day", "00:00"),
        ("2026-02-30 22:00", "no such day", "2026-12-01"),
        ("1999-12-31 22:00", "out of range", "2000 to 2199"),
        ("9999-12-31T22:00Z", "out of range", "2000 to 2199"),
        ("2026-12-01T22:00+24:00", "offset", "+01:00"),
        ("2026-12-01T22:00-01:60", "offset", "+01:00"),
        ("+30", "30 of what", "30m"),
        ("+", "a duration is missing", "90m"),
        ("+-5m", "negative", "90m"),
        ("2027-03-28 02:30", "does not exist in Europe/Berlin", '"2027-03-28 01:59" and "2027-03-28 03:00"'),
        (
            "2026-10-25 02:30",
            "happens twice in Europe/Berlin",
            '"2026-10-25T02:30:00+02:00" for the first or "2026-10-25T02:30:00+01:00"',
        ),
    ],
)
def test_what_has_no_single_meaning_is_refused(text: str, reason: str, hint: str) -> None:
    with pytest.raises(Refused) as caught:
        berlin(text)
    assert reason in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.message.isprintable()


def test_the_hints_of_a_refusal_are_taken() -> None:
    for text in ("2027-03-28 01:59", "2027-03-28 03:00", "2026-10-25T02:30:00+02:00", "2026-12-01 00:00"):
        berlin(text)


def test_an_unknown_zone_is_refused_whatever_the_time() -> None:
    with pytest.raises(Refused) as caught:
        parse_instant("now", zone="Europe/Berln", now=NOW)
    assert caught.value.hint == "did you mean Europe/Berlin?"


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_refused_at_once_and_never_echoed_raw(text: str) -> None:
    began = time.process_time()
    for parse in (berlin, parse_duration):
        with pytest.raises(Refused) as caught:
            parse(text)
        assert caught.value.message.isprintable()
        assert caught.value.message.isascii()
        assert len(caught.value.message) < 200
    assert time.process_time() - began < 0.1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("30s", 30),
        ("90m", 5400),
        ("2h", 7200),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("366d", 366 * 86_400),
        ("PT2H", 7200),
        ("P1DT2H", 93_600),
        ("PT90M", 5400),
        ("PT1M30S", 90),
        ("P2W", 1_209_600),
    ],
)
def test_each_form_of_a_duration_is_read(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "missing"),
        ("-1h", "negative"),
        ("-PT1H", "negative"),
        ("30", "30 of what"),
        ("0s", "no time at all"),
        ("PT0S", "no time at all"),
        ("366d1s", "longer than 366 days"),
        ("9" * 60 + "d", "longer than 366 days"),
        ("P1M", "months and years differ"),
        ("P1Y", "months and years differ"),
        ("P", "not a duration"),
        ("PT", "not a duration"),
        ("P1DT", "not a duration"),
        ("PT0.5H", "not a duration"),
        ("1.5h", "not a duration"),
        ("30m1h", "not a duration"),
        ("1h 30m", "not a duration"),
        ("2H", "not a duration"),
        ("+5m", "not a duration"),
        ("\u0663m", "not a duration"),
        ("2h\n", "not a duration"),
    ],
)
def test_any_other_duration_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_duration(text)
    assert reason in caught.value.message
    assert caught.value.hint


def test_a_span_is_a_duration_or_the_time_to_the_end() -> None:
    assert span(berlin("22:00"), None, 2 * HOUR, NOW) == 2 * HOUR
    assert span(berlin("22:00"), berlin("tomorrow 02:00"), None, NOW) == 4 * HOUR
    assert span(berlin("2027-03-27 22:00"), berlin("2027-03-28 06:00"), None, NOW) == 7 * HOUR


@pytest.mark.parametrize(
    ("start", "end", "duration", "reason", "hint"),
    [
        ("22:00", "23:00", HOUR, "exclude each other", "leave one out"),
        ("22:00", None, None, "when does it end", "--for"),
        ("22:00", "22:00", None, "not after the start", "--for"),
        ("22:00", "20:00", None, "not after the start", "--for"),
        ("22:00", None, -HOUR, "not after the start", "--for"),
        ("22:00", None, timedelta(days=367), "at most 366 days", "--repeat"),
        ("2026-12-01 22:00", "2028-12-01 22:00", None, "at most 366 days", "--repeat"),
        ("today 09:00", None, HOUR, "the window is in the past: it would have ended 1 h 30 m ago", "22:00"),
        ("today 11:29", None, HOUR, "the start is in the past: it was 1 m 15 s ago", "`mmd start`"),
        ("today 11:29", None, HOUR, "the start is in the past", "--for 58m44s"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    start: str, end: str | None, duration: timedelta | None, reason: str, hint: str
) -> None:
    with pytest.raises(Refused) as caught:
        span(berlin(start), berlin(end) if end else None, duration, NOW)
    assert reason in caught.value.message
    assert hint in caught.value.hint


def test_a_start_may_become_past_while_it_is_typed() -> None:
    start = berlin("today 11:30")
    assert span(start, None, HOUR, start.at + timedelta(seconds=60)) == HOUR
    with pytest.raises(Refused):
        span(start, None, HOUR, start.at + timedelta(seconds=60, microseconds=1))
    assert takes_effect(start, start.at + timedelta(seconds=60)) == start.at
    assert takes_effect(start, start.at + timedelta(seconds=61)) == start.at + timedelta(seconds=61)
    assert takes_effect(start, start.at - HOUR) == start.at - HOUR


def test_a_repeat_may_be_counted_from_a_start_in_the_past() -> None:
    assert span(berlin("2020-01-06 22:00"), None, HOUR, NOW, repeats=True) == HOUR


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        (
            "2026-12-01T21:00Z",
            "Europe/Berlin",
            "Tue 2026-12-01 22:00 Europe/Berlin (CET, UTC+1) = 21:00Z, in 8 d 10 h",
        ),
        ("2026-11-23T10:00Z", "UTC", "Mon 2026-11-23 10:00 UTC = 10:00Z, 30 m 15 s ago"),
        ("now", "Asia/Kolkata", "Mon 2026-11-23 16:00:15 Asia/Kolkata (IST, UTC+5:30) = 10:30:15Z, now"),
        ("+1d", "America/Sao_Paulo", "Tue 2026-11-24 07:30:15 America/Sao_Paulo (UTC-3) = 10:30:15Z, in 1 d"),
        (
            "2026-12-01T21:00Z",
            "Pacific/Marquesas",
            "Tue 2026-12-01 11:30 Pacific/Marquesas (UTC-9:30) = 21:00Z, in 8 d 10 h",
        ),
        (
            "2026-12-01T21:00Z",
            "Asia/Tokyo",
            "Wed 2026-12-02 06:00 Asia/Tokyo (JST, UTC+9) = 2026-12-01 21:00Z, in 8 d 10 h",
        ),
    ],
)
def test_an_instant_is_echoed_in_local_time_in_utc_and_as_a_distance(
    text: str, zone: str, expected: str
) -> None:
    assert describe(parse_instant(text, zone=zone, now=NOW).at, zone, NOW) == expected


@pytest.mark.parametrize(
    ("off", "expected"),
    [
        (timedelta(seconds=1), "in 1 s"),
        (timedelta(days=8, minutes=3), "in 8 d"),
        (timedelta(hours=2, seconds=5), "in 2 h"),
        (timedelta(seconds=-59), "59 s ago"),
    ],
)
def test_a_distance_has_the_largest_unit_and_the_one_below(off: timedelta, expected: str) -> None:
    assert describe(NOW.replace(microsecond=0) + off, "UTC", NOW).endswith(expected)


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(hours=1.5), "1h30m"),
        (timedelta(days=7), "7d"),
        (timedelta(days=1, seconds=1), "1d1s"),
        (timedelta(seconds=59.9), "59s"),
        (timedelta(0), "0s"),
    ],
)
def test_a_duration_is_written_as_it_is_read(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text
