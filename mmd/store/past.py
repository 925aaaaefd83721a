"""What is on file about the past of sources: the timelines that `mmd was` and the reports are made of."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import sqlalchemy as sa

from mmd.escrow import claims_from_json, unstamp
from mmd.history import Applied, Found, Planned, Seen, Timeline
from mmd.posture import Posture
from mmd.store.database import chunks
from mmd.store.findings import Findings
from mmd.store.plans import Plans
from mmd.store.schema import alias, finding, journal, observation, snapshot, window_source
from mmd.windows import occurrences

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from mmd.store.database import Database
    from mmd.windows import Window

T = TypeVar("T")
# Written literally, so that SQLite sees that the index of these rows serves (`journal_seen`).
SEEN = sa.text("journal.kind = 'seen'")
TAKEN: Final = "snapshot.taken"
RECALLED: Final = "snapshot.recalled"
# Where sources are named: the column of ids and that of names. Each has its index.
_NAMES: Final[tuple[tuple[sa.Column[Any], sa.Column[Any]], ...]] = (
    (alias.c.source_id, alias.c.name),
    (observation.c.source_id, observation.c.name),
    (window_source.c.source_id, window_source.c.source_name),
    (snapshot.c.source_id, snapshot.c.source_name),
    (finding.c.source_id, finding.c.source_name),
)


class Past:
    """What was, by source."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._plans = Plans(database)
        self._findings = Findings(database)

    def names(self, word: str | None = None) -> list[tuple[str, str]]:
        """Return every id of a source with every name that it is known to have, or to have had.

        With `word`, only the pairs in which it is the id or the name, which takes no reading of years.
        """
        parts = [sa.select(*pair) for pair in _NAMES]
        if word is not None:
            text = word.encode(errors="replace").decode()  # SQLite takes no half of a surrogate pair
            parts = [sa.select(*pair).where(column == text) for pair in _NAMES for column in pair]
        with self._database.read() as connection:
            return [(row[0], row[1]) for row in connection.execute(sa.union(*parts))]

    def timelines(
        self, source_ids: Collection[str] | None, since: datetime, until: datetime
    ) -> list[Timeline]:
        """Return what is known of sources, of some or of all, in `[since, until)`, by name.

        Each begins with the last posture seen before `since`, so that it is known what it was then. Planned
        are the occurrences as they stand today, without what was skipped or left out.
        """
        ids = None if source_ids is None else sorted(source_ids)
        seen, planned = self._seen(ids, since, until), self._planned(ids, since, until)
        applied, found = self._applied(ids, since, until), self._found(ids, since, until)
        looked, names = self._looked(ids), self._named(ids)
        watched = tuple(self._findings.covered(since, until))
        chosen = {*seen, *planned, *applied, *found, *looked} if ids is None else ids
        lines = [
            Timeline(
                source_id=name,
                source_name=names.get(name, name),
                planned=tuple(sorted(planned[name], key=lambda item: item.opens_at)),
                applied=tuple(applied[name]),
                seen=tuple(seen[name]),
                found=tuple(found[name]),
                watched=watched,
                looked_at=looked[name][0] if name in looked else None,
                lost_at=looked[name][1] if name in looked else None,
            )
            for name in chosen
        ]
        return sorted(lines, key=lambda line: (line.source_name, line.source_id))

    def _seen(self, ids: list[str] | None, since: datetime, until: datetime) -> defaultdict[str, list[Seen]]:
        """Return the changes of posture by source, with the last one before `since`."""
        mine = journal.c.source_id
        within = sa.select(journal).where(SEEN, journal.c.at >= since, journal.c.at < until)
        last = sa.select(sa.func.max(journal.c.seq)).where(SEEN, journal.c.at < since).group_by(mine)
        rows: list[sa.RowMapping] = []
        for some in _pieces(ids):
            before = sa.select(journal).where(journal.c.seq.in_(_of(last, mine, some)))
            rows += self._read(before)
            rows += self._read(_of(within, mine, some).order_by(journal.c.seq))
        return _by_source(rows, _seen)

    def _planned(
        self, ids: list[str] | None, since: datetime, until: datetime
    ) -> defaultdict[str, list[Planned]]:
        found: defaultdict[str, list[Planned]] = defaultdict(list)
        for some in _pieces(ids):
            windows = self._plans.all(sources=some, after=since, before=until)
            exemptions = self._plans.exemptions(windows)
            for window in windows:
                for source_id, item in _shares(window, since, until):
                    left_out = (window.id, item.key, source_id) in exemptions
                    if not left_out and (some is None or source_id in some):
                        found[source_id].append(item)
        return found

    def _applied(
        self, ids: list[str] | None, since: datetime, until: datetime
    ) -> defaultdict[str, list[Applied]]:
        back = sa.func.coalesce(snapshot.c.restored_at, snapshot.c.released_at)
        names = ("id", "source_id", "claims", "taken_at", "entered_at", "restored_at", "released_at")
        query = (
            sa.select(*(snapshot.c[name] for name in names))
            .where(snapshot.c.taken_at < until, sa.or_(back.is_(None), back >= since))
            .order_by(snapshot.c.taken_at)
        )
        rows = list(self._rows(query, snapshot.c.source_id, ids))
        recalled = self._recalled(rows)
        return _by_source(rows, lambda row: replace(_applied(row), **recalled.get(row["id"], {})))

    def _recalled(self, rows: Collection[sa.RowMapping]) -> dict[str, dict[str, Any]]:
        """Return what is to be said of the snapshots that were not taken, but recalled."""
        if not rows:
            return {}
        since, ids = min(row["taken_at"] for row in rows), {row["source_id"] for row in rows}
        query = sa.select(journal.c.kind, journal.c.body).where(
            journal.c.at >= since, journal.c.kind.in_((TAKEN, RECALLED))
        )
        looks: dict[str, dict[str, datetime | None]] = {TAKEN: {}, RECALLED: {}}
        newest_first = query.order_by(journal.c.seq.desc())  # the first of several recalls is what counts
        for row in self._rows(newest_first, journal.c.source_id, sorted(ids)):
            body = json.loads(row["body"])
            looks[row["kind"]][body.get("snapshot")] = _look(body)
        return {
            row["id"]: {"recalled": True, "last_look": looks[RECALLED].get(row["id"])}
            for row in rows
            if row["id"] not in looks[TAKEN]
        }

    def _found(
        self, ids: list[str] | None, since: datetime, until: datetime
    ) -> defaultdict[str, list[Found]]:
        query = (
            sa.select(finding)
            .where(finding.c.since < until)
            .where(sa.or_(finding.c.cleared_at.is_(None), finding.c.cleared_at >= since))
            .order_by(finding.c.since)
        )
        return _by_source(self._rows(query, finding.c.source_id, ids), _found)

    def _looked(self, ids: list[str] | None) -> dict[str, tuple[datetime, datetime | None]]:
        """Return when each source was last read, and since when it cannot be."""
        query = sa.select(observation.c.source_id, observation.c.observed_at, observation.c.failed_at)
        rows = self._rows(query, observation.c.source_id, ids)
        return {row["source_id"]: (row["observed_at"], row["failed_at"]) for row in rows}

    def _named(self, ids: list[str] | None) -> dict[str, str]:
        """Return the newest name of each source."""
        tables = ((window_source, "source_name"), (snapshot, "source_name"), (observation, "name"))
        names: dict[str, str] = {}
        for table, column in tables:
            query = sa.select(table.c.source_id, table.c[column].label("name")).distinct()
            rows = self._rows(query, table.c.source_id, ids)
            names |= {row["source_id"]: row["name"] for row in rows}
        return names

    def _rows(
        self, query: sa.Select[Any], column: sa.Column[Any], ids: list[str] | None
    ) -> Iterator[sa.RowMapping]:
        """Run a query for some sources, within SQLite's limit of bound values, or for all."""
        for some in _pieces(ids):
            yield from self._read(_of(query, column, some))

    def _read(self, query: sa.Select[Any]) -> list[sa.RowMapping]:
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())


