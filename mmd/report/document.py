"""The report as JSON (docs/contract.md, "report json"). Pure."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from mmd.report.model import Dated, Line, Report, Row, Stay
from mmd.report.words import utc
from mmd.views import window_view


def as_json(report: Report) -> str:
    """Return one object; instants are RFC 3339 in UTC, durations whole seconds."""
    return json.dumps(document(report), indent=2, default=_plain) + "\n"


def _plain(value: object) -> str | int:
    if isinstance(value, datetime):
        return utc(value)
    if isinstance(value, timedelta):
        return round(value.total_seconds())
    raise TypeError(f"no JSON for {type(value).__name__}")


def document(report: Report) -> dict[str, Any]:
    """Return the object that `as_json` writes."""
    facts = report.facts
    return {
        "schema_version": 1,
        "generated_at": facts.now,
        "complete": report.complete,
        "incomplete_because": facts.trouble or None,
        "tenant": facts.tenant,
        "period": {"since": facts.since, "until": facts.until},
        "timezone": facts.zone,
        "tenant_timezone": {"name": facts.tenant_zone or "UTC", "assumed": facts.tenant_zone is None},
        "totals": asdict(report.totals),
        "sources": _sources(report),
        "windows": [window_view(window, facts.now) for window in report.windows],
        "occurrences": [_stay(stay) for stay in report.stays],
        "findings": [_finding(found) for found in facts.findings],
        "changes": [asdict(change) for change in facts.changes],
        "aggregations_skipped": [asdict(item) for item in report.skipped],
        "foreign_edits_kept": [asdict(item) for item in facts.kept],
        "watched": [{"since": begin, "until": end} for begin, end in facts.watched],
    }


def _sources(report: Report) -> list[dict[str, Any]]:
    """Return every source that is in maintenance, or was, or should have been."""
    rows = {row.source_id: row for row in report.rows}
    lines = {line.source_id: line for line in report.lines}
    others = [
        Row(source_id=key, source_name=line.source_name, connector="")
        for key, line in lines.items()
        if key not in rows
    ]
    elsewhere = False if report.complete else None
    return [_source(row, lines.get(row.source_id), True) for row in report.rows] + [
        _source(row, lines[row.source_id], elsewhere) for row in others
    ]


def _source(row: Row, line: Line | None, in_maintenance: bool | None) -> dict[str, Any]:
    return {
        "source_id": row.source_id,
        "source_name": row.source_name,
        "connector_type": row.connector or None,
        "in_maintenance": in_maintenance,
        "windows": row.windows,
        "reason": row.reason,
        "ticket": row.ticket,
        "owner": row.owner,
        "since": row.since,
        "until": row.until,
        "finding": row.finding or None,
        "maintenance_seconds": line.in_maintenance if line else 0,
        "planned": _spans(line.planned if line else ()),
        "actual": _spans(line.actual if line else ()),
        "zombie": _spans(line.zombie if line else ()),
    }


def _spans(spans: tuple[tuple[datetime, datetime], ...]) -> list[dict[str, datetime]]:
    return [{"since": begin, "until": end} for begin, end in spans]


def _stay(stay: Stay) -> dict[str, Any]:
    return {
        "source_id": stay.source_id,
        "source_name": stay.source_name,
        "window": stay.planned.window_id,
        "key": stay.planned.key,
        "opens_at": stay.planned.opens_at,
        "closes_at": stay.planned.closes_at,
        "entered_at": stay.entered_at,
        "restored_at": stay.restored_at,
        "entered_late_seconds": stay.entry_late,
        "restored_late_seconds": stay.return_late,
        "never_entered": stay.missed,
    }


def _finding(pair: Dated) -> dict[str, Any]:
    found, cleared_at = pair
    return {
        "source_id": found.source_id,
        "source_name": found.source_name,
        "kind": found.kind.value,
        "since": found.since,
        "cleared_at": cleared_at,
        "window": found.window,
        "detail": found.detail,
        "next_step": found.next_step,
    }
