"""The power goes, and what was not synced is lost, sector by sector: reliability.md 2.3 A5.

SQLite writes through a VFS that remembers what it has not synced yet; a cut takes any part of that away. The
settings are mmd's own. With `synchronous=NORMAL` commits that were acknowledged must get lost, or this test
would show nothing.
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import apsw
import pytest

from mmd.store import create_file
from mmd.store.database import _set_up, check

pytestmark = pytest.mark.slow

SECTOR = 512
SESSIONS = 200
COMMITS = 5  # in each; the power goes after each of them, and once in the middle of each


@dataclass(slots=True)
class Disk:
    """What was written and not synced yet: for each file, where and what was there before."""

    unsynced: dict[str, list[tuple[int, bytes, int]]] = field(default_factory=dict)
    writes: int = 0

    def wrote(self, path: str, offset: int, length: int) -> None:
        self.writes += 1
        with Path(path).open("rb") as file:
            file.seek(offset)
            before = file.read(length)
        self.unsynced.setdefault(path, []).append((offset, before, length))

    def synced(self, path: str) -> None:
        self.unsynced.pop(path, None)

    def after_the_cut(self, database: Path, folder: Path, chance: random.Random) -> Path:
        """Copy what is left of the database to a folder, as the next start finds it."""
        for path in (database, Path(f"{database}-wal")):
            if path.exists():
                data = bytearray(path.read_bytes())
                for offset, before, length in reversed(self.unsynced.get(str(path), [])):
                    _lose(data, offset, before, length, chance)
                (folder / path.name).write_bytes(data)
        return folder / database.name


def _lose(data: bytearray, offset: int, before: bytes, length: int, chance: random.Random) -> None:
    """Take back any of the sectors of one write."""
    old = before.ljust(length, b"\0")
    for start in range(0, length, SECTOR):
        if chance.random() < 0.5:
            piece = old[start : start + SECTOR]
            data[offset + start : offset + start + len(piece)] = piece


class Vfs(apsw.VFS):
    """Files that a power cut can hurt."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__("power", "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> File:  # noqa: N802 - SQLite's name
        return File(self.disk, name, flags)


class File(apsw.VFSFile):
    """One of them."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - as above
        self.disk.wrote(self.path, offset, len(data))
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802 - as above
        super().xSync(flags)
        self.disk.synced(self.path)


class Connection(apsw.Connection):
    """One that mmd's own settings can be made on."""

    isolation_level = None


@contextmanager
def opened(path: Path, synchronous: str) -> Iterator[tuple[Connection, Disk]]:
    disk = Disk()
    vfs = Vfs(disk)
    connection = Connection(str(path), vfs="power")
    try:
        _set_up(connection, None)  # type: ignore[arg-type] # it only executes
        assert connection.execute("PRAGMA synchronous").fetchall() == [(2,)]  # FULL
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=8")
        yield connection, disk
    finally:
        connection.close()
        vfs.unregister()


def survivors(path: Path) -> list[int]:
    """The commits that are there after the cut; the file must be whole."""
    assert not check(path)
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT key FROM meta WHERE key LIKE 'c%'").fetchall()
    return sorted(int(key[1:]) for (key,) in rows)


def cuts(template: Path, folder: Path, synchronous: str, sessions: int) -> tuple[int, int]:
    """Cut the power many times; return how often, and how often a commit that was acknowledged was gone."""
    count = lost = 0
    for seed in range(sessions):
        chance = random.Random(seed)  # noqa: S311 - which sectors, nothing more
        here = folder / f"{synchronous}{seed}"
        here.mkdir()
        path = Path(shutil.copy(template, here / "mmd.db"))
        with opened(path, synchronous) as (connection, disk):
            for number in range(COMMITS):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "INSERT INTO meta VALUES (?, ?)", (f"c{number}", "x" * chance.randrange(6000))
                )
                for acknowledged in (number, number + 1):  # before its commit, and after
                    after = here / f"cut{number}{acknowledged}"
                    after.mkdir()
                    found = survivors(disk.after_the_cut(path, after, chance))
                    assert found == list(range(len(found))), "commits are there in order or not at all"
                    count += 1
                    lost += len(found) < acknowledged
                    if acknowledged == number:
                        connection.execute("COMMIT")
        shutil.rmtree(here)
    return count, lost


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mmd.db"
    create_file(path)
    return path


def test_no_acknowledged_commit_is_lost(
    template: Path, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    tally("T7 power cuts", SESSIONS * COMMITS * 2)
    assert cuts(template, tmp_path, "FULL", SESSIONS) == (SESSIONS * COMMITS * 2, 0)


def test_without_full_syncing_commits_are_lost(template: Path, tmp_path: Path) -> None:
    count, lost = cuts(template, tmp_path, "NORMAL", 20)
    assert lost > count // 2
