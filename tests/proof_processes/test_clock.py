"""Clocks that step, and clocks that are set, under the daemon: reliability.md 2.3 E5 to E9, E18.

The wall clock is libfaketime's; the monotonic one is left alone, as a step leaves it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from forker import Forker
from wards import KINDS, Ward, Wards, tenant, utcnow

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LIBRARIES, reason="NOT RUN: libfaketime is not installed here"),
]

HOUR = timedelta(hours=1)


@dataclass
class Wall:
    """The wall clock of one mmd and of its tenant: the true one, and so much."""

    file: Path
    ahead: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self.set(self.ahead)

    def set(self, ahead: timedelta) -> None:
        self.ahead = ahead
        draft = self.file.with_suffix(".new")
        draft.write_text(f"{ahead.total_seconds():+f}s\n")
        draft.rename(self.file)

    def now(self) -> datetime:
        return utcnow() + self.ahead

    def prefix(self) -> list[str]:
        return [
            "env",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self.file}",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "FAKETIME_NO_CACHE=1",
        ]


@dataclass
class Place:
    ward: Ward
    wall: Wall

    @contextmanager
    def daemon(self) -> Iterator[None]:
        """The daemon by that clock; it must leave in peace."""
        passes = self.ward.told().count('"pass.done"')
        with Forker(*self.wall.prefix()) as forker:
            self.ward.start(forker, "run")
            self.ward.wait(lambda: self.ward.told().count('"pass.done"') > passes)
            yield
            os.kill(forker.pid, signal.SIGTERM)
            assert forker.end() == 0, self.ward.told()
        assert "Traceback" not in self.ward.told()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with tenant(sources=KINDS) as sim:
        wall = Wall(tmp_path / "clock")
        sim.tenant.clock = wall.now
        yield Place(Wards(sim, tmp_path).take("two schedules"), wall)


def test_a_step_over_the_end_restores_at_once(place: Place) -> None:
    place.ward.open_window(HOUR / 2)
    with place.daemon():
        place.ward.wait(lambda: place.ward.in_maintenance)
        place.wall.set(HOUR)
        place.ward.wait(lambda: place.ward.restored and place.ward.released, within=8)
    assert "clock.untrusted" in place.ward.told()


def test_a_step_over_the_start_enters_nothing(place: Place) -> None:
    """A clock that has just jumped may be wrong: for ten minutes nothing new is taken on its word."""
    place.ward.open_window(2 * HOUR, after=HOUR / 2)
    with place.daemon():
        place.wall.set(HOUR)
        place.ward.wait(lambda: "clock.untrusted" in place.ward.told())
        seen = place.ward.told().count('"pass.done"')
        place.ward.wait(lambda: place.ward.told().count('"pass.done"') > seen + 2)
        assert not place.ward.changes


def test_a_small_step_over_the_start_enters_at_once(place: Place) -> None:
    place.ward.open_window(2 * HOUR, after=timedelta(minutes=3))
    with place.daemon():
        place.wall.set(timedelta(minutes=4))
        place.ward.wait(lambda: place.ward.in_maintenance, within=8)


def test_a_step_back_and_forth_loses_nothing(place: Place) -> None:
    place.ward.open_window(HOUR / 2)
    with place.daemon():
        place.ward.wait(lambda: place.ward.in_maintenance)
        place.wall.set(-HOUR)
        place.ward.wait(lambda: "clock.untrusted" in place.ward.told())
        place.wall.set(HOUR)
        place.ward.wait(lambda: place.ward.restored and place.ward.released, within=8)


def test_a_clock_that_was_not_set_yet_at_the_start_enters_nothing(place: Place) -> None:
    """The machine has come up in the past: earlier than the last pass was."""
    with place.daemon():
        pass
    place.wall.set(-24 * HOUR)
    place.ward.open_window(72 * HOUR, after=-36 * HOUR)
    with place.daemon():
        place.ward.wait(lambda: "clock.untrusted" in place.ward.told())
        seen = place.ward.told().count('"pass.done"')
        place.ward.wait(lambda: place.ward.told().count('"pass.done"') > seen + 2)
        assert not place.ward.changes


@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        # 01:30 comes twice in New York: the first of them, and two hours that have elapsed.
        (
            "2026-10-31 01:30",
            datetime(2026, 11, 1, 5, 30, tzinfo=UTC),
            datetime(2026, 11, 1, 7, 30, tzinfo=UTC),
        ),
        # 02:30 does not come: when the gap ends.
        ("2026-03-07 02:30", datetime(2026, 3, 8, 7, 0, tzinfo=UTC), datetime(2026, 3, 8, 9, 0, tzinfo=UTC)),
    ],
)
def test_a_night_on_which_the_clocks_change(
    place: Place, day: str, opens: datetime, closes: datetime
) -> None:
    ward, wall = place.ward, place.wall
    wall.set(opens - 48 * HOUR - utcnow())
    planned = ("--start", day, "--tz", "America/New_York", "--for", "2h", "--repeat", "FREQ=DAILY", "--yes")
    with Forker(*wall.prefix()) as forker:
        code = ward.live(forker, "schedule", "add", ward.source_id, *planned, "--reason", "patching")
        assert code == 0, ward.told()
    wall.set(opens - timedelta(seconds=6) - utcnow())
    with place.daemon():
        assert not ward.in_maintenance
        ward.wait(lambda: ward.in_maintenance, within=15)
        assert opens <= wall.now() < opens + timedelta(seconds=10)
        wall.set(closes - timedelta(seconds=6) - utcnow())
        ward.wait(lambda: "clock.stepped" in ward.told())
        assert ward.in_maintenance
        ward.wait(lambda: ward.restored, within=15)
        assert closes <= wall.now() < closes + timedelta(seconds=10)
