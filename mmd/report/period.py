"""The periods of the reports that come by themselves, and what these are called. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from mmd.when import format_duration
from mmd.windows import local_to_utc, zone_named

_DAY: Final = timedelta(days=1)
_MONDAY: Final = date(2001, 1, 1)
_EPOCH: Final = datetime(2001, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Period:
    """`[since, until)` in UTC, and a name that is always the same for it: "mmd-2026-11-22"."""

    since: datetime
    until: datetime
    name: str


def period_before(now: datetime, every: timedelta, zone: str) -> Period:
    """Return the last period that is over at `now`.

    Periods of whole days begin at midnight of the zone, those of whole weeks on a Monday; others are counted
    in UTC, so that an hour of a changing clock is neither lost nor reported twice.
    """
    if every % _DAY:
        until = _EPOCH + (now - _EPOCH) // every * every
        since = until - every
        seconds = f"{since:%S}" if since.second else ""
        return Period(since, until, f"mmd-{since:%Y-%m-%dT%H%M}{seconds}Z-{format_duration(every)}")
    place, days = zone_named(zone), every // _DAY
    today = now.astimezone(place).date()
    last = today - timedelta(days=(today - _MONDAY).days % days)
    first = last - every
    since, until = (local_to_utc(datetime.combine(day, time()), place) for day in (first, last))
    return Period(since, until, f"mmd-{first}" + ("" if days == 1 else f"-{days}d"))
