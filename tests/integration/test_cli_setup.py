"""`init`, `doctor`, `db` and `simulate`: what they write, what they say, and what they never say."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config

from mmd import __version__, config
from mmd.cli import checks, main
from mmd.cli.checks import Status
from mmd.escrow import Claim
from mmd.lock import only_one
from mmd.plan import Held
from mmd.posture import Fields, Snapshot, Treatment
from mmd.simulator import Rule, Simulator, Switches, faults, make_tenant
from mmd.store import HEAD, DaemonRow, Entry, Store, revision_of
from mmd.store.database import Database

NOW = datetime(2026, 12, 1, 22, tzinfo=UTC)
SECRET_VARIABLE = "MMD_TENANT__CLIENT_SECRET"
# Apprise imports a module that Python 3.13 has no more; it has its own for then.
APPRISE = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def checks(self) -> dict[str, dict[str, str]]:
        return {check["name"]: check for check in json.loads(self.out)["checks"]}


class Cli:
    """The command line in this process, in a folder of its own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Ran:
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(list(arguments))
        shown = self._capsys.readouterr()
        assert "Traceback" not in shown.err
        code = left.value.code
        assert isinstance(code, int)
        return Ran(code, shown.out, shown.err)


@pytest.fixture
def mmd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MMD_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Cli(tmp_path, capsys)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(make_tenant(), Switches(health_seconds=0)) as simulator:
        yield simulator


def _configured(mmd: Cli, simulator: Simulator, **sections: Mapping[str, Any]) -> Path:
    """A configuration for the simulated tenant, with its secret in a file, and a database."""
    secret = mmd.folder / "client_secret"
    secret.touch(mode=0o600)
    secret.write_text(simulator.client_secret)
    tenant = {"base_url": simulator.base_url, "client_id": simulator.client_id}
    wanted = {
        "tenant": {**tenant, "client_secret_file": "client_secret", **sections.pop("tenant", {})},
        **sections,
    }
    lines = []
    for name, values in wanted.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    file = mmd.folder / "mmd.toml"
    file.write_text("\n".join(lines))
    Store.open(mmd.folder / "mmd.db", create=True).close()
    return file


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


# --- init --------------------------------------------------------------------------------------------------


def test_init_writes_a_configuration_and_a_database_for_their_owner_alone(mmd: Cli) -> None:
    ran = mmd("init", "--tenant", "acme", "--client-id", "8f2c")
    assert (ran.code, ran.out) == (0, "")
    loaded = config.load(mmd.folder / "mmd.toml", {})
    assert (loaded.tenant.name, loaded.tenant.client_id) == ("acme", "8f2c")
    assert (_mode(mmd.folder / "mmd.toml"), _mode(mmd.folder / "mmd.db")) == (0o600, 0o600)
    assert mmd("db", "check").code == 0
    for word in ("client_secret", "mmd doctor", "mmd schedule add", "systemctl"):
        assert word in ran.err


def test_init_keeps_the_comments_of_the_example(mmd: Cli) -> None:
    mmd("init")
    written = (mmd.folder / "mmd.toml").read_text().splitlines()
    example = config.example_text().splitlines()
    assert [line for line in written if line not in example] == ['client_secret_file = "client_secret"']
    assert len(written) == len(example)


def test_init_without_a_tenant_says_that_one_is_to_be_named(mmd: Cli) -> None:
    ran = mmd("init")
    assert ran.code == 0
    assert "1. name the tenant and the client id" in ran.err


