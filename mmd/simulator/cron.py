"""The form of a Quartz cron expression, as ISC's schedules use it (docs/isc.md §3).

Six fields, or seven with the year: second, minute, hour, day of month, month, day of week (1 is Sunday).
Exactly one of the two day fields is `?`. Only the form is judged; nothing here computes a next run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_ITEM = re.compile(r"(?P<first>\w+|\*)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


@dataclass(frozen=True, slots=True)
class _Field:
    low: int
    high: int
    names: tuple[str, ...] = ()
    special: re.Pattern[str] = field(default=re.compile(r"(?!)"))

    def number(self, word: str) -> int | None:
        if word in self.names:
            return self.names.index(word) + 1
        return int(word) if word.isdecimal() and self.low <= int(word) <= self.high else None


_FIELDS = (
    _Field(0, 59),
    _Field(0, 59),
    _Field(0, 23),
    _Field(1, 31, special=re.compile(r"L|LW|L-([1-9]|[12]\d|30)|([1-9]|[12]\d|3[01])W")),
    _Field(1, 12, _MONTHS),
    _Field(1, 7, _DAYS, re.compile(r"L|([1-7]|SUN|MON|TUE|WED|THU|FRI|SAT)(L|#[1-5])")),
    _Field(1970, 2099),
)
_DAY_OF_MONTH, _DAY_OF_WEEK = 3, 5


def is_quartz(expression: str) -> bool:
    """Tell whether Quartz would take the expression."""
    words = expression.upper().split()
    if len(words) not in {6, 7}:
        return False
    if (words[_DAY_OF_MONTH] == "?") == (words[_DAY_OF_WEEK] == "?"):
        return False
    return all(_fits(word, place) for place, word in enumerate(words))


def _fits(word: str, place: int) -> bool:
    if word == "?":
        return place in {_DAY_OF_MONTH, _DAY_OF_WEEK}
    return all(_item_fits(item, _FIELDS[place]) for item in word.split(","))


def _item_fits(item: str, rule: _Field) -> bool:
    if rule.special.fullmatch(item):
        return True
    match = _ITEM.fullmatch(item)
    if match is None or (match["step"] and not 0 < int(match["step"]) <= rule.high):
        return False
    if match["first"] == "*":
        return match["last"] is None
    return all(rule.number(word) is not None for word in (match["first"], match["last"]) if word is not None)
