"""A request and an answer as values, between the socket, the faults and the rules."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_VERSIONED = re.compile(r"/(?P<version>v3|v2024|v2025|v2026)(?P<rest>/.*)")
_PER_SERVICE = re.compile(r"/(?P<service>[a-z-]+)/v1(?P<rest>/.*)?")


class Dropped(Exception):
    """The connection ends here, without an answer."""


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. Header names are in lower case; the query is decoded."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    pause: Callable[[float], object] = field(default=lambda _seconds: None, repr=False)
    """Wait so many seconds, or until the simulator stops."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `keep` is how many bytes of the body are sent before the connection breaks."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    keep: int | None = None
    pause: float = 0.0
    """Seconds between the single bytes of the body; 0.0: all at once."""


def answer(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Reply:  # noqa: ANN401 - any JSON
    """A reply of JSON."""
    return Reply(status, json.dumps(value, separators=(",", ":")).encode(), headers or {})


def split_version(path: str) -> tuple[str, str] | None:
    """The API version and the path below it: `/v2026/sources/…` or `/sources/v1/…` (docs/isc.md §1)."""
    if match := _VERSIONED.fullmatch(path):
        return match["version"], match["rest"]
    if match := _PER_SERVICE.fullmatch(path):
        return "v1", f"/{match['service']}{match['rest'] or ''}"
    return None