def test_init_asks_for_no_secret_that_it_has(mmd: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMD_TENANT__CLIENT_SECRET", "theirs")
    ran = mmd("init", "--tenant", "acme", "--client-id", "8f2c")
    assert ran.code == 0
    assert "1. see what is missing" in ran.err
    assert "theirs" not in ran.err


def test_init_takes_the_url_of_a_tenant_too(mmd: Cli, simulator: Simulator) -> None:
    assert mmd("init", "--tenant", simulator.base_url).code == 0
    assert config.base_url(config.load(mmd.folder / "mmd.toml", {})) == simulator.base_url


@pytest.mark.parametrize("way", ["argument", "option before", "option after", "variable"])
def test_init_writes_where_it_is_told(way: str, mmd: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = mmd.folder / "etc"
    folder.mkdir()
    file = str(folder / "config.toml")
    if way == "variable":
        monkeypatch.setenv("MMD_CONFIG", file)
    arguments = {
        "argument": ["init", file],
        "option before": ["--config", file, "init"],
        "option after": ["init", "--config", file],
        "variable": ["init"],
    }
    assert mmd(*arguments[way]).code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "mmd.db"]
    assert not (mmd.folder / "mmd.toml").exists()


def test_init_never_overwrites(mmd: Cli) -> None:
    file = mmd.folder / "mmd.toml"
    file.write_text("mine")
    ran = mmd("init", "--tenant", "acme", "--yes")
    assert (ran.code, file.read_text()) == (4, "mine")
    assert "exists already" in ran.err
    assert "hint:" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["init", "--tenant", "acme.identitynow.com"], 2),
        (["init", "--tenant", "http://acme.example.com"], 2),
        (["init", "--client-id", "a\x1bb"], 2),
        (["init", "no/such/folder.toml"], 3),
        (["init", "--tenant"], 2),
    ],
)
def test_init_refuses_what_makes_no_sense_and_writes_nothing(
    arguments: list[str], code: int, mmd: Cli
) -> None:
    ran = mmd(*arguments)
    assert ran.code == code
    assert re.fullmatch(r"error: [^\n]+\nhint: [^\n]+\n", ran.err)
    assert list(mmd.folder.iterdir()) == []


