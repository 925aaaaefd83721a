"""Findings on file, and the spans in which the whole tenant was watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mmd.findings import Finding, Kind
from mmd.store.journal import Entry, append
from mmd.store.schema import coverage, finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime, timedelta

    from mmd.posture import Json
    from mmd.store.database import Database

_OPEN: Final = sa.select(finding).where(finding.c.cleared_at.is_(None))  # asked at every pass, and built once


class Findings:
    """What is wrong now, and what was."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def update(
        self, found: Iterable[Finding], *, judged: Collection[str] | None, now: datetime, actor: str
    ) -> None:
        """Open what is new, keep what goes on, clear what is gone.

        `judged` are the ids of the sources that were looked at; None means all of the tenant's. A source
        that was not looked at keeps its finding: what was not seen proves nothing.
        """
        current = {item.source_id: item for item in found}
        known = self.open()
        gone = [
            name
            for name, item in known.items()
            if (judged is None or name in judged)
            and (name not in current or current[name].kind is not item.kind)
        ]
        new = [item for name, item in current.items() if name not in known or name in gone]
        same = [item for name, item in current.items() if name in known and name not in gone]
        if not (gone or new or any(item.detail != known[item.source_id].detail for item in same)):
            return
        with self._database.write() as connection:
            _clear(connection, gone, now)
            for item in new:
                connection.execute(finding.insert(), {**_row(item), "seen_at": now})
            for item in same:
                connection.execute(
                    finding.update()
                    .where(finding.c.source_id == item.source_id, finding.c.cleared_at.is_(None))
                    .values(detail=item.detail, next_step=item.next_step, seen_at=now)
                )
            append(
                connection,
                *(_entry("finding.cleared", known[name], now, actor) for name in gone),
                *(_entry("finding.opened", item, now, actor) for item in new),
            )

    def open(self) -> dict[str, Finding]:
        """Return what is wrong now, by source id."""
        with self._database.read() as connection:
            return {row["source_id"]: _finding(row) for row in connection.execute(_OPEN).mappings()}

    def between(self, since: datetime, until: datetime) -> list[tuple[Finding, datetime | None]]:
        """Return what was wrong at some time in `[since, until)`, with the instant of clearing."""
        query = (
            sa.select(finding)
            .where(finding.c.since < until)
            .where(sa.or_(finding.c.cleared_at.is_(None), finding.c.cleared_at >= since))
            .order_by(finding.c.since)
        )
        with self._database.read() as connection:
            return [(_finding(row), row["cleared_at"]) for row in connection.execute(query).mappings()]

    def swept(self, at: datetime, *, sources: int, within: timedelta) -> None:
        """Note a complete sweep: it prolongs the watch, if the last one was not longer ago than `within`."""
        query = sa.select(coverage).order_by(coverage.c.until.desc()).limit(1)
        with self._database.write() as connection:
            last = connection.execute(query).mappings().first()
            if last is not None and last["until"] >= at - within:
                change = coverage.update().where(coverage.c.id == last["id"])
                connection.execute(change.values(until=at, sources=sources))
            else:
                connection.execute(coverage.insert().values(since=at, until=at, sources=sources))

    def last_sweep(self) -> datetime | None:
        """Return when the last complete sweep was."""
        query = sa.select(coverage.c.until).order_by(coverage.c.until.desc()).limit(1)
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found

    def covered(self, since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
        """Return the spans of watch that touch `[since, until]`, oldest first."""
        query = (
            sa.select(coverage.c.since, coverage.c.until)
            .where(coverage.c.since <= until, coverage.c.until >= since)
            .order_by(coverage.c.since)
        )
        with self._database.read() as connection:
            return [(row.since, row.until) for row in connection.execute(query)]


def _clear(connection: sa.Connection, gone: Iterable[str], now: datetime) -> None:
    for name in gone:
        change = finding.update().where(finding.c.source_id == name, finding.c.cleared_at.is_(None))
        connection.execute(change.values(cleared_at=now))


def _row(item: Finding) -> dict[str, Any]:
    return {
        "source_id": item.source_id,
        "source_name": item.source_name,
        "connector": item.connector,
        "kind": item.kind.value,
        "since": item.since,
        "window_id": item.window,
        "detail": item.detail,
        "next_step": item.next_step,
    }


def _finding(row: sa.RowMapping) -> Finding:
    names = ("source_id", "source_name", "connector", "since", "detail", "next_step")
    same = {name: row[name] for name in names}
    return Finding(kind=Kind(row["kind"]), window=row["window_id"], **same)


def _entry(kind: str, item: Finding, now: datetime, actor: str) -> Entry:
    body: dict[str, Json] = {"name": item.source_name, "kind": item.kind.value, "detail": item.detail}
    return Entry(at=now, kind=kind, actor=actor, source_id=item.source_id, window_id=item.window, body=body)
