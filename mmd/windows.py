"""Windows and their occurrences: which sources are wanted in maintenance at an instant.

Pure: values and `now` in, values out. A repeat is a local start, an IANA zone and an elapsed duration. It
is expanded on the wall clock, each start is then turned into UTC, and from there on everything is added and
compared in UTC only: Python compares two times of one zone by the wall clock, and adds to them on the wall
clock.

The daylight-saving rule is one sentence: an occurrence opens at the first instant at which the zone's clock
shows its nominal start *or later*. So in a gap it opens when the gap ends, and in a fold at the first of
the two.
"""

from __future__ import annotations

import calendar
import heapq
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import chain, count, islice, takewhile
from typing import Any, Final, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from mmd.errors import Refused

# A new repeat must come round within this.
FIRST_WITHIN: Final = timedelta(days=5 * 366)
# How far ahead a next occurrence is looked for: a date on a given weekday can stay away for 40 years (29
# February across 2100). It bounds the cost of a rule that never comes round again.
LOOK_AHEAD: Final = timedelta(days=40 * 366)

_RESOLUTION: Final = timedelta.resolution


@dataclass(frozen=True, slots=True)
class SourceRef:
    """A source as a window names it: the id counts, the name is for people."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One absolute `[opens_at, closes_at)` of a window; both aware, in UTC.

    `key` is the nominal local start, "2026-12-01T22:00" (with ":SS" if it has seconds): the identity, which
    stays the same when the rules of the zone change.
    """

    window_id: str
    key: str
    opens_at: datetime
    closes_at: datetime
    skipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What a person planned.

    `starts_local` is the wall clock of `timezone` (naive, whole seconds); `fold` says which of two equal
    times a one-off means (PEP 495), while repeats always take the first. `duration` is elapsed time.
    `repeat` is a rule as `parse_repeat` writes it. `until` (UTC) is the last instant at which an occurrence
    may open, inclusive.

    The definition generates no occurrence that opens before `effective_from` (UTC): an edit moves it.
    `recorded` are the occurrences on file, because they have begun, were skipped, ended or extended: they
    win, by key, over what the definition would generate now.
    """

    id: str
    sources: tuple[SourceRef, ...]
    starts_local: datetime
    fold: int = 0
    timezone: str
    duration: timedelta
    repeat: str | None = None
    until: datetime | None = None
    reason: str
    ticket: str = ""
    owner: str = ""
    created_by: str = ""
    created_at: datetime
    treatment: str = "full"
    effective_from: datetime
    cancelled_at: datetime | None = None
    recorded: tuple[Occurrence, ...] = ()


# How long before its start a window's sources are wanted in maintenance.
Lead: TypeAlias = Callable[[Window], timedelta]


class WindowState(StrEnum):
    """Where a window stands at an instant; a repeat between two occurrences is planned."""

    PLANNED = "planned"
    ACTIVE = "active"
    ENDED = "ended"
    CANCELLED = "cancelled"


# -- questions about windows ---------------------------------------------------------------------------------


def occurrences(
    window: Window, since: datetime, until: datetime, *, skipped: bool = False
) -> Iterator[Occurrence]:
    """Yield the occurrences that are open at some instant of `[since, until)`, in the order they open.

    Those that were skipped are left out, unless `skipped` asks for them too.
    """
    for item in _from(window, since, skipped=skipped):
        if item.opens_at >= until:
            return
        yield item


def open_now(window: Window, now: datetime) -> tuple[Occurrence, ...]:
    """Return the occurrences that are open at `now`: more than one if it lasts longer than its period."""
    return tuple(occurrences(window, now, now + _RESOLUTION))


def open_at(window: Window, now: datetime) -> Occurrence | None:
    """Return the open occurrence, if any; of several the one that closes last."""
    return max(open_now(window, now), key=lambda item: item.closes_at, default=None)


def upcoming(window: Window, now: datetime, limit: int = 1) -> tuple[Occurrence, ...]:
    """Return the next occurrences that open after `now`."""
    return tuple(islice((item for item in _from(window, now) if item.opens_at > now), limit))


def next_of(window: Window, now: datetime) -> Occurrence | None:
    """Return the open occurrence, else the next one, else None."""
    return open_at(window, now) or next(iter(upcoming(window, now)), None)


def state(window: Window, now: datetime) -> WindowState:
    """Return where the window stands at `now`."""
    if window.cancelled_at is not None:
        return WindowState.CANCELLED
    found = next_of(window, now)
    if found is None:
        return WindowState.ENDED
    return WindowState.ACTIVE if found.opens_at <= now else WindowState.PLANNED


def no_lead(_window: Window) -> timedelta:
    """Enter at the start, not before."""
    return timedelta(0)


def wanted(
    windows: Iterable[Window], now: datetime, lead: Lead = no_lead
) -> dict[str, tuple[tuple[Window, Occurrence], ...]]:
    """Return every open occurrence by the id of the source it wants in maintenance: overlaps are a union.

    With a lead a source is wanted so long before the start already. A window that was cancelled wants nothing
    any more, by whatever clock that was done.
    """
    found: dict[str, tuple[tuple[Window, Occurrence], ...]] = {}
    for window in windows:
        if window.cancelled_at is not None:
            continue
        soon = occurrences(window, now, now + lead(window) + _RESOLUTION)
        pairs = tuple((window, item) for item in soon)
        for source in window.sources if pairs else ():
            found[source.id] = found.get(source.id, ()) + pairs
    return found


def next_boundary(windows: Iterable[Window], now: datetime, lead: Lead = no_lead) -> datetime | None:
    """Return the first instant after `now` at which a window opens, closes, or is entered ahead."""
    return min((at for window in windows for at in _boundaries(window, now, lead(window))), default=None)


def begun(window: Window, since: datetime, now: datetime) -> tuple[Occurrence, ...]:
    """Return what the definition opened in `(since, now]` and is not recorded yet.

    Once on file they keep their instants, whatever happens to the definition and to the rules of the zone.
    """
    return tuple(takewhile(lambda item: item.opens_at <= now, _generated(window, since)))


def last_opening(window: Window) -> datetime | None:
    """Return the instant (UTC) after which the definition opens nothing; None for a rule without an end."""
    zone = zone_named(window.timezone)
    if window.repeat is None:
        return _first(window, zone)
    rule = _rule(window.repeat)
    ends = [
        window.until,
        datetime.fromisoformat(rule.until) if rule.until else None,
        local_to_utc(_last_counted(rule, window.starts_local), zone) if rule.count else None,
    ]
    return min((end for end in ends if end is not None), default=None)


def check_repeat(window: Window) -> None:
    """See to it that a new or edited window will open at all, and within five years.

    Raises:
        Refused: it will not.
    """
    asked_for = max(window.effective_from, _first(window, zone_named(window.timezone)))
    first = next(_generated(replace(window, recorded=()), window.effective_from - _RESOLUTION), None)
    if first is None or first.opens_at > asked_for + FIRST_WITHIN:
        raise Refused(
            "with this start, repeat and end it would not open within five years",
            hint="the days that --repeat names must come after --start and before --until",
        )


# -- expansion -----------------------------------------------------------------------------------------------


def _from(window: Window, since: datetime, *, skipped: bool = False) -> Iterator[Occurrence]:
    """Yield what closes after `since`, recorded and generated, in the order it opens."""
    recorded = (item for item in _on_file(window) if item.closes_at > since and (skipped or not item.skipped))
    generated = _generated(window, since - window.duration)
    return heapq.merge(sorted(recorded, key=_opening), generated, key=_opening)


def _on_file(window: Window) -> Iterator[Occurrence]:
    """Yield what is recorded, of a cancelled window up to then: a wrong clock may have recorded more."""
    end = window.cancelled_at
    for item in window.recorded:
        if end is None or item.closes_at <= end:
            yield item
        elif item.opens_at < end:
            yield replace(item, closes_at=end)


def _opening(item: Occurrence) -> datetime:
    return item.opens_at


def _boundaries(window: Window, now: datetime, lead: timedelta) -> Iterator[datetime]:
    """Yield when each open occurrence closes, and when the next one is entered, or opens if it is entered."""
    for item in _from(window, now):
        if item.opens_at <= now:
            yield item.closes_at
        elif item.opens_at - lead > now:
            yield item.opens_at - lead
            return
        else:
            yield item.opens_at


def _generated(window: Window, after: datetime) -> Iterator[Occurrence]:
    """Yield what the definition opens after `after`, in order, and is not on file."""
    if window.cancelled_at is not None:
        return
    zone = zone_named(window.timezone)
    first = _first(window, zone)
    after = max(after, window.effective_from - _RESOLUTION, first - _RESOLUTION)
    once = [(window.starts_local, first)]
    starts = _repeated(window, _rule(window.repeat), zone, after) if window.repeat else once
    recorded = {item.key for item in window.recorded}
    for local, opens_at in starts:
        key = key_of(local)
        if opens_at > after and key not in recorded:
            yield Occurrence(window.id, key, opens_at, opens_at + window.duration)


def _repeated(
    window: Window, rule: _Rule, zone: ZoneInfo, after: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the nominal local starts of a repeat and when each opens (UTC), from `after` or a little before.

    Nothing earlier than what the clock shows at `after` is needed: it opened by then. The end is looked for a
    day further: in a fold the clock may have shown a start already that is later than what it shows then.
    """
    horizon = min(last_opening(window) or after + LOOK_AHEAD, after + LOOK_AHEAD)
    last = _wall(horizon, zone) + timedelta(days=1)
    for local in _nominal(rule, window.starts_local, _wall(after, zone), last):
        opens_at = local_to_utc(local, zone)
        if opens_at <= horizon:
            yield local, opens_at


