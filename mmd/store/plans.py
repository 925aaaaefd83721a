"""Windows, their occurrences on file, and exemptions: what people planned."""

from __future__ import annotations

import secrets
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.amend import over_at
from mmd.store.database import chunks
from mmd.store.journal import append
from mmd.store.schema import exemption, occurrence, window, window_source
from mmd.windows import Occurrence, SourceRef, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mmd.store.database import Database
    from mmd.store.journal import Entry

Exemption = tuple[str, str, str]  # window id, occurrence key, source id
# No letters that read alike: people type these ids at night.
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_ID_LENGTH: Final = 6
_ZONES: Final = timedelta(days=1)  # no zone's clock is further from UTC's than this
_NO_VALUES: Final[Mapping[str, object]] = {}
# Asked at every pass, and built once: building them takes longer than running them.
_ONE: Final = sa.select(window).where(window.c.id == sa.bindparam("which"))
_ALIVE: Final = sa.select(window).where(
    sa.or_(window.c.over_at.is_(None), window.c.over_at > sa.bindparam("after"))
)
# Those that may open before an instant: by the first local start, or by what is on file, because an edit may
# have moved the start since.
_NEAR: Final = _ALIVE.where(
    sa.or_(
        window.c.starts_local < sa.bindparam("local"),
        window.c.id.in_(
            sa.select(occurrence.c.window_id).where(
                occurrence.c.closes_at > sa.bindparam("after"), occurrence.c.opens_at < sa.bindparam("before")
            )
        ),
    )
)
_SOURCES: Final = sa.select(window_source).where(
    window_source.c.window_id.in_(sa.bindparam("ids", expanding=True))
)
_OCCURRENCES: Final = sa.select(occurrence).where(
    occurrence.c.window_id.in_(sa.bindparam("ids", expanding=True))
)
_RECENT: Final = _OCCURRENCES.where(occurrence.c.opens_at > sa.bindparam("since"))
# Of any window: so the index on the end is used, and there are hardly ever any.
_EXTENDED: Final = sa.select(occurrence).where(
    occurrence.c.closes_at > sa.bindparam("open"), occurrence.c.opens_at <= sa.bindparam("since")
)
_EXEMPTIONS: Final = sa.select(exemption).where(
    exemption.c.window_id.in_(sa.bindparam("ids", expanding=True))
)
_CANCELLED: Final = sa.select(window.c.id).where(
    window.c.id.in_(sa.bindparam("ids", expanding=True)), window.c.cancelled_at.is_not(None)
)

# Of an occurrence: what is on file stays, or what may change of it is replaced.
_INSERT: Final = insert_or(occurrence)
_KEEP: Final = _INSERT.on_conflict_do_nothing()
_PUT: Final = _INSERT.on_conflict_do_update(
    index_elements=["window_id", "key"],
    set_={name: _INSERT.excluded[name] for name in ("opens_at", "closes_at", "skipped")},
)
_TAKE_OFF: Final = occurrence.delete().where(
    occurrence.c.window_id == sa.bindparam("which"),
    occurrence.c.opens_at > sa.bindparam("after"),
    occurrence.c.skipped == 0,
    occurrence.c.key.not_in(sa.bindparam("kept", expanding=True)),
)


def new_id() -> str:
    """Return a short random id for a window."""
    return "w" + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


