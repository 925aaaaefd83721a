"""Alerts on file, and the outbox: messages, with their delivery to each channel, at least once.

A message and its deliveries are committed together with the alerts they tell of: after a crash either all of
it has happened, or nothing. Channels are known by a fingerprint; their URLs carry passwords and never get
here.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert as insert_or

from mmd.alerts import Alert, Condition, Kind, Message, Refusal, Verdict
from mmd.store.journal import Entry, append
from mmd.store.schema import alert, announced, delivery, exemption, journal, message, meta

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from mmd.posture import Json
    from mmd.store.database import Database

# What the exemptions are called that a refusal of ISC makes (mmd.reconcile).
_REFUSED: Final = "ISC refused"
_TOLD: Final = "alerts.told"  # the number of the last line of the journal that was told
_CHANNELS: Final = "alerts.channels"  # those that have heard of all that is open
_AT_ONCE: Final = 100  # deliveries of one channel looked at in one go


_MINE: Final = (alert.c.cause == sa.bindparam("mine")) & alert.c.cleared_at.is_(None)
_CLEAR: Final = alert.update().where(_MINE).values(cleared_at=sa.bindparam("now"))
_CHANGE: Final = (
    alert.update()
    .where(_MINE)
    .values(
        detail=sa.bindparam("new_detail"),
        next_step=sa.bindparam("new_step"),
        reminded_at=sa.bindparam("new_reminded"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one pass makes of the alerts, to be written in one go.

    `announced` are announcements, each with the instant (UTC) after which it may be forgotten; `told` is the
    number of the last line of the journal that the messages tell of. `newcomers` are channels that hear
    `catching_up` as well, None when the channels are those of the change before.
    """

    verdict: Verdict
    messages: Sequence[Message] = ()
    catching_up: Sequence[Message] = ()
    newcomers: Collection[str] | None = None
    announced: Mapping[str, datetime] = field(default_factory=dict)
    told: int | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        verdict = self.verdict
        alerts = verdict.opened or verdict.changed or verdict.cleared
        news = self.messages or self.announced or self.told
        return not (alerts or news or self.newcomers is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one channel; `next_at` (UTC) is when to try (again)."""

    message_id: int
    channel: str
    attempts: int
    next_at: datetime
    message: Message


class Alerts:
    """What people are to look at, and what is still to be told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- alerts
    # --------------------------------------------------------------------------------------------

    def was_open(self, prefix: str) -> bool:
        """Return whether there ever was an alert whose cause begins so."""
        query = sa.select(alert.c.cause).where(alert.c.cause.startswith(prefix, autoescape=True)).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def open(self) -> list[Alert]:
        """Return the open alerts, oldest first."""
        query = sa.select(alert).where(alert.c.cleared_at.is_(None)).order_by(alert.c.id)
        with self._database.read() as connection:
            return [_alert(row) for row in connection.execute(query).mappings()]

    def write(self, change: Change, *, channels: Collection[str], now: datetime, actor: str) -> None:
        """Commit what a pass makes of the alerts, with the messages for every channel."""
        verdict = change.verdict
        with self._database.write() as connection:
            _many(connection, alert.insert(), [_row(item) for item in verdict.opened])
            _many(connection, _CHANGE, [_change(item) for item in verdict.changed])
            _many(connection, _CLEAR, [{"mine": it.condition.cause, "now": now} for it in verdict.cleared])
            _queue(connection, change.messages, channels, now)
            if change.newcomers is not None:
                _queue(connection, change.catching_up, change.newcomers, now)
                _set(connection, _CHANNELS, json.dumps(sorted(channels)))
            _announce(connection, change.announced, now)
            if change.told is not None:
                _set(connection, _TOLD, str(change.told))
            append(
                connection,
                *(_entry("alert.opened", item, now, actor) for item in verdict.opened),
                *(_entry("alert.cleared", item, now, actor) for item in verdict.cleared),
            )

    def refusals(self, window_ids: Collection[str]) -> list[Refusal]:
        """Return which sources are left out of which occurrences of these windows, because ISC refused."""
        query = sa.select(exemption).where(exemption.c.reason.startswith(_REFUSED))
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        names = ("window_id", "key", "source_id", "reason")
        return [Refusal(*(row[name] for name in names)) for row in rows if row["window_id"] in window_ids]

    # -- what is told once
    # ---------------------------------------------------------------------------------

    def begin(self) -> None:
        """Tell of what happens from now on, if nothing was told of before."""
        with self._database.write() as connection:
            last = connection.execute(sa.select(sa.func.max(journal.c.seq))).scalar() or 0
            insertion = insert_or(meta).values(key=_TOLD, value=str(last))
            connection.execute(insertion.on_conflict_do_nothing())

    def untold(self, kinds: tuple[str, ...]) -> list[Entry]:
        """Return the lines of the journal, of these kinds, that were not told of yet."""
        query = sa.select(meta.c.value).where(meta.c.key == _TOLD)
        with self._database.read() as connection:
            told = connection.execute(query).scalar_one_or_none()
            if told is None:
                return []
            new = sa.select(journal).where(journal.c.seq > int(told), journal.c.kind.in_(kinds))
            rows = connection.execute(new.order_by(journal.c.seq)).mappings().all()
        return [Entry(**{**_plain(row), "body": json.loads(row["body"])}) for row in rows]

    def announced(self, causes: Collection[str]) -> set[str]:
        """Return which of these announcements were made."""
        query = sa.select(announced.c.cause)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars()) & set(causes)

    def channels(self) -> frozenset[str]:
        """Return the channels that have heard of all that is open, or have it in the outbox."""
        noted = sa.select(meta.c.value).where(meta.c.key == _CHANNELS)
        with self._database.read() as connection:
            found = connection.execute(noted).scalar_one_or_none()
            if found is not None:
                return frozenset(json.loads(found))
            # An older release did not note them.
            return frozenset(connection.execute(sa.select(delivery.c.channel).distinct()).scalars())

    # -- the outbox
    # ----------------------------------------------------------------------------------------

    def pending(self, channel: str) -> list[Delivery]:
        """Return what a channel has not received yet, in the order it was said."""
        query = (
            sa.select(delivery, message)
            .join(message, message.c.id == delivery.c.message_id)
            .where(delivery.c.channel == channel, delivery.c.next_at.is_not(None))
            .order_by(message.c.id)
            .limit(_AT_ONCE)
        )
        with self._database.read() as connection:
            return [_delivery(row) for row in connection.execute(query).mappings()]

    def delivered(self, item: Delivery, now: datetime) -> None:
        """Note that a channel has a message; what else waits for the channel is tried at once."""
        mine = (delivery.c.message_id == item.message_id) & (delivery.c.channel == item.channel)
        others = (delivery.c.channel == item.channel) & delivery.c.next_at.is_not(None)
        with self._database.write() as connection:
            done = delivery.update().where(mine)
            connection.execute(
                done.values(attempts=item.attempts + 1, next_at=None, delivered_at=now, error="")
            )
            connection.execute(delivery.update().where(others).values(next_at=now))

    def undelivered(self, item: Delivery, *, error: str, next_at: datetime) -> None:
        """Note that a message did not get through, and when to try again."""
        mine = (delivery.c.message_id == item.message_id) & (delivery.c.channel == item.channel)
        with self._database.write() as connection:
            change = delivery.update().where(mine)
            connection.execute(change.values(attempts=item.attempts + 1, next_at=next_at, error=error))

    def drop_others(self, channels: Collection[str], now: datetime, actor: str) -> dict[str, int]:
        """Give up what is on its way to channels that are gone; return how many messages, by channel."""
        gone = delivery.c.next_at.is_not(None) & delivery.c.channel.not_in(list(channels))
        counts = sa.select(delivery.c.channel, sa.func.count()).where(gone).group_by(delivery.c.channel)
        with self._database.write() as connection:
            dropped = {row[0]: int(row[1]) for row in connection.execute(counts)}
            values = {"next_at": None, "error": "the channel is not configured any more"}
            connection.execute(delivery.update().where(gone).values(**values))
            append(connection, *(_dropped(name, count, now, actor) for name, count in dropped.items()))
        return dropped

    def waiting(self) -> tuple[int, datetime | None]:
        """Return how many deliveries are pending, and since when (UTC) the oldest message waits."""
        query = (
            sa.select(sa.func.count(), sa.func.min(message.c.at).label("since"))
            .select_from(delivery.join(message, message.c.id == delivery.c.message_id))
            .where(delivery.c.next_at.is_not(None))
        )
        with self._database.read() as connection:
            count, since = connection.execute(query).one()
        return int(count), since

    def next_due(self) -> datetime | None:
        """Return when the next delivery is to be tried."""
        query = sa.select(sa.func.min(delivery.c.next_at)).where(delivery.c.next_at.is_not(None))
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
        return found


