"""The journal in a real file: what was altered, taken out or cut off shows, and the database refuses it."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config

from mmd.store import Entry, Store, create_file, revision_of, upgrade_file
from mmd.store.database import Database
from mmd.store.journal import _HASHED, _hash, append

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
ROWS = 5


def entry(
    number: int = 1, kind: str = "entered", source_id: str | None = "id1", window_id: str | None = None
) -> Entry:
    return Entry(
        at=NOON + timedelta(minutes=number),
        kind=kind,
        actor="me@here",
        source_id=source_id,
        window_id=window_id,
        body={"name": "HR"},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of five rows."""
    path = tmp_path_factory.mktemp("journal") / "mmd.db"
    with Store.open(path, create=True) as store:
        for number in range(1, ROWS + 1):
            store.journal.write(entry(number))
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path / "mmd.db"))


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def without_triggers(path: Path) -> None:
    """As somebody would have to begin who wants to forge the journal."""
    execute(path, "DROP TRIGGER journal_no_update", "DROP TRIGGER journal_no_delete")


# --- The chain ------------------------------------------------------------------------------------------


def test_a_whole_journal_says_how_it_begins_and_ends(path: Path) -> None:
    with Store.open(path) as store:
        chain = store.journal.verify()
    assert (chain.rows, chain.broken, chain.problem) == (ROWS, None, "")
    assert len(chain.first) == len(chain.last) == 64
    assert chain.first != chain.last


def test_an_empty_journal_is_whole(tmp_path: Path) -> None:
    with Store.open(tmp_path / "mmd.db", create=True) as store:
        chain = store.journal.verify()
    assert (chain.rows, chain.broken) == (0, None)