class Plans:
    """The windows on file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, planned: Window, entry: Entry) -> None:
        """Put a new window on file."""
        with self._database.write() as connection:
            connection.execute(window.insert(), _window_row(planned))
            connection.execute(window_source.insert(), _source_rows(planned))
            _write(connection, _PUT, planned.recorded)
            append(connection, entry)

    def change(self, window_id: str, make: Callable[[Window], tuple[Window, Entry]]) -> Window:
        """Put on file what `make` returns for a window, and return it: definition, sources, what is recorded.

        Read and written in one transaction, so that nothing which others wrote before it is undone by it.
        Where `make` raises, nothing is written. Of the occurrences on file so far, what has begun or was
        skipped stays, whether it is among the changed window's or not.
        """
        with self._database.write() as connection:
            (current,) = _load(connection, _ONE, {"which": window_id})
            changed, entry = make(current)
            to_come = [item.key for item in changed.recorded if item.opens_at > entry.at]
            gone = {"which": window_id, "after": entry.at, "kept": to_come}
            row = _window_row(changed)
            connection.execute(window.update().where(window.c.id == window_id).values(**row))
            connection.execute(window_source.delete().where(window_source.c.window_id == window_id))
            connection.execute(window_source.insert(), _source_rows(changed))
            connection.execute(_TAKE_OFF, gone)
            _write(connection, _PUT, changed.recorded)
            append(connection, entry)
        return changed

    def record(self, begun: Sequence[Occurrence], entries: Sequence[Entry]) -> None:
        """Put occurrences that have begun on file; those already there stay as they are.

        One of a window that was cancelled since it was read never opened.
        """
        with self._database.write() as connection:
            rows = _chunks(connection, _CANCELLED, sorted({item.window_id for item in begun}))
            off = {row["id"] for row in rows}
            _write(connection, _KEEP, (item for item in begun if item.window_id not in off))
            append(connection, *(entry for entry in entries if entry.window_id not in off))

    def get(self, window_id: str) -> Window | None:
        """Return one window, or None."""
        found = self._read(_ONE, {"which": window_id})
        return found[0] if found else None

    def current(
        self, now: datetime, *, since: timedelta = timedelta(0), ahead: timedelta | None = None
    ) -> list[Window]:
        """Return the windows that are not over at `now`, or were not `since` before it.

        With `ahead`, without those that begin later than that: plans for next year cost nothing today.
        """
        query, values = _alive(now - since, None if ahead is None else now + ahead)
        return self._read(query, values, recorded_since=now - since)

    def ids(self, prefix: str) -> list[str]:
        """Return the ids that begin with these letters."""
        text = prefix.encode(errors="replace").decode()  # SQLite takes no half of a surrogate pair
        query = sa.select(window.c.id).where(window.c.id.startswith(text, autoescape=True))
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def all(
        self,
        *,
        sources: Collection[str] | None = None,
        after: datetime | None = None,
        before: datetime | None = None,
    ) -> list[Window]:
        """Return all windows, or those that name one of the sources, and are not over `after` an instant.

        With `before` as well, without those that begin later than that.
        """
        query, values = _alive(after, before)
        if sources is not None:
            chosen = sa.select(window_source.c.window_id).where(window_source.c.source_id.in_(sources))
            query = query.where(window.c.id.in_(chosen))
        return self._read(query.order_by(window.c.created_at, window.c.id), values)

    def exemptions(self, windows: Iterable[Window]) -> frozenset[Exemption]:
        """Return which sources are left out of which occurrences of these windows."""
        ids = [planned.id for planned in windows]
        with self._database.read() as connection:
            rows = _chunks(connection, _EXEMPTIONS, ids)
        return frozenset((row["window_id"], row["key"], row["source_id"]) for row in rows)

    def exempt(self, left_out: Sequence[Exemption], *, reason: str, entry: Entry) -> None:
        """Leave a source out of occurrences; doing it twice changes nothing."""
        with self._database.write() as connection:
            for window_id, key, source_id in left_out:
                insertion = insert_or(exemption).values(
                    window_id=window_id,
                    key=key,
                    source_id=source_id,
                    at=entry.at,
                    actor=entry.actor,
                    reason=reason,
                )
                connection.execute(insertion.on_conflict_do_nothing())
            append(connection, entry)

    def _read(
        self,
        query: sa.Select[Any],
        values: Mapping[str, object] = _NO_VALUES,
        *,
        recorded_since: datetime | None = None,
    ) -> list[Window]:
        with self._database.read() as connection:
            return _load(connection, query, values, recorded_since=recorded_since)


def _load(
    connection: sa.Connection,
    query: sa.Select[Any],
    values: Mapping[str, object],
    *,
    recorded_since: datetime | None = None,
) -> list[Window]:
    """Return windows with their sources and occurrences, as they are together at one instant."""
    rows = connection.execute(query, values).mappings().all()
    ids = [row["id"] for row in rows]
    sources: defaultdict[str, list[SourceRef]] = defaultdict(list)
    for row in _chunks(connection, _SOURCES, ids):
        sources[row["window_id"]].append(SourceRef(row["source_id"], row["source_name"]))
    recorded: defaultdict[str, list[Occurrence]] = defaultdict(list)
    longest = timedelta(seconds=max((row["duration_seconds"] for row in rows), default=0))
    for row in _occurrences(connection, ids, recorded_since, longest):
        recorded[row["window_id"]].append(_occurrence(row))
    return [_window(row, sources[row["id"]], recorded[row["id"]]) for row in rows]


def _occurrences(
    connection: sa.Connection, ids: Sequence[str], since: datetime | None, longest: timedelta
) -> list[sa.RowMapping]:
    """Return what is on file of windows, or what of it may be open after an instant.

    A rule of ten years has thousands. One that was ended early must still be known while its definition
    would have it open, and one that was extended for as long as it is open.
    """
    if since is None or not ids:
        return _chunks(connection, _OCCURRENCES, ids)
    begun = since - longest - timedelta(days=2)
    extended = connection.execute(_EXTENDED, {"open": since, "since": begun}).mappings().all()
    return [*extended, *_chunks(connection, _RECENT, ids, {"since": begun})]


def _chunks(
    connection: sa.Connection,
    query: sa.Select[Any],
    ids: Sequence[str],
    values: Mapping[str, object] = _NO_VALUES,
) -> list[sa.RowMapping]:
    """Run a query for many ids, within SQLite's limit of bound values."""
    rows: list[sa.RowMapping] = []
    for some in chunks(ids):
        rows += connection.execute(query, {**values, "ids": some}).mappings().all()
    return rows


