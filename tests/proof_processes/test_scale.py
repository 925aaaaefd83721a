"""A tenant of ten thousand sources, under the daemon: reliability.md 2.3 I3."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from forker import borrowed
from wards import Wards, tenant

pytestmark = pytest.mark.slow

SOURCES = 10_000
PAGES = 41  # of 250, and one for what does not fill a page
PEAK = 150  # MiB


def test_ten_thousand_sources_are_swept_page_by_page_in_little_memory(tmp_path: Path) -> None:
    with tenant(SOURCES) as sim, borrowed() as forker:
        ward = Wards(sim, tmp_path).take("two schedules")
        ward.open_window()
        ward.start(forker, "run")
        ward.wait(lambda: "sweep.done" in ward.told(), within=60)
        ward.wait(lambda: ward.in_maintenance)
        asked = [one.query for one in sim.log if one.path.endswith("/sources")]
        listings = [query for query in asked if ward.source_id not in query.get("filters", "")]
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{forker.pid}/status").read_text())
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
    assert f'"sources":{SOURCES}' in ward.told().replace(" ", "")
    assert len(listings) <= PAGES
    assert peak is not None
    assert int(peak[1]) / 1024 < PEAK
