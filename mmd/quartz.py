"""When a Quartz cron expression fires: which aggregations a span of maintenance left out.

Pure. ISC's schedules are Quartz crons, evaluated in the tenant's time zone (docs/isc.md §3, §0.14); no
library on PyPI reads them, and one for Unix takes 1 for Monday where Quartz has Sunday
(docs/dependencies.md). Read are exactly these forms, and anything else is not guessed at but reported as
not read:

* six fields (second, minute, hour, day of month, month, day of week), or seven with a year;
* `*`, a value, a range `a-b`, steps `*/n`, `a/n` and `a-b/n`, and lists of these; a range may run over the
  end (`22-2`, `FRI-MON`), but not that of years;
* JAN to DEC, and SUN to SAT or 1 to 7 for Sunday to Saturday, in either case;
* `?` in exactly one of the two day fields, as Quartz itself demands;
* for the day of month, alone: `L`, `L-n`, `LW`, and `nW` up to 28W (Quartz does not say what 31W is in
  June);
* for the day of week, alone: `L` (Saturday), `nL` (the last of the month), `n#k` (the k-th).

Each local time that fires does so once: when the clocks go back, at the first of the two; when they go
forward over it, as much later as they jump.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import product
from typing import Final
from zoneinfo import ZoneInfo

Fits = Callable[[date], bool]

_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ITEM: Final = re.compile(r"(?:\*|([0-9]{1,4}|[A-Z]{3})(?:-([0-9]{1,4}|[A-Z]{3}))?)(?:/([0-9]{1,2}))?")
_DAY_FORMS: Final = re.compile(
    r"(?P<last>L)(?:-(?P<before>[1-9]|[12][0-9]|30))?|(?P<near>LW|(?:[1-9]|1[0-9]|2[0-8])W)"
)
_WEEKDAY_FORMS: Final = re.compile(r"(?P<day>[1-7]|[A-Z]{3})(?:(?P<last>L)|#(?P<nth>[1-5]))")
_LONGEST: Final = 500
_FIELDS: Final = 6  # without the year
_WEEK: Final = 7


class _NotReadError(ValueError):
    """The expression is of none of the forms above."""


@dataclass(frozen=True, slots=True)
class _Range:
    """What a field may hold; `names` stand for the numbers from `low` on."""

    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, word: str) -> int:
        if word in self.names:
            return self.low + self.names.index(word)
        found = int(word) if word.isdigit() else -1
        if not self.low <= found <= self.high:
            raise _NotReadError(word)
        return found


_SECOND, _HOUR, _DAY, _YEAR = _Range(0, 59), _Range(0, 23), _Range(1, 31), _Range(1970, 2099)
_MONTH, _WEEKDAY = _Range(1, 12, _MONTHS), _Range(1, 7, _WEEKDAYS)


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression as it was read: the times of day at which it fires, on the days that `fits` allows."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    fits: Fits

    def fires(self, since: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield the instants (UTC) in `[since, until)` at which it fires by the clock of a zone, in order."""
        day, last = (at.astimezone(zone).date() for at in (since, until))
        day, last = day - timedelta(days=1), last + timedelta(days=1)
        while day <= last:
            if self.fits(day):
                yield from (at for at in self._on(day, zone) if since <= at < until)
            day += timedelta(days=1)

    def _on(self, day: date, zone: ZoneInfo) -> list[datetime]:
        clock = product(self.hours, self.minutes, self.seconds)
        # PEP 495: fold 0 reads a time in a gap by the offset before it, so as much later as the clocks jump.
        return sorted({datetime.combine(day, time(*at), tzinfo=zone).astimezone(UTC) for at in clock})


@lru_cache(maxsize=4096)
def read(expression: str) -> Cron | None:
    """Return what an expression means; None where it is of no form that is read here."""
    words = expression.upper().split() if len(expression) <= _LONGEST and expression.isascii() else []
    if len(words) not in (_FIELDS, _FIELDS + 1):
        return None
    second, minute, hour, day, month, weekday, *year = words
    try:
        months, years = _values(month, _MONTH), _values(year[0], _YEAR) if year else None
        on_day = _days(day, weekday)
        return Cron(
            _values(second, _SECOND),
            _values(minute, _SECOND),
            _values(hour, _HOUR),
            lambda at: at.month in months and (years is None or at.year in years) and on_day(at),
        )
    except _NotReadError:
        return None


def _days(day: str, weekday: str) -> Fits:
    if (day == "?") == (weekday == "?"):
        raise _NotReadError(f"{day} {weekday}")
    return _of_week(weekday) if day == "?" else _of_month(day)


def _of_month(word: str) -> Fits:
    found = _DAY_FORMS.fullmatch(word)
    if found is None:
        days = _values(word, _DAY)
        return lambda at: at.day in days
    if found["last"]:
        before = int(found["before"] or 0)
        return lambda at: at.day == _length(at) - before
    number = None if word == "LW" else int(word[:-1])
    return lambda at: at == _nearest_weekday(at, _length(at) if number is None else number)


def _of_week(word: str) -> Fits:
    if word == "L":
        return lambda at: _weekday(at) == _WEEK
    found = _WEEKDAY_FORMS.fullmatch(word)
    if found is None:
        days = _values(word, _WEEKDAY)
        return lambda at: _weekday(at) in days
    day = _WEEKDAY.number(found["day"])
    if found["last"]:
        return lambda at: _weekday(at) == day and at.day > _length(at) - _WEEK
    nth = int(found["nth"])
    return lambda at: _weekday(at) == day and (at.day - 1) // _WEEK + 1 == nth


def _values(word: str, field: _Range) -> tuple[int, ...]:
    return tuple(sorted({number for item in word.split(",") for number in _item(item, field)}))


def _item(item: str, field: _Range) -> Iterator[int]:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise _NotReadError(item)
    first, last, step = found.groups()
    begin = field.low if first is None else field.number(first)
    end = begin if first is not None and last is None and step is None else field.high
    if last is not None:
        end = field.number(last)
    every = 1 if step is None else int(step)
    if not 1 <= every <= field.high or (end < begin and field is _YEAR):
        raise _NotReadError(item)
    size = field.high - field.low + 1
    over_the_end = end + size if end < begin else end
    return (field.low + (number - field.low) % size for number in range(begin, over_the_end + 1, every))


def _length(at: date) -> int:
    return calendar.monthrange(at.year, at.month)[1]


def _weekday(at: date) -> int:
    """Sunday is 1."""
    return at.isoweekday() % _WEEK + 1


def _nearest_weekday(at: date, number: int) -> date:
    """Return the day from Monday to Friday that is nearest to a day of the month, in the same month."""
    day = at.replace(day=number)
    saturday, sunday = day.isoweekday() == _WEEK - 1, day.isoweekday() == _WEEK
    if saturday:
        return day + timedelta(days=2 if number == 1 else -1)
    if sunday:
        return day + timedelta(days=-2 if number == _length(at) else 1)
    return day