def _alive(after: datetime | None, before: datetime | None) -> tuple[sa.Select[Any], dict[str, object]]:
    """Return the query for windows that are not over after an instant, and may open before another."""
    if after is None:
        return sa.select(window), {}
    if before is None:
        return _ALIVE, {"after": after}
    local = (before.astimezone(UTC) + _ZONES).replace(tzinfo=None).isoformat()
    return _NEAR, {"after": after, "before": before, "local": local}


def _write(connection: sa.Connection, statement: sa.Insert, items: Iterable[Occurrence]) -> None:
    rows = [_occurrence_row(item) for item in items]
    if rows:  # without any, SQLAlchemy would insert one of defaults
        connection.execute(statement, rows)


def _window_row(planned: Window) -> dict[str, object]:
    return {
        "id": planned.id,
        "starts_local": planned.starts_local.isoformat(),
        "fold": planned.fold,
        "timezone": planned.timezone,
        "duration_seconds": int(planned.duration.total_seconds()),
        "repeat": planned.repeat,
        "until": planned.until,
        "reason": planned.reason,
        "ticket": planned.ticket,
        "owner": planned.owner,
        "created_by": planned.created_by,
        "created_at": planned.created_at,
        "treatment": planned.treatment,
        "effective_from": planned.effective_from,
        "cancelled_at": planned.cancelled_at,
        "over_at": over_at(planned),
    }


def _source_rows(planned: Window) -> list[dict[str, str]]:
    return [
        {"window_id": planned.id, "source_id": source.id, "source_name": source.name}
        for source in planned.sources
    ]


def _occurrence_row(item: Occurrence) -> dict[str, object]:
    return {
        "window_id": item.window_id,
        "key": item.key,
        "opens_at": item.opens_at,
        "closes_at": item.closes_at,
        "skipped": int(item.skipped),
    }


def _occurrence(row: sa.RowMapping) -> Occurrence:
    return Occurrence(
        window_id=row["window_id"],
        key=row["key"],
        opens_at=row["opens_at"],
        closes_at=row["closes_at"],
        skipped=bool(row["skipped"]),
    )


def _window(row: sa.RowMapping, sources: list[SourceRef], recorded: list[Occurrence]) -> Window:
    same = {
        name: row[name]
        for name in (
            "id",
            "fold",
            "timezone",
            "repeat",
            "until",
            "reason",
            "ticket",
            "owner",
            "created_by",
            "created_at",
            "treatment",
            "effective_from",
            "cancelled_at",
        )
    }
    return Window(
        sources=tuple(sorted(sources, key=lambda source: source.name)),
        starts_local=datetime.fromisoformat(row["starts_local"]),
        duration=timedelta(seconds=row["duration_seconds"]),
        recorded=tuple(sorted(recorded, key=lambda item: item.opens_at)),
        **same,
    )
