"""Which aggregations did not run because their schedule was away: crons, evaluated. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Final

from mmd.quartz import read
from mmd.report.spans import clipped
from mmd.windows import zone_named

# A cron that fires every second has 86,400 a day; beyond this it is "more than".
MOST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A schedule that was away from `since` to `until` (None: it still is), as it stood before."""

    source_id: str
    source_name: str
    kind: str
    cron: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """How many runs of a schedule were left out in a period, and the first and the last of them.

    `count` is None where the cron is of a form that mmd does not read (`mmd.quartz`); `more` says that it
    stopped counting.
    """

    source_id: str
    source_name: str
    kind: str
    cron: str
    count: int | None
    first: datetime | None = None
    last: datetime | None = None
    more: bool = False


def left_out(
    schedules: Iterable[Schedule], since: datetime, until: datetime, zone: str | None
) -> tuple[Skipped, ...]:
    """Return what was left out in `[since, until)`, by the clock of the tenant's zone, else UTC's.

    What would not have run anyway is left out of the answer too; what cannot be read is not.
    """
    away: dict[tuple[str, str, str, str], list[tuple[datetime, datetime]]] = {}
    for item in schedules:
        key = (item.source_name, item.source_id, item.kind, item.cron)
        away.setdefault(key, []).append((item.since, item.until or until))
    found = (_skipped(key, clipped(away[key], since, until), zone or "UTC") for key in sorted(away))
    return tuple(item for item in found if item is not None)


def _skipped(
    key: tuple[str, str, str, str], spans: tuple[tuple[datetime, datetime], ...], zone: str
) -> Skipped | None:
    name, source_id, kind, cron = key
    found = Skipped(source_id=source_id, source_name=name, kind=kind, cron=cron, count=None)
    meaning = read(cron)
    if meaning is None:
        return found if spans else None
    clock = zone_named(zone)
    runs = list(islice((at for begin, end in spans for at in meaning.fires(begin, end, clock)), MOST + 1))
    if not runs:
        return None
    counted = runs[:MOST]
    return replace(found, count=len(counted), first=counted[0], last=counted[-1], more=runs != counted)