def _pieces(ids: list[str] | None) -> Iterable[list[str] | None]:
    return [None] if ids is None else [list(some) for some in chunks(ids)]


def _of(query: sa.Select[Any], column: sa.Column[Any], ids: list[str] | None) -> sa.Select[Any]:
    return query if ids is None else query.where(column.in_(ids))


def _by_source(
    rows: Iterable[sa.RowMapping], make: Callable[[sa.RowMapping], T]
) -> defaultdict[str, list[T]]:
    found: defaultdict[str, list[T]] = defaultdict(list)
    for row in rows:
        found[row["source_id"]].append(make(row))
    return found


def _shares(window: Window, since: datetime, until: datetime) -> Iterator[tuple[str, Planned]]:
    """Yield each occurrence of a window for each of its sources."""
    for item in occurrences(window, since, until):
        planned = Planned(
            window_id=window.id,
            key=item.key,
            opens_at=item.opens_at,
            closes_at=item.closes_at,
            reason=window.reason,
            ticket=window.ticket,
            owner=window.owner,
        )
        for source in window.sources:
            yield source.id, planned


def _applied(row: sa.RowMapping) -> Applied:
    return Applied(
        snapshot_id=row["id"],
        window_ids=tuple(
            dict.fromkeys(claim.window_id for claim in claims_from_json(json.loads(row["claims"])))
        ),
        taken_at=row["taken_at"],
        entered_at=row["entered_at"],
        restored_at=row["restored_at"],
        released_at=row["released_at"],
    )


def _seen(row: sa.RowMapping) -> Seen:
    body = json.loads(row["body"])
    return Seen(at=row["at"], posture=Posture(body["posture"]), last_look=_look(body))


def _look(body: dict[str, Any]) -> datetime | None:
    """Return when the source had been looked at before, as an entry has it."""
    last_look = body.get("last_look")
    return None if last_look is None else unstamp(last_look)


def _found(row: sa.RowMapping) -> Found:
    return Found(kind=row["kind"], since=row["since"], detail=row["detail"], cleared_at=row["cleared_at"])
