"""The journal: append-only, hash-linked, written in the same transaction as what it tells of.

Every change of a plan (who, from where), every mutating request (intent before, outcome after, ISC's
tracking id), every entry, restoration and finding. The hash of a row covers the row and the hash before it,
and the table `meta` keeps the number and the hash of the last one, so that a row that is altered or taken
out shows, at the end too (`verify`). The database itself refuses to change or delete a row (docs/adr/0016).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.escrow import stamp
from mmd.posture import canonical
from mmd.store.schema import journal, meta, window_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from mmd.posture import Json
    from mmd.store.database import Database

_END: Final = "journal"  # in `meta`: number and hash of the last row
_PAGE: Final = 1000  # rows read at a time
_HASHED: Final = ("at", "kind", "actor", "source_id", "window_id", "body")
# Built once: every write of mmd's ends with these three, and building them took longer than running them.
_READ_END: Final = sa.select(meta.c.value).where(meta.c.key == _END)
_ADD: Final = journal.insert()
_UPSERT: Final = insert_or(meta)
_NOTE_END: Final = _UPSERT.on_conflict_do_update(
    index_elements=["key"], set_={"value": _UPSERT.excluded.value}
)


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


@dataclass(frozen=True, slots=True)
class Chain:
    """What a walk along the journal found.

    `first` and `last` are hashes. `broken` is the number of the first row that is not as it was written or
    is missing, and `problem` says so in a sentence; where all is well they are None and "".
    """

    rows: int
    first: str = ""
    last: str = ""
    broken: int | None = None
    problem: str = ""


def append(connection: sa.Connection, *entries: Entry) -> None:
    """Write entries at the end, inside the caller's transaction."""
    if not entries:
        return
    seq, last = _end(connection)
    for entry in entries:
        values = _values(entry)
        last = _hash(last, values)
        written = connection.execute(_ADD, {**values, "at": entry.at, "hash": last})
        seq = written.inserted_primary_key[0] if written.inserted_primary_key else seq + 1
    connection.execute(_NOTE_END, {"key": _END, "value": f"{seq} {last}"})


def _end(connection: sa.Connection) -> tuple[int, str]:
    """Return the number and the hash of the last row that was written, which may be gone since."""
    found: str | None = connection.execute(_READ_END).scalar()
    seq, _, last = (found or "0 ").partition(" ")
    return int(seq) if seq.isdecimal() else 0, last


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
        """Return what `stream` yields."""
        return list(self.stream(source_id=source_id, since=since, until=until, kinds=kinds, last=last))

    def of_window(self, window_id: str) -> list[Entry]:
        """Return what is told of a window itself, and of no source in particular, in order."""
        query = sa.select(journal).where(journal.c.source_id.is_(None), journal.c.window_id == window_id)
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(query.order_by(journal.c.seq)).mappings()]

    def stream(
        self,
        *,
        source_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: tuple[str, ...] = (),
        last: int | None = None,
    ) -> Iterator[Entry]:
        """Yield entries in order, those in `[since, until)`, a page at a time.

        Those of a source are its own, and those of windows that name it and of no source in particular. With
        `last`, only that many of the newest.
        """
        query = sa.select(journal)
        if source_id is not None:
            query = query.where(_about(source_id))
        if since is not None:
            query = query.where(journal.c.at >= since)
        if until is not None:
            query = query.where(journal.c.at < until)
        if kinds:
            query = query.where(journal.c.kind.in_(kinds))
        for rows, _ in self._pages(query, self._before(query, last)):
            yield from map(_entry, rows)

    def verify(self) -> Chain:
        """Walk along the whole journal."""
        columns = [sa.type_coerce(journal.c[name], sa.Text).label(name) for name in _HASHED]
        query = sa.select(journal.c.seq, journal.c.hash, *columns)
        chain, written, end = Chain(0), 0, ""
        for rows, (written, end) in self._pages(query, 0):  # noqa: B007 - what the last page says counts
            chain = _walked(chain, rows)
            if chain.broken is not None:
                return chain
        if (chain.rows, chain.last) != (written, end):
            problem = f"the journal ends at entry {chain.rows}, but {written} were written"
            return replace(chain, broken=chain.rows + 1, problem=problem)
        return chain

    def _before(self, query: sa.Select[Any], last: int | None) -> int:
        """Return the number before the first of the newest rows that are asked for; 0 for all of them."""
        if last is None:
            return 0
        newest = query.with_only_columns(journal.c.seq).order_by(journal.c.seq.desc()).limit(last)
        with self._database.read() as connection:
            first = connection.execute(sa.select(sa.func.min(newest.subquery().c.seq))).scalar()
        return int(first or 1) - 1

    def _pages(
        self, query: sa.Select[Any], after: int
    ) -> Iterator[tuple[Sequence[sa.RowMapping], tuple[int, str]]]:
        """Yield rows page by page, and with each what the end of the journal was.

        Each page is a transaction of its own, so that a slow reader holds nobody up; in between the journal
        can only have grown.
        """
        query = query.order_by(journal.c.seq).limit(_PAGE)
        while True:
            with self._database.read() as connection:
                rows = connection.execute(query.where(journal.c.seq > after)).mappings().all()
                end = _end(connection)
            yield rows, end
            if len(rows) < _PAGE:
                return
            after = rows[-1]["seq"]


def _about(source_id: str) -> sa.ColumnElement[bool]:
    named = sa.select(window_source.c.window_id).where(window_source.c.source_id == source_id)
    of_windows = sa.and_(journal.c.source_id.is_(None), journal.c.window_id.in_(named))
    return sa.or_(journal.c.source_id == source_id, of_windows)


def _walked(chain: Chain, rows: Iterable[sa.RowMapping]) -> Chain:
    """Compare each row, as its text stands, with its hash and the one before."""
    number, first, last = chain.rows, chain.first, chain.last
    for row in rows:
        last = _hash(last, {name: row[name] for name in _HASHED})
        if (row["seq"], row["hash"]) != (number + 1, last):
            problem = f"entry {row['seq']} of the journal does not fit the one before it"
            return Chain(number, first, chain.last, row["seq"], problem)
        number, first = number + 1, first or last
    return Chain(number, first, last)


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
