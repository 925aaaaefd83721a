"""What each source looked like when it was last read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.posture import Posture
from mmd.store.schema import observation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from mmd.store.database import Database


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

    def save(self, sightings: Iterable[Sighting]) -> None:
        """Keep the newest sighting of each source."""
        rows = [_row(sighting) for sighting in sightings]
        if not rows:
            return
        insertion = insert_or(observation)
        changed = {name: insertion.excluded[name] for name in rows[0] if name != "source_id"}
        with self._database.write() as connection:
            connection.execute(
                insertion.on_conflict_do_update(index_elements=["source_id"], set_=changed), rows
            )

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
        insertion = insert_or(observation)
        changed = {
            "posture": Posture.UNKNOWN.value,
            "failed_at": sa.func.coalesce(observation.c.failed_at, insertion.excluded.failed_at),
            "failure": reason,
        }
        with self._database.write() as connection:
            connection.execute(
                insertion.on_conflict_do_update(index_elements=["source_id"], set_=changed), rows
            )

    def all(self, source_ids: Collection[str] | None = None) -> dict[str, Sighting]:
        """Return the last sightings by source id, of all sources or of some."""
        query = sa.select(observation)
        if source_ids is not None:
            query = query.where(observation.c.source_id.in_(list(source_ids)))
        with self._database.read() as connection:
            return {row["source_id"]: _sighting(row) for row in connection.execute(query).mappings()}


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
