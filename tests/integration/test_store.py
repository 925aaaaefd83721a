"""The file: its schema, its upgrade, and what is kept of holds and windows."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from mmd.errors import Conflict, Refused
from mmd.secret import from_file
from mmd.store import Damaged, Store, Unwritable, check_mode, create_file, database, upgrade_file
from mmd.store.database import Database
from mmd.store.schema import metadata


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_file(tmp_path / "mmd.db")
    with Store.open(tmp_path / "mmd.db") as opened:
        yield opened


def at_revision(folder: Path, revision: str) -> Path:
    """A database as an older mmd made it."""
    path = folder / "mmd.db"
    path.touch(mode=0o600)
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parents[2] / "migrations"))
    database = Database(path)
    with database.write() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
    database.close()
    return path


# --- Schema -----------------------------------------------------------------------------------------------


def test_the_migrations_build_the_schema_of_the_models(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": _same_affinity, "compare_server_default": True}
        )
        found = compare_metadata(context, metadata)
    ours = [item for item in found if "alembic_version" not in str(item)]
    assert ours == []


def _same_affinity(_context: object, _column: object, _model: object, found: object, model: object) -> bool:
    """Whether SQLite would keep the two types in different ways."""
    real = model.impl if isinstance(model, sa.TypeDecorator) else model
    return type(found) is not type(real) and str(found) != str(real)


def test_a_source_in_maintenance_stays_so_over_an_upgrade(tmp_path: Path) -> None:
    path = at_revision(tmp_path, "0004")
    insertion = (
        "INSERT INTO snapshot (id, source_id, source_name, treatment, taken_at, before, digest, after,"
        " claims, text, enforced, entered_at, restored_at)"
        " VALUES (?, ?, 'AD', 'full', '', '{}', '', '{}', '[]', '', 0, ?, ?)"
    )
    noon = "2026-12-01T12:00:00.000000Z"
    rows = [("s1", "in", noon, None), ("s2", "entering", None, None), ("s3", "back", noon, noon)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(insertion, rows)
    upgrade_file(path)
    with closing(sqlite3.connect(path)) as connection:
        found = dict(connection.execute("SELECT source_id, verified FROM snapshot"))
    assert found == {"in": 1, "entering": 0, "back": 0}


def test_where_files_have_no_modes_none_is_refused_for_its_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, secret = tmp_path / "mmd.db", tmp_path / "secret"
    for file in (path, secret):
        file.write_text("text")
        file.chmod(0o666)
    with pytest.raises(Refused):
        check_mode(path)
    with monkeypatch.context() as patch:
        patch.setattr("os.name", "nt")
        check_mode(path)
        assert from_file(secret, private=True).reveal() == "text"


def test_a_file_that_went_bad_is_said_by_the_number_of_its_last_commit_too(tmp_path: Path) -> None:
    path = tmp_path / "mmd.db"
    create_file(path)
    with Store.open(path) as store:
        assert store.database.data_version() == store.database.data_version()
        path.write_bytes(b"not a database" * 1000)
        with pytest.raises(Damaged):
            store.database.data_version()


# --- A lock of another program ----------------------------------------------------------------------------


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Somebody begins a transaction, and leaves it open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def patient(store: Store, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Write, and say whether that was waited for."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)

    def write() -> bool:
        begun = time.monotonic()
        with suppress(Unwritable):
            store.service.update(pass_note="a pass")
        return time.monotonic() - begun >= 1

    return write


def test_beside_a_lock_only_the_first_of_many_writes_waits(
    store: Store, tmp_path: Path, patient: Callable[[], bool]
) -> None:
    with locked(tmp_path / "mmd.db"):
        assert patient()
        assert sum(patient() for _ in range(20)) <= 1
        assert store.service.daemon() is None
        store.database._unwaited_until -= database.UNWAITED_SECONDS
        assert patient()


def test_after_a_write_that_succeeds_a_lock_is_waited_for_again(
    tmp_path: Path, patient: Callable[[], bool]
) -> None:
    for _ in range(2):
        with locked(tmp_path / "mmd.db"):
            assert patient()
        patient()


def test_a_database_of_the_tenant_is_not_written_to_for_that(store: Store, tmp_path: Path) -> None:
    store.service.bind("https://one")
    with locked(tmp_path / "mmd.db"):
        store.service.bind("https://one")
        with pytest.raises(Conflict, match="belongs to the tenant https://one"):
            store.service.bind("https://other")
