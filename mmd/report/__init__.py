"""Reports for an auditor: what was in maintenance, when, why, and what went wrong. Pure.

`model.make` turns facts into a report; `sheet` writes it as CSV, `document` as JSON, `page` as HTML with
the `picture` in it.
"""

from mmd.report.document import as_json
from mmd.report.model import Change, Facts, Kept, Live, Report, make
from mmd.report.page import as_html
from mmd.report.sheet import as_csv
from mmd.report.skipped import Schedule

FORMATS = {"csv": as_csv, "html": as_html, "json": as_json}

__all__ = [
    "FORMATS",
    "Change",
    "Facts",
    "Kept",
    "Live",
    "Report",
    "Schedule",
    "as_csv",
    "as_html",
    "as_json",
    "make",
]