def test_init_leaves_nothing_when_the_database_cannot_be_made(
    mmd: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MMD_DATABASE__URL", "sqlite:////no/such/folder/mmd.db")
    ran = mmd("init")
    assert ran.code == 3
    assert list(mmd.folder.iterdir()) == []


def test_init_dry_run_prints_the_configuration_and_writes_nothing(mmd: Cli) -> None:
    ran = mmd("init", "--tenant", "acme", "--dry-run")
    assert ran.code == 0
    assert 'name = "acme"' in ran.out
    assert list(mmd.folder.iterdir()) == []


# --- doctor ------------------------------------------------------------------------------------------------


def test_doctor_finds_a_good_tenant_good_and_changes_nothing(mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    before = {one: simulator.tenant.comparable(one) for one in simulator.tenant.sources}
    ran = mmd("doctor", "-o", "json")
    found = {name: check["status"] for name, check in ran.checks.items()}
    assert ran.code == 0
    assert found == {
        "versions": "ok",
        "configuration": "ok",
        "database": "ok",
        "integrity": "ok",
        "disk": found["disk"],  # this machine's
        "credentials": "ok",
        "tenant": "ok",
        "token": "ok",
        "sources": "ok",
        "schedules": "ok",
        "clock": "ok",
        "token expiry": "ok",
        "rights": "warning",  # the simulated token may do everything
        "write rights": "ok",
        "time zone": "ok",
        "alerts": "skipped",
        "daemon": "warning",
        "systemd": found["systemd"],
    }
    sent = {request.method for request in simulator.log if request.path != "/oauth/token"}
    assert (sent, simulator.mutations) == ({"GET"}, [])
    assert before == {one: simulator.tenant.comparable(one) for one in simulator.tenant.sources}


def test_doctor_shows_people_a_table_with_hints(mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    ran = mmd("doctor")
    assert re.search(r"^sources +ok +12 listed, by API version v2026$", ran.out, re.MULTILINE)
    assert re.search(r"^ +hint: mmd needs idn:sources:manage", ran.out, re.MULTILINE)
    assert "mmd can work" in ran.err


@pytest.mark.parametrize(("form", "heading"), [("csv", "CHECK,STATUS,DETAIL,HINT"), ("id", "versions")])
def test_doctor_speaks_to_programs_too(form: str, heading: str, mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    assert mmd("doctor", "-o", form).out.splitlines()[0] == heading


@APPRISE
def test_no_output_of_doctor_holds_the_secret_or_an_alert_url(mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator, alerts={"urls": ["mailto://me:hunter2@example.com", "nosuch://hunter2"]})
    for form in ("table", "json", "csv", "id"):
        ran = mmd("doctor", "-o", form)
        assert (ran.code, "alerts" in ran.out) == (1, True)
        assert simulator.client_secret not in ran.out + ran.err
        assert "hunter2" not in ran.out + ran.err


def test_doctor_warns_of_a_configuration_with_urls_that_others_may_read(
    mmd: Cli, simulator: Simulator, tmp_path: Path
) -> None:
    _configured(mmd, simulator, alerts={"heartbeat_url": "https://ping.example/hunter2"})
    (tmp_path / "mmd.toml").chmod(0o600)
    assert mmd("doctor", "-o", "json").checks["configuration"]["status"] == "ok"
    (tmp_path / "mmd.toml").chmod(0o640)
    found = mmd("doctor", "-o", "json").checks["configuration"]
    assert found["status"] == "warning"
    assert "(mode 0640)" in found["detail"]
    assert "hunter2" not in str(found)


def _damage(path: Path) -> None:
    path.write_bytes(b"no database, and long enough to be looked at " * 100)


def _deny(simulator: Simulator, *scopes: str) -> None:
    simulator.switches.denied = scopes


def _fault(simulator: Simulator, action: faults.Action, path: str) -> None:
    simulator.faults.append(Rule(action, path=path))


# What may be wrong: how it comes about, which check names it, and the exit code.
Break = Callable[[Path, Simulator], object]
WRONG: dict[str, tuple[Break, str, int]] = {
    "the configuration is not there": (lambda at, _: (at / "mmd.toml").unlink(), "configuration", 2),
    "the configuration makes no sense": (
        lambda at, _: (at / "mmd.toml").write_text("[tenant]\nnmae = 1\n"),
        "configuration",
        2,
    ),
    "no tenant is named": (lambda at, _: (at / "mmd.toml").write_text(""), "credentials", 2),
    "the secret is open to others": (
        lambda at, _: (at / "client_secret").chmod(0o644),
        "credentials",
        2,
    ),
    "the secret is wrong": (lambda at, _: (at / "client_secret").write_text("wrong"), "token", 5),
    "the tenant is gone": (lambda _, sim: sim.stop(), "tenant", 6),
    "sources may not be read": (
        lambda _, sim: _deny(sim, "idn:sources:read", "idn:sources:manage"),
        "sources",
        5,
    ),
    "the API version is not known": (
        lambda _, sim: _fault(sim, faults.fail(404), "/v2026/"),
        "sources",
        1,
    ),
    "a schedule cannot be read": (
        lambda _, sim: _fault(sim, faults.html(200), "/schedules"),
        "schedules",
        1,
    ),
    "the database is damaged": (lambda at, _: _damage(at / "mmd.db"), "database", 1),
    "the database is open to others": (lambda at, _: (at / "mmd.db").chmod(0o640), "database", 1),
    "the schema is newer": (
        lambda at, _: _execute(at / "mmd.db", "UPDATE alembic_version SET version_num = '9999'"),
        "database",
        1,
    ),
    "an alert URL is not understood": (
        lambda at, _: _append(at / "mmd.toml", '[alerts]\nurls = ["nosuch://thing"]'),
        "alerts",
        1,
    ),
}


def _append(path: Path, text: str) -> None:
    path.write_text(f"{path.read_text()}\n{text}\n")


@APPRISE
@pytest.mark.parametrize("name", WRONG)
def test_doctor_names_what_is_wrong_and_exits_accordingly(name: str, mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    go_wrong, check, code = WRONG[name]
    go_wrong(mmd.folder, simulator)
    ran = mmd("doctor", "-o", "json")
    failed = [found["name"] for found in ran.checks.values() if found["status"] == "failed"]
    assert (ran.code, failed) == (code, [check])
    assert f"failed: {check}" in ran.err
    assert simulator.mutations == []


@pytest.mark.parametrize(
    ("scope", "check"),
    [("sp:my-personal-access-tokens:read", "token expiry"), ("idn:org-configs:read", "time zone")],
)
def test_a_right_that_mmd_can_do_without_is_only_named(
    scope: str, check: str, mmd: Cli, simulator: Simulator
) -> None:
    _configured(mmd, simulator)
    simulator.switches.denied = (scope,)
    ran = mmd("doctor", "-o", "json")
    assert ran.code == 0
    assert ran.checks[check]["status"] == "skipped"
    assert scope in ran.checks[check]["hint"]


def test_a_token_that_ends_soon_is_a_warning(mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    simulator.switches.pat_expires = datetime.now(tz=UTC) + timedelta(days=7)  # noqa: TID251 - as ISC would
    ran = mmd("doctor", "-o", "json")
    assert (ran.code, ran.checks["token expiry"]["status"]) == (0, "warning")
    simulator.switches.pat_expires = datetime.now(tz=UTC) - timedelta(days=7)  # noqa: TID251 - as ISC would
    assert " ended on " in mmd("doctor", "-o", "json").checks["token expiry"]["detail"]


def test_doctor_warns_of_another_tenants_name(mmd: Cli, simulator: Simulator) -> None:
    """The name is taken from the tenant itself, so that a wrong URL is noticed."""
    simulator.tenant.name = "other"
    _configured(mmd, simulator)
    assert "other" in mmd("doctor", "-o", "json").checks["tenant"]["detail"]


def test_doctor_without_a_database_makes_none(mmd: Cli, simulator: Simulator) -> None:
    _configured(mmd, simulator)
    (mmd.folder / "mmd.db").unlink()
    ran = mmd("doctor", "-o", "json")
    assert (ran.code, ran.checks["database"]["status"]) == (0, "warning")
    assert not (mmd.folder / "mmd.db").exists()


# --- The checks as values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "status"),
    [(None, "skipped"), (0, "ok"), (-5, "ok"), (5.5, "warning"), (-60, "warning"), (61, "failed")],
)
def test_clocks_may_differ_a_little(ahead: float | None, status: str) -> None:
    assert checks.clocks(ahead).status.value == status


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ({"expirationDate": None}, Status.OK),
        ({"expirationDate": "2027-12-01T22:00:00Z"}, Status.OK),
        ({"expirationDate": "2026-12-20T22:00:00.000Z"}, Status.WARNING),
        ({"expirationDate": "soon"}, Status.SKIPPED),
    ],
)
def test_the_end_of_a_token_is_seen_in_time(token: dict[str, Any], status: Status) -> None:
    assert checks.expiry([token], NOW).status is status
    assert checks.expiry([], NOW).status is Status.SKIPPED


@pytest.mark.parametrize(
    ("claims", "least", "write"),
    [
        ({}, Status.SKIPPED, Status.SKIPPED),
        ({"scope": ["sp:scopes:all"]}, Status.WARNING, Status.OK),
        ({"scope": "idn:sources:manage sp:scopes:default"}, Status.OK, Status.OK),
        ({"scope": ["idn:sources:read"], "authorities": ["SOURCE_ADMIN"]}, Status.OK, Status.FAILED),
        ({"scope": ["read", "write"], "authorities": ["ORG_ADMIN"]}, Status.WARNING, Status.SKIPPED),
        ({"scope": ["idn:sources:manage"], "authorities": ["SOURCE_SUBADMIN"]}, Status.WARNING, Status.OK),
    ],
)
def test_rights_are_what_the_token_tells(claims: dict[str, Any], least: Status, write: Status) -> None:
    assert [check.status for check in checks.rights(claims, [])] == [least, write]


def test_what_a_token_claims_is_read_and_anything_else_is_not() -> None:
    assert checks.claims_of("e30.eyJhdXRob3JpdGllcyI6WyJPUkdfQURNSU4iXX0.x") == {"authorities": ["ORG_ADMIN"]}
    for odd in ("", "opaque", "a.b.c", "a.\x80.c", "e30.W10.x"):
        assert checks.claims_of(odd) == {}


@pytest.mark.parametrize(
    ("free", "kind", "status"),
    [
        (10**10, "ext4", "ok"),
        (10**10, "nfs4", "warning"),
        (5 * 10**7, "ext4", "warning"),
        (10**6, "ext4", "failed"),
    ],
)
def test_a_full_disk_is_seen_coming(free: int, kind: str, status: str) -> None:
    assert checks.disk(free, kind).status.value == status


def _row(**changes: Any) -> DaemonRow:  # noqa: ANN401 - any column
    values = {
        "pid": 1,
        "host": "h",
        "version": __version__,
        "started_at": NOW,
        "pass_at": NOW,
        "pass_ok": True,
    }
    return DaemonRow(**{**values, **changes})


@pytest.mark.parametrize(
    ("row", "gone", "word"),
    [
        (None, False, "never"),
        (_row(), True, "not running"),
        (_row(stopped_at=NOW), False, "not running"),
        (_row(pass_at=NOW - timedelta(minutes=3)), False, "no pass since"),
        (_row(version="0.0.1"), False, "runs mmd 0.0.1"),
        (_row(pass_ok=False, pass_note="ISC is away"), False, "ISC is away"),
    ],
)
def test_a_daemon_that_is_not_well_is_a_warning(row: DaemonRow | None, gone: bool, word: str) -> None:
    found = checks.daemon(row, NOW, gone=gone, interval=timedelta(seconds=30))
    assert found.status is Status.WARNING
    assert word in found.detail


def test_a_daemon_that_is_well_is_well() -> None:
    found = checks.daemon(_row(), NOW + timedelta(seconds=80), gone=False, interval=timedelta(seconds=30))
    assert found.status is Status.OK


@pytest.mark.parametrize(
    ("codes", "code"), [([], 0), ([1], 1), ([1, 2], 2), ([2, 6], 6), ([1, 6, 5], 5), ([3], 1)]
)
def test_the_exit_code_is_of_what_comes_first(codes: list[int], code: int) -> None:
    found = [checks.Check("x", Status.FAILED, "", "", one) for one in codes]
    assert checks.exit_code([*found, checks.warning("y", "z")]) == code


# --- db ----------------------------------------------------------------------------------------------------


def _execute(path: Path, statement: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def _tamper(path: Path, statement: str) -> None:
    """Change what the database itself does not let be changed."""
    with sqlite3.connect(path) as connection:
        triggers = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()


@pytest.fixture
def database(mmd: Cli) -> Path:
    """A database with a journal and a snapshot."""
    assert mmd("init").code == 0
    path = mmd.folder / "mmd.db"
    before = Fields(
        ("PROVISIONING",), {"enableProvisioningFeature": True}, {"ACCOUNT_AGGREGATION": "0 0 5 * * ?"}
    )
    kept = Snapshot(
        id="s1",
        source_id="2c91",
        source_name="SAP ERP",
        treatment=Treatment.FULL,
        taken_at=NOW,
        before=before,
        after=before,
    )
    claim = Claim(window_id="w1", key="k", opens_at=NOW, closes_at=NOW + timedelta(hours=1), reason="patches")
    with Store.open(path) as store:
        entry = Entry(at=NOW, kind="entered", actor="me", body={"reason": "patches"})
        store.holds.take(Held(snapshot=kept, claims=(claim,), text="…"), entry)
        store.journal.write(entry, entry)
    return path


def test_a_sound_database_is_said_to_be_sound(mmd: Cli, database: Path) -> None:
    ran = mmd("db", "check")
    assert (ran.code, ran.out) == (0, "")
    assert f"{database} is sound: 0 windows, 1 snapshots, 3 journal entries" in ran.err
    found = json.loads(mmd("db", "check", "-o", "json").out)
    assert (found["path"], found["sound"], found["problems"]) == (str(database), True, [])
    assert found["rows"]["journal"] == 3


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE journal SET actor = 'you' WHERE seq = 2", "entry 2 of the journal does not fit"),
        ("DELETE FROM journal WHERE seq = 1", "entry 2 of the journal does not fit"),
        ("UPDATE journal SET at = 'noon'", "of the journal"),
        ("UPDATE snapshot SET before = '{}'", "snapshot s1 of SAP ERP"),
        ("UPDATE snapshot SET digest = 'x'", "snapshot s1 of SAP ERP"),
        ("UPDATE snapshot SET taken_at = 'noon'", "snapshot s1 of SAP ERP"),
        ("INSERT INTO window_source VALUES ('w9', '2c91', 'SAP ERP')", "foreign key"),
    ],
)
def test_what_was_altered_is_found(statement: str, said: str, mmd: Cli, database: Path) -> None:
    _tamper(database, statement)
    ran = mmd("db", "check")
    assert ran.code == 1
    assert said in ran.out
    assert "hint:" in ran.err
    found = json.loads(mmd("db", "check", "-o", "json").out)
    assert (found["sound"], found["rows"]) == (False, {})
    assert said in found["problems"][0]


def test_a_torn_database_is_found(mmd: Cli, database: Path) -> None:
    data = bytearray(database.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    database.write_bytes(data)
    assert mmd("db", "check").code == 1


def test_a_backup_is_whole_and_for_its_owner_alone(mmd: Cli, database: Path) -> None:
    copy = mmd.folder / "copy.db"
    with sqlite3.connect(database) as writer:  # the daemon, in the middle of something
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO meta VALUES ('half', 'done')")
        ran = mmd("db", "backup", str(copy))
        writer.rollback()
    writer.close()
    assert ran.code == 0
    assert "is a sound copy" in ran.err
    assert _mode(copy) == 0o600
    with Store.open(copy) as store:
        assert store.holds.held().keys() == {"2c91"}
    with sqlite3.connect(copy) as reader:
        assert reader.execute("SELECT count(*) FROM meta WHERE key = 'half'").fetchone() == (0,)
    reader.close()


def test_a_database_that_is_to_be_upgraded_can_be_backed_up(mmd: Cli, older: Path) -> None:
    assert mmd("db", "backup", str(older.with_name("copy.db"))).code == 0


def test_a_backup_never_overwrites(mmd: Cli, database: Path) -> None:
    before = database.read_bytes()
    assert mmd("db", "backup", str(database)).code == 4
    assert database.read_bytes() == before


def test_a_backup_needs_its_folder(mmd: Cli, database: Path) -> None:
    ran = mmd("db", "backup", str(database.parent / "no" / "copy.db"))
    assert ran.code == 3
    assert "mkdir -p" in ran.err


def test_a_dry_run_of_a_backup_copies_nothing(mmd: Cli, database: Path) -> None:
    assert mmd("db", "backup", "copy.db", "--dry-run").code == 0
    assert not (database.parent / "copy.db").exists()


@pytest.mark.parametrize("arguments", [["upgrade"], ["check"], ["backup", "copy.db"]])
def test_a_missing_database_is_said_to_be_missing(arguments: list[str], mmd: Cli) -> None:
    (mmd.folder / "mmd.toml").write_text("")
    ran = mmd("db", *arguments)
    assert ran.code == 3
    assert "there is no database" in ran.err
    assert [path.name for path in mmd.folder.iterdir()] == ["mmd.toml"]


def test_an_upgrade_with_nothing_to_do_says_so(mmd: Cli, database: Path) -> None:
    ran = mmd("db", "upgrade")
    assert (ran.code, ran.out) == (0, "")
    assert "nothing to do" in ran.err
    assert list(database.parent.glob("*.bak")) == []


@pytest.fixture
def older(mmd: Cli) -> Path:
    """A database of the first mmd, with something in it."""
    (mmd.folder / "mmd.toml").write_text("")
    path = mmd.folder / "mmd.db"
    path.touch(mode=0o600)
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parents[2] / "migrations"))
    opened = Database(path)
    with opened.write() as connection:
        settings.attributes["connection"] = connection
        command.upgrade(settings, "0001")
    opened.close()
    _execute(path, "INSERT INTO meta VALUES ('kept', 'yes')")
    return path


def test_an_older_database_is_refused_until_it_is_upgraded(mmd: Cli, older: Path) -> None:
    ran = mmd("db", "check")
    assert ran.code == 2
    assert "hint: run `mmd db upgrade`" in ran.err
    assert mmd("db", "upgrade").code == 0
    assert mmd("db", "check").code == 0
    assert revision_of(older) == HEAD


def test_an_upgrade_keeps_what_was_there_and_a_backup_of_it(mmd: Cli, older: Path) -> None:
    ran = mmd("db", "upgrade")
    saved = older.with_name("mmd.db.0001.bak")
    assert str(saved) in ran.err
    assert (_mode(saved), revision_of(saved)) == (0o600, "0001")
    for path in (older, saved):
        with sqlite3.connect(path) as reader:
            assert reader.execute("SELECT value FROM meta WHERE key = 'kept'").fetchone() == ("yes",)
        reader.close()


def test_a_dry_run_of_an_upgrade_changes_nothing(mmd: Cli, older: Path) -> None:
    assert mmd("db", "upgrade", "--dry-run").code == 0
    assert revision_of(older) == "0001"
    assert list(older.parent.glob("*.bak")) == []


def test_no_upgrade_under_a_running_daemon(mmd: Cli, older: Path) -> None:
    with only_one(older):
        ran = mmd("db", "upgrade")
    assert (ran.code, revision_of(older)) == (4, "0001")
    assert "already running" in ran.err


def test_a_newer_database_is_never_upgraded(mmd: Cli, database: Path) -> None:
    _execute(database, "UPDATE alembic_version SET version_num = '9999'")
    for words in ((), ("--dry-run",)):
        ran = mmd("db", "upgrade", *words)
        assert ran.code == 2
        assert "newer mmd" in ran.err
    assert list(database.parent.glob("*.bak")) == []


def test_a_file_that_is_no_database_is_not_upgraded(mmd: Cli, database: Path) -> None:
    database.write_text("a shopping list")
    assert mmd("db", "upgrade").code == 1
    assert database.read_text() == "a shopping list"


# --- simulate ----------------------------------------------------------------------------------------------


def _simulated(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mmd", "simulate", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_simulate_prints_its_url_alone_and_how_to_use_it(number: signal.Signals, mmd: Cli) -> None:
    with _simulated("--sources", "3", "--rate", "50/10s", "--latency", "0.01") as process:
        assert process.stdout is not None
        base_url = process.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", base_url)
        assert process.stderr is not None
        told = ""
        while "Ctrl-C" not in told:
            told += process.stderr.readline()
        shown = re.search(r"CLIENT_SECRET=(\w+)[\s\S]*--client-id (\w+)", told)
        assert shown
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(SECRET_VARIABLE, shown[1])
            assert mmd("init", "--tenant", base_url, "--client-id", shown[2]).code == 0
            ran = mmd("doctor", "-o", "json")
        process.send_signal(number)
        rest = process.communicate(timeout=10)
    assert ran.checks["sources"]["detail"].startswith("3 listed")
    assert (process.returncode, rest) == (0, ("", ""))


def test_simulate_on_a_port_that_is_taken_says_so(mmd: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ran = mmd("simulate", "--port", port)
    assert ran.code == 4
    assert f"port {port}" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port", "70000"],
        ["--sources", "-1"],
        ["--rate", "many"],
        ["--rate", "0/10s"],
        ["--rate", "80/soon"],
        ["--latency", "-1"],
    ],
)
def test_simulate_refuses_odd_numbers(arguments: list[str], mmd: Cli) -> None:
    ran = mmd("simulate", *arguments)
    assert ran.code == 2
    assert arguments[0] in ran.err
