"""What a report says of a period, before it is a table or a picture.

Pure. `Facts` is what database and tenant had to say; `make` draws the conclusions. A duty that is missed by
more than the grace counts in the period in which the grace ran out, so each counts once, whichever way time
is cut into periods.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from mmd.findings import ZOMBIES, Finding, Kind
from mmd.history import Applied, Planned, Timeline
from mmd.report.skipped import Schedule, Skipped, left_out
from mmd.report.spans import Span, clipped, joined, length, meet
from mmd.windows import Window

# A source that is a zombie of these kinds is in maintenance; one that is half back is not, by its marker.
_MARKED: Final = ZOMBIES - {Kind.HALF}

Dated = tuple[Finding, datetime | None]  # with the instant at which it was gone


@dataclass(frozen=True, slots=True)
class Live:
    """A source that is in maintenance, as it was last seen."""

    source_id: str
    name: str
    connector: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What somebody did to a window. `kind` is the journal's word without "window."."""

    at: datetime
    kind: str
    actor: str
    window_id: str
    what: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What other people changed on a source during maintenance, and mmd left as they wanted it."""

    at: datetime
    source_id: str
    source_name: str
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a report rests on; instants are UTC, the period is `[since, until)`.

    `live` are the sources in maintenance by a listing of the whole tenant at `now`, or, where `trouble` says
    why there is none, by the database; `present` and `open_now` are what is known of them at `now`, which may
    be long after the period. `zone` is that of the times people read; `tenant_zone` that of the crons, None
    where the tenant did not say. `watched` are the spans in which the whole tenant was swept.
    """

    tenant: str
    since: datetime
    until: datetime
    now: datetime
    zone: str
    tenant_zone: str | None
    grace: timedelta
    live: tuple[Live, ...]
    trouble: str = ""
    present: tuple[Timeline, ...] = ()
    open_now: tuple[Finding, ...] = ()
    windows: tuple[Window, ...] = ()
    timelines: tuple[Timeline, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    findings: tuple[Dated, ...] = ()
    changes: tuple[Change, ...] = ()
    kept: tuple[Kept, ...] = ()
    watched: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A source that is in maintenance now, and why as far as it is known. `finding` is a kind, or empty."""

    source_id: str
    source_name: str
    connector: str
    windows: tuple[str, ...] = ()
    reason: str = ""
    ticket: str = ""
    owner: str = ""
    since: datetime | None = None
    until: datetime | None = None
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """One occurrence of a window, for one source, and how it went.

    `entry_late` and `return_late` are how long after the plan, None where it was in time or is not due. They
    go on growing while `entered_at` or `restored_at` is None. `missed`: it was over before the source was
    in maintenance.
    """

    source_id: str
    source_name: str
    planned: Planned
    entered_at: datetime | None = None
    restored_at: datetime | None = None
    entry_late: timedelta | None = None
    return_late: timedelta | None = None
    missed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One source over the period: each part in order of time, without overlaps, cut to the period.

    `actual` is what mmd did and verified; `in_maintenance` also counts what others put there.
    """

    source_id: str
    source_name: str
    planned: tuple[Span, ...]
    actual: tuple[Span, ...]
    zombie: tuple[Span, ...]
    in_maintenance: timedelta

    @property
    def busy(self) -> timedelta:
        """How long anything at all is to be seen of it."""
        return length(joined([*self.planned, *self.actual, *self.zombie]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The report in numbers. Occurrences count once per source."""

    in_maintenance_now: int
    windows: int
    occurrences: int
    entered_late: int
    never_entered: int
    restored_late: int
    extended: int
    ended_early: int
    cancelled: int
    findings_opened: int
    findings_closed: int
    findings_open: int
    aggregations_skipped: int
    schedules_not_read: int
    foreign_edits_kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What there is to say; `facts` it was drawn from."""

    facts: Facts
    rows: tuple[Row, ...]
    windows: tuple[Window, ...]
    stays: tuple[Stay, ...]
    lines: tuple[Line, ...]
    skipped: tuple[Skipped, ...]
    totals: Totals

    @property
    def complete(self) -> bool:
        """Whether the tenant was read whole."""
        return not self.facts.trouble


def make(facts: Facts) -> Report:
    """Draw the conclusions."""
    known = _known(facts)
    stays = tuple(stay for line in facts.timelines for stay in _stays(line, facts))
    lines = tuple(
        line for line in (_line(timeline, found, facts) for timeline, found in known.values()) if line.busy
    )
    skipped = left_out(facts.schedules, facts.since, min(facts.until, facts.now), facts.tenant_zone)
    windows = _windows(facts, stays)
    rows = tuple(sorted(_rows(facts), key=_by_name))
    totals = _totals(facts, rows, stays, skipped)
    return Report(
        facts=facts,
        rows=rows,
        windows=windows,
        stays=tuple(sorted(stays, key=lambda stay: (stay.planned.opens_at, stay.source_name))),
        lines=tuple(sorted(lines, key=_by_name)),
        skipped=skipped,
        totals=totals,
    )


def _by_name(item: Row | Line) -> tuple[str, str]:
    return (item.source_name.casefold(), item.source_id)


def _known(facts: Facts) -> dict[str, tuple[Timeline, tuple[Dated, ...]]]:
    """Return what is known of each source that there is anything to say of, by id."""
    lines: dict[str, Timeline] = {}
    findings: dict[str, list[Dated]] = {}
    for found, end in facts.findings:
        findings.setdefault(found.source_id, []).append((found, end))
        lines[found.source_id] = Timeline(source_id=found.source_id, source_name=found.source_name)
    lines |= {line.source_id: line for line in facts.timelines}
    return {source_id: (line, tuple(findings.get(source_id, ()))) for source_id, line in lines.items()}


# --- In maintenance now -----------------------------------------------------------------------------------


def _rows(facts: Facts) -> Iterator[Row]:
    lines = {line.source_id: line for line in facts.present}
    found = {finding.source_id: finding for finding in facts.open_now}
    for live in facts.live:
        line = lines.get(live.source_id) or Timeline(source_id=live.source_id, source_name=live.name)
        yield _row(live, line, found.get(live.source_id), facts)


def _row(live: Live, line: Timeline, found: Finding | None, facts: Facts) -> Row:
    held = next((it for it in reversed(line.applied) if it.restored_at is None), None)
    planned = _accounting(line, held, facts.now)
    ids = [item.window_id for item in planned] or [*(held.window_ids if held else ())]
    ids = list(dict.fromkeys(ids or ([found.window] if found and found.window else [])))
    why: Sequence[Planned | Window] = planned or [window for window in facts.windows if window.id in ids]
    since = (held.entered_at or held.taken_at) if held else None
    return Row(
        source_id=live.source_id,
        source_name=live.name,
        connector=live.connector,
        windows=tuple(ids),
        reason=_words(item.reason for item in why),
        ticket=_words(item.ticket for item in why),
        owner=_words(item.owner for item in why),
        since=since or (found.since if found else None),
        until=max((item.closes_at for item in planned), default=_closed(found)),
        finding=found.kind.value if found else "",
    )


def _accounting(line: Timeline, held: Applied | None, now: datetime) -> tuple[Planned, ...]:
    """What is open now; else what the source was entered for, if it is held."""
    begun = tuple(item for item in line.planned if item.opens_at <= now)
    opened = tuple(item for item in begun if now < item.closes_at)
    if opened or held is None:
        return opened
    mine = (item for item in begun if item.closes_at > held.taken_at)
    return tuple(item for item in mine if item.window_id in held.window_ids)


def _closed(found: Finding | None) -> datetime | None:
    """When the window of an overdue source closed: that is since when it is one."""
    return found.since if found is not None and found.kind is Kind.OVERDUE else None


def _words(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


# --- How it went ------------------------------------------------------------------------------------------


def _stays(line: Timeline, facts: Facts) -> Iterator[Stay]:
    for item in line.planned:
        if item.opens_at < facts.until and item.closes_at + facts.grace >= facts.since:
            yield _stay(line, item, facts)


def _stay(line: Timeline, item: Planned, facts: Facts) -> Stay:
    there = [it for it in line.applied if _met(it, item)]
    entered = min((it.entered_at for it in there if it.entered_at), default=None)
    missed = entered is None and item.closes_at <= facts.now
    last = there[-1] if there else None
    return Stay(
        source_id=line.source_id,
        source_name=line.source_name,
        planned=item,
        entered_at=entered,
        restored_at=last.restored_at if last else None,
        entry_late=None if missed else _late(item.opens_at, entered, facts),
        return_late=_late(item.closes_at, last.restored_at, facts) if last and _is_last(item, line) else None,
        missed=missed,
    )


def _met(applied: Applied, item: Planned) -> bool:
    back = applied.restored_at
    return applied.taken_at < item.closes_at and (back is None or back > item.opens_at)


def _is_last(item: Planned, line: Timeline) -> bool:
    """Whether the source was to come back when this closed: nothing else wanted it on."""
    return not any(
        other.opens_at <= item.closes_at < other.closes_at for other in line.planned if other is not item
    )


def _late(due: datetime, done: datetime | None, facts: Facts) -> timedelta | None:
    late = (done or facts.now) - due
    return late if late > facts.grace else None


# --- Over time --------------------------------------------------------------------------------------------


def _line(line: Timeline, findings: Sequence[Dated], facts: Facts) -> Line:
    end = min(facts.until, facts.now)
    actual = [(it.entered_at or it.taken_at, it.restored_at or end) for it in line.applied]
    zombie = [(it.since, until or end) for it, until in findings if it.kind in ZOMBIES]
    marked = [(it.since, until or end) for it, until in findings if it.kind in _MARKED]
    return Line(
        source_id=line.source_id,
        source_name=line.source_name,
        planned=clipped([(it.opens_at, it.closes_at) for it in line.planned], facts.since, facts.until),
        actual=clipped(actual, facts.since, end),
        zombie=clipped(zombie, facts.since, end),
        in_maintenance=length(clipped([*actual, *marked], facts.since, end)),
    )


def _windows(facts: Facts, stays: Sequence[Stay]) -> tuple[Window, ...]:
    """Those that were open in the period, or that somebody changed in it."""
    named = {change.window_id for change in facts.changes}
    named |= {stay.planned.window_id for stay in stays}
    return tuple(window for window in facts.windows if window.id in named)


# --- In numbers -------------------------------------------------------------------------------------------


def _totals(facts: Facts, rows: Sequence[Row], stays: Sequence[Stay], skipped: Sequence[Skipped]) -> Totals:
    within = meet(facts.since, facts.until)
    deeds: Mapping[str, int] = {
        kind: sum(change.kind == kind for change in facts.changes)
        for kind in ("extended", "ended", "cancelled")
    }
    began = [stay for stay in stays if within(stay.planned.opens_at)]
    due = [stay for stay in stays if within(stay.planned.opens_at + facts.grace)]
    return Totals(
        in_maintenance_now=len(rows),
        windows=len({stay.planned.window_id for stay in began}),
        occurrences=len(began),
        entered_late=sum(stay.entry_late is not None for stay in due),
        never_entered=sum(stay.missed for stay in began),
        restored_late=sum(
            stay.return_late is not None and within(stay.planned.closes_at + facts.grace) for stay in stays
        ),
        extended=deeds["extended"],
        ended_early=deeds["ended"],
        cancelled=deeds["cancelled"],
        findings_opened=sum(within(found.since) for found, _ in facts.findings),
        findings_closed=sum(end is not None and within(end) for _, end in facts.findings),
        findings_open=sum(end is None or end >= facts.until for _, end in facts.findings),
        aggregations_skipped=sum(item.count or 0 for item in skipped),
        schedules_not_read=sum(item.count is None for item in skipped),
        foreign_edits_kept=sum(len(item.notes) for item in facts.kept),
    )
