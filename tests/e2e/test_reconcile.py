"""`mmd reconcile` beside a real daemon: what it says is what came of the daemon's pass."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from harness import site

from mmd.simulator import Rule, Switches, faults
from mmd.store import Store

pytestmark = pytest.mark.slow


def rename(database: Path, before: str, after: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"ALTER TABLE {before} RENAME TO {after}")


def test_it_exits_as_the_daemons_pass_did(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        key = next(iter(here.tenant.sources))
        with here.daemon():
            here.data("start", key, "--for", "1h", "--reason", "patching")
            assert "daemon" in here.data("reconcile")
            here.sim.stop()
            said = here.mmd("reconcile", "-o", "json")
            assert said.returncode == here.mmd("plan").returncode == 6
            assert json.loads(said.stdout)["daemon"]
            assert "error: " in said.stderr


def test_sources_that_take_long_are_waited_for(tmp_path: Path) -> None:
    with site(tmp_path, switches=Switches(latency=0.4)) as here:
        good, bad = [
            key
            for key, source in here.tenant.sources.items()
            if source.get("features") and not source["connectorAttributes"].get("maintenancemode")
        ][:2]
        here.sim.faults.append(Rule(faults.fail(400), "PATCH", bad))
        here.data("start", good, bad, "--for", "1h", "--reason", "patching")
        with Store.open(here.database) as store:
            number = store.service.ask("pass", actor="ann", now=here.tenant.clock())  # seen by the first pass
            with here.daemon():
                here.wait_until(lambda: store.service.answered(number) is not None, "an answer")
            answer = json.loads(store.service.answered(number) or "")
    done = {action["source_id"]: action["error"] for action in answer["actions"]}
    assert (answer["exit_code"], done[good]) == (7, None)
    assert done[bad]


def test_a_pass_that_fails_as_a_whole_is_answered_too(tmp_path: Path) -> None:
    """No command gets past such a database, so the request is left in it by hand."""
    with site(tmp_path) as here, here.daemon():
        with Store.open(here.database) as store:
            rename(here.database, "snapshot", "away")
            number = store.service.ask("pass", actor="ann", now=here.tenant.clock())
            here.wait_until(lambda: store.service.answered(number) is not None, "an answer")
            answer = json.loads(store.service.answered(number) or "")
        rename(here.database, "away", "snapshot")
    assert answer["exit_code"] == 1
    assert "no such table: snapshot" in answer["error"]
    assert answer["hint"]
