"""The SQLite file: opening, its settings, transactions, upgrade, backup, check.

WAL with `synchronous=FULL`: an acknowledged commit survives a power cut (docs/adr/0003). Every transaction
that writes begins IMMEDIATE, because a read that is upgraded later fails or loses updates
(docs/dependencies.md).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from mmd.errors import Conflict, MmdError, NotFound, Refused
from mmd.store.schema import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEAD: Final = "0005"
BUSY_SECONDS: Final = 5
UNWAITED_SECONDS: Final = 30  # after a wait for nothing: the event loop stands still in each
_DECIDING: Final = ("snapshot", "window", "window_source", "occurrence", "exemption", "meta")
_OLDER: Final = ("0001", "0002", "0003", "0004")


class Damaged(MmdError):
    """The database file is not whole."""


class Unwritable(MmdError):
    """The database takes nothing: its disk is full, broken or read-only."""


class Locked(Conflict, Unwritable):
    """The database takes nothing for now: another program is in the midst of a change."""


class Database:
    """An open database. `path` is None for the empty one in memory that stands in for a missing file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        url = sa.URL.create("sqlite", database=None if path is None else str(path))
        # One connection: to `data_version` only other connections' commits are news.
        pool = {"poolclass": sa.StaticPool} if path is None else {"pool_size": 1, "max_overflow": 0}
        arguments = {"check_same_thread": False, "timeout": BUSY_SECONDS}
        self._engine = sa.create_engine(url, connect_args=arguments, **pool)
        self._unwaited_until = 0.0  # by the monotonic clock
        sa.event.listen(self._engine, "connect", _set_up)
        sa.event.listen(self._engine, "begin", self._begin)
        self._writer = self._engine.execution_options(write=True)
        if path is None:
            metadata.create_all(self._engine)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A consistent view."""
        with _plain_errors(self.path), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A transaction: when the block ends it is on the disk, or it never was.

        Where another program holds the file for longer than `BUSY_SECONDS`, the writes that follow do not
        wait, until one succeeds or `UNWAITED_SECONDS` have passed.

        Raises:
            MmdError: the disk is full, the file locked or damaged; nothing of the block is kept.
        """
        if self.path is None:
            raise MmdError(
                "there is no database to write to", hint="this is a defect in mmd; please report it"
            )
        with _plain_errors(self.path), self._writer.begin() as connection:
            yield connection

    def _begin(self, connection: sa.Connection) -> None:
        if not connection.get_execution_options().get("write", False):
            connection.exec_driver_sql("BEGIN")
            return
        waits = time.monotonic() >= self._unwaited_until
        try:
            _begin_to_write(connection, BUSY_SECONDS if waits else 0)
            self._unwaited_until = 0.0
        except sa.exc.OperationalError:
            if waits:
                self._unwaited_until = time.monotonic() + UNWAITED_SECONDS
            raise

    def data_version(self) -> int:
        """A number that changes when another connection has committed; cheap enough to ask often.

        Raises:
            MmdError: the database cannot be read.
        """
        with _plain_errors(self.path), self._engine.connect() as connection:
            return int(connection.exec_driver_sql("PRAGMA data_version").scalar_one())

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()


def _set_up(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by _begin, and by nothing else
    for setting in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
        "trusted_schema=OFF",
    ):
        connection.execute(f"PRAGMA {setting}")


