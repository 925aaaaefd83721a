"""What each source looked like when it was last read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.escrow import stamp
from mmd.posture import Posture
from mmd.store.database import chunks
from mmd.store.journal import Entry, append
from mmd.store.schema import alias, observation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from mmd.store.database import Database

# Asked and written at every pass, and built once: building them takes longer than running them.
_ALL: Final = sa.select(observation)
_SOME: Final = _ALL.where(observation.c.source_id.in_(sa.bindparam("ids", expanding=True)))
_INSERT: Final = insert_or(observation)
_SAVE: Final = _INSERT.on_conflict_do_update(
    index_elements=["source_id"],
    set_={
        column.name: _INSERT.excluded[column.name]
        for column in observation.columns
        if column.name != "source_id"
    },
)
_FAIL: Final = _INSERT.on_conflict_do_update(
    index_elements=["source_id"],
    set_={
        "posture": _INSERT.excluded.posture,
        "failed_at": sa.func.coalesce(observation.c.failed_at, _INSERT.excluded.failed_at),
        "failure": _INSERT.excluded.failure,
    },
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One source as last read. `observed_at` is UTC; `failed_at` is set while it cannot be read."""

    source_id: str
    name: str
    connector: str
    posture: Posture
    reason: str
    observed_at: datetime
    failed_at: datetime | None = None
    failure: str = ""


class Sightings:
    """The last sighting of each source."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, sightings: Iterable[Sighting], *, actor: str = "mmd") -> None:
        """Keep the newest sighting of each source, every name it had, and journal each change of posture."""
        kept = list(sightings)
        if not kept:
            return
        before = self.all([sighting.source_id for sighting in kept])
        changed = [
            sighting
            for sighting in kept
            if sighting.source_id not in before or before[sighting.source_id].posture is not sighting.posture
        ]
        with self._database.write() as connection:
            connection.execute(_SAVE, [_row(sighting) for sighting in kept])
            seen = [_seen(sighting, before.get(sighting.source_id), actor) for sighting in changed]
            _name(connection, (item for item in kept if _is_renamed(before.get(item.source_id), item)))
            append(connection, *seen)

    def unlisted(self, *, before: datetime, at: datetime) -> None:
        """Note that a complete sweep did not show the sources last seen before an instant."""
        change = observation.update().where(
            observation.c.observed_at < before, observation.c.failed_at.is_(None)
        )
        values = {
            "posture": Posture.UNKNOWN.value,
            "failed_at": at,
            "failure": "ISC does not list the source any more",
        }
        with self._database.write() as connection:
            connection.execute(change.values(**values))

    def fail(self, names: Mapping[str, str], *, at: datetime, reason: str) -> None:
        """Note since when sources (names by id) cannot be read; when they were last seen stays."""
        rows = [
            {
                "source_id": source_id,
                "name": name,
                "connector": "",
                "posture": Posture.UNKNOWN.value,
                "reason": "",
                "observed_at": at,
                "failed_at": at,
                "failure": reason,
            }
            for source_id, name in names.items()
        ]
        if not rows:
            return
        with self._database.write() as connection:
            connection.execute(_FAIL, rows)

    def all(self, source_ids: Collection[str] | None = None) -> dict[str, Sighting]:
        """Return the last sightings by source id, of all sources or of some."""
        chosen = [None] if source_ids is None else chunks(list(source_ids))
        found: dict[str, Sighting] = {}
        with self._database.read() as connection:
            for ids in chosen:
                rows = connection.execute(_ALL) if ids is None else connection.execute(_SOME, {"ids": ids})
                found |= {row["source_id"]: _sighting(row) for row in rows.mappings()}
        return found


def _is_renamed(before: Sighting | None, sighting: Sighting) -> bool:
    return before is None or before.name != sighting.name


def _name(connection: sa.Connection, sightings: Iterable[Sighting]) -> None:
    rows = [{"name": item.name, "source_id": item.source_id} for item in sightings]
    if rows:
        connection.execute(insert_or(alias).on_conflict_do_nothing(), rows)


def _row(sighting: Sighting) -> dict[str, object]:
    return {
        "source_id": sighting.source_id,
        "name": sighting.name,
        "connector": sighting.connector,
        "posture": sighting.posture.value,
        "reason": sighting.reason,
        "observed_at": sighting.observed_at,
        "failed_at": sighting.failed_at,
        "failure": sighting.failure,
    }


def _sighting(row: sa.RowMapping) -> Sighting:
    return Sighting(**{**row, "posture": Posture(row["posture"])})


def _seen(sighting: Sighting, before: Sighting | None, actor: str) -> Entry:
    """A change of posture, and when the source last looked otherwise: in between it is not known."""
    last_look = {} if before is None else {"last_look": stamp(before.observed_at)}
    return Entry(
        at=sighting.observed_at,
        kind="seen",
        actor=actor,
        source_id=sighting.source_id,
        body={"name": sighting.name, "posture": sighting.posture.value, **last_look},
    )
