"""A disk that is full, breaks or takes no writes, under real processes: reliability.md 2.3 F1s to F5s."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from forker import Forker, borrowed, side_by_side
from wards import KINDS, Wards, tenant, until

from mmd.errors import MmdError
from mmd.plan import Held
from mmd.store import Store

pytestmark = pytest.mark.slow

PAGE = 4096
DAMAGED = 750
needs_mount = pytest.mark.skipif(os.geteuid() != 0, reason="NOT RUN: only root can mount a small disk")


@pytest.fixture
def wards(tmp_path: Path) -> Iterator[Wards]:
    with tenant(sources=KINDS * 60) as sim:
        yield Wards(sim, tmp_path)


@contextmanager
def small_disk(folder: Path, size: int = 4 << 20) -> Iterator[Path]:
    """A disk of so many bytes."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "mmd-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path, *, leave: int = 0) -> None:
    """Fill the disk but for so many pages."""
    found = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(b"x" * max(0, (found.f_bavail - leave) * found.f_frsize))


@needs_mount
def test_a_disk_that_fills_up_in_the_window_keeps_no_source_from_being_restored(
    wards: Wards, tmp_path: Path
) -> None:
    ward = wards.take("two schedules")
    with small_disk(tmp_path / "disk") as disk, borrowed() as forker:
        ward.move(disk)
        ward.open_window(timedelta(seconds=6))
        ward.start(forker, "run")
        ward.wait(lambda: ward.in_maintenance)
        time.sleep(1)
        fill(disk)
        ward.wait(lambda: ward.restored, within=15)
        time.sleep(1)
        (disk / "filler").unlink()
        ward.wait(lambda: ward.released)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0, ward.told()
    assert "Traceback" not in ward.told()
    assert "is the disk full" in ward.told()


Trouble = Literal["full", "broken"]


@pytest.mark.parametrize("trouble", [pytest.param("full", marks=needs_mount), "broken"])
def test_a_disk_that_ends_at_any_write_costs_nothing(
    wards: Wards, tmp_path: Path, trouble: Trouble, tally: Callable[[str, int], None]
) -> None:
    """Room for so many pages, then none: while entering, and while restoring."""
    ends: list[tuple[int, int]] = []

    def run(forker: Forker, room: int) -> None:
        ward = wards.take("two schedules" if room % 2 else "flags as text")
        with ExitStack() as stack:
            disk = tmp_path / f"{trouble}{room}"
            if trouble == "full":
                stack.enter_context(small_disk(disk))
                ward.move(disk)
            ward.open_window()
            if trouble == "full":
                fill(disk, leave=room)
            code = ward.live(forker, file_size=None if trouble == "full" else room * PAGE)
            ends.append((room, code))
            if not room:
                assert not ward.changes, "something was changed before it was on the disk"
            (disk / "filler").unlink(missing_ok=True)
            ward.close_window()
            until(lambda: ward.restored and ward.released, lambda: ward.live(forker), times=3)
        assert "Traceback" not in ward.told()

    side_by_side(run, range(0, 120, 4), forkers=4)
    codes = [code for _, code in sorted(ends)]
    assert codes[0] == 1
    assert codes[-1] == 0
    assert codes.count(1) > 5
    tally("T9 storage", len(codes))


@needs_mount
def test_a_disk_that_is_read_only_is_said_and_nothing_is_entered(wards: Wards, tmp_path: Path) -> None:
    ward = wards.take("two schedules")
    with small_disk(tmp_path / "disk") as disk, borrowed() as forker:
        ward.move(disk)
        ward.open_window()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        assert ward.live(forker, "run") == 1
        assert ward.live(forker, "reconcile") == 1
        assert not ward.changes
        assert "Read-only file system" in ward.told()
        assert "read-only?" in ward.told()
        assert "Traceback" not in ward.told()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        assert ward.live(forker) == 0
        assert ward.in_maintenance


@contextmanager
def locked(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")


def test_a_database_that_is_locked_is_waited_for_without_a_change(wards: Wards) -> None:
    ward = wards.take("two schedules")
    with borrowed() as forker:
        ward.open_window(after=timedelta(seconds=3))
        ward.start(forker, "run")
        ward.wait(lambda: '"pass.done"' in ward.told())
        with locked(ward.database):
            ward.wait(lambda: "is locked by another program" in ward.told())
            with borrowed() as second:
                assert ward.live(second, "reconcile") == 4
            assert not ward.changes
        ward.wait(lambda: ward.in_maintenance)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
    assert "Traceback" not in ward.told()


def test_a_daemon_that_starts_beside_a_locked_database_restores(wards: Wards) -> None:
    ward = wards.take("two schedules")
    with borrowed() as forker:
        ward.open_window()
        assert ward.live(forker) == 0
        assert ward.in_maintenance
        ward.close_window()
        with locked(ward.database):
            ward.start(forker, "run")
            ward.wait(lambda: ward.restored)
            assert not ward.released
        ward.wait(lambda: ward.released)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
    assert "Traceback" not in ward.told()


# --- Damage ---------------------------------------------------------------------------------------------


def _flipped(data: bytearray, chance: random.Random) -> None:
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _sector(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data) // 512) * 512
    data[at : at + 512] = chance.choice([bytes(512), chance.randbytes(512)])


def _page(data: bytearray, chance: random.Random) -> None:
    one, other = (chance.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE] = data[other : other + PAGE]


def _cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [_flipped, _sector, _page, _cut]


def held_by(path: Path) -> dict[str, Held]:
    """What the daemon would work with after its start."""
    with Store.open(path, upgrade=True) as store:
        return store.holds.held()


def test_a_damaged_database_is_refused_or_whole_and_never_silently_empty(
    wards: Wards, tmp_path: Path, tally: Callable[[str, int], None]
) -> None:
    ward = wards.take("two schedules")
    ward.open_window()
    ward.pass_by()
    sound = held_by(ward.database)
    assert list(sound) == [ward.source_id]
    whole = ward.database.read_bytes()
    refused, wrong = 0, []
    for seed in range(DAMAGED):
        chance = random.Random(seed)  # noqa: S311 - which damage, nothing more
        data = bytearray(whole)
        DAMAGES[seed % len(DAMAGES)](data, chance)
        target = tmp_path / "damaged.db"
        for old in tmp_path.glob("damaged.db*"):
            old.unlink()
        target.write_bytes(data)
        target.chmod(0o600)
        try:
            found = held_by(target)
        except MmdError:
            refused += 1
            continue
        if {key: what_decides(item) for key, item in found.items()} != {
            key: what_decides(item) for key, item in sound.items()
        }:
            wrong.append(seed)
    assert not wrong, f"seeds {wrong} were taken for whole"
    assert refused > 200
    tally("T9 storage", DAMAGED)


def what_decides(held: Held) -> tuple[object, ...]:
    return held.snapshot.before, held.snapshot.after, held.snapshot.treatment, held.claims


@pytest.mark.parametrize("content", [b"", b"x" * 100, bytes(8192)], ids=["empty", "text", "zeros"])
def test_what_is_no_database_is_said_and_never_filled(wards: Wards, content: bytes) -> None:
    ward = wards.take("two schedules")
    ward.database.write_bytes(content)
    with borrowed() as forker:
        for command in ("run", "reconcile"):
            assert ward.live(forker, command) == 1
    assert ward.database.read_bytes() == content
    assert ward.told().count("is damaged") == 2
    assert "Traceback" not in ward.told()