def _begin_to_write(connection: sa.Connection, wait: int) -> None:
    """Begin at once (IMMEDIATE), or when another program lets go within so many seconds."""
    try:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={wait * 1000}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        connection.exec_driver_sql(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")


def chunks(values: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    """Cut a list into pieces that SQLite takes as bound values."""
    return (values[start : start + size] for start in range(0, len(values), size))


@contextmanager
def _plain_errors(path: Path | None) -> Iterator[None]:
    """Say what is wrong with the file in one sentence."""
    try:
        yield
    except sa.exc.IntegrityError:
        raise
    except sa.exc.DatabaseError as error:
        raise plain_error(path, error.orig or error) from error


def plain_error(path: Path | None, error: BaseException) -> MmdError:
    """Translate SQLite's error into a sentence and a hint."""
    text = str(error)
    if any(word in text for word in ("malformed", "not a database", "decode")):
        return Damaged(
            f"the database {path} is damaged: {text}",
            hint="restore a backup (docs/operations.md), or move it away and run `mmd recover`",
        )
    if "locked" in text or "busy" in text:
        return Locked(f"the database {path} is locked by another program", hint="try again in a moment")
    return Unwritable(f"the database {path} cannot be used: {text}", hint="is the disk full or read-only?")


def open_database(path: Path, *, create: bool = False, upgrade: bool = False) -> Database:
    """Open the file at `path`.

    With `create` a missing file is made; without, an empty database in memory stands in, so that reading
    commands answer "nothing". With `upgrade` an older schema is backed up and upgraded; without, it is
    refused. With either of them somebody is about to act on the word of it, so that it must be whole.

    Raises:
        Refused: the file's mode lets others in, or its schema is older or newer than this program's.
        Damaged: it is not a database, or not a whole one.
    """
    if not path.exists():
        if not create:
            return Database(None)
        create_file(path)
    check_mode(path)
    revision = revision_of(path)
    if revision != HEAD:
        _meet(path, revision, upgrade=upgrade)
    if create or upgrade:
        _must_be_whole(path)
    return Database(path)


def _must_be_whole(path: Path) -> None:
    """Refuse a file in which what decides is damaged: a row that an index lost would just not be there.

    The journal decides nothing, and may be long: `mmd db check` reads all.
    """
    with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        for table in _DECIDING:
            try:
                found = connection.execute(f"PRAGMA integrity_check({table})").fetchone()[0]
            except sqlite3.DatabaseError as error:
                raise plain_error(path, error) from error
            if found != "ok":
                raise plain_error(path, sqlite3.DatabaseError(f"malformed: {found}"))


def _meet(path: Path, revision: str, *, upgrade: bool) -> None:
    """Upgrade an older schema, or refuse."""
    refuse_newer(path, revision)
    if not upgrade:
        raise Refused(f"the database {path} has an older schema ({revision})", hint="run `mmd db upgrade`")
    upgrade_file(path)


def refuse_newer(path: Path, revision: str) -> None:
    """Refuse a schema that is newer than this program's."""
    if revision not in _OLDER:
        raise Refused(
            f"the database {path} was written by a newer mmd (schema {revision})",
            hint="install that version, or restore the backup that it made before its upgrade",
        )


def check_mode(path: Path) -> None:
    """Refuse a file that others may read or write: it says how to put every source back."""
    if os.name != "posix":  # modes say nothing there
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise Refused(f"the database {path} is open to others (mode {mode:04o})", hint=f"chmod 600 {path}")


def create_file(path: Path) -> None:
    """Make the database: built aside, then linked into place, so that nobody meets a half-made one."""
    if not path.parent.is_dir():
        raise NotFound(
            f"the folder of the database does not exist: {path.parent}", hint=f"mkdir -p {path.parent}"
        )
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        migrate(draft)
        with suppress(FileExistsError):  # somebody else was faster, and theirs is as good
            path.hardlink_to(draft)
    except OSError as error:
        raise MmdError(
            f"the database {path} cannot be made: {error.strerror}", hint=_ls(path.parent)
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _ls(folder: Path) -> str:
    return f"look whose the folder is, and whether there is room: ls -ld {folder}; df {folder}"


def revision_of(path: Path) -> str:
    """Return the schema's revision. Plain sqlite3, because Alembic takes half a second.

    Raises:
        Damaged: the file is no database of mmd's, or an empty one: that is never silently filled.
    """
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except ValueError as error:  # a damaged schema may be no text
        raise plain_error(path, sqlite3.DatabaseError("database disk image is malformed")) from error
    except sqlite3.DatabaseError as error:
        if "no such table" in str(error):
            raise plain_error(path, sqlite3.DatabaseError("file is not a database of mmd's")) from error
        raise plain_error(path, error) from error
    if row is None:
        raise plain_error(path, sqlite3.DatabaseError("file is not a database: its schema has no version"))
    return str(row[0])


def upgrade_file(path: Path) -> Path | None:
    """Back the file up beside itself, then bring its schema up to date; return the backup, if one was needed.

    Raises:
        Refused: its schema is newer than this program's.
    """
    revision = revision_of(path)
    if revision == HEAD:
        return None
    refuse_newer(path, revision)
    saved = path.with_name(f"{path.name}.{revision}.bak")
    saved.unlink(missing_ok=True)
    backup(path, saved)
    migrate(path)
    return saved


def migrate(path: Path) -> None:
    """Run the migrations, all in one transaction. Imports Alembic, which takes half a second."""
    from alembic import command  # noqa: PLC0415 - half a second that most commands do not need
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(_scripts()).replace("%", "%%"))
    database = Database(path)
    try:
        with _plain_errors(path), database.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()


def _scripts() -> Path:
    """The migrations: inside the package where it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def backup(path: Path, target: Path) -> None:
    """Copy the database to a new file, whole and consistent, while others go on writing.

    Raises:
        Conflict: there is such a file already.
        NotFound: there is no such folder.
    """
    must_be_new(target)
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        raise MmdError(f"{target} cannot be made: {error.strerror}", hint=_ls(target.parent)) from error
    source, copy = sqlite3.connect(path), sqlite3.connect(target)
    try:
        source.backup(copy)
    except sqlite3.DatabaseError as error:
        target.unlink(missing_ok=True)
        raise plain_error(path, error) from error
    finally:
        source.close()
        copy.close()


def must_be_new(target: Path) -> None:
    """Refuse a target that is there already, or whose folder is not."""
    if target.exists():
        raise Conflict(f"{target} exists already", hint="name a new file")
    if not target.parent.is_dir():
        raise NotFound(f"there is no folder {target.parent}", hint=f"mkdir -p {target.parent}")


def rows(path: Path) -> dict[str, int]:
    """Return how many rows each of the tables has that there are, whatever the schema."""
    count = sa.select(sa.func.count())
    with closing(sqlite3.connect(path)) as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        return {
            table.name: connection.execute(str(count.select_from(table))).fetchone()[0]
            for table in metadata.sorted_tables
            if table.name in there
        }


def check(path: Path) -> list[str]:
    """Return what is wrong with the file by SQLite's own account; empty when nothing is."""
    connection = sqlite3.connect(path)
    try:
        rows: list[tuple[Any, ...]] = connection.execute("PRAGMA integrity_check").fetchall()
        rows += [(f"foreign key of {row[0]}",) for row in connection.execute("PRAGMA foreign_key_check")]
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        connection.close()
    return [str(row[0]) for row in rows if row[0] != "ok"]
