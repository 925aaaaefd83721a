"""How a report writes instants, durations and other people's words. Pure."""

from __future__ import annotations

import html
from datetime import UTC, datetime, timedelta
from typing import Final

from mmd.text import fitted, printable, width
from mmd.when import format_duration
from mmd.windows import zone_named

LONGEST: Final = 200  # columns of a text that a page shows; CSV and JSON have it whole


def utc(at: datetime | None) -> str:
    """Return an instant as RFC 3339 in UTC, with as many digits as it needs; "" for None."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else ""


def clock(at: datetime | None, zone: str, *, missing: str = "") -> str:
    """Return an instant by the clock of a zone, to the second where it has seconds: "2026-11-22 22:00"."""
    if at is None:
        return missing
    local = at.astimezone(zone_named(zone))
    return f"{local:%Y-%m-%d %H:%M:%S}" if local.second else f"{local:%Y-%m-%d %H:%M}"


def lasting(span: timedelta) -> str:
    """Return a duration in its two largest units: "1 d 3 h", "45 s"."""
    seconds = round(span.total_seconds())
    coarse = seconds // 60 * 60 if seconds >= 3600 else seconds  # noqa: PLR2004 - an hour
    coarse = coarse // 3600 * 3600 if coarse >= 86400 else coarse  # noqa: PLR2004 - a day
    text = format_duration(timedelta(seconds=coarse))
    return "".join(f" {letter} " if letter.isalpha() else letter for letter in text).strip()


def safe(text: str, columns: int = LONGEST) -> str:
    """Return text for HTML and SVG, content or quoted attribute: escaped, visible, and not too long."""
    piece = text[: 4 * columns]  # beyond this are at most marks that take no room
    shown = printable(piece)
    if width(shown) > columns:
        shown = fitted(shown[: 4 * columns], columns).rstrip()
    elif piece != text:
        shown += "…"
    return html.escape(shown)


def counted(number: int, one: str, many: str = "") -> str:
    """Return "1 window", "2 windows"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
