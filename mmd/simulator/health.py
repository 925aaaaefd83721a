"""ISC's own health checks, and what they leave on a source (docs/isc.md §0.4, §0.10)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

DIAGNOSTICS = "slpt-source-diagnostics"


def timestamp(instant: datetime) -> str:
    """RFC 3339 in milliseconds, as ISC writes instants."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_true(value: object) -> bool:
    """ISC keeps some booleans as strings."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def check_health(source: dict[str, Any], now: datetime, *, down: bool) -> None:
    """One health check; where it is disabled only the diagnostics say so (docs/isc.md §0.10)."""
    attributes = source.get("connectorAttributes")
    if not isinstance(attributes, dict) or source.get("connectionType") == "file":
        return
    diagnostics = _diagnostics(attributes)
    diagnostics["healthcheckDisabled"] = is_true(attributes.get("disable_health_check"))
    if not diagnostics["healthcheckDisabled"]:
        source["status"] = "SOURCE_STATE_ERROR_SOURCE" if down else "SOURCE_STATE_HEALTHY"
        source["healthy"] = not down
        source["since"] = source["modified"] = timestamp(now)
        diagnostics["healthcheckCount"] = diagnostics.get("healthcheckCount", 0) + 1
        diagnostics["lastHealthcheck"] = int(now.timestamp() * 1000)
        diagnostics["status"], diagnostics["healthy"] = source["status"], source["healthy"]
    attributes[DIAGNOSTICS] = json.dumps(diagnostics, separators=(",", ":"))


def _diagnostics(attributes: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(attributes.get(DIAGNOSTICS, "{}"))
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
