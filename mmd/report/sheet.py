"""The report as CSV: what is in maintenance now, as the forum's audit script lists it, and why. Pure.

The first five columns, their names, order and values are the script's, and so are the rows: exactly the
sources whose marker is true. The script writes the time of its machine without a zone; here it is the
configured zone's. Zombies without the marker are not in maintenance for it: HTML and JSON have them.
"""

from __future__ import annotations

import csv
import io
from typing import Final

from mmd.posture import Json
from mmd.report.model import Report, Row
from mmd.report.words import utc
from mmd.text import inert
from mmd.windows import zone_named

COLUMNS: Final = (
    *("SourceName", "SourceId", "ConnectorType", "MaintenanceMode", "ExportedAt"),
    *("Window", "Reason", "Ticket", "Owner", "Since", "Until", "Finding"),
)


def audited(marker: Json) -> bool:
    """Whether the script takes a marker's value for maintenance.

    PowerShell's `-eq "true" -or -eq $true`: true, the number 1, and the word in any case.
    """
    if isinstance(marker, str):
        return marker.casefold() == "true"
    return isinstance(marker, bool | int | float) and marker == 1


def as_csv(report: Report) -> str:
    """Return the table, every cell quoted as PowerShell does, and none of them a formula."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(COLUMNS)
    zone = zone_named(report.facts.zone)
    exported = f"{report.facts.now.astimezone(zone):%Y-%m-%d %H:%M:%S}"
    writer.writerows([tuple(map(inert, _cells(row, exported))) for row in report.rows])
    return buffer.getvalue()


def _cells(row: Row, exported: str) -> tuple[str, ...]:
    audit = (row.source_name, row.source_id, row.connector, "True", exported)
    why = (", ".join(row.windows), row.reason, row.ticket, row.owner)
    return (*audit, *why, utc(row.since), utc(row.until), row.finding)