FORGERIES: dict[str, tuple[tuple[str, ...], int]] = {
    "another actor": (("UPDATE journal SET actor = 'you' WHERE seq = 2",), 2),
    "another kind": (("UPDATE journal SET kind = 'left' WHERE seq = 3",), 3),
    "another source": (("UPDATE journal SET source_id = 'id2' WHERE seq = 3",), 3),
    "no source": (("UPDATE journal SET source_id = NULL WHERE seq = 3",), 3),
    "another window": (("UPDATE journal SET window_id = 'w1' WHERE seq = 3",), 3),
    "another instant": (("UPDATE journal SET at = '2026-12-01T12:00:00.000000Z' WHERE seq = 4",), 4),
    "no instant": (("UPDATE journal SET at = 'noon' WHERE seq = 4",), 4),
    "another body": (("UPDATE journal SET body = '{}' WHERE seq = 5",), 5),
    "no JSON": (("UPDATE journal SET body = '{' WHERE seq = 5",), 5),
    "a row with a hash of its own": (("UPDATE journal SET actor = 'you', hash = 'ff' WHERE seq = 1",), 1),
    "the first row is gone": (("DELETE FROM journal WHERE seq = 1",), 2),
    "a row in the middle is gone": (("DELETE FROM journal WHERE seq = 3",), 4),
    "the last rows are gone": (("DELETE FROM journal WHERE seq > 3",), 4),
    "all rows are gone": (("DELETE FROM journal",), 1),
    "two rows changed places": (
        (
            "UPDATE journal SET seq = 99 WHERE seq = 2",
            "UPDATE journal SET seq = 2 WHERE seq = 3",
            "UPDATE journal SET seq = 3 WHERE seq = 99",
        ),
        2,
    ),
    "the numbers moved": (("UPDATE journal SET seq = seq + 10",), 11),
    "a row was added by hand": (
        ("INSERT INTO journal SELECT 6, at, kind, actor, NULL, NULL, body, hash FROM journal LIMIT 1",),
        6,
    ),
    "the end that was noted is gone": (("DELETE FROM meta WHERE key = 'journal'",), 6),
    "the end that was noted is nonsense": (("UPDATE meta SET value = 'x y' WHERE key = 'journal'",), 6),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_was_done_to_the_journal_shows(name: str, path: Path) -> None:
    statements, row = FORGERIES[name]
    without_triggers(path)
    execute(path, *statements)
    with Store.open(path) as store:
        chain = store.journal.verify()
    assert chain.broken == row
    assert "journal" in chain.problem


@pytest.mark.parametrize("name", FORGERIES)
def test_it_shows_too_when_the_journal_has_grown_since(name: str, path: Path) -> None:
    statements, _ = FORGERIES[name]
    without_triggers(path)
    execute(path, *statements)
    with Store.open(path) as store:
        store.journal.write(entry(90), entry(91))
        assert store.journal.verify().broken is not None


def test_a_last_row_that_was_forged_with_its_hash_shows_by_the_end_that_was_noted(path: Path) -> None:
    without_triggers(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        rows = connection.execute(f"SELECT {', '.join(_HASHED)}, hash FROM journal WHERE seq >= 4")  # noqa: S608 - names of columns
        (*_, before), (*last, _) = rows.fetchall()
        forged = {**dict(zip(_HASHED, last, strict=True)), "actor": "you"}
        values = ("you", _hash(before, forged))
        connection.execute("UPDATE journal SET actor = ?, hash = ? WHERE seq = 5", values)
    with Store.open(path) as store:
        chain = store.journal.verify()
    assert (chain.rows, chain.broken) == (ROWS, ROWS + 1)


def test_verifying_reads_page_by_page(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmd.store.journal._PAGE", 2)
    with Store.open(path) as store:
        assert store.journal.verify().rows == ROWS
        assert [item.seq for item in store.journal.stream()] == [1, 2, 3, 4, 5]
        store.journal.write(entry(6))
        assert store.journal.verify().rows == ROWS + 1


def test_what_is_written_while_it_is_verified_does_no_harm(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmd.store.journal._PAGE", 2)
    with Store.open(path) as store, Store.open(path) as daemon:
        pages = store.journal._pages

        def busy(*arguments: object) -> Iterator[object]:
            for page in pages(*arguments):  # type: ignore[arg-type] # as it was called
                daemon.journal.write(entry(7)) if daemon.journal.read(last=1)[0].seq < 9 else None
                yield page

        monkeypatch.setattr(store.journal, "_pages", busy)
        chain = store.journal.verify()
    assert (chain.rows, chain.broken) == (9, None)


# --- Append-only ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal SET actor = 'you' WHERE seq = 2",
        "DELETE FROM journal WHERE seq = 2",
        "DELETE FROM journal",
        "DELETE FROM snapshot",
    ],
)
def test_the_database_refuses_to_forget(statement: str, path: Path) -> None:
    execute(
        path,
        "INSERT INTO snapshot (id, source_id, source_name, treatment, taken_at, before, digest, after,"
        " claims, text, enforced) VALUES ('s1', 'id1', 'HR', 'full', '', '', '', '', '', '', 0)",
    )
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|never deleted"):
        execute(path, statement)


def test_a_change_that_fails_leaves_the_chain_whole(path: Path) -> None:
    with Store.open(path) as store:
        with suppress(RuntimeError), store.database.write() as connection:
            append(connection, entry(6))
            raise RuntimeError
        store.journal.write(entry(6))
        chain = store.journal.verify()
    assert (chain.rows, chain.broken) == (ROWS + 1, None)


def test_a_transaction_without_entries_changes_nothing(path: Path) -> None:
    with Store.open(path) as store:
        before = store.journal.verify()
        store.journal.write()
        assert store.journal.verify() == before


def test_two_processes_write_one_chain(path: Path) -> None:
    with Store.open(path) as one, Store.open(path) as other:
        for number in range(10):
            (one if number % 2 else other).journal.write(entry(number))
        assert one.journal.verify().rows == other.journal.verify().rows == ROWS + 10


def test_a_journal_of_an_older_schema_goes_on_after_the_upgrade(tmp_path: Path) -> None:
    path = older(tmp_path, rows=True)
    assert upgrade_file(path) == path.with_name("mmd.db.0002.bak")
    with Store.open(path) as store:
        assert store.journal.verify().rows == 1
        store.journal.write(entry(2))
        assert store.journal.verify().rows == 2
    without_triggers(path)
    execute(path, "DELETE FROM journal WHERE seq = 2")
    with Store.open(path) as store:
        assert store.journal.verify().broken == 2


def test_an_empty_journal_of_an_older_schema_goes_on_after_the_upgrade(tmp_path: Path) -> None:
    path = older(tmp_path, rows=False)
    upgrade_file(path)
    with Store.open(path) as store:
        assert store.journal.verify().rows == 0
        store.journal.write(entry())
        assert store.journal.verify().rows == 1


def older(folder: Path, *, rows: bool) -> Path:
    """A database of the schema before the journal was closed."""
    path = folder / "mmd.db"
    path.touch(mode=0o600)
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parents[2] / "migrations"))
    database = Database(path)
    with database.write() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0002")
        if rows:
            append(connection, entry())
    database.close()
    execute(path, "DELETE FROM meta")  # where that schema noted no end
    assert revision_of(path) == "0002"
    return path


