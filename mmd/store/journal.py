"""The journal: append-only, hash-linked, written in the same transaction as what it tells of.

Every change of a plan (who, from where), every mutating request (intent before, outcome after, ISC's
tracking id), every entry, restoration and finding. The hash of a row covers the row and the hash before it,
so that a row that is altered or taken out shows (`broken`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from mmd.escrow import stamp
from mmd.posture import canonical
from mmd.store.schema import journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from mmd.posture import Json
    from mmd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the journal. `at` is UTC; `kind` is a dotted word such as "window.added" or "intent"."""

    at: datetime
    kind: str
    actor: str
    source_id: str | None = None
    window_id: str | None = None
    body: Mapping[str, Json] = field(default_factory=dict)
    seq: int = 0


def append(connection: sa.Connection, *entries: Entry) -> None:
    """Write entries at the end, inside the caller's transaction."""
    last = connection.execute(sa.select(journal.c.hash).order_by(journal.c.seq.desc()).limit(1)).scalar()
    for entry in entries:
        values = _values(entry)
        last = _hash(last or "", values)
        connection.execute(journal.insert().values(**{**values, "at": entry.at}, hash=last))


def _values(entry: Entry) -> dict[str, Any]:
    return {
        "at": stamp(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "source_id": entry.source_id,
        "window_id": entry.window_id,
        "body": canonical(dict(entry.body)),
    }


def _hash(previous: str, values: Mapping[str, Any]) -> str:
    text = canonical([previous, *(values[name] for name in sorted(values))])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class Journal:
    """Reading the journal, and writing what belongs to no other change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def write(self, *entries: Entry) -> None:
        """Append entries in a transaction of their own."""
        with self._database.write() as connection:
            append(connection, *entries)

    def read(
        self,
        *,
        source_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: tuple[str, ...] = (),
        last: int | None = None,
    ) -> list[Entry]:
        """Return entries in order, those in `[since, until)`; with `last`, only that many of the newest."""
        query = sa.select(journal).order_by(journal.c.seq.desc() if last else journal.c.seq)
        if source_id is not None:
            query = query.where(journal.c.source_id == source_id)
        if since is not None:
            query = query.where(journal.c.at >= since)
        if until is not None:
            query = query.where(journal.c.at < until)
        if kinds:
            query = query.where(journal.c.kind.in_(kinds))
        with self._database.read() as connection:
            rows = connection.execute(query.limit(last) if last else query).mappings().all()
        return [_entry(row) for row in (reversed(rows) if last else rows)]

    def broken(self) -> int | None:
        """Return the number of the first row that does not fit the one before it; None when all do."""
        previous = ""
        for row in self._rows():
            values = {**_values(_entry(row)), "body": row["body"]}
            previous = _hash(previous, values)
            if previous != row["hash"]:
                return int(row["seq"])
        return None

    def _rows(self) -> Iterator[sa.RowMapping]:
        with self._database.read() as connection:
            yield from connection.execute(sa.select(journal).order_by(journal.c.seq)).mappings()


def _entry(row: sa.RowMapping) -> Entry:
    return Entry(
        at=row["at"],
        kind=row["kind"],
        actor=row["actor"],
        source_id=row["source_id"],
        window_id=row["window_id"],
        body=json.loads(row["body"]),
        seq=row["seq"],
    )
