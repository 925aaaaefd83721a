"""`mmd zombies`: what is in maintenance that no window accounts for, and since when that is known."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import SECRET_VARIABLE, Desk, tenant

from mmd.findings import Finding, Kind
from mmd.posture import ESCROW, MARKER
from mmd.simulator import Rule, Simulator, faults
from mmd.store import Store, create_file

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
SALESFORCE = "Salesforce"


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with tenant() as simulator:
        simulator.edit.set_attribute(simulator.tenant.id_of(SALESFORCE), MARKER, value=True)
        yield simulator


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, sim: Simulator
) -> Desk:
    found = Desk(tmp_path, capsys)
    found.configure(sim)
    monkeypatch.setenv(SECRET_VARIABLE, sim.client_secret)
    return found


def found(kind: Kind, source_id: str = "id1") -> Finding:
    return Finding(
        source_id=source_id,
        source_name=SALESFORCE,
        connector="Salesforce",
        kind=kind,
        since=NOON,
        detail="the marker is set",
        next_step="adopt it",
    )


def sweep(store: Store, *findings: Finding, at: datetime = NOON) -> None:
    store.findings.update(findings, judged=None, now=at, actor="mmd")
    store.findings.swept(at, sources=12, within=timedelta(minutes=15))


def test_what_nobody_saw_before_is_first_seen_now(desk: Desk) -> None:
    asked = datetime.now(tz=UTC)  # noqa: TID251 - as the command does
    said = desk.mmd("zombies")
    assert said.code == 10
    assert "first seen now" in said.out
    (row,) = desk.mmd("zombies", "-o", "json").json["zombies"]  # an instant, as the contract has it
    assert datetime.fromisoformat(row["since"]) > asked
    assert "first seen" not in desk.mmd("zombies", "-o", "csv").out


def test_what_a_sweep_saw_before_was_first_seen_then(desk: Desk, sim: Simulator) -> None:
    create_file(desk.database)
    with desk.open() as store:
        sweep(store, found(Kind.ORPHAN, sim.tenant.id_of(SALESFORCE)))
    assert "first seen 2026-11-27 12:00:00Z" in desk.mmd("zombies").out
    assert "first seen 2026-11-27 12:00:00Z" in desk.mmd("zombies", "--last").out
    assert ",2026-11-27 12:00:00Z," in desk.mmd("zombies", "-o", "csv").out


def test_a_window_that_has_closed_says_since_when(desk: Desk) -> None:
    create_file(desk.database)
    with desk.open() as store:
        sweep(store, found(Kind.OVERDUE))
    out = desk.mmd("zombies", "--last").out
    assert "  2026-11-27 12:00:00Z  " in out
    assert "first seen" not in out


def test_the_last_sweep_says_when_it_was(desk: Desk) -> None:
    create_file(desk.database)
    assert desk.done("zombies", "--last").err == (
        "no complete sweep is on file; `mmd zombies` reads the tenant now\n"
    )
    with desk.open() as store:
        sweep(store, at=NOON - timedelta(hours=2))
        sweep(store)
    assert desk.done("zombies", "--last").err == "no zombies as of 2026-11-27 12:00:00Z (last sweep)\n"
    with desk.open() as store:
        sweep(store, found(Kind.ORPHAN))
    assert desk.mmd("zombies", "--last").err.startswith("as of 2026-11-27 12:00:00Z (last sweep)\n")


def test_a_damaged_escrow_is_not_to_be_believed(desk: Desk, sim: Simulator) -> None:
    sim.edit.set_attribute(sim.tenant.id_of(SALESFORCE), ESCROW, value="{")
    (row,) = desk.mmd("zombies", "-o", "json").json["zombies"]
    assert row["next_step"].startswith("take mmd_escrow off")
    said = desk.mmd("recover", "--yes", "--accept-unsigned")
    assert said.code == 7
    assert "accept-unsigned" not in said.err


def test_a_tenant_without_a_list_of_sources_is_not_one_without_zombies(desk: Desk, sim: Simulator) -> None:
    sim.faults.append(Rule(faults.fail(404, body=b'{"error":"No message available"}'), "GET", "/sources$"))
    for words in (("zombies",), ("sources", "--live"), ("recover", "--yes")):
        said = desk.mmd(*words)
        assert said.code == 1, words
        assert "api_version" in said.err


def test_without_a_list_of_sources_a_pass_is_not_made(desk: Desk, sim: Simulator) -> None:
    desk.done("start", "Workday", "--for", "1h", "--reason", "r")
    desk.done("reconcile")
    sim.faults.append(Rule(faults.fail(404), "GET", "/sources"))
    assert desk.mmd("plan").code == 1
    assert desk.mmd("reconcile").code == 1