def _plain(row: sa.RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "hash"}


def _many(connection: sa.Connection, statement: sa.Executable, rows: list[dict[str, object]]) -> None:
    """Run a statement once for each row; a storm brings ten thousand."""
    if rows:
        connection.execute(statement, rows)


def _queue(
    connection: sa.Connection, messages: Sequence[Message], channels: Collection[str], now: datetime
) -> None:
    """Put messages into the outbox of every channel; without a channel nothing is kept."""
    for item in messages if channels else ():
        values = {"at": now, "kind": item.kind.value, "title": item.title, "body": item.body}
        key = connection.execute(message.insert().values(**values)).inserted_primary_key
        for channel in channels:
            row = {"channel": channel, "attempts": 0, "next_at": now, "error": ""}
            connection.execute(delivery.insert().values(message_id=key[0] if key else None, **row))


def _announce(connection: sa.Connection, causes: Mapping[str, datetime], now: datetime) -> None:
    if causes:
        connection.execute(announced.delete().where(announced.c.at < now))
    for cause, at in causes.items():
        connection.execute(insert_or(announced).values(cause=cause, at=at).on_conflict_do_nothing())


def _set(connection: sa.Connection, key: str, value: str) -> None:
    insertion = insert_or(meta).values(key=key, value=value)
    connection.execute(insertion.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def _row(item: Alert) -> dict[str, object]:
    values = asdict(item.condition)
    return {
        **values,
        "kind": values["kind"].value,
        "opened_at": item.opened_at,
        "reminded_at": item.reminded_at,
    }


def _change(item: Alert) -> dict[str, object]:
    it = item.condition
    told = {"new_detail": it.detail, "new_step": it.next_step, "new_reminded": item.reminded_at}
    return {"mine": it.cause, **told}


def _alert(row: sa.RowMapping) -> Alert:
    names = ("cause", "source_id", "subject", "detail", "next_step")
    same = {name: row[name] for name in names}
    condition = Condition(kind=Kind(row["kind"]), **same)
    return Alert(condition=condition, opened_at=row["opened_at"], reminded_at=row["reminded_at"])


def _delivery(row: sa.RowMapping) -> Delivery:
    return Delivery(
        message_id=row["message_id"],
        channel=row["channel"],
        attempts=row["attempts"],
        next_at=row["next_at"],
        message=Message(kind=Kind(row["kind"]), title=row["title"], body=row["body"]),
    )


def _entry(kind: str, item: Alert, now: datetime, actor: str) -> Entry:
    it = item.condition
    body: dict[str, Json] = {
        "name": it.subject,
        "cause": it.cause,
        "kind": it.kind.value,
        "detail": it.detail,
    }
    return Entry(at=now, kind=kind, actor=actor, source_id=it.source_id, body=body)


def _dropped(channel: str, count: int, now: datetime, actor: str) -> Entry:
    body: dict[str, Json] = {"channel": channel, "messages": count}
    return Entry(at=now, kind="alert.dropped", actor=actor, body=body)
