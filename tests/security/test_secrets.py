"""No secret in anything that mmd writes or shows, whatever goes wrong: docs/security.md."""

from __future__ import annotations

import base64
import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from forker import Forker, borrowed
from wards import KINDS, SECRET, Ward, Wards, tenant

from mmd.simulator import faults
from mmd.simulator.faults import Rule
from mmd.simulator.wire import Reply

pytestmark = pytest.mark.slow

PASSWORD = "CANARY-connector-password"
URL_TOKEN = "CANARY-channel-token"
COMMANDS = (
    ("doctor",),
    ("status",),
    ("sources",),
    ("plan",),
    ("reconcile",),
    ("zombies",),
    ("history",),
    ("alerts", "list"),
    ("db", "check"),
    ("report",),
)


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with tenant(sources=KINDS) as sim:
        made = Wards(sim, tmp_path).take("two schedules")
        sim.tenant.sources[made.source_id]["connectorAttributes"]["password"] = PASSWORD
        made.before = sim.tenant.comparable(made.source_id)
        text = made.config.read_text()
        made.config.write_text(
            f'{text}\n[log]\nlevel = "debug"\n[alerts]\n'
            f'urls = ["json://user:{URL_TOKEN}@127.0.0.1:9/{URL_TOKEN}"]\n'
            f'heartbeat_url = "http://127.0.0.1:9/{URL_TOKEN}"\n'
        )
        yield made


def forms(secret: str) -> set[bytes]:
    """A secret as it is, and as it may be carried."""
    plain = secret.encode()
    return {plain, quote(secret).encode(), base64.b64encode(plain), plain.hex().encode(), plain[3:]}


def leaks(ward: Ward) -> list[str]:
    """Where any of the secrets is found."""
    bearers = {call.headers.get("authorization", "").removeprefix("Bearer ") for call in ward.sim.log} - {""}
    assert bearers
    wanted = {form for secret in (SECRET, PASSWORD, URL_TOKEN, *bearers) for form in forms(secret)}
    return [
        f"{path.name}: {form[:20]!r}"
        for path in ward.folder.rglob("*")
        if path.is_file() and path != ward.config
        for form in wanted
        if form in path.read_bytes()
    ]


def test_no_secret_is_in_anything_that_is_written_or_said(ward: Ward) -> None:
    ward.open_window()
    with borrowed() as forker:
        ward.start(forker, "run")
        ward.wait(lambda: ward.in_maintenance)
        command = Path(f"/proc/{forker.pid}/cmdline").read_bytes()
        assert SECRET.encode() not in command
        assert PASSWORD not in str(
            ward.sim.tenant.sources[ward.source_id]["connectorAttributes"]["mmd_escrow"]
        )
        os.kill(forker.pid, signal.SIGTERM)
        assert forker.end() == 0
        for words in COMMANDS:
            ward.live(forker, *words)
            ward.live(forker, *words, "-o", "json")
        ward.close_window()
        ward.live(forker)
        assert ward.restored
        ward.live(forker, "db", "backup", str(ward.folder / "backup.db"))
    assert not leaks(ward)
    assert "Traceback" not in ward.told()


def _echo(_reply: Reply) -> Reply:
    """A gateway that says back all that it was told."""
    return Reply(500, f'{{"detail": "{SECRET} {PASSWORD}"}}'.encode())


@pytest.mark.parametrize(
    "rule",
    [
        Rule(faults.fail(401, body=f'{{"error": "bad secret {SECRET}"}}'.encode()), path="token"),
        Rule(faults.rewrite(_echo), path="token"),
        Rule(faults.truncate(5), path="token"),
        Rule(faults.html(502), path="token"),
        Rule(faults.fail(401), path="sources"),
    ],
    ids=["401", "echo", "cut off", "html", "401 for the token"],
)
def test_no_secret_is_in_what_is_said_of_a_failure(ward: Ward, rule: Rule) -> None:
    ward.open_window()
    ward.sim.faults.append(rule)
    with borrowed() as forker:
        for words in (("reconcile",), ("doctor",)):
            forker.begin(
                *ward.arguments(*words), log=ward.log, environment={**ward.environment, "MMD_DEBUG": "1"}
            )
            forker.end()
    text = ward.told()
    assert SECRET not in text
    assert not re.search(r"Bearer [\w-]{20}", text)
    assert URL_TOKEN not in text


def test_what_is_written_is_for_its_owner_alone(ward: Ward) -> None:
    """Under the widest umask, and in a folder that all may read."""
    ward.database.unlink()
    config = ward.folder / "new" / "mmd.toml"
    config.parent.mkdir()
    with Forker("sh", "-c", 'umask 000; exec "$@"', "sh") as forker:
        forker.begin("init", str(config), log=ward.log, environment={})
        assert forker.end() == 0, ward.told()
        planned = ("--for", "1h", "--reason", "patching", "--yes")
        assert ward.live(forker, "start", ward.source_id, *planned) == 0, ward.told()
        assert ward.live(forker) == 0, ward.told()
        assert ward.live(forker, "db", "backup", str(ward.folder / "backup.db")) == 0
    ward.log.unlink()
    kept = [path for path in ward.folder.rglob("*") if path.is_file() and path != ward.config]
    assert {"mmd.db", "mmd.db.lock", "backup.db"} <= {path.name for path in kept}
    for path in kept:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