# --- Reading --------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    create_file(tmp_path / "mmd.db")
    with Store.open(tmp_path / "mmd.db") as opened:
        yield opened


def numbers(entries: list[Entry]) -> list[int]:
    return [item.seq for item in entries]


CHOICES: dict[str, tuple[Callable[[Store], list[Entry]], list[int]]] = {
    "all": (lambda it: it.journal.read(), [1, 2, 3, 4, 5, 6]),
    "the newest": (lambda it: it.journal.read(last=2), [5, 6]),
    "more than there are": (lambda it: it.journal.read(last=100), [1, 2, 3, 4, 5, 6]),
    "since, inclusive": (lambda it: it.journal.read(since=NOON + timedelta(minutes=4)), [4, 5, 6]),
    "until, exclusive": (lambda it: it.journal.read(until=NOON + timedelta(minutes=4)), [1, 2, 3]),
    "the newest of a span": (
        lambda it: it.journal.read(
            since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=6), last=2
        ),
        [4, 5],
    ),
    "a kind": (lambda it: it.journal.read(kinds=("seen",)), [2, 5]),
    "the newest of a kind": (lambda it: it.journal.read(kinds=("seen",), last=1), [5]),
    "a source, and its windows": (lambda it: it.journal.read(source_id="id1"), [1, 2, 3]),
    "the newest of a source": (lambda it: it.journal.read(source_id="id1", last=1), [3]),
    "another source": (lambda it: it.journal.read(source_id="id2"), [4, 5]),
    "an unknown source": (lambda it: it.journal.read(source_id="id9"), []),
    "an unknown source, the newest": (lambda it: it.journal.read(source_id="id9", last=5), []),
}


@pytest.mark.parametrize("name", CHOICES)
def test_entries_are_chosen(name: str, store: Store) -> None:
    with store.database.write() as connection:
        connection.exec_driver_sql(
            "INSERT INTO window (id, starts_local, fold, timezone, duration_seconds, reason, ticket, owner,"
            " created_by, created_at, treatment, effective_from) VALUES"
            " ('w1', '', 0, 'UTC', 60, '', '', '', '', '', 'full', '')"
        )
        connection.exec_driver_sql("INSERT INTO window_source VALUES ('w1', 'id1', 'HR')")
    store.journal.write(
        entry(1, "entered"),
        entry(2, "seen"),
        entry(3, "window.added", None, window_id="w1"),
        entry(4, "entered", "id2", window_id="w1"),
        entry(5, "seen", "id2"),
        entry(6, "window.added", None, window_id="w2"),
    )
    choose, expected = CHOICES[name]
    assert numbers(choose(store)) == expected
