"""A window puts sources into maintenance and back, by itself: real processes, a real socket, a real file."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from harness import Site, site

from mmd.simulator import Switches

pytestmark = pytest.mark.slow


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, switches=Switches(latency=0.02)) as made:
        yield made


def healthy(here: Site, count: int) -> list[str]:
    """Sources that can be entered: whole, and not in maintenance already."""
    return [
        key
        for key, source in here.tenant.sources.items()
        if isinstance(source.get("features"), list)
        and not source["connectorAttributes"].get("maintenancemode")
    ][:count]


def audit(here: Site) -> set[str]:
    """What the forum's audit script lists: every source whose marker is true, by the v3 listing."""
    with httpx.Client(base_url=here.sim.base_url) as client:
        form = {
            "grant_type": "client_credentials",
            "client_id": here.sim.client_id,
            "client_secret": here.sim.client_secret,
        }
        token = client.post("/oauth/token", data=form).json()["access_token"]
        rows = client.get(
            "/v3/sources?limit=250&offset=0&count=true", headers={"Authorization": f"Bearer {token}"}
        ).json()
    return {row["id"] for row in rows if row["connectorAttributes"].get("maintenancemode") in (True, "true")}


def test_six_sources_at_once(here: Site) -> None:
    ids = healthy(here, 6)
    with here.daemon():
        planned = here.data("schedule", "add", *ids, "--start", "+3s", "--for", "14s", "--reason", "patching")
        window = planned["windows"][0]
        assert window["state"] == "planned"
        here.wait_until(lambda: here.tenant.clock().isoformat() >= window["starts_at"][:19], "the opening")
        mark = len(here.sim.log)
        took = here.wait_until(lambda: all(map(here.in_maintenance, ids)), "in maintenance")
        assert took < 2
        time.sleep(1.5)
        assert audit(here) == set(ids)
        entering = requests_by_source(here, mark)
        status = {row["source_id"]: row for row in here.data("status")["sources"]}
        assert all(status[key]["posture"] == "maintenance" and status[key]["held"] for key in ids)
        here.wait_until(lambda: here.tenant.clock().isoformat() >= window["ends_at"][:19], "the closing")
        mark = len(here.sim.log)
        assert here.wait_until(lambda: all(map(here.restored, ids)), "back") < 3
        time.sleep(0.5)
        leaving = requests_by_source(here, mark)
    assert max(entering.values()) <= 8
    assert max(leaving.values()) <= 8
    assert all(here.restored(key) for key in here.before)
    assert not [call for call in here.sim.log if call.status == 429]


def requests_by_source(here: Site, mark: int) -> Counter[str]:
    """Requests that name one source, but for the looks at the schedules of sources that are held."""
    paths = [call.path for call in here.sim.log[mark:]]
    found = [re.search(r"/sources/([0-9a-f]{32})", path) for path in paths]
    return Counter(match[1] for match in found if match)


def test_killed_in_the_window_and_started_after_its_end(here: Site) -> None:
    ids = healthy(here, 3)
    with here.daemon() as process:
        here.data("start", *ids, "--for", "4s", "--reason", "patching")
        here.wait_until(lambda: all(map(here.in_maintenance, ids)), "in maintenance")
        process.kill()
        process.wait()
        time.sleep(4.5)
        assert all(map(here.in_maintenance, ids))
        again = here.start()
        try:
            here.wait_until(lambda: all(map(here.restored, ids)), "back")
        finally:
            again.send_signal(signal.SIGTERM)
            assert again.wait(timeout=10) == 0


def test_two_overlapping_windows_end_with_the_last(here: Site) -> None:
    (key,) = healthy(here, 1)
    with here.daemon():
        here.data("start", key, "--for", "3s", "--reason", "first")
        here.data("start", key, "--for", "7s", "--reason", "second")
        here.wait_until(lambda: here.in_maintenance(key), "in maintenance")
        time.sleep(4)
        assert here.in_maintenance(key)
        here.wait_until(lambda: here.restored(key), "back")


def test_a_second_daemon_says_who_is_there(here: Site) -> None:
    with here.daemon() as process:
        second = here.mmd("run")
        assert second.returncode == 4
        assert f"pid {process.pid}" in second.stderr
        assert "Traceback" not in second.stderr


def test_restore_by_hand_leaves_the_window_to_the_others(here: Site) -> None:
    first, other = healthy(here, 2)
    with here.daemon():
        here.data("start", first, other, "--for", "1h", "--reason", "patching")
        here.wait_until(lambda: all(map(here.in_maintenance, (first, other))), "in maintenance")
        assert here.mmd("restore", first).returncode == 2  # nobody to ask
        assert here.mmd("restore", first, "--yes").returncode == 0
        assert here.restored(first)
        time.sleep(1.5)
        assert here.restored(first)
        assert here.in_maintenance(other)
        assert (
            here.mmd(
                "schedule", "cancel", "--yes", here.data("schedule", "list")["windows"][0]["id"]
            ).returncode
            == 0
        )
        here.wait_until(lambda: here.restored(other), "back")


def test_without_a_daemon_a_pass_does_the_work(here: Site) -> None:
    (key,) = healthy(here, 1)
    here.data("start", key, "--for", "1h", "--reason", "patching")
    assert here.mmd("plan").returncode == 10
    assert here.writes() == 0
    assert here.mmd("reconcile").returncode == 0
    assert here.in_maintenance(key)
    assert here.mmd("plan").returncode == 0
    assert here.mmd("restore", key, "--yes").returncode == 0
    assert here.restored(key)


def test_secrets_are_in_no_file_log_or_process_list(here: Site) -> None:
    (key,) = healthy(here, 1)
    here.configure(log={"level": "debug"})
    here.tenant.sources[key]["connectorAttributes"]["password"] = "CANARY-PASSWORD"
    with here.daemon() as process:
        here.data("start", key, "--for", "3s", "--reason", "patching")
        here.wait_until(lambda: here.in_maintenance(key), "in maintenance")
        said = here.mmd("status").stdout + here.mmd("doctor").stdout + here.mmd("db", "check").stdout
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
        time.sleep(4)
    everything = [path.read_bytes() for path in here.folder.rglob("*") if path.is_file()]
    everything += [said.encode(), command.encode(), here.log.encode()]
    tokens = {call.headers.get("authorization", "").removeprefix("Bearer ") for call in here.sim.log} - {""}
    assert tokens
    for secret in (here.sim.client_secret, "CANARY-PASSWORD", *tokens):
        assert not [content for content in everything if secret.encode() in content]


def test_the_daemon_leaves_when_its_output_has_gone(here: Site) -> None:
    """A log that cannot be written is no reason to stop working."""
    with subprocess.Popen(
        [*here.start_command(), "run"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=here.environment
    ) as process:
        assert process.stderr is not None
        process.stderr.close()
        here.wait_until(here.running, "a pass")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
