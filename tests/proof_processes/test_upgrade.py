"""New releases on old databases, with sources held in every state: reliability.md 2.3 I5 to I7."""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from forker import borrowed
from migrating import make, older
from wards import KINDS, Ward, Wards, tenant
from world import Fault, World, for_memory

from mmd.store import HEAD, revision_of, upgrade_file
from mmd.store.database import _OLDER, check

pytestmark = pytest.mark.slow

DEATHS = range(1, 40)  # more than there are seams on the way in and out


@pytest.mark.parametrize("revision", _OLDER)
def test_what_an_older_release_began_is_finished(
    tmp_path: Path, revision: str, tally: Callable[[str, int], None]
) -> None:
    """It died at some seam of the way in or out, and never came back: the new one does."""
    reached = 0
    for seam in DEATHS:
        world = World()
        try:
            key = world.ids[0]
            world.plan([key], lasting=20)
            world.begin([Fault(seam, "die after")])
            world.run(3)
            world.clock.pass_by(60)
            world.run(3)
            reached += world.seams.fired
            old = tmp_path / f"{seam}.db"
            older(on_disk(world, tmp_path / f"{seam}.new.db"), old, revision)
            assert revision_of(old) == revision
            upgrade_file(old)
            world.replace_database(for_memory(old))
            world.quiet()
            assert world.restored(key), f"died at seam {seam}"
            assert not world.store.holds.held()
        finally:
            world.close()
    assert reached >= 20
    tally("T13 upgrades", len(DEATHS))


def on_disk(world: World, path: Path) -> Path:
    """The world's database as a file."""
    path.write_bytes(world.memory.raw.serialize())
    return path


def rows(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        tables = ("window", "occurrence", "snapshot", "journal")
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables}  # noqa: S608 - names


@pytest.mark.parametrize("revision", _OLDER)
def test_an_upgrade_killed_at_any_statement_is_done_or_not_begun(
    tmp_path: Path, revision: str, tally: Callable[[str, int], None]
) -> None:
    world = World()
    world.plan([world.ids[0]])
    world.run(2)
    template = tmp_path / "old.db"
    older(on_disk(world, tmp_path / "new.db"), template, revision)
    world.close()
    before = rows(template)
    with borrowed() as forker:
        for number in count(1):
            path = Path(shutil.copy(template, tmp_path / f"{number}.db"))
            log = tmp_path / "log"
            forker.begin(str(path), str(number), log=log, environment={}, call="migrating:die_at")
            code = forker.end()
            found = revision_of(path)
            assert found == (HEAD if code == 0 else revision), log.read_text()
            assert not check(path)
            upgrade_file(path)
            after = rows(path)
            assert after["journal"] == before["journal"]
            assert {row[0] for row in after["snapshot"]} == {row[0] for row in before["snapshot"]}
            if code == 0:
                break
            assert code == -signal.SIGKILL
    assert number > 3
    tally("T13 upgrades", number)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with tenant(sources=KINDS) as sim:
        yield Wards(sim, tmp_path).take("two schedules")


def test_the_daemon_upgrades_and_finishes(ward: Ward, tmp_path: Path) -> None:
    ward.open_window()
    ward.pass_by()
    assert ward.in_maintenance
    old = tmp_path / "old.db"
    older(ward.database, old, _OLDER[0])
    shutil.move(old, ward.database)
    with borrowed() as forker:
        assert ward.live(forker, "reconcile") == 2  # a command does not upgrade by itself
        assert "mmd db upgrade" in ward.told()
        assert ward.live(forker, "db", "upgrade") == 0
        ward.close_window()
        assert ward.live(forker) == 0
    assert ward.restored
    assert ward.released
    assert ward.database.with_name(f"mmd.db.{_OLDER[0]}.bak").stat().st_mode & 0o777 == 0o600


def test_an_older_release_refuses_a_newer_database_and_leaves_it_alone(ward: Ward) -> None:
    ward.open_window()
    with closing(sqlite3.connect(ward.database)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = ward.database.read_bytes()
    with borrowed() as forker:
        for words in (("run",), ("reconcile",), ("status",), ("schedule", "list"), ("db", "upgrade")):
            assert ward.live(forker, *words) == 2
    assert ward.told().count("was written by a newer mmd") == 5
    assert ward.database.read_bytes() == before
    assert not ward.requests()


def test_every_schema_can_be_made_and_upgraded(tmp_path: Path) -> None:
    for revision in _OLDER:
        path = tmp_path / f"{revision}.db"
        make(path, revision)
        assert revision_of(path) == revision
        saved = upgrade_file(path)
        assert saved is not None
        assert revision_of(saved) == revision
        assert revision_of(path) == HEAD
        assert not check(path)
