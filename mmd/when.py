"""Times and durations as people type them, and as they are echoed back.

A small closed grammar (docs/contract.md, "T" and "D"): what could be read in two ways is refused with a
reason and with what to write instead. Pure: `now` is an argument.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, timezone
from itertools import dropwhile, islice
from typing import Final
from zoneinfo import ZoneInfo

from mmd.errors import Refused
from mmd.windows import instants, local_to_utc, zone_named

LONGEST: Final = timedelta(days=366)
# It takes a moment to type a command that begins now.
TYPING_TIME: Final = timedelta(seconds=60)

_TIMES: Final = (
    'write "2026-12-01 22:00", "2026-12-01T22:00+01:00", "22:00", "tomorrow 22:00", "sat 02:00" or "+30m"'
)
_DURATIONS: Final = 'write "90m", "2h", "1h30m", "2d" or "PT2H"'
_YEARS: Final = range(2000, 2200)
_MINUTE: Final = timedelta(minutes=1)
_WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_UNITS: Final = {"w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}

_CLOCK: Final = r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:\.[0-9]{1,9})?)?"
_DATED: Final = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})[Tt ]"
    + _CLOCK
    + r"(?P<offset>[Zz]|[+-][0-9]{2}:[0-9]{2})?"
)
_NEAR: Final = re.compile(r"(?P<name>today|tomorrow) +" + _CLOCK, re.IGNORECASE | re.ASCII)
_NEXT: Final = re.compile(
    r"(?:(?P<name>" + "|".join(f"{day}|{day[:3]}" for day in _WEEKDAYS) + r") +)?" + _CLOCK,
    re.IGNORECASE | re.ASCII,
)
_SHORT: Final = re.compile(r"(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?")
_ISO: Final = re.compile(
    r"P(?:([0-9]+)W)?(?:([0-9]+)D)?(?:T(?=[0-9])(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)S)?)?"
)
_LONGEST_TEXT: Final = 64


@dataclass(frozen=True, slots=True)
class Instant:
    """An instant as somebody gave it.

    `at` is aware, in UTC, in whole seconds; `local` is what the clock of `zone` shows then (naive), and
    `fold` says which of two such times it is (PEP 495).
    """

    at: datetime
    local: datetime
    zone: str
    fold: int = 0


def parse_instant(text: str, *, zone: str, now: datetime, after: datetime | None = None) -> Instant:
    """Read a time: with an offset as it stands, else by the clock of `zone`; drop fractions of a second.

    A time of day alone, or with a weekday, is the next one after `after`, by default after `now`: the end of
    a window is looked for after its start.

    Raises:
        Refused: it is of none of the forms, does not exist in the zone, or happens twice there.
    """
    clock = zone_named(zone)
    text = text.strip(" ")
    if len(text) > _LONGEST_TEXT:
        raise _unreadable(text)
    if text == "now":
        return _instant(now, clock)
    if text.startswith("+"):
        return _instant(now + parse_duration(text[1:]), clock)
    if found := _DATED.fullmatch(text):
        return _dated(text, found, clock)
    if found := _NEAR.fullmatch(text):
        return _resolved(_local(text, found, clock, now), clock)
    if found := _NEXT.fullmatch(text):
        return _resolved(_next_local(text, found, clock, after or now), clock)
    raise _unreadable(text)


def parse_duration(text: str) -> timedelta:
    """Read a duration of elapsed time, a second to 366 days; a day is 24 hours.

    Raises:
        Refused: anything else.
    """
    found = _SHORT.fullmatch(text) or _ISO.fullmatch(text) if len(text) <= _LONGEST_TEXT else None
    if found is None or not any(found.groups()):
        raise _no_duration(text)
    seconds = sum(int(n or 0) * unit for n, unit in zip(found.groups(), _UNITS.values(), strict=True))
    if seconds == 0:
        raise Refused(f"{_shown(text)} lasts no time at all", hint=_DURATIONS)
    if seconds > LONGEST.total_seconds():
        raise Refused(
            f"{_shown(text)} is longer than {LONGEST.days} days", hint="a window can repeat: --repeat"
        )
    return timedelta(seconds=seconds)


def span(
    start: Instant, end: Instant | None, duration: timedelta | None, now: datetime, *, repeats: bool = False
) -> timedelta:
    """Return how long a window lasts that is given by its start and its end or duration.

    A start may be past by the time it takes to type it; that of a repeat may be older: it says how to count.

    Raises:
        Refused: both or neither are given, the end is not after the start, or the window lies in the past.
    """
    if end is not None and duration is not None:
        raise Refused("--end and --for exclude each other", hint="leave one out")
    if end is not None:
        duration = end.at - start.at
    if duration is None:
        raise Refused("when does it end?", hint="add --for 2h, or --end with a time")
    if duration <= timedelta(0):
        raise Refused("the end is not after the start", hint="--for 2h counts from the start")
    if duration > LONGEST:
        raise Refused(f"a window lasts at most {LONGEST.days} days", hint="a window can repeat: --repeat")
    if start.at < now - TYPING_TIME and not repeats:
        raise _past(start, duration, now)
    return duration


def takes_effect(start: Instant, now: datetime) -> datetime:
    """Return from when on a new window counts: now, or a start that became past while it was typed."""
    return start.at if timedelta(0) <= now - start.at <= TYPING_TIME else now


def describe(at: datetime, zone: str, now: datetime) -> str:
    """Echo an instant: local, UTC, and how far off.

    "Tue 2026-12-01 22:00 Europe/Berlin (CET, UTC+1) = 21:00Z, in 8 d 3 h".
    """
    local, utc = at.astimezone(zone_named(zone)), at.astimezone(UTC)
    distance = _distance(at - now.replace(microsecond=0))
    utc_date = "" if utc.date() == local.date() else f"{utc:%Y-%m-%d} "
    place = zone if zone == "UTC" else f"{zone} ({_offset(local)})"
    day = _WEEKDAYS[local.weekday()][:3].capitalize()
    return f"{day} {local:%Y-%m-%d} {_clock(local)} {place} = {utc_date}{_clock(utc)}Z, {distance}"


def format_duration(duration: timedelta) -> str:
    """Write a duration as `parse_duration` reads it: "1h30m"; fractions of a second are dropped."""
    return "".join(f"{n}{unit}" for n, unit in _amounts(duration) if n) or "0s"


# -- reading -------------------------------------------------------------------------------------------------


def _instant(at: datetime, clock: ZoneInfo) -> Instant:
    local = at.astimezone(clock).replace(microsecond=0)
    naive = local.replace(tzinfo=None, fold=0)
    return Instant(at.astimezone(UTC).replace(microsecond=0), naive, clock.key, local.fold)


def _dated(text: str, found: re.Match[str], clock: ZoneInfo) -> Instant:
    if int(found["year"]) not in _YEARS:
        raise Refused(f"the year of {_shown(text)} is out of range", hint=f"{_YEARS[0]} to {_YEARS[-1]}")
    try:
        day = datetime(int(found["year"]), int(found["month"]), int(found["day"]))  # noqa: DTZ001 - a wall clock's
    except ValueError:
        raise Refused(f"there is no such day as {_shown(text)}", hint=_TIMES) from None
    local = datetime.combine(day, _time(text, found))
    if found["offset"] is None:
        return _resolved(local, clock)
    return _instant(local.replace(tzinfo=_fixed(text, found["offset"])), clock)


def _fixed(text: str, offset: str) -> timezone:
    if offset in "Zz":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[4:])
    if hours >= 24 or minutes >= 60:  # noqa: PLR2004 - of a day, of an hour
        raise Refused(f"the offset of {_shown(text)} is out of range", hint=_TIMES)
    size = timedelta(hours=hours, minutes=minutes)
    return timezone(-size if offset[0] == "-" else size)


def _local(text: str, found: re.Match[str], clock: ZoneInfo, now: datetime) -> datetime:
    """Read a time of today or tomorrow."""
    days = timedelta(days=int(found["name"].lower() == "tomorrow"))
    return datetime.combine(now.astimezone(clock).date() + days, _time(text, found))


def _next_local(text: str, found: re.Match[str], clock: ZoneInfo, after: datetime) -> datetime:
    """Read a time of day, or of a weekday: the next that the clock shows, or skips, after `after`."""
    at_time = _time(text, found)
    first = after.astimezone(clock).date()
    name = found["name"]
    days = [day for day, long in enumerate(_WEEKDAYS) if not name or name.lower() in {long, long[:3]}]
    coming = (datetime.combine(first + timedelta(days=n), at_time) for n in range(8))
    return next(it for it in coming if it.weekday() in days and local_to_utc(it, clock, fold=1) > after)


def _time(text: str, found: re.Match[str]) -> time:
    try:
        return time(int(found["hour"]), int(found["minute"]), int(found["second"] or 0))
    except ValueError:
        raise Refused(
            f"there is no such time of day as in {_shown(text)}", hint="hours are 0 to 23, midnight is 00:00"
        ) from None


def _resolved(local: datetime, clock: ZoneInfo) -> Instant:
    """Return the one instant at which the clock shows `local`."""
    found = instants(local, clock)
    if len(found) == 1:
        return Instant(found[0], local, clock.key)
    day = f"{local:%Y-%m-%d}"
    if found:
        first, second = (f'"{at.astimezone(clock).isoformat()}"' for at in found)
        raise Refused(
            f"{day} {_clock(local)} happens twice in {clock.key}: the clocks go back",
            hint=f"write {first} for the first or {second} for the second",
        )
    ends = local_to_utc(local, clock)
    before, after = (ends - _MINUTE).astimezone(clock), ends.astimezone(clock)
    raise Refused(
        f"{day} {_clock(local)} does not exist in {clock.key}: the clocks go forward",
        hint=f'the nearest are "{before:%Y-%m-%d} {_clock(before)}" and "{after:%Y-%m-%d} {_clock(after)}"',
    )


# -- refusing ------------------------------------------------------------------------------------------------


def _unreadable(text: str) -> Refused:
    if not text:
        return Refused("a time is missing", hint=_TIMES)
    if re.match(r"[0-9]{1,2}[/.-][0-9]{1,2}[/.-][0-9]{2,4}", text):
        hint = 'write the year first: "2026-12-01 22:00"'
        return Refused(f"{_shown(text)} does not say which number is the month", hint=hint)
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return Refused(f"{_shown(text)} has no time of day", hint=f'write "{text} 00:00"')
    if re.match(r"-[0-9]", text):
        return Refused(f"{_shown(text)} is negative", hint=_TIMES)
    return Refused(f"{_shown(text)} is not a time", hint=_TIMES)


def _no_duration(text: str) -> Refused:
    if not text:
        return Refused("a duration is missing", hint=_DURATIONS)
    if text.startswith("-"):
        return Refused(f"{_shown(text)} is negative", hint=_DURATIONS)
    if re.fullmatch(r"[0-9]{1,9}", text):
        return Refused(f"{text} of what?", hint=f'write "{text}m" for minutes or "{text}h" for hours')
    if re.match(r"P[0-9]+[YM]", text):
        return Refused("months and years differ in length", hint="count in days or weeks")
    return Refused(f"{_shown(text)} is not a duration", hint=_DURATIONS)


def _past(start: Instant, duration: timedelta, now: datetime) -> Refused:
    left = start.at + duration - now
    if left < timedelta(seconds=1):
        return Refused(f"the window is in the past: it would have ended {_distance(left)}", hint=_TIMES)
    return Refused(
        f"the start is in the past: it was {_distance(start.at - now)}",
        hint=f"`mmd start` opens a window now; --for {format_duration(left)} ends it at the same time",
    )


def _shown(text: str) -> str:
    """Quote what was typed, so that it is safe on a terminal and short."""
    return ascii(text if len(text) <= _LONGEST_TEXT else text[:40] + "...")


# -- writing -------------------------------------------------------------------------------------------------


def _clock(at: datetime) -> str:
    return f"{at:%H:%M:%S}" if at.second else f"{at:%H:%M}"


def _offset(local: datetime) -> str:
    """Return "CET, UTC+1", or "UTC+3" where the zone has no letters."""
    minutes = int((local.utcoffset() or timedelta(0)).total_seconds()) // 60
    hours, rest = divmod(abs(minutes), 60)
    number = f"UTC{'-' if minutes < 0 else '+'}{hours}" + (f":{rest:02}" if rest else "")
    name = local.tzname() or ""
    return f"{name}, {number}" if name.isalpha() else number


def _distance(off: timedelta) -> str:
    """Return "in 8 d 3 h", "2 h ago" or "now": the largest unit and the one below it."""
    largest = dropwhile(lambda amount: not amount[0], _amounts(abs(off)))
    words = " ".join(f"{n} {unit}" for n, unit in islice(largest, 2) if n)
    if not words:
        return "now"
    return f"in {words}" if off > timedelta(0) else f"{words} ago"


def _amounts(duration: timedelta) -> Iterator[tuple[int, str]]:
    """Yield days, hours, minutes and seconds."""
    seconds = int(duration.total_seconds())
    for unit in "dhms":
        n, seconds = divmod(seconds, _UNITS[unit])
        yield n, unit
