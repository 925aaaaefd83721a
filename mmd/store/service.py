"""The daemon's own row, what commands ask of it, and what is true of the whole database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.errors import Conflict
from mmd.store.schema import daemon, meta, request

if TYPE_CHECKING:
    from datetime import datetime

    from mmd.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonRow:
    """The daemon as it last wrote about itself; instants are UTC."""

    pid: int
    host: str
    version: str
    started_at: datetime
    stopped_at: datetime | None = None
    pass_at: datetime | None = None
    pass_ok: bool = False
    pass_note: str = ""
    sweep_at: datetime | None = None
    next_at: datetime | None = None


class Service:
    """What the daemon and the commands say to each other."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def bind(self, tenant: str) -> None:
        """Tie the database to a tenant, once.

        Raises:
            Conflict: it belongs to another one.
        """
        if self._tenant() is None:  # restoring must not wait for a write
            insertion = insert_or(meta).values(key="tenant", value=tenant)
            with self._database.write() as connection:
                connection.execute(insertion.on_conflict_do_nothing())
        self.check_tenant(tenant)

    def check_tenant(self, tenant: str) -> None:
        """Believe nothing of a database about a tenant that is not its own; one that is tied to none is fine.

        Raises:
            Conflict: it belongs to another one.
        """
        found = self._tenant()
        if found not in (None, tenant):
            raise Conflict(
                f"this database belongs to the tenant {found}, not to {tenant}",
                hint="each tenant has its own configuration and its own database",
            )

    def _tenant(self) -> str | None:
        query = sa.select(meta.c.value).where(meta.c.key == "tenant")
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def daemon(self) -> DaemonRow | None:
        """Return what the daemon last wrote, or None if none ever ran."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(daemon)).mappings().first()
        if row is None:
            return None
        values = {name: value for name, value in row.items() if name != "id"}
        return DaemonRow(**{**values, "pass_ok": bool(row["pass_ok"])})

    def started(self, row: DaemonRow) -> None:
        """Write the daemon's row anew."""
        with self._database.write() as connection:
            connection.execute(daemon.delete())
            connection.execute(
                daemon.insert().values(
                    id=1,
                    pid=row.pid,
                    host=row.host,
                    version=row.version,
                    started_at=row.started_at,
                    pass_at=row.pass_at,
                    pass_ok=int(row.pass_ok),
                    pass_note=row.pass_note,
                )
            )

    def update(self, **values: object) -> None:
        """Change some columns of the daemon's row."""
        with self._database.write() as connection:
            connection.execute(daemon.update().values(**values))

    def ask(self, kind: str, *, actor: str, now: datetime) -> int:
        """Leave a request for the daemon; return its number."""
        with self._database.write() as connection:
            values = {"at": now, "kind": kind, "actor": actor, "answer": ""}
            key = connection.execute(request.insert().values(**values)).inserted_primary_key
        return int(key[0]) if key else 0

    def asked(self) -> list[tuple[int, str]]:
        """Return the open requests, oldest first: number and kind."""
        query = sa.select(request.c.id, request.c.kind).where(request.c.done_at.is_(None))
        with self._database.read() as connection:
            return [(row.id, row.kind) for row in connection.execute(query.order_by(request.c.id))]

    def answer(self, number: int, answer: str, *, now: datetime) -> None:
        """Answer a request."""
        with self._database.write() as connection:
            change = request.update().where(request.c.id == number)
            connection.execute(change.values(done_at=now, answer=answer))

    def answered(self, number: int) -> str | None:
        """Return the answer to a request, or None while there is none."""
        query = sa.select(request.c.answer).where(request.c.id == number, request.c.done_at.is_not(None))
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found
