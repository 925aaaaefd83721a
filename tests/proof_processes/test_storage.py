"""A disk that is full, breaks or takes no writes, under real processes: reliability.md 2.3 F1s to F5s."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from forker import Forker
from wards import KINDS, Ward, Wards, tenant

pytestmark = pytest.mark.slow

PAGE = 4096
ROOT = os.geteuid() == 0
needs_mount = pytest.mark.skipif(not ROOT, reason="NOT RUN: only root can mount a small disk")


@pytest.fixture
def wards(tmp_path: Path) -> Iterator[Wards]:
    with tenant(sources=KINDS * 40) as sim:
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


def fill(disk: Path, leave: int = 0) -> None:
    """Fill the disk but for so many pages."""
    found = os.statvfs(disk)
    with (disk / "filler").open("wb") as file:
        file.write(b"x" * max(0, (found.f_bavail - leave) * found.f_frsize))


def wait(happened: Callable[[], bool], ward: Ward, within: float = 30) -> None:
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < within, ward.told()[-3000:]
        time.sleep(0.05)


@needs_mount
def test_a_disk_that_fills_up_in_the_window_keeps_no_source_from_being_restored(
    wards: Wards, tmp_path: Path
) -> None:
    ward = wards.take("two schedules")
    with small_disk(tmp_path / "disk") as disk, Forker() as forker:
        ward.move(disk)
        ward.open_window(timedelta(seconds=6))
        forker.begin(*ward.arguments("run"), log=ward.log, environment=ward.environment)
        wait(lambda: ward.in_maintenance, ward)
        time.sleep(1)
        fill(disk)
        wait(lambda: ward.restored, ward, within=12)
        time.sleep(1)
        (disk / "filler").unlink()
        wait(lambda: ward.released, ward)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0, ward.told()
    assert "Traceback" not in ward.told()
    assert "is the disk full" in ward.told()
