"""What mmd says to the kernel, and in which order: reliability.md 2.3 A5, seen from outside.

Before each request that changes something the last write to the database's log must have been synced. The
control leaves the syncing out, and must be caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wards import KINDS, Ward, Wards, tenant

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("strace") is None, reason="NOT RUN: strace is not installed here"),
]

CALLS = "pwrite64,write,fdatasync,fsync,sendto,sendmsg"
NORMAL = (
    "import mmd.store.database as d; full = d._set_up\n"
    "def set_up(c, r): full(c, r); c.execute('PRAGMA synchronous=NORMAL')\n"
    "d._set_up = set_up\n"
)
MAIN = "from mmd.cli import main; main()"


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with tenant(sources=KINDS) as sim:
        yield Wards(sim, tmp_path).take("two schedules")


def traced(ward: Ward, before: str = "") -> list[str]:
    """The calls of one `mmd reconcile`, in order."""
    trace = ward.folder / "trace"
    command = ["strace", "-f", "-y", "-s", "16", "-e", f"trace={CALLS}", "-o", str(trace)]
    done = subprocess.run(
        [*command, sys.executable, "-c", before + MAIN, *ward.arguments("reconcile")],
        env={**os.environ, **ward.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in done.stderr:
        pytest.skip(f"NOT RUN: nothing can be traced here ({done.stderr.strip()[:80]})")
    assert done.returncode == 0, done.stderr
    return trace.read_text().splitlines()


def changes(calls: list[str]) -> list[bool]:
    """For each changing request: whether the log had been synced since it was written to last."""
    clean, found = True, []
    for line in calls:
        if re.search(r"p?write(64)?\(\d+<[^>]*-wal>", line):
            clean = False
        elif re.search(r"f(data)?sync\(\d+<[^>]*-wal>", line):
            clean = True
        elif re.search(r'send(to|msg)\(.*"(PATCH|DELETE|POST /v2026)', line):
            found.append(clean)
    return found


def test_nothing_is_changed_before_its_intent_is_on_the_disk(
    ward: Ward, tally: Callable[[str, int], None]
) -> None:
    ward.open_window()
    found = changes(traced(ward))
    ward.close_window()
    found += changes(traced(ward))
    assert ward.restored
    assert found == [True] * 8  # four each way
    tally("T8 requests traced", len(found))


def test_without_full_syncing_it_would_be(ward: Ward) -> None:
    ward.open_window()
    assert changes(traced(ward, NORMAL)) == [False] * 4