def _first(window: Window, zone: ZoneInfo) -> datetime:
    """Return the instant (UTC) before which the definition opens nothing."""
    return local_to_utc(window.starts_local, zone, window.fold if window.repeat is None else 0)


def key_of(local: datetime) -> str:
    """Return the key of the occurrence with this nominal start; `datetime.fromisoformat` reads it back."""
    return local.isoformat(timespec="seconds" if local.second else "minutes")


# -- zones ---------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)  # zoneinfo itself holds on to eight, and reads any other anew each time
def zone_named(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name, with the data it has when first asked for.

    Raises:
        Refused: there is none of this name.
    """
    try:
        if not name.startswith(
            ("posix/", "right/")
        ):  # copies of the database; those in right/ count leap seconds
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a name; a folder such as "Europe"
        pass
    raise Refused(f"there is no time zone {name[:64]!a}", hint=_nearest_zone(name[:64]))


def _nearest_zone(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - slow to import, and wanted only for a mistake

    known = {zone.lower(): zone for zone in available_timezones()}
    near = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {known[near[0]]}?" if near else "use a name such as Europe/Berlin, or UTC"


def local_to_utc(local: datetime, zone: ZoneInfo, fold: int = 0) -> datetime:
    """Return the first instant (UTC) at which the zone's clock shows `local` (naive, whole seconds) or later.

    With `fold=1`, of two instants that show it the second.
    """
    early, late = _readings(local, zone)
    if early <= late:
        return late if fold else early
    # In a gap PEP 495 reads a time by the offset of either side, and the gap ends between the two readings.
    seconds = range(int((early - late).total_seconds()))
    passed = bisect_left(seconds, True, key=lambda n: _wall(late + timedelta(seconds=n), zone) >= local)
    return late + timedelta(seconds=passed)


def instants(local: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
    """Return the instants (UTC) at which the zone's clock shows `local`: none in a gap, two in a fold."""
    early, late = _readings(local, zone)
    if early > late:
        return ()
    return (early,) if early == late else (early, late)


def _readings(local: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    early = local.replace(tzinfo=zone, fold=0).astimezone(UTC)
    late = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return early, late


def _wall(at: datetime, zone: ZoneInfo) -> datetime:
    return at.astimezone(zone).replace(tzinfo=None)


# -- repeats: a part of RFC 5545's RRULE ---------------------------------------------------------------------

_WEEKDAYS: Final = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_EVERY: Final = ("DAILY", "WEEKLY", "MONTHLY", "YEARLY")
_EXAMPLES: Final = 'for example "FREQ=WEEKLY;BYDAY=SA" or "FREQ=MONTHLY;BYDAY=3TU"'
_LONGEST_RULE: Final = 250
# A single month or year: the next would be beyond the calendar.
_NO_NEXT: Final = 12 * 9999


@dataclass(frozen=True, slots=True)
class _Rule:
    """The parts of a rule, in canonical order, under their own names."""

    freq: str
    interval: int = 1
    count: int | None = None
    until: str = ""
    bymonth: tuple[int, ...] = ()
    bymonthday: tuple[int, ...] = ()
    byday: tuple[str, ...] = ()
    bysetpos: tuple[int, ...] = ()
    wkst: str = "MO"

    @property
    def ordinals(self) -> tuple[int, ...]:
        """The 3 of 3TU, for each day that has one."""
        return tuple(int(day[:-2]) for day in self.byday if day[:-2])

    def __str__(self) -> str:
        given = [(field, getattr(self, field.name)) for field in fields(self)]
        return ";".join(
            f"{field.name.upper()}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
            for field, value in given
            if value != field.default
        )


def parse_repeat(text: str) -> str:
    """Return a repeat in its canonical form; a leading "RRULE:" and lower case are accepted.

    Days, weeks, months and years, with INTERVAL, COUNT or UNTIL (UTC), BYMONTH, BYMONTHDAY, BYDAY, BYSETPOS
    and WKST, read as RFC 5545 does. The rest of the RFC is not taken: docs/dependencies.md says what it does
    to python-dateutil.

    Raises:
        Refused: anything else.
    """
    return str(_rule(text))


@lru_cache(maxsize=1024)
def _rule(text: str) -> _Rule:
    if len(text) > _LONGEST_RULE or not text.isascii():
        raise Refused(f"a repeat has at most {_LONGEST_RULE} plain characters", hint=_EXAMPLES)
    if "FREQ=" not in text.upper():
        raise Refused("a repeat needs FREQ", hint=_EXAMPLES)
    values: dict[str, Any] = {}
    for part in text.strip(" ").upper().removeprefix("RRULE:").split(";"):
        name, _, value = part.partition("=")
        if name not in _READERS:
            raise Refused(f"a repeat cannot have {name!a}", hint=_hint_for(name))
        if name in values:
            raise Refused(f"{name} is given twice", hint=_EXAMPLES)
        values[name] = _READERS[name](name, value)
    rule = _Rule(**{name.lower(): value for name, value in values.items()})
    _refuse_nonsense(rule)
    return rule


def _hint_for(name: str) -> str:
    if name.startswith(("DTSTART", "BYHOUR", "BYMINUTE", "BYSECOND")):
        return "--start says at what time it opens"
    return f"its parts are {', '.join(_READERS)}"


def _refuse_nonsense(rule: _Rule) -> None:
    """Refuse what the RFC forbids, and what it allows but python-dateutil gets wrong."""
    often = rule.freq in {"DAILY", "WEEKLY"}
    most = 53 if rule.freq == "YEARLY" and not rule.bymonth else 5
    days = bool(rule.bymonth or rule.bymonthday or rule.byday)
    for wrong, message, hint in (
        (rule.count and rule.until, "COUNT and UNTIL exclude each other", "leave one out"),
        (rule.freq == "WEEKLY" and rule.bymonthday, "BYMONTHDAY does not go with WEEKLY", "use FREQ=MONTHLY"),
        (often and rule.ordinals, "days such as 3TU go with MONTHLY and YEARLY", "use FREQ=MONTHLY"),
        (often and rule.bysetpos, "BYSETPOS goes with MONTHLY and YEARLY", "use FREQ=MONTHLY"),
        (
            rule.bysetpos and not days,
            "BYSETPOS picks from the days of another part",
            "add BYDAY or BYMONTHDAY",
        ),
        (0 < len(rule.ordinals) < len(rule.byday), "days such as TU and 3TU do not mix", "plan two windows"),
        (
            any(abs(n) > most for n in rule.ordinals),
            f"BYDAY counts at most to {most}",
            "3TU is the third Tuesday",
        ),
    ):
        if wrong:
            raise Refused(message, hint=hint)


def _read_freq(_name: str, value: str) -> str:
    if value not in _EVERY:
        raise Refused(f"FREQ must be one of {', '.join(_EVERY)}", hint=_EXAMPLES)
    return value


def _read_until(_name: str, value: str) -> str:
    try:
        if re.fullmatch(r"2[01][0-9]{6}T[0-9]{6}Z", value):
            datetime.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise Refused("UNTIL must be in UTC, like 20261231T220000Z", hint="--until takes a local time")


def _read_weekdays(name: str, value: str) -> tuple[str, ...]:
    found = [re.fullmatch(r"([+-]?[1-9][0-9]?)?([A-Z]{2})", part) for part in value.split(",")]
    days = {(_WEEKDAYS.index(it[2]), int(it[1] or 0)) for it in found if it and it[2] in _WEEKDAYS}
    if len(days) < len(found):
        raise Refused(f"{name} must name each day once, like MO,WE or 3TU or -1FR", hint=_EXAMPLES)
    return tuple(f"{n or ''}{_WEEKDAYS[day]}" for day, n in sorted(days))


def _read_weekday(name: str, value: str) -> str:
    if value not in _WEEKDAYS:
        raise Refused(f"{name} must be one of {', '.join(_WEEKDAYS)}", hint="most rules do without it")
    return value


def _one(most: int) -> Callable[[str, str], int]:
    """Read a number from 1 to `most`."""

    def read(name: str, value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,4}", value) or not 1 <= int(value) <= most:
            raise Refused(f"{name} must be a whole number from 1 to {most}", hint=_EXAMPLES)
        return int(value)

    return read


def _many(most: int, *, signed: bool = False) -> Callable[[str, str], tuple[int, ...]]:
    """Read numbers from 1 to `most`, or also from -1 downwards, which count from the end."""

    def read(name: str, value: str) -> tuple[int, ...]:
        sign = "[+-]?" if signed else ""
        parts = value.split(",")
        numbers = {int(part) for part in parts if re.fullmatch(sign + "[0-9]{1,3}", part)}
        if len(numbers) < len(parts) or not all(1 <= abs(n) <= most for n in numbers):
            counting = f"1 to {most}" + (f", or -1 to -{most} from the end" if signed else "")
            raise Refused(f"{name} must be numbers from {counting}, each once", hint=_EXAMPLES)
        return tuple(sorted(numbers))

    return read


_READERS: Final[dict[str, Callable[[str, str], object]]] = {
    "FREQ": _read_freq,
    "INTERVAL": _one(999),
    "COUNT": _one(1000),
    "UNTIL": _read_until,
    "BYMONTH": _many(12),
    "BYMONTHDAY": _many(31, signed=True),
    "BYDAY": _read_weekdays,
    "BYSETPOS": _many(366, signed=True),
    "WKST": _read_weekday,
}


@lru_cache(maxsize=1024)
def _last_counted(rule: _Rule, start: datetime) -> datetime:
    """Return the last local start of a rule with COUNT, or the last before the look-ahead ends."""
    last = start
    for last in islice(_nominal(rule, start, start, start + LOOK_AHEAD), rule.count):  # noqa: B007 - the last is it
        pass
    return last


def _nominal(rule: _Rule, start: datetime, since: datetime, last: datetime) -> Iterator[datetime]:
    """Yield the rule's local starts up to `last`, from `since` or a little before.

    The cost does not grow with the age of the rule: whole intervals before `since` are stepped over. Nor
    does it with its rarity: python-dateutil looks on for 8,000 years for a day that fits all parts, so it
    never has to.
    """
    expand = _expand_often if rule.freq in {"DAILY", "WEEKLY"} else _expand_seldom
    return (local for local in expand(rule, start, since, last) if start <= local <= last)


def _expand_often(rule: _Rule, start: datetime, since: datetime, last: datetime) -> Iterator[datetime]:
    """Expand by days or weeks alone, which always yields, and leave out what the other parts do not allow."""
    from dateutil.rrule import DAILY, WEEKLY, rrule  # noqa: PLC0415 - slow to import, and most windows do not repeat

    week_start = _WEEKDAYS.index(rule.wkst)
    if rule.freq == "DAILY":
        first, interval = start, timedelta(days=rule.interval)
        weekdays = None
    else:
        first, interval = (
            start - timedelta(days=(start.weekday() - week_start) % 7),
            timedelta(weeks=rule.interval),
        )
        weekdays = [_WEEKDAYS.index(day) for day in rule.byday] or [start.weekday()]
    found = rrule(
        DAILY if rule.freq == "DAILY" else WEEKLY,
        dtstart=first + (since - first) // interval * interval,
        interval=rule.interval,
        wkst=week_start,
        byweekday=weekdays,
    )
    return (local for local in takewhile(lambda local: local <= last, found) if _allowed(rule, local))


def _allowed(rule: _Rule, day: date) -> bool:
    from_the_end = day.day - calendar.monthrange(day.year, day.month)[1] - 1
    return (
        (not rule.bymonth or day.month in rule.bymonth)
        and (not rule.bymonthday or day.day in rule.bymonthday or from_the_end in rule.bymonthday)
        and (not rule.byday or _WEEKDAYS[day.weekday()] in rule.byday)
    )


def _expand_seldom(rule: _Rule, start: datetime, since: datetime, last: datetime) -> Iterator[datetime]:
    """Expand one month, or one year, at a time."""
    from dateutil.rrule import MONTHLY, YEARLY, rrule  # noqa: PLC0415 - slow to import, and most do not repeat

    monthly = rule.freq == "MONTHLY"
    first = start.replace(day=1) if monthly else start.replace(month=1, day=1)
    step = rule.interval * (1 if monthly else 12)
    passed = ((since.year - first.year) * 12 + since.month - first.month) // step
    months = (divmod(first.month - 1 + n, 12) for n in count(passed * step, step))
    periods = (first.replace(year=first.year + years, month=month + 1) for years, month in months)
    parts = _parts(rule, start)
    return chain.from_iterable(
        rrule(MONTHLY if monthly else YEARLY, dtstart=period, interval=_NO_NEXT, **parts)
        for period in takewhile(lambda period: period <= last, periods)
    )


def _parts(rule: _Rule, start: datetime) -> dict[str, Any]:
    """Return python-dateutil's arguments; as the RFC has it, the start says what the rule leaves open."""
    from dateutil.rrule import weekday  # noqa: PLC0415 - slow to import, and most windows do not repeat

    by_start = not rule.byday and not rule.bymonthday
    yearly_by_start = by_start and rule.freq == "YEARLY"
    days = [weekday(_WEEKDAYS.index(day[-2:]), int(day[:-2] or 0) or None) for day in rule.byday]
    return {
        "bymonth": rule.bymonth or (start.month if yearly_by_start else None),
        "bymonthday": start.day if by_start else rule.bymonthday or None,
        "byweekday": days or None,
        "bysetpos": rule.bysetpos or None,
    }
