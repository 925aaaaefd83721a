"""Snapshots: what to go back to. First copy wins; none is ever deleted here."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mmd.errors import Conflict, NotFound
from mmd.escrow import claims_from_json, claims_to_json, digest, fields_from_json, fields_to_json, stamp
from mmd.plan import Held
from mmd.posture import Snapshot, Treatment, canonical
from mmd.store.database import Damaged
from mmd.store.journal import append
from mmd.store.schema import observation, snapshot

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mmd.store.database import Database
    from mmd.store.journal import Entry

# A released source is looked at again: whatever a frozen process or a late packet did after the restoration
# is still undone (docs/reliability.md F1).
# Once just before a request without an answer counts as lost for good (`mmd.aftermath.LATE`).
WATCH: Final = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(minutes=14, seconds=30),
    timedelta(hours=1),
    timedelta(days=1),
)

# What the digest of a whole row begins with.
_WHOLE: Final = "2:"
# What a snapshot says of itself when it is opened again.
_OPENED: Final[dict[str, object]] = {
    "released_at": None,
    "restored_at": None,
    "watch_at": None,
    "verified": 0,
}
# Asked at every pass, and built once: building them takes longer than running them.
_OPEN: Final = sa.select(snapshot).where(snapshot.c.released_at.is_(None))
_OPEN_OF: Final = _OPEN.where(snapshot.c.source_id == sa.bindparam("source"))
_ONE: Final = sa.select(snapshot).where(snapshot.c.id == sa.bindparam("which"))
_LOOKED_AT: Final = (
    sa.select(snapshot)
    .where(snapshot.c.watch_at.is_not(None))
    .where(
        sa.or_(
            snapshot.c.source_id.in_(
                sa.select(snapshot.c.source_id).where(snapshot.c.watch_at <= sa.bindparam("now"))
            ),
            sa.and_(
                snapshot.c.source_id.in_(sa.bindparam("wanted", expanding=True)),
                snapshot.c.released_at >= sa.bindparam("since"),
            ),
        )
    )
    .order_by(sa.literal_column("rowid"))  # a clock may have gone back
)
_NEXT: Final = sa.select(sa.func.min(snapshot.c.watch_at)).where(snapshot.c.watch_at > sa.bindparam("after"))
_RELEASED: Final = (
    sa.select(snapshot)
    .where(snapshot.c.released_at >= sa.bindparam("since"))
    .where(snapshot.c.source_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(snapshot.c.released_at)
)
_CHANGE: Final = snapshot.update().where(snapshot.c.id == sa.bindparam("which"))


class BadSnapshot(Damaged):
    """A snapshot is not what was written."""

    def __init__(self, source_name: str) -> None:
        super().__init__(
            f"the snapshot of {source_name} is not what was written",
            hint="restore a backup of the database, or move it away and run `mmd recover`",
        )
        self.source_name = source_name


class Holds:
    """The snapshots on file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, held: Held, entry: Entry) -> None:
        """Commit a snapshot; when this returns it is on the disk.

        Raises:
            Conflict: the source is held already.
        """
        row = _row(held)
        try:
            with self._database.write() as connection:
                connection.execute(snapshot.insert(), row)
                append(connection, entry)
        except sa.exc.IntegrityError as error:
            raise Conflict(f"{held.snapshot.source_name} is held already") from error

    def keep(self, held: Held, entry: Entry) -> None:
        """Commit what may change of an open snapshot: not what the source looked like before, for one."""
        self._update(held.snapshot.id, _changeable(held), entry)

    def verified(self, snapshot_id: str, entry: Entry) -> None:
        """Note that the source was seen wholly in maintenance, as mmd left it."""
        self._update(snapshot_id, {"verified": 1}, entry)

    def unverified(self, snapshot_id: str) -> None:
        """Note that what is on the source may not be as mmd left it any more."""
        with self._database.write() as connection:
            connection.execute(_CHANGE, {"which": snapshot_id, "verified": 0})

    def wrote(self, snapshot_id: str, at: datetime, entry: Entry) -> None:
        """Note ISC's `modified` after a write of ours, with the write's outcome."""
        self._update(snapshot_id, {"written_at": at}, entry)

    def release(self, snapshot_id: str, entry: Entry) -> None:
        """The source is back: close the snapshot, keep it, and look at the source again later."""
        self._update(snapshot_id, {"released_at": entry.at, "watch_at": entry.at + WATCH[0]}, entry)

    def recall(self, held: Held, entry: Entry) -> None:
        """Take a snapshot that a source told of; one that was on file already is opened again as given.

        The entry gets when the source had been looked at last: it may be in maintenance since then.
        """
        if self.find(held.snapshot.id) is None:
            self.take(held, replace(entry, body={**entry.body, **self._last_look(held.snapshot.source_id)}))
        else:
            self._update(held.snapshot.id, {**_changeable(held), **_OPENED}, entry)

    def _last_look(self, source_id: str) -> dict[str, str]:
        query = sa.select(observation.c.observed_at).where(observation.c.source_id == source_id)
        with self._database.read() as connection:
            looked: datetime | None = connection.execute(query).scalar()
        return {} if looked is None else {"last_look": stamp(looked)}

    def watched(self, snapshot_id: str, released_at: datetime, now: datetime) -> None:
        """The source was looked at after its release: say when to look next, if at all."""
        later = [released_at + after for after in WATCH if released_at + after > now]
        with self._database.write() as connection:
            connection.execute(_CHANGE, {"which": snapshot_id, "watch_at": min(later, default=None)})

    def held(self, source_id: str | None = None) -> dict[str, Held]:
        """Return the open snapshots by source id.

        Raises:
            Damaged: a row is not what was written.
        """
        rows = self._rows(_OPEN) if source_id is None else self._rows(_OPEN_OF, {"source": source_id})
        return {row["source_id"]: _held(row) for row in rows}

    def open(self) -> tuple[dict[str, Held], dict[str, BadSnapshot]]:
        """Return the open snapshots by source id, and what is wrong with those that are not as written.

        For whoever works on many sources: one that is damaged must not stop the others.
        """
        whole: dict[str, Held] = {}
        damaged: dict[str, BadSnapshot] = {}
        for row in self._rows(_OPEN):
            try:
                whole[row["source_id"]] = _held(row)
            except BadSnapshot as error:
                damaged[row["source_id"]] = error
        return whole, damaged

    def find(self, snapshot_id: str) -> Held | None:
        """Return a snapshot by its id, open or released, or None."""
        rows = self._rows(_ONE, {"which": snapshot_id})
        return _held(rows[0]) if rows else None

    def to_watch(
        self, now: datetime, *, wanted: Collection[str] = (), since: datetime | None = None
    ) -> dict[str, list[tuple[Held, datetime]]]:
        """Return the released snapshots, by source, oldest first, of each source to be looked at now.

        Each comes with the instant of its release. The time has come, or the source is `wanted` and was
        released `since` an instant. One that is damaged is left out: there is nothing to judge its source by,
        and `mmd doctor` names it.
        """
        values = {"now": now, "wanted": list(wanted)[:500], "since": now if since is None else since}
        found: defaultdict[str, list[tuple[Held, datetime]]] = defaultdict(list)
        for row in self._rows(_LOOKED_AT, values):
            with suppress(BadSnapshot):
                found[row["source_id"]].append((_held(row), row["released_at"]))
        return dict(found)

    def next_watch(self, after: datetime) -> datetime | None:
        """Return when, after an instant, the next released source is to be looked at again."""
        with self._database.read() as connection:
            found: datetime | None = connection.execute(_NEXT, {"after": after}).scalar()
        return found

    def last_released(self, source_ids: Collection[str], since: datetime) -> dict[str, Held]:
        """Return the newest snapshot released since an instant, by source."""
        rows = self._rows(_RELEASED, {"since": since, "ids": list(source_ids)[:500]})
        return {row["source_id"]: _held(row) for row in rows}

    def history(self, source_id: str) -> list[tuple[Held, datetime | None]]:
        """Return every snapshot of a source, oldest first, each with its release if it has one."""
        query = sa.select(snapshot).where(snapshot.c.source_id == source_id).order_by(snapshot.c.taken_at)
        return [(_held(row), row["released_at"]) for row in self._rows(query)]

    def damaged(self) -> list[str]:
        """Say of which snapshots, open or not, the row is not what was written."""
        with self._database.read() as connection:
            known = connection.execute(sa.select(snapshot.c.id, snapshot.c.source_name)).all()
        return [
            f"the snapshot {snapshot_id} of {name} is not what was written"
            for snapshot_id, name in known
            if not self._is_whole(snapshot_id)
        ]

    def _is_whole(self, snapshot_id: str) -> bool:
        try:
            for row in self._rows(_ONE, {"which": snapshot_id}):
                _held(row)
        except (Damaged, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    def _rows(
        self, query: sa.Select[tuple[object, ...]], values: Mapping[str, object] | None = None
    ) -> list[sa.RowMapping]:
        with self._database.read() as connection:
            return list(connection.execute(query, values).mappings())

    def _update(self, snapshot_id: str, values: dict[str, object], entry: Entry) -> None:
        """Change a row that must be there: nothing is destroyed on the strength of one that is not."""
        with self._database.write() as connection:
            if connection.execute(_CHANGE, {"which": snapshot_id, **values}).rowcount != 1:
                raise NotFound(f"the snapshot of {entry.body.get('name', snapshot_id)} is not on file")
            append(connection, entry)


def _changeable(held: Held) -> dict[str, object]:
    fixed = ("id", "source_id", "taken_at", "before", "written_at")
    return {name: value for name, value in _row(held).items() if name not in fixed}


def _row(held: Held) -> dict[str, object]:
    kept = held.snapshot
    row: dict[str, object] = {
        "id": kept.id,
        "source_id": kept.source_id,
        "source_name": kept.source_name,
        "treatment": kept.treatment.value,
        "taken_at": kept.taken_at,
        "before": canonical(fields_to_json(kept.before)),
        "after": canonical(fields_to_json(kept.after)),
        "claims": canonical(claims_to_json(held.claims)),
        "text": held.text,
        "entered_at": held.entered_at,
        "restored_at": held.restored_at,
        "enforced": held.enforced,
        "written_at": held.written_at,
        "verified": int(held.verified),
        "revision": held.revision,
    }
    return {**row, "digest": _digest(row)}


def _digest(row: Mapping[str, object] | sa.RowMapping) -> str:
    """Return the SHA-256 of all that decides: what was, what it goes back to, how, and until when."""
    text = "\n".join(str(row[name]) for name in ("before", "after", "treatment", "claims"))
    return _WHOLE + hashlib.sha256(text.encode()).hexdigest()


def _held(row: sa.RowMapping) -> Held:
    try:
        return _read(row)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadSnapshot(row["source_name"]) from None


def _read(row: sa.RowMapping) -> Held:
    before = fields_from_json(json.loads(row["before"]))
    # Rows of older releases have the digest of `before` alone, until they are written again.
    expected = _digest(row) if row["digest"].startswith(_WHOLE) else digest(before)
    if row["digest"] != expected:
        raise ValueError("the digest is another one")
    kept = Snapshot(
        id=row["id"],
        source_id=row["source_id"],
        source_name=row["source_name"],
        treatment=Treatment(row["treatment"]),
        taken_at=row["taken_at"],
        before=before,
        after=fields_from_json(json.loads(row["after"])),
    )
    return Held(
        snapshot=kept,
        claims=claims_from_json(json.loads(row["claims"])),
        text=row["text"],
        entered_at=row["entered_at"],
        restored_at=row["restored_at"],
        enforced=row["enforced"],
        written_at=row["written_at"],
        verified=bool(row["verified"]),
        revision=row["revision"],
    )
