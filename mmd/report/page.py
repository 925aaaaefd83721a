"""The report as one HTML file, for a mail client, a browser and a printer. Pure.

No script, no form, nothing loaded from anywhere: the policy in its head forbids it too. Styles are inline,
because mail clients drop style sheets; the one in the head only serves printing. A mail client that drops
the picture as well still shows every number in the tables. Whatever came from elsewhere goes through
`safe`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from mmd.findings import ZOMBIES
from mmd.report.model import Facts, Report, Stay, Totals
from mmd.report.picture import BUSIEST, INK, MUTED, RULE, ZOMBIE, as_svg
from mmd.report.spans import gaps, length
from mmd.report.words import clock, counted, lasting, safe

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_FONT: Final = "font-family:system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif"
_BODY: Final = f"margin:0;padding:24px;background:#ffffff;color:{INK};{_FONT};font-size:14px;line-height:1.45"
_PRINT: Final = (
    "@page{size:A4 landscape;margin:12mm}"
    "@media print{body{padding:0!important;font-size:11px!important}tr,svg,.tile{break-inside:avoid}"
    "h2{break-after:avoid}thead{display:table-header-group}"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}"
)
_TABLE: Final = "border-collapse:collapse;width:100%;min-width:760px;overflow-wrap:anywhere"
_CELL: Final = f"padding:6px 10px 6px 0;border-bottom:1px solid {RULE};text-align:left;vertical-align:top"
_HEAD: Final = (
    f"{_CELL};white-space:nowrap;color:{MUTED};font-size:12px;font-weight:600;border-bottom:2px solid {RULE}"
)
_WARNING: Final = f"border-left:6px solid {ZOMBIE};background:#fff7ed;padding:12px 16px;margin:16px 0"
_TILE: Final = (
    f"display:inline-block;box-sizing:border-box;width:12.5%;min-width:124px;height:94px;padding:10px 14px;"
    f"border:1px solid {RULE};vertical-align:top"
)
_MOST: Final = 500  # rows of one table; JSON has all

Cells = Sequence[str]  # HTML already


def as_html(report: Report) -> str:
    """Return the whole file."""
    title = f"Maintenance report: {safe(report.facts.tenant, 80)}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{title}</title><style>{_PRINT}</style></head>",
        f'<body style="{_BODY}"><div style="max-width:1080px;margin:0 auto">',
        f'<h1 style="font-size:24px;margin:0 0 4px">{title}</h1>',
        *_headline(report),
        _tiles(report.totals),
        *_picture(report),
        *_now(report),
        *_findings(report),
        *_occurrences(report),
        *_changes(report),
        *_sources(report),
        *_skipped(report),
        *_kept(report),
        *_notes(report),
        "</div></body></html>\n",
    ]
    return "\n".join(parts)


# --- The top ----------------------------------------------------------------------------------------------


def _headline(report: Report) -> Iterator[str]:
    facts = report.facts
    since, until = clock(facts.since, facts.zone), clock(facts.until, facts.zone)
    yield f'<p style="margin:0;color:{MUTED}">{since} to {until} &middot; all times {safe(facts.zone)} '
    yield f"&middot; written {clock(facts.now, facts.zone)}</p>"
    if not report.complete:
        yield (
            f'<div style="{_WARNING}" role="alert"><strong>INCOMPLETE.</strong> '
            "The tenant could not be read whole: "
            f"{safe(facts.trouble)}. What is in maintenance now is shown as the database last knew it, and a "
            "source that nobody planned for may be missing.</div>"
        )


def _tiles(totals: Totals) -> str:
    """The report in eight numbers; those that call for somebody are marked."""
    tiles = (
        (totals.in_maintenance_now, "in maintenance now", False),
        (totals.findings_open, "open findings", True),
        (totals.occurrences, "planned stays", False),
        (totals.entered_late, "entered late", True),
        (totals.never_entered, "never entered", True),
        (totals.restored_late, "restored late", True),
        (totals.aggregations_skipped, "aggregations skipped", False),
        (totals.foreign_edits_kept, "foreign edits kept", False),
    )
    shown = "".join(_tile(number, text, alarming and number > 0) for number, text, alarming in tiles)
    return f'<div style="margin:18px 0;font-size:0">{shown}</div>'


def _tile(number: int, text: str, alarming: bool) -> str:
    ink = ZOMBIE if alarming else INK
    return (
        f'<div class="tile" style="{_TILE}"><div style="font-size:24px;font-weight:600;color:{ink}">'
        f'{number:,}</div><div style="font-size:12px;color:{MUTED}">{text}</div></div>'
    )


def _picture(report: Report) -> Iterator[str]:
    yield _title("Timeline")
    picture = as_svg(report)
    if not picture:
        yield _said("Nothing was planned in this period, and nothing was in maintenance.")
        return
    if len(report.lines) > BUSIEST:
        yield _said(
            f"The busiest {BUSIEST} of {len(report.lines):,} sources; the tables and the JSON have the rest."
        )
    yield picture


# --- The tables -------------------------------------------------------------------------------------------


def _now(report: Report) -> Iterator[str]:
    zone = report.facts.zone
    yield _title("In maintenance now")
    headings = ("Source", "Type", "Window", "Reason", "Ticket", "Owner", "Since", "Until", "Finding")
    rows = [
        (
            _source(row.source_name, row.source_id),
            safe(row.connector),
            " ".join(map(_whole, row.windows)),
            *(safe(text) for text in (row.reason, row.ticket, row.owner)),
            _time(row.since, zone, "not known"),
            _time(row.until, zone),
            _alarm(row.finding) if row.finding else "",
        )
        for row in report.rows
    ]
    yield _table(headings, rows, "No source is in maintenance.")


def _findings(report: Report) -> Iterator[str]:
    zone = report.facts.zone
    yield _title("Findings")
    rows = [
        (
            _source(found.source_name, found.source_id),
            _alarm(found.kind.value) if end is None and found.kind in ZOMBIES else _whole(found.kind.value),
            _time(found.since, zone),
            _time(end, zone, "<strong>still open</strong>"),
            safe(found.detail),
            safe(found.next_step) if end is None else "",
        )
        for found, end in sorted(report.facts.findings, key=lambda pair: (pair[1] is not None, pair[0].since))
    ]
    headings = ("Source", "Finding", "Since", "Closed", "What was seen", "Next step")
    yield _table(headings, rows, "Nothing was found wrong.")


def _occurrences(report: Report) -> Iterator[str]:
    yield _title("Planned windows, and how they went")
    groups: defaultdict[tuple[str, str], list[Stay]] = defaultdict(list)
    for stay in report.stays:
        groups[stay.planned.window_id, stay.planned.key].append(stay)
    rows = [_occurrence(stays, report.facts) for stays in groups.values()]
    headings = ("Window", "Opens", "Closes", "Sources", "Reason, ticket, owner", "How it went")
    yield _table(headings, rows, "None was planned in this period.")


def _occurrence(stays: Sequence[Stay], facts: Facts) -> Cells:
    planned = stays[0].planned
    texts = (planned.reason, planned.ticket, planned.owner)
    return (
        _whole(planned.window_id),
        _time(planned.opens_at, facts.zone),
        _time(planned.closes_at, facts.zone),
        f"{counted(len(stays), 'source')}: {safe(', '.join(stay.source_name for stay in stays), 90)}",
        " &middot; ".join(safe(text) for text in texts if text),
        _went(stays, facts.now),
    )


def _went(stays: Sequence[Stay], now: datetime) -> str:
    """How one occurrence went, for all of its sources."""
    entries = [(stay.entry_late, stay.entered_at) for stay in stays]
    returns = [(stay.return_late, stay.restored_at) for stay in stays]
    missed = sum(stay.missed for stay in stays)
    bad = [
        *_lateness("entered late", [late for late, done in entries if late and done]),
        *_lateness("not entered yet", [late for late, done in entries if late and not done]),
        *([f"{missed} never entered"] if missed else []),
        *_lateness("restored late", [late for late, done in returns if late and done]),
        *_lateness("not back yet", [late for late, done in returns if late and not done]),
    ]
    if bad:
        return _alarm("; ".join(bad))
    if now < stays[0].planned.closes_at:
        return "open"
    return "as planned" if all(stay.restored_at for stay in stays) else "closing"


def _lateness(what: str, late: Sequence[timedelta]) -> list[str]:
    return [f"{len(late)} {what}, by {'up to ' if len(late) > 1 else ''}{lasting(max(late))}"] if late else []


def _changes(report: Report) -> Iterator[str]:
    if not report.facts.changes:
        return
    yield _title("Changes of plan")
    rows = [
        (
            _time(change.at, report.facts.zone),
            *map(_whole, (change.window_id, change.kind)),
            *map(safe, (change.what, change.actor)),
        )
        for change in report.facts.changes
    ]
    yield _table(("When", "Window", "Change", "What", "By"), rows, "")


def _sources(report: Report) -> Iterator[str]:
    lines = [line for line in report.lines if line.actual or line.zombie]
    if not lines:
        return
    yield _title("Time in maintenance, by source")
    rows = [
        (
            _source(line.source_name, line.source_id),
            _long(length(line.planned)),
            _long(line.in_maintenance),
            _alarm(lasting(length(line.zombie))) if line.zombie else _long(timedelta(0)),
        )
        for line in sorted(lines, key=lambda line: line.in_maintenance, reverse=True)
    ]
    yield _table(("Source", "Planned", "In maintenance", "As a zombie"), rows, "")


def _skipped(report: Report) -> Iterator[str]:
    if not report.skipped:
        return
    facts = report.facts
    yield _title("Aggregations skipped")
    zone = "UTC (assumed: the tenant did not say its time zone)"
    if facts.tenant_zone:
        zone = f"the tenant's time zone, {facts.tenant_zone}"
    yield _said(f"Runs that the schedules on file would have started during maintenance, by {zone}.")
    rows = [
        (
            _source(item.source_name, item.source_id),
            safe(item.kind.split("_")[0].lower()),
            f"<code>{safe(item.cron)}</code>",
            "not read" if item.count is None else f"{'more than ' if item.more else ''}{item.count:,}",
            _time(item.first, facts.zone),
            _time(item.last, facts.zone),
        )
        for item in report.skipped
    ]
    yield _table(("Source", "Schedule", "Cron", "Skipped", "First", "Last"), rows, "")


def _kept(report: Report) -> Iterator[str]:
    if not report.facts.kept:
        return
    yield _title("Changed by others during maintenance, and kept")
    rows = [
        (
            _source(item.source_name, item.source_id),
            _time(item.at, report.facts.zone),
            safe("; ".join(item.notes)),
        )
        for item in report.facts.kept
    ]
    yield _table(("Source", "Restored", "What is kept"), rows, "")


def _notes(report: Report) -> Iterator[str]:
    facts = report.facts
    unseen = length(gaps(facts.watched, facts.since, facts.until))
    watched = lasting(facts.until - facts.since - unseen) if unseen else "all of it"
    listed = "from the tenant itself" if report.complete else "from the database"
    look = f"margin:28px 0 0;padding-top:10px;border-top:1px solid {RULE};color:{MUTED};font-size:12px"
    yield (
        f'<p style="{look}">The whole tenant was watched for {watched} of this period; while nobody watches, '
        f"what others do to a source is not seen. Late means by more than {lasting(facts.grace)}. What is in "
        f"maintenance now is {listed}. A stay is one source in one occurrence of a window.</p>"
    )


# --- HTML -------------------------------------------------------------------------------------------------


def _title(text: str) -> str:
    return f'<h2 style="font-size:17px;margin:28px 0 8px">{text}</h2>'


def _said(text: str) -> str:
    return f'<p style="margin:0 0 8px;color:{MUTED}">{safe(text)}</p>'


def _source(name: str, source_id: str) -> str:
    """A name, isolated from the direction of what is around it, with the id below."""
    return (
        f'<bdi style="font-weight:600">{safe(name, 80)}</bdi>'
        f'<div style="font-size:11px;color:{MUTED};word-break:break-all">{safe(source_id, 40)}</div>'
    )


def _alarm(text: str) -> str:
    return f'<strong style="color:{ZOMBIE};overflow-wrap:normal">{safe(text)}</strong>'


def _long(span: timedelta) -> str:
    return _whole(lasting(span)) if span else "&ndash;"


def _time(at: datetime | None, zone: str, missing: str = "&ndash;") -> str:
    return _whole(clock(at, zone)) if at else f'<span style="white-space:nowrap">{missing}</span>'


def _whole(text: str) -> str:
    """A text that stays on one line: everything else may be broken anywhere."""
    return f'<span style="white-space:nowrap">{safe(text, 40)}</span>'


def _table(headings: Sequence[str], rows: Sequence[Cells], empty: str) -> str:
    """A table; a sentence where there is nothing to put in it."""
    if not rows:
        return _said(empty)
    head = "".join(f'<th scope="col" style="{_HEAD}">{text}</th>' for text in headings)
    body = "\n".join(_tr(row) for row in rows[:_MOST])
    more = _said(f"and {len(rows) - _MOST:,} more, in the JSON report") if len(rows) > _MOST else ""
    return (
        f'<div style="overflow-x:auto"><table style="{_TABLE}"><thead><tr>{head}</tr></thead>'
        f"<tbody>\n{body}\n</tbody></table></div>{more}"
    )


def _tr(cells: Iterable[str]) -> str:
    texts = (f'<td style="{_CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{''.join(texts)}</tr>"
