"""Told to stop, or frozen, at any request: reliability.md 2.3 A6, A7 and A8, with the daemon as a process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from forker import Forker, borrowed, side_by_side
from wards import KINDS, SECRET, Wards, tenant, until

from mmd.simulator import Switches, faults

pytestmark = pytest.mark.slow

SHAPE = "two schedules"
REQUESTS = 10  # of the first life each way, after its token; one more than that is idle
IN_TIME = 10.0  # seconds from SIGTERM to the exit: docs/contract.md
WINDOW = timedelta(seconds=6)


@pytest.fixture
def wards(tmp_path: Path) -> Iterator[Wards]:
    switches = Switches(rate=None, health_seconds=0, latency=0.02)
    with tenant(sources=KINDS * 2 * REQUESTS, switches=switches) as sim:
        yield Wards(sim, tmp_path)


@pytest.mark.parametrize("entering", [True, False])
def test_sigterm_at_any_request_leaves_in_time_and_nothing_is_lost(
    wards: Wards, tally: Callable[[str, int], None], *, entering: bool
) -> None:
    def run(forker: Forker, nth: int) -> None:
        ward = wards.take(SHAPE)
        ward.open_window()
        if not entering:
            ward.pass_by()
            ward.close_window()
        told_at: list[float] = []
        ward.fault(faults.run(lambda: told_at.append(time.monotonic())), nth=nth + 1)
        ward.fault(faults.run(forker.kill(signal.SIGTERM)), nth=nth + 1)
        assert ward.live(forker, "run") == 0, ward.told()
        assert time.monotonic() - told_at[0] < IN_TIME
        if entering:
            ward.close_window()
        until(lambda: ward.restored and ward.released, lambda: ward.live(forker), times=2)
        assert "Traceback" not in ward.told()

    side_by_side(run, range(1, REQUESTS + 1))
    tally("T6 real processes", REQUESTS)


def test_sigkill_ends_what_sigterm_did_not(wards: Wards) -> None:
    """ISC never answers, so what was begun cannot come to its end: it is given up, or killed."""

    def run(forker: Forker, nth: int) -> None:
        ward = wards.take(SHAPE)
        ward.open_window()
        told = ward.fault(faults.run(forker.kill(signal.SIGTERM)), nth=nth + 1)
        ward.fault(faults.hang(30), nth=nth + 1)
        ward.start(forker, "run")
        ward.wait(lambda: told.fired == 1)
        time.sleep(0.2)
        os.kill(forker.pid, signal.SIGKILL)
        assert forker.end() == -signal.SIGKILL
        ward.close_window()
        until(lambda: ward.restored and ward.released, lambda: ward.live(forker), times=2)

    side_by_side(run, range(4, 8))


def test_frozen_while_entering_and_thawed_after_the_window(
    wards: Wards, tally: Callable[[str, int], None]
) -> None:
    def run(forker: Forker, nth: int) -> None:
        ward = wards.take(SHAPE)
        ward.open_window(WINDOW)
        rule = ward.fault(faults.run(forker.kill(signal.SIGSTOP)), nth=nth + 1)
        ward.start(forker, "run")
        ward.wait(lambda: rule.fired == 1)
        time.sleep(WINDOW.total_seconds())
        os.kill(forker.pid, signal.SIGCONT)
        ward.wait(lambda: ward.restored and ward.released)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0

    side_by_side(run, range(1, REQUESTS))
    tally("T6 real processes", REQUESTS - 1)


def test_the_configuration_goes_while_a_window_is_open(wards: Wards) -> None:
    """Windows are in the database: who is at work goes on, and a new start says what is missing."""
    ward = wards.take(SHAPE)
    ward.open_window()
    with borrowed() as forker:
        ward.start(forker, "run")
        ward.wait(lambda: ward.in_maintenance)
        kept = ward.config.rename(ward.folder / "mmd.toml.gone")
        ward.close_window()
        ward.wait(lambda: ward.restored and ward.released)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
        assert ward.live(forker, "run") == 2
        assert any(str(ward.config) in line for line in ward.told().splitlines()[-2:])
        kept.rename(ward.config)
        assert ward.live(forker) == 0


def test_the_secret_is_replaced_while_a_source_is_held(wards: Wards) -> None:
    """Its escrow has the old one's signature from then on; the database has the other copy."""
    ward = wards.take(SHAPE)
    file = ward.folder / "client_secret"
    file.write_text(SECRET)
    file.chmod(0o600)
    ward.configure(client_secret_file=str(file))
    ward.open_window()
    with borrowed() as forker:
        forker.begin(*ward.arguments("run"), log=ward.log, environment={})
        ward.wait(lambda: ward.in_maintenance)
        ward.sim.clients.secrets[ward.client_id] = "another-secret"
        ward.sim.clients.revoke()
        file.write_text("another-secret")
        ward.close_window()
        ward.wait(lambda: ward.restored and ward.released)
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
