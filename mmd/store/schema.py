"""The tables. `migrations/` builds the same schema step by step; a test holds the two equal.

Plain data only: texts, integers, and JSON as text. Instants are RFC 3339 texts in UTC of one width, so that
they sort; SQLite has no type for them, and SQLAlchemy's own drops the zone (docs/adr/0004).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from mmd.escrow import stamp, unstamp

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.engine import Dialect


class Instant(sa.TypeDecorator["datetime"]):
    """An aware instant, kept as text in UTC."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> str | None:
        """Write an aware datetime as text."""
        return None if value is None else stamp(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> datetime | None:
        """Read text as an aware datetime in UTC."""
        try:
            return None if value is None else unstamp(value)
        except (ValueError, TypeError) as error:
            raise sa.exc.DataError(None, None, ValueError(f"malformed instant ({error})")) from error


metadata: Final = sa.MetaData()

# What is true of the whole database: the tenant it belongs to, this installation's own id.
meta: Final = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

window: Final = sa.Table(
    "window",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("starts_local", sa.Text, nullable=False),
    sa.Column("fold", sa.Integer, nullable=False),
    sa.Column("timezone", sa.Text, nullable=False),
    sa.Column("duration_seconds", sa.Integer, nullable=False),
    sa.Column("repeat", sa.Text),
    sa.Column("until", Instant),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("ticket", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("treatment", sa.Text, nullable=False),
    sa.Column("effective_from", Instant, nullable=False),
    sa.Column("cancelled_at", Instant),
    # When nothing of it can be open any more; NULL for a rule without an end. Passes read only what is
    # before it.
    sa.Column("over_at", Instant),
)
sa.Index("window_over", window.c.over_at, window.c.starts_local)

window_source: Final = sa.Table(
    "window_source",
    metadata,
    sa.Column("window_id", sa.Text, sa.ForeignKey("window.id"), primary_key=True),
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("source_name", sa.Text, nullable=False),
)
sa.Index("window_source_source", window_source.c.source_id)
sa.Index("window_source_name", window_source.c.source_name)

# Occurrences that have begun, or were skipped, extended or ended: on file, they keep their instants for ever.
occurrence: Final = sa.Table(
    "occurrence",
    metadata,
    sa.Column("window_id", sa.Text, sa.ForeignKey("window.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("opens_at", Instant, nullable=False),
    sa.Column("closes_at", Instant, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
)
sa.Index("occurrence_closes", occurrence.c.closes_at)
sa.Index("occurrence_opens", occurrence.c.window_id, occurrence.c.opens_at)

# A source that is left out of one occurrence: released by hand, or ISC refused the treatment.
exemption: Final = sa.Table(
    "exemption",
    metadata,
    sa.Column("window_id", sa.Text, sa.ForeignKey("window.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
)

snapshot: Final = sa.Table(
    "snapshot",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("treatment", sa.Text, nullable=False),
    sa.Column("taken_at", Instant, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("claims", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("entered_at", Instant),
    sa.Column("restored_at", Instant),
    sa.Column("released_at", Instant),
    sa.Column("enforced", sa.Integer, nullable=False),
    sa.Column("written_at", Instant),
    sa.Column("watch_at", Instant),
    # Whether mmd has left it wholly in maintenance: only what others change from then on is their doing.
    sa.Column("verified", sa.Integer, nullable=False, server_default="0"),
    # Counts the texts of the escrow: of two copies of one snapshot the higher is the newer.
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
)
# First copy wins: while one is open, a second cannot be taken.
sa.Index("snapshot_open", snapshot.c.source_id, unique=True, sqlite_where=snapshot.c.released_at.is_(None))
sa.Index("snapshot_source", snapshot.c.source_id, snapshot.c.taken_at)
sa.Index("snapshot_name", snapshot.c.source_name)
sa.Index("snapshot_watch", snapshot.c.watch_at, sqlite_where=snapshot.c.watch_at.is_not(None))

# What each source looked like when it was last read: for `status`, and for names when ISC cannot be asked.
observation: Final = sa.Table(
    "observation",
    metadata,
    sa.Column("source_id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("connector", sa.Text, nullable=False),
    sa.Column("posture", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("observed_at", Instant, nullable=False),
    sa.Column("failed_at", Instant),
    sa.Column("failure", sa.Text, nullable=False),
)
sa.Index("observation_name", observation.c.name)

# Every name that a source was seen under, so that it is known by any of them without reading the journal.
alias: Final = sa.Table(
    "alias",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("source_id", sa.Text, primary_key=True),
)
sa.Index("alias_source", alias.c.source_id)

# Append-only and hash-linked: each row's hash covers the row and the hash before it. Triggers (migration
# 0003) refuse to change or delete a row of it, and to delete a snapshot.
journal: Final = sa.Table(
    "journal",
    metadata,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text),
    sa.Column("window_id", sa.Text),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
sa.Index("journal_source", journal.c.source_id, journal.c.at)
sa.Index("journal_at", journal.c.at)
sa.Index("journal_seen", journal.c.source_id, journal.c.at, sqlite_where=sa.text("kind = 'seen'"))
sa.Index("journal_window", journal.c.window_id, sqlite_where=journal.c.source_id.is_(None))

# What a command asks of the running daemon; the daemon answers here.
request: Final = sa.Table(
    "request",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("done_at", Instant),
    sa.Column("answer", sa.Text, nullable=False),
)

# One row: the daemon as it last wrote about itself.
daemon: Final = sa.Table(
    "daemon",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("stopped_at", Instant),
    sa.Column("pass_at", Instant),
    sa.Column("pass_ok", sa.Integer, nullable=False),
    sa.Column("pass_note", sa.Text, nullable=False),
    sa.Column("sweep_at", Instant),
    sa.Column("next_at", Instant),
)

# What was wrong with a source, from when it was first seen until it was gone; at most one at a time.
finding: Final = sa.Table(
    "finding",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("source_name", sa.Text, nullable=False),
    sa.Column("connector", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("since", Instant, nullable=False),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Column("window_id", sa.Text),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("next_step", sa.Text, nullable=False),
    sa.Column("cleared_at", Instant),
)
sa.Index("finding_open", finding.c.source_id, unique=True, sqlite_where=finding.c.cleared_at.is_(None))
sa.Index("finding_since", finding.c.since)
sa.Index("finding_source", finding.c.source_id, finding.c.since)
sa.Index("finding_name", finding.c.source_name)

# Spans in which every sweep was complete and in time: between them nothing is known of sources mmd did not
# hold.
coverage: Final = sa.Table(
    "coverage",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("since", Instant, nullable=False),
    sa.Column("until", Instant, nullable=False),
    sa.Column("sources", sa.Integer, nullable=False),
)
sa.Index("coverage_until", coverage.c.until)

# What people are to look at: open until its cause is gone, once per cause.
alert: Final = sa.Table(
    "alert",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("next_step", sa.Text, nullable=False),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("reminded_at", Instant, nullable=False),
    sa.Column("cleared_at", Instant),
)
sa.Index("alert_open", alert.c.cause, unique=True, sqlite_where=alert.c.cleared_at.is_(None))

# The outbox: a message, and its delivery to each channel, at least once.
message: Final = sa.Table(
    "message",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)
delivery: Final = sa.Table(
    "delivery",
    metadata,
    sa.Column("message_id", sa.Integer, sa.ForeignKey("message.id"), primary_key=True),
    # A fingerprint of the channel's URL: the URL itself may carry a password.
    sa.Column("channel", sa.Text, primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_at", Instant),
    sa.Column("delivered_at", Instant),
    sa.Column("error", sa.Text, nullable=False),
)
sa.Index("delivery_due", delivery.c.next_at, sqlite_where=delivery.c.next_at.is_not(None))
# What was announced ahead, so that it is announced once.
announced: Final = sa.Table(
    "announced",
    metadata,
    sa.Column("cause", sa.Text, primary_key=True),
    sa.Column("at", Instant, nullable=False),
)
