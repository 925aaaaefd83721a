"""`mmd restore` and `mmd adopt`: which source is meant, and what is said before anything is written."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from desk import SECRET_VARIABLE, Desk, tenant

from mmd.cli.app import App
from mmd.lock import only_one
from mmd.posture import Json, Posture
from mmd.simulator import Rule, Simulator, faults
from mmd.simulator.tenant import utc_now
from mmd.store import Entry, Sighting
from mmd.store.schema import snapshot

JSON = ("-o", "json")
START = ("--for", "2h", "--reason", "hotfix")
ADOPT = ("--for", "2h", "--reason", "vendor", "--features", "PROVISIONING,ENABLE")


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with tenant() as simulator:
        yield simulator


@pytest.fixture
def desk(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    monkeypatch.setenv(SECRET_VARIABLE, sim.client_secret)
    found = Desk(tmp_path, capsys)
    found.configure(sim)
    return found


def hold(desk: Desk, source: str) -> None:
    desk.done("start", source, *START)
    desk.done("reconcile")


def see(desk: Desk, source_id: str, name: str) -> None:
    """A sweep has read the source."""
    seen = Sighting(
        source_id=source_id,
        name=name,
        connector="x",
        posture=Posture.NORMAL,
        reason="",
        observed_at=utc_now(),
    )
    with desk.open() as store:
        store.sightings.save([seen])


# --- which source ---------------------------------------------------------------------------------------


def test_a_held_source_is_found_by_id_and_name_without_asking_isc(desk: Desk, sim: Simulator) -> None:
    hold(desk, "Workday")
    sim.log.clear()
    for word in ("Workday", sim.tenant.id_of("Workday")):
        assert "would restore Workday" in desk.done("restore", word, "--dry-run").err
    assert sim.log == []


def test_two_of_one_name_are_refused_with_both_ids_when_one_is_held(desk: Desk, sim: Simulator) -> None:
    ours, other = sim.tenant.id_of("Workday"), sim.tenant.id_of("SAP ERP")
    hold(desk, ours)
    see(desk, other, "Workday")
    for words in (("restore", "Workday", "--dry-run"), ("adopt", "Workday", *ADOPT)):
        said = desk.mmd(*words)
        assert said.code == 2
        assert ours in said.error
        assert other in said.error
        assert "give the id" in said.err
    assert "would restore Workday" in desk.done("restore", ours, "--dry-run").err


def test_a_renamed_source_is_found_by_its_new_name_and_its_old_one(desk: Desk, sim: Simulator) -> None:
    source_id = sim.tenant.id_of("Workday")
    hold(desk, "Workday")
    see(desk, source_id, "Workday EU")
    for word in ("Workday EU", "Workday"):
        assert "would restore Workday" in desk.done("restore", word, "--dry-run").err
    see(desk, sim.tenant.id_of("SAP ERP"), "Workday")
    assert desk.mmd("restore", "Workday", "--dry-run").code == 2
    assert "would restore Workday" in desk.done("restore", "Workday EU", "--dry-run").err


def test_a_glob_that_means_several_lists_them_with_their_ids(desk: Desk, sim: Simulator) -> None:
    said = desk.mmd("restore", "S*", "--dry-run")
    names = ("SAP ERP", "Salesforce", "ServiceNow", "Slack")
    assert said.code == 2
    assert all(f"{sim.tenant.id_of(name)} ({name})" in said.error for name in names)


def test_a_window_that_opens_while_a_restoration_is_confirmed_is_left_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(desk, "Workday")
    desk.done("schedule", "add", "Workday", "--start", "+10m", *START)
    later = False

    def confirm(_question: str, **_how: object) -> bool:
        nonlocal later
        later = True
        return True

    def clock() -> object:
        return utc_now() + (timedelta(minutes=11) if later else timedelta(0))

    monkeypatch.setattr(App, "clock", staticmethod(clock))
    monkeypatch.setattr(App, "interactive", True)
    monkeypatch.setattr("click.confirm", confirm)
    desk.done("restore", "Workday")
    with desk.open() as store:
        assert len(store.plans.exemptions(store.plans.all())) == 2


# --- what is said before it is asked --------------------------------------------------------------------


def test_the_values_that_will_be_put_back_are_said(desk: Desk, sim: Simulator) -> None:
    sim.forum_enable(sim.tenant.id_of("Workday"))
    words = ("--features", "NO_RANDOM_ACCESS,DISCOVER_SCHEMA", "--set", "disable_health_check=absent")
    for command in (("restore", "Workday"), ("adopt", "Workday", *START)):
        said = desk.done(*command, *words, "--dry-run").err
        assert "features: NO_RANDOM_ACCESS, DISCOVER_SCHEMA, as told" in said
        assert "disable_health_check: absent, as told" in said
        assert "enableProvisioningFeature: not known, so true as the workflow's Disable would set it" in said
        assert "(--set enableProvisioningFeature=…)" in said
    assert "features: none, as told" in desk.done("restore", "Workday", "--features", "none", "--dry-run").err


def test_a_flag_that_is_off_and_nobody_remembers_is_named(desk: Desk, sim: Simulator) -> None:
    source = sim.tenant.id_of("Workday")
    changes = {"maintenancemode": True, "enableProvisioningFeature": False, "disable_health_check": True}
    sim.tenant.sources[source]["connectorAttributes"] |= changes
    said = desk.done("restore", "Workday", "--set", "disable_health_check=false", "--dry-run").err
    unknown = "enableProvisioningFeature: false, as it is; whether it was so before is not known"
    assert f"{unknown} (--set enableProvisioningFeature=…)" in said
    assert "disable_health_check: false, as told" in said


def test_a_time_is_promised_only_where_a_snapshot_or_an_escrow_is_of_it(desk: Desk, sim: Simulator) -> None:
    sim.forum_enable(sim.tenant.id_of("Workday"))
    words = ("restore", "Workday", "--features", "none")
    assert "would restore Workday to what it was\n" in desk.done(*words, "--dry-run").err
    assert "restore Workday now, to what it was?" in desk.mmd(*words).error
    hold(desk, "SAP ERP")
    assert "SAP ERP to what it was at 20" in desk.done("restore", "SAP ERP", "--dry-run").err


# --- why it does not come back --------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "code"), [(403, 5), (502, 6), (400, 1)])
def test_what_keeps_a_source_from_being_restored_is_said(
    desk: Desk, sim: Simulator, status: int, code: int
) -> None:
    hold(desk, "Workday")
    sim.faults.append(Rule(faults.fail(status), "PATCH", "/sources/"))
    said = desk.mmd("restore", "Workday", "--yes")
    assert said.code == code
    assert f"({status}" in said.error


def test_what_keeps_the_daemon_from_restoring_is_said_at_once(desk: Desk, sim: Simulator) -> None:
    hold(desk, "Workday")
    source_id = sim.tenant.id_of("Workday")
    body: dict[str, Json] = {
        "name": "Workday",
        "verb": "restore",
        "error": "ISC refused (403)",
        "exit_code": 5,
    }
    with only_one(desk.database):

        def fails() -> None:
            at = utc_now() + timedelta(seconds=1)
            with desk.open() as other:
                other.journal.write(Entry(at=at, kind="failed", actor="mmd", source_id=source_id, body=body))

        threading.Timer(0.3, fails).start()
        said = desk.mmd("restore", "Workday", "--yes")
    assert (said.code, "Workday: ISC refused (403)" in said.error) == (5, True)
    assert "mmd history" in said.err


def test_a_damaged_snapshot_is_said_by_every_command_about_its_source(desk: Desk) -> None:
    hold(desk, "Workday")
    with desk.open() as store, store.database.write() as connection:
        connection.execute(snapshot.update().values(treatment="fill"))
    hold_beside(desk, "SAP ERP")
    for words in (("status",), ("restore", "Workday", "--dry-run"), ("adopt", "Workday", *ADOPT, "--yes")):
        said = desk.mmd(*words)
        assert (said.code, said.error) == (1, "error: the snapshot of Workday is not what was written")
    assert len(desk.done("schedule", "list", *JSON).json["windows"]) == 2
    assert "SAP ERP" in desk.mmd("status").out
    assert "would restore SAP ERP" in desk.done("restore", "SAP ERP", "--dry-run").err


def hold_beside(desk: Desk, source: str) -> None:
    """Enter a source, though another one fails."""
    desk.done("start", source, *START)
    assert desk.mmd("reconcile").code == 7


# --- adopt ----------------------------------------------------------------------------------------------


def test_an_adoption_is_echoed_before_it_is_written_and_warns(desk: Desk, sim: Simulator) -> None:
    sim.forum_enable(sim.tenant.id_of("Workday"))
    said = desk.done("adopt", "Workday", *ADOPT, *JSON)
    assert "sources  Workday" in said.err
    assert "Z, now" in said.err
    assert "Z, in 2 h" in said.err or "Z, in 1 h 59 m" in said.err
    assert "the daemon is not running" in said.err
    assert said.window["state"] == "active"


def test_an_adoption_of_seconds_and_at_the_time_of_another_window_is_warned_of(
    desk: Desk, sim: Simulator
) -> None:
    sim.forum_enable(sim.tenant.id_of("Workday"))
    other = desk.done("schedule", "add", "Workday", "--start", "+1h", *START, *JSON).window
    words = ("--reason", "vendor", "--features", "PROVISIONING", "--dry-run")
    assert "warning: it lasts 5s" in desk.done("adopt", "Workday", "--for", "5s", *words).err
    said = desk.done("adopt", "Workday", "--for", "2h", *words)
    assert f"note: Workday is in {other['id']} at that time too" in said.err
    assert "daemon" not in said.err
    assert desk.done("adopt", "Workday", "--for", "2h", *words, *JSON).window["id"] is None


def test_what_mmd_holds_is_not_adopted(desk: Desk) -> None:
    hold(desk, "Workday")
    said = desk.mmd("adopt", "Workday", *ADOPT)
    assert (said.code, said.error) == (4, "error: mmd holds Workday already")


@pytest.mark.parametrize(
    ("words", "told"), [((), "--until"), (("--for", "1h", "--until", "+2h"), "--until and --for exclude")]
)
def test_the_end_of_an_adoption_goes_by_its_own_option(
    desk: Desk, sim: Simulator, words: tuple[str, ...], told: str
) -> None:
    said = desk.mmd("adopt", "Workday", "--reason", "x", *words)
    assert said.code == 2
    assert told in said.err
    assert "--end" not in said.err
    assert sim.log == []


# --- recover --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--reason", "other"),
        ("--treatment", "keep-features"),
        ("--add-source", "Slack"),
        ("--remove-source", "Workday"),
    ],
)
def test_a_window_that_was_recovered_can_be_edited(desk: Desk, words: tuple[str, ...]) -> None:
    window = desk.done("start", "Workday", "SAP ERP", *START, *JSON).window
    desk.done("reconcile")
    for part in desk.folder.glob("mmd.db*"):
        part.unlink()
    desk.done("recover", "--yes")
    edited = desk.done("schedule", "edit", window["id"], *words, *JSON).window
    assert edited["state"] == "active"
    assert edited["open"]["closes_at"] == window["open"]["closes_at"]
