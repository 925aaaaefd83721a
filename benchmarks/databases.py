"""Databases with years in them, written straight into the tables.

Everything is as mmd itself would have left it, the journal's chain included; going through mmd would take an
hour.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mmd.escrow import digest, fields_to_json, stamp
from mmd.posture import Fields, canonical
from mmd.store import create_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

YEARS: Final = timedelta(days=3 * 365)  # how far back the past goes
_HOUR: Final = timedelta(hours=1)
_WEEK: Final = timedelta(weeks=1)
_ACTOR: Final = "someone@somewhere"
_NORMAL: Final = Fields(features=("PROVISIONING", "ENABLE"), schedules={"ACCOUNT_AGGREGATION": "0 0 2 * * ?"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a database has.

    `past` windows are over; `alive` are not, a third of them weekly rules as old as the past; `ahead` are
    planned for next year. Of the journal's `entries` a fifth are changes of posture.
    """

    past: int = 0
    entries: int = 0
    alive: int = 60
    ahead: int = 0
    sources: int = 10_000


def source_id(number: int) -> str:
    """Return the id of a source, by its number."""
    return f"{number:032x}"


def source_name(number: int) -> str:
    """Return the name of a source, by its number."""
    return f"System {number}"


def fill(path: Path, size: Size, now: datetime) -> Path:
    """Make a database of a size, as it would be at `now` (UTC), and return its path."""
    create_file(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA foreign_keys = OFF")
        _insert(connection, "observation", _observations(size, now))
        for table, rows in (
            ("window", _windows(size, now)),
            ("window_source", _window_sources(size)),
            ("occurrence", _occurrences(size, now)),
            ("snapshot", _snapshots(size, now)),
            ("journal", _journal(size, now)),
        ):
            _insert(connection, table, rows)
        end = "SELECT 'journal', seq || ' ' || hash FROM journal ORDER BY seq DESC LIMIT 1"
        connection.execute(f"INSERT OR REPLACE INTO meta (key, value) {end}")
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[dict[str, Any]]) -> None:
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    names = ", ".join(f'"{name}"' for name in first)
    marks = ", ".join(f":{name}" for name in first)
    statement = f'INSERT INTO "{table}" ({names}) VALUES ({marks})'  # noqa: S608 - names of ours
    connection.execute(statement, first)
    connection.executemany(statement, rows)


def _observations(size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(size.sources):
        yield {
            "source_id": source_id(number),
            "name": source_name(number),
            "connector": "web-services",
            "posture": "normal",
            "reason": "seen by the sweep",
            "observed_at": stamp(now - timedelta(minutes=5)),
            "failure": "",
        }


# --- Windows --------------------------------------------------------------------------------------------


def _windows(size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(size.past):
        opens = _opened(size, number, now)
        yield _window(_id("p", number), opens, over=opens + _HOUR, created=opens - _WEEK)
    for number in range(size.alive):
        if number % 3:
            opens = now + timedelta(days=1 + number % 7)
            yield _window(_id("a", number), opens, over=opens + _HOUR, created=now)
        else:
            rule = "FREQ=WEEKLY"
            yield _window(_id("a", number), now - YEARS, repeat=rule, created=now - YEARS)
    for number in range(size.ahead):
        opens = now + timedelta(days=300) + number * timedelta(minutes=1)
        yield _window(_id("f", number), opens, over=opens + _HOUR, created=now)


def _window(
    key: str, opens: datetime, *, created: datetime, over: datetime | None = None, repeat: str | None = None
) -> dict[str, Any]:
    return {
        "id": key,
        "starts_local": _local(opens),
        "fold": 0,
        "timezone": "UTC",
        "duration_seconds": int(_HOUR.total_seconds()),
        "repeat": repeat,
        "reason": "patching the operating system",
        "ticket": "CHG0012345",
        "owner": "platform",
        "created_by": _ACTOR,
        "created_at": stamp(created),
        "treatment": "full",
        "effective_from": stamp(created),
        "over_at": None if over is None else stamp(over),
    }


def _window_sources(size: Size) -> Iterator[dict[str, Any]]:
    kinds = (("p", size.past, 3), ("a", size.alive, 1), ("f", size.ahead, 1))
    for letter, count, each in kinds:
        for number in range(count):
            for place in range(each):
                source = (number * each + place) % size.sources
                yield {
                    "window_id": _id(letter, number),
                    "source_id": source_id(source),
                    "source_name": source_name(source),
                }


def _occurrences(size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    for number in range(size.past):
        yield _occurrence(_id("p", number), _opened(size, number, now))
    for number in range(0, size.alive, 3):
        for week in range(YEARS // _WEEK):
            yield _occurrence(_id("a", number), now - YEARS + week * _WEEK)


def _occurrence(window: str, opens: datetime) -> dict[str, Any]:
    return {
        "window_id": window,
        "key": _local(opens)[:16],
        "opens_at": stamp(opens),
        "closes_at": stamp(opens + _HOUR),
        "skipped": 0,
    }


def _snapshots(size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield one for the first source of each window that is over."""
    before, checked = canonical(fields_to_json(_NORMAL)), digest(_NORMAL)
    for number in range(size.past):
        opens = _opened(size, number, now)
        claim = {"id": _id("p", number), "key": _local(opens)[:16], "reason": "patching"}
        claim |= {"opens_at": stamp(opens), "closes_at": stamp(opens + _HOUR)}
        source = number * 3 % size.sources
        yield {
            "id": f"{number:032x}",
            "source_id": source_id(source),
            "source_name": source_name(source),
            "treatment": "full",
            "taken_at": stamp(opens),
            "before": before,
            "digest": checked,
            "after": before,
            "claims": json.dumps([claim]),
            "text": "",
            "entered_at": stamp(opens + timedelta(seconds=5)),
            "restored_at": stamp(opens + _HOUR),
            "released_at": stamp(opens + _HOUR),
            "enforced": 0,
        }


# --- The journal ----------------------------------------------------------------------------------------

_KINDS: Final = ("seen", "intent", "outcome", "entered", "restored")


def _journal(size: Size, now: datetime) -> Iterator[dict[str, Any]]:
    """Yield entries in order, each with its hash, as `mmd.store.journal` computes it."""
    last = ""
    for number in range(size.entries):
        row = _entry(size, number, now - YEARS + YEARS * (number / size.entries))
        text = canonical([last, *(row[name] for name in sorted(row))])
        last = hashlib.sha256(text.encode()).hexdigest()
        yield row | {"hash": last}


def _entry(size: Size, number: int, at: datetime) -> dict[str, Any]:
    kind = _KINDS[number % len(_KINDS)]
    # By steps of a prime: all sources have their share of each kind.
    source = number * 7919 // len(_KINDS) % size.sources
    body: dict[str, Any] = {"name": source_name(source)}
    body |= {"posture": ("normal", "maintenance")[number // 5 % 2]} if kind == "seen" else {}
    return {
        "at": stamp(at),
        "kind": kind,
        "actor": _ACTOR,
        "source_id": source_id(source),
        "window_id": _id("p", number % size.past) if size.past and kind != "seen" else None,
        "body": canonical(body),
    }


def _opened(size: Size, number: int, now: datetime) -> datetime:
    """Return when a window of the past opened: evenly over the years, up to an hour and more ago."""
    return (now - YEARS + (YEARS - 2 * _HOUR) * (number / size.past)).replace(microsecond=0)


def _local(at: datetime) -> str:
    return at.astimezone(UTC).replace(tzinfo=None, microsecond=0).isoformat()


def _id(letter: str, number: int) -> str:
    return f"w{letter}{number:06d}"
