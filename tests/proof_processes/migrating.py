"""Databases of older releases, made of today's: and an upgrade that dies on the way."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from mmd.store import upgrade_file
from mmd.store.database import Database, _scripts

KEEPS_THE_END = "0003"  # the first schema that keeps the journal's end apart
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


def make(path: Path, revision: str) -> None:
    """Make an empty database as the release with that schema made it."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    config = Config()
    config.set_main_option("script_location", str(_scripts()))
    database = Database(path)
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    database.close()


def older(path: Path, target: Path, revision: str) -> None:
    """Write what today's database holds as that release would have kept it: the columns that it knew."""
    make(target, revision)
    with closing(sqlite3.connect(target)) as connection, connection:
        connection.execute("ATTACH ? AS today", (str(path),))
        for (table,) in connection.execute(_TABLES).fetchall():
            if table == "alembic_version":
                continue
            known = [row[1] for row in connection.execute(f'PRAGMA today.table_info("{table}")')]
            names = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
            columns = ", ".join(f'"{name}"' for name in names if name in known)
            connection.execute(f'DELETE FROM main."{table}"')  # noqa: S608 - names of the schema
            connection.execute(f'INSERT INTO "{table}" ({columns}) SELECT {columns} FROM today."{table}"')  # noqa: S608 - as above
        if revision < KEEPS_THE_END:
            connection.execute("DELETE FROM meta WHERE key = 'journal'")


def die_at(arguments: list[str]) -> None:
    """Upgrade a file, and die before statement number so-and-so; exit 0 where there are fewer."""
    path, last = Path(arguments[0]), int(arguments[1])
    count = 0

    def before(*_: Any) -> None:  # noqa: ANN401 - SQLAlchemy's
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    sa.event.listen(sa.Engine, "before_cursor_execute", before)
    sa.event.listen(sa.Engine, "commit", before)
    upgrade_file(path)
    sys.exit(0)
