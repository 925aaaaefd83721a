"""`mmd status`, from real database files alone: no network, no token, and quickly."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from desk import SECRET_VARIABLE, Desk, Said

from mmd.escrow import Claim
from mmd.plan import Held
from mmd.posture import Fields, Posture, Snapshot, Treatment
from mmd.simulator.tenant import utc_now
from mmd.store import DaemonRow, Entry, Sighting, Store, create_file
from mmd.windows import SourceRef, Window, key_of

JSON = ("-o", "json")
HOUR = timedelta(hours=1)
NOW = utc_now().replace(microsecond=0)
SLOW = ("httpx", "alembic", "structlog", "apscheduler", "dateutil.rrule", "mmd.isc")
KEY = key_of((NOW - HOUR).replace(tzinfo=None))


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.delenv(SECRET_VARIABLE, raising=False)
    found = Desk(tmp_path, capsys)
    found.configure(None)
    return found


@pytest.fixture
def store(desk: Desk) -> Store:
    create_file(desk.database)
    return desk.open()


def window(**changes: Any) -> Window:  # noqa: ANN401 - the window's own fields
    planned = Window(
        id="w234567",
        sources=(SourceRef("s1", "AD"), SourceRef("s2", "HR")),
        starts_local=(NOW - HOUR).replace(tzinfo=None),
        timezone="UTC",
        duration=2 * HOUR,
        reason="patching",
        created_at=NOW - 2 * HOUR,
        effective_from=NOW - 2 * HOUR,
    )
    return replace(planned, **changes)


def plan(store: Store, planned: Window) -> None:
    store.plans.add(planned, entry("window.added"))


def entry(kind: str) -> Entry:
    return Entry(at=NOW, kind=kind, actor="ann")


def hold(store: Store, source_id: str = "s1", *, closes_at: Any = NOW + HOUR) -> None:  # noqa: ANN401 - an instant
    fields = Fields(("PROVISIONING",))
    snapshot = Snapshot(
        id=f"n-{source_id}",
        source_id=source_id,
        source_name="AD then",
        treatment=Treatment.FULL,
        taken_at=NOW - HOUR,
        before=fields,
        after=fields,
    )
    claim = Claim(window_id="w234567", key=KEY, opens_at=NOW - HOUR, closes_at=closes_at, reason="patching")
    store.holds.take(Held(snapshot=snapshot, claims=(claim,), text=""), entry("taken"))


def see(store: Store, source_id: str, name: str, posture: Posture) -> None:
    sighting = Sighting(
        source_id=source_id, name=name, connector="x", posture=posture, reason="", observed_at=NOW
    )
    store.sightings.save([sighting])


def rows(said: Said) -> dict[str, dict[str, Any]]:
    return {row["source_id"]: row for row in said.json["sources"]}


def iso(at: Any) -> str:  # noqa: ANN401 - an instant
    return str(at.isoformat()).replace("+00:00", "Z")


def test_without_a_database_nothing_is_planned_and_none_is_made(desk: Desk) -> None:
    assert desk.done("status", *JSON).json == {"daemon": {"running": False}, "sources": []}
    said = desk.done("status")
    assert said.out == ""
    assert said.err.startswith(f"there is no database at {desk.database}: ")
    assert desk.done("status", "anything").out == ""
    assert [file.name for file in desk.folder.iterdir()] == ["mmd.toml"]


def test_status_is_as_the_contract_has_it(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window())
        hold(store)
        see(store, "s1", "AD now", Posture.MAINTENANCE)
    assert rows(desk.done("status", *JSON))["s1"] == {
        "source_id": "s1",
        "source_name": "AD now",
        "posture": "maintenance",
        "wanted": True,
        "held": True,
        "finding": None,
        "windows": ["w234567"],
        "since": iso(NOW - HOUR),
        "until": iso(NOW + HOUR),
        "reason": "patching",
        "observed_at": iso(NOW),
        "next": None,
    }
    assert rows(desk.done("status", *JSON))["s2"]["held"] is False


def test_a_source_left_out_by_hand_is_not_wanted(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window())
        store.plans.exempt([("w234567", KEY, "s1")], reason="by hand", entry=entry("restore.asked"))
    found = rows(desk.done("status", *JSON))
    assert (found["s1"]["wanted"], found["s2"]["wanted"]) == (False, True)


def test_what_is_not_back_after_its_window_is_a_finding(desk: Desk, store: Store) -> None:
    with store:
        hold(store, "s1", closes_at=NOW - HOUR)
        hold(store, "s2", closes_at=utc_now() - timedelta(seconds=10))  # NOW is of the import
    found = rows(desk.done("status", *JSON))
    assert (found["s1"]["finding"], found["s2"]["finding"]) == ("overdue", None)
    said = desk.done("status")
    assert "overdue" in said.out
    assert "the daemon is not running" in said.err


def test_a_window_ended_early_counts_from_its_real_end(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window())
        hold(store)
    desk.done("schedule", "end", "w234567", "--yes")
    (found,) = desk.done("status", *JSON).json["sources"]
    assert (found["wanted"], found["held"], found["finding"]) == (False, True, None)
    assert found["until"] < iso(NOW + HOUR)
    assert "to be restored since" in desk.done("status").out


def test_a_source_that_is_entered_ahead_is_in_maintenance_and_not_to_be_restored(
    desk: Desk, store: Store
) -> None:
    desk.configure(None, 'lead = "10m"')
    soon = utc_now().replace(microsecond=0) + timedelta(minutes=5)
    with store:
        plan(store, window(starts_local=soon.replace(tzinfo=None)))
        hold(store, closes_at=soon + 2 * HOUR)
    assert "in maintenance until" in desk.done("status").out
    with store:
        left = ("w234567", key_of(soon.replace(tzinfo=None)), "s1")
        store.plans.exempt([left], reason="by hand", entry=entry("restore.asked"))
    said = desk.done("status")
    assert "to be restored" in said.out
    assert "since" not in said.out
    found = rows(desk.done("status", *JSON))
    assert (found["s1"]["next"], found["s2"]["next"] is None) == (None, False)


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("s1",), ["s1"]),
        (("AD",), ["s1"]),
        (("H*",), ["s2"]),
        (("*",), ["s1", "s2", "s9"]),
        (("Slack",), ["s9"]),
        ((), ["s1", "s2"]),
    ],
)
def test_some_sources_on_request_even_those_with_nothing_planned(
    desk: Desk, store: Store, words: tuple[str, ...], ids: list[str]
) -> None:
    with store:
        plan(store, window())
        see(store, "s9", "Slack", Posture.NORMAL)
    assert desk.done("status", *words, "-o", "id").out.split() == ids


def test_an_unknown_source_is_not_found(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window())
    said = desk.mmd("status", "ADD")
    assert said.code == 3
    assert "ADD" in said.error
    assert "did you mean AD?" in said.err


def test_the_daemon_runs_while_it_holds_its_lock(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window())
        row = DaemonRow(pid=os.getpid(), host="h", version="1", started_at=NOW, pass_at=NOW, pass_ok=True)
        store.service.started(row)
    lock = desk.folder / "mmd.db.lock"
    lock.write_text(f"pid {os.getpid()} on h")
    assert desk.done("status", *JSON).json["daemon"]["running"] is False
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        said = desk.done("status", *JSON)
        daemon = said.json["daemon"]
        assert (daemon["running"], daemon["late"], daemon["pid"]) == (True, False, os.getpid())
        assert (daemon["last_pass_at"], daemon["last_pass_ok"]) == (iso(NOW), True)
        assert said.err == ""
        lock.write_text("pid 1 on h")  # `mmd reconcile` holds the same lock, and is no daemon
        assert desk.done("status", *JSON).json["daemon"]["running"] is False


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"pass_at": NOW - HOUR, "pass_ok": True}, "late with its pass"),
        ({"pass_at": NOW, "pass_ok": False, "pass_note": "ISC does not answer"}, "ISC does not answer"),
    ],
)
def test_a_daemon_in_trouble_is_mentioned(
    desk: Desk, store: Store, values: dict[str, Any], told: str
) -> None:
    with store:
        plan(store, window())
        store.service.started(
            DaemonRow(pid=os.getpid(), host="h", version="1", started_at=NOW - HOUR, **values)
        )
    lock = desk.folder / "mmd.db.lock"
    lock.write_text(f"pid {os.getpid()} on h")
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert told in desk.done("status").err


def test_a_stopped_daemon_does_not_run(desk: Desk, store: Store) -> None:
    with store:
        store.service.started(DaemonRow(pid=os.getpid(), host="h", version="1", started_at=NOW))
        store.service.update(stopped_at=NOW)
    lock = desk.folder / "mmd.db.lock"
    lock.write_text(f"pid {os.getpid()} on h")
    with lock.open() as held:  # by `mmd reconcile`, to which the system gave the same number
        fcntl.flock(held, fcntl.LOCK_EX)
        daemon = desk.done("status", *JSON).json["daemon"]
    assert (daemon["running"], daemon["stopped_at"]) == (False, iso(NOW))
    assert desk.done("status").err == "nothing is planned, and nothing is in maintenance\n"


def test_names_cannot_command_the_terminal(desk: Desk, store: Store) -> None:
    with store:
        plan(store, window(sources=(SourceRef("s1", "evil\x1b[2J\nname"),), reason="a\u202eb"))
    said = desk.done("status")
    assert "\x1b" not in said.out
    assert "\u202e" not in said.out
    assert len(said.out.splitlines()) == 2


def test_a_damaged_database_is_one_sentence(desk: Desk) -> None:
    desk.database.write_bytes(b"no database")
    desk.database.chmod(0o600)
    said = desk.mmd("status")
    assert said.code == 1
    assert "damaged" in said.error


@pytest.mark.parametrize("words", [("status",), ("schedule", "list")])
def test_it_starts_without_what_it_does_not_need(desk: Desk, store: Store, words: tuple[str, ...]) -> None:
    with store:
        plan(store, window())
    ran = desk.process(*words, *JSON, python=("-X", "importtime"))
    assert ran.returncode == 0, ran.stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in ran.stderr.splitlines()}
    assert "sqlalchemy" in imported
    assert not [name for name in SLOW if name in imported]
