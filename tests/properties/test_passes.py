"""What goes wrong around a pass, one history each: that it ends well, and that it is told rightly."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta

import pytest
from world import START, World

from mmd import reconcile, sweep
from mmd.amend import extend
from mmd.errors import TenantError, Unreachable
from mmd.findings import Kind, judge
from mmd.isc import door
from mmd.plan import Interference, Verb
from mmd.posture import (
    ACCOUNTS,
    CRON_KEYS,
    ESCROW,
    HEALTH_FLAG,
    MARKER,
    Json,
    Observation,
    Posture,
    Treatment,
    canonical,
)
from mmd.reconcile import Report
from mmd.simulator.problems import Problem
from mmd.store import Damaged, Entry
from mmd.windows import Window, open_at

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture
def it() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def hold_and_release(it: World, source: str, *, treatment: str = "full") -> None:
    """A window of a minute over one source, from its opening to the release."""
    it.plan([source], lasting=60, treatment=treatment)
    it.run(2)
    it.clock.pass_by(60)
    it.run(3)
    assert it.restored(source)
    assert it.store.holds.held() == {}


def waits(it: World, passes: int = 3, *, seconds: float = 2) -> list[float]:
    """How long after its beginning each pass asks for the next one, in seconds."""
    reports = it.run(passes, seconds=seconds)
    return [(report.again_at - report.at).total_seconds() for report in reports if report.again_at]


# --- Passes do not follow upon each other without end -----------------------------------------------------


def test_a_source_that_is_held_again_when_its_look_is_due_is_no_reason_for_a_pass(it: World) -> None:
    source = it.ids[0]
    hold_and_release(it, source)
    it.plan([source], lasting=HOUR)
    it.run(3)
    it.clock.pass_by(100)
    assert min(waits(it)) > 60


def test_a_source_that_was_deleted_is_looked_for_five_times(it: World) -> None:
    source = it.ids[0]
    hold_and_release(it, source)
    it.tenant.delete(source)
    it.clock.pass_by(100)
    assert min(waits(it)) > 60
    for _ in range(3):
        it.clock.pass_by(DAY)
        it.run(2)
    requests = it.seams.count
    it.run(2)
    assert it.seams.count == requests
    assert it.store.holds.next_watch(it.clock.now()) is None


def test_a_tenant_that_cannot_be_reached_leaves_the_look_due(it: World) -> None:
    source = it.ids[0]
    hold_and_release(it, source)
    read, it.tenant.read = it.tenant.read, _failing  # type: ignore[method-assign] # the tenant is down
    it.clock.pass_by(100)
    assert min(waits(it)) > 1
    it.tenant.read = read  # type: ignore[method-assign] # and up again
    looked = it.store.holds.to_watch(it.clock.now())
    it.run()
    assert looked
    assert not it.store.holds.to_watch(it.clock.now())


def test_a_failure_of_the_past_is_no_reason_for_a_pass(it: World) -> None:
    source = it.ids[0]
    read = it.tenant.read_schedules
    it.tenant.read_schedules = _failing  # type: ignore[assignment,method-assign] # one endpoint is down
    it.plan([source], lasting=60)
    failed = [type(outcome.error) for report in it.run(2) for outcome in report.failed]
    assert set(failed) == {Unreachable}
    it.clock.pass_by(60)
    it.tenant.read_schedules = read  # type: ignore[method-assign] # and up again
    assert min(waits(it)) > 60
    assert it.restored(source)


def _failing(source_id: str) -> dict[str, object]:
    raise Problem(503, source_id)


# --- What is told is so -----------------------------------------------------------------------------------


def test_what_a_stopping_process_does_not_do_any_more_is_not_told_as_done(it: World) -> None:
    source = it.ids[0]
    it.plan([source])
    it.reconciler.stopping = True
    (report,) = it.run()
    assert report.outcomes == ()
    assert it.writes == 0
    assert it.store.sightings.all()[source].posture is Posture.NORMAL


@pytest.mark.parametrize("answer", ["none", "a part"])
def test_a_finding_stays_while_isc_does_not_show_its_source(it: World, answer: str) -> None:
    source = it.ids[0]
    it.tenant.patch(source, [{"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": True}])
    it.plan([source])
    it.run()
    assert source in it.store.findings.open()
    read = it.tenant.read

    def without_attributes(source_id: str) -> dict[str, object]:
        return {key: value for key, value in read(source_id).items() if key != "connectorAttributes"}

    it.tenant.read = _failing if answer == "none" else without_attributes  # type: ignore[method-assign] # for a while
    it.run(2)
    assert source in it.store.findings.open()
    it.sweep()
    assert source in it.store.findings.open()
    it.tenant.read = read  # type: ignore[method-assign] # it shows all again
    it.tenant.patch(source, [{"op": "remove", "path": f"/connectorAttributes/{MARKER}"}])
    it.run()
    assert it.store.findings.open() == {}


# --- What was planned -------------------------------------------------------------------------------------


@pytest.mark.parametrize("repeat", [None, "FREQ=YEARLY"])
def test_an_occurrence_is_extended_for_as_long_as_somebody_likes(it: World, repeat: str | None) -> None:
    source = it.ids[0]
    planned = it.plan([source], repeat=repeat)
    it.run(2)
    change(it, planned.id, lambda window, now: extend(window, timedelta(days=50), now))
    for _ in range(49):
        it.clock.pass_by(DAY)
        it.begin()
        it.run(2)
        assert it.in_maintenance(source)
        (current,) = it.store.plans.current(it.clock.at)
        assert open_at(current, it.clock.at) is not None
    it.clock.pass_by(2 * DAY)
    it.run(3)
    assert it.restored(source)


def test_an_occurrence_that_began_before_it_was_on_file_is_claimed(it: World) -> None:
    it.run()
    it.plan([it.ids[0]], after=-60)
    it.run(2)
    begun = [entry.kind for entry in it.store.journal.read() if entry.kind.startswith("occurrence")]
    assert begun == ["occurrence.begun"]


def test_occurrences_are_claimed_after_the_clock_was_set_back(it: World) -> None:
    it.clock.at += timedelta(days=1)
    it.run()
    it.clock.at = START
    it.plan([it.ids[0]])
    it.run(2)
    assert "occurrence.begun" in [entry.kind for entry in it.store.journal.read()]


def change(it: World, window_id: str, how: Callable[[Window, datetime], Window]) -> None:
    """Do what a command does: read the window, change it, put it on file."""
    entry = Entry(at=it.clock.at, kind="window.edited", actor="test")
    it.store.plans.change(window_id, lambda window: (how(window, it.clock.at), entry))


# --- What is touched --------------------------------------------------------------------------------------


@pytest.mark.parametrize("treatment", list(Treatment))
def test_a_marker_that_somebody_sets_after_a_window_is_left_alone(it: World, treatment: Treatment) -> None:
    source = it.ids[0]
    it.tenant.patch(source, [{"op": "replace", "path": "/features", "value": []}])
    it.expected[source] = it.tenant.comparable(source)
    hold_and_release(it, source, treatment=treatment.value)
    it.tenant.patch(source, [{"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": True}])
    writes = it.writes
    for seconds in (60, 600, 3600, DAY):
        it.clock.pass_by(seconds)
        it.run(2)
        it.sweep()
    assert it.writes == writes
    assert it.store.findings.open()[source].kind is Kind.ORPHAN


@pytest.mark.parametrize("instant", ["9999-12-31T23:59:59.000000Z", "9999-12-31T23:59:59-12:00"])
@pytest.mark.parametrize("part", ["taken_at", "closes_at"])
def test_an_escrow_from_anybodys_hand_stops_nobody(it: World, part: str, instant: str) -> None:
    theirs, ours = it.ids[:2]
    forged = forged_escrow(theirs, **{part: instant})
    it.tenant.patch(theirs, [{"op": "add", "path": f"/connectorAttributes/{ESCROW}", "value": forged}])
    it.plan([theirs, ours], lasting=60)
    it.run(2)
    assert it.in_maintenance(ours)
    assert not it.in_maintenance(theirs)
    assert it.sweep() is not None
    assert "damaged" in it.store.findings.open()[theirs].detail


def forged_escrow(
    source: str, *, taken_at: str = "2026-12-01T12:00Z", closes_at: str = "2026-12-01T12:00Z"
) -> str:
    """An escrow with the digest that anybody can compute."""
    window: Json = {"id": "w1", "key": "k", "opens_at": "2026-12-01T12:00Z", "closes_at": closes_at}
    body: dict[str, Json] = {"v": 1, "id": "s1", "source": source, "name": "x", "treatment": "full"}
    before: Json = {"features": [], "attributes": {}, "schedules": {}}
    body |= {"taken_at": taken_at, "before": before, "windows": [window]}
    digest = hashlib.sha256(canonical(body).encode()).hexdigest()
    return canonical({**body, "sha256": digest, "hmac": ""})


# --- Whose doing it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize("interference", list(Interference))
def test_a_window_that_opens_while_a_source_is_restored_takes_it(interference: Interference) -> None:
    it = World(interference=interference)
    source = it.ids[0]
    it.plan([source], lasting=60)
    it.run(2)
    it.clock.at = START + timedelta(seconds=60)
    it.plan([source], after=1, lasting=HOUR)
    reports = it.run(2, seconds=1)
    verbs = [outcome.action.verb for report in reports for outcome in report.outcomes]
    assert verbs == [Verb.RESTORE, Verb.REENTER]
    assert it.in_maintenance(source)
    assert it.store.holds.held()[source].enforced == 0
    assert it.store.journal.read(kinds=("finding.opened",)) == []
    it.clock.pass_by(HOUR)
    it.run(3)
    assert it.restored(source)
    it.close()


@pytest.mark.parametrize("interference", list(Interference))
def test_a_stronger_treatment_that_does_not_succeed_at_once_is_tried_again(
    interference: Interference,
) -> None:
    it = World(interference=interference)
    (source,) = [key for key in it.ids if it.before[key]["source"]["features"]][:1]
    it.plan([source], treatment=Treatment.KEEP_FEATURES.value)
    it.run(2)
    it.plan([source], treatment=Treatment.FULL.value)
    patch = it.tenant.patch
    it.tenant.patch = _not_emptied(patch)  # type: ignore[assignment,method-assign] # one patch fails
    it.run(4, seconds=70)
    it.tenant.patch = patch  # type: ignore[method-assign] # no more
    reports = it.run(2, seconds=70)
    reasons = [outcome.action.reason for report in reports for outcome in report.outcomes]
    assert "someone else" not in str(reasons)
    assert it.tenant.sources[source]["features"] == []
    assert it.store.holds.held()[source].enforced == 0
    it.close()


def _not_emptied(patch: Callable[..., object]) -> Callable[..., object]:
    def failing(source_id: str, operations: list[dict[str, object]]) -> object:
        if any(operation["path"] == "/features" for operation in operations):
            raise Problem(503, source_id)
        return patch(source_id, operations)

    return failing


def test_a_contested_source_is_put_back_for_another_window(it: World) -> None:
    source = it.ids[0]
    it.plan([source])
    it.run(2)
    switched_on = {"op": "add", "path": f"/connectorAttributes/{HEALTH_FLAG}", "value": False}
    for _ in range(3):
        it.tenant.patch(source, [switched_on])
        it.run()
    assert not it.tenant.sources[source]["connectorAttributes"][HEALTH_FLAG]
    it.plan([source], lasting=600)
    it.run(2)
    assert it.tenant.sources[source]["connectorAttributes"][HEALTH_FLAG]
    assert it.store.holds.held()[source].enforced == 1
    it.clock.pass_by(2 * HOUR)
    it.run(3)
    assert it.restored(source)


def test_a_restoration_is_told_once_however_late_the_list_of_sources_is(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = it.ids[0]
    it.plan([source], lasting=60)
    it.run(2)
    it.clock.pass_by(60)
    in_maintenance = door.observe(it.tenant.read(source))

    async def behind(**_: object) -> AsyncIterator[list[Observation]]:
        yield [in_maintenance]

    with monkeypatch.context() as late:
        late.setattr(it.process.isc, "pages", behind)
        it.run(5)
    it.run(2)
    assert not it.held
    assert len(it.store.journal.read(source_id=source, kinds=("restored",))) == 1


@pytest.mark.parametrize("name", [MARKER, ESCROW, CRON_KEYS[ACCOUNTS]])
def test_what_is_taken_off_is_seen_gone_or_it_is_told(it: World, name: str) -> None:
    source = it.ids[0]
    it.tenant.schedules[source][ACCOUNTS] = "0 0 6 * * ?"
    it.expected[source] = it.tenant.comparable(source)
    patch = it.tenant.patch

    def keeping(key: str, operations: list[dict[str, Json]]) -> dict[str, Json]:
        kept = {f"/connectorAttributes/{name}"}
        removed = [one for one in operations if one["op"] != "remove" or one["path"] not in kept]
        return patch(key, removed)

    it.plan([source], lasting=60)
    it.run(2)
    it.clock.pass_by(60)
    it.patch = keeping
    reports = it.run(4, seconds=70)
    assert [str(item.error) for report in reports for item in report.failed]
    assert it.store.journal.read(source_id=source, kinds=("restored",)) == []
    it.patch = None
    it.run(3, seconds=70)
    assert it.restored(source)
    assert not it.held


def test_a_marker_that_isc_keeps_in_a_form_of_its_own_is_back(it: World) -> None:
    source = it.ids[0]
    own = it.tenant.sources[source]["connectorAttributes"]
    own[MARKER] = False
    it.expected[source] = it.tenant.comparable(source)
    it.loosely = True
    patch = it.tenant.patch

    def as_text(key: str, operations: list[dict[str, Json]]) -> dict[str, Json]:
        done = patch(key, operations)
        live = it.tenant.sources[source]["connectorAttributes"]
        if live.get(MARKER) is False:
            live[MARKER] = done["connectorAttributes"][MARKER] = "false"
        return done

    it.plan([source], lasting=60)
    it.run(2)
    it.clock.pass_by(60)
    it.patch = as_text
    it.run(3)
    assert not it.held
    assert it.restored(source)


# --- Over what mmd stumbles -------------------------------------------------------------------------------


def stumbling(call: Callable[..., object], bad: str) -> Callable[..., object]:
    """A defect that one source brings out, whether a call is given its id or something that has it."""

    def or_not(first: object, *more: object, **options: object) -> object:
        if bad in (first, getattr(first, "source_id", None), options.get("source_id")):
            raise ZeroDivisionError("a defect")
        return call(first, *more, **options)

    return or_not


@pytest.mark.parametrize("what", ["decide", "unseal"])
def test_a_source_over_which_mmd_stumbles_keeps_no_other_waiting(
    it: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bad, *others = it.ids
    it.plan(it.ids, lasting=60)
    it.run(2)
    it.clock.pass_by(60)
    monkeypatch.setattr(reconcile, what, stumbling(getattr(reconcile, what), bad))
    (report,) = it.run()
    assert all(map(it.restored, others))
    assert_told_of(report, bad)


@pytest.mark.parametrize("released", [True, False])
def test_a_snapshot_that_went_bad_keeps_no_other_source_waiting(it: World, released: bool) -> None:
    bad, other = it.ids[:2]
    it.plan([bad], lasting=60 if released else HOUR)
    it.plan([other], lasting=100)
    it.run(2)
    it.clock.pass_by(60)
    it.run(3)
    it.memory.raw.execute("UPDATE snapshot SET treatment = 'fill' WHERE source_id = ?", (bad,))
    it.clock.pass_by(70)
    reports = it.run(2)
    assert it.restored(other)
    assert it.restored(bad) is released
    if not released:
        (failure,) = reports[0].failed
        assert failure.action.source_id == bad
        assert failure.action.source_name == it.tenant.sources[bad]["name"]
        assert isinstance(failure.error, Damaged)
    assert it.store.holds.damaged()


@pytest.mark.parametrize("released", [True, False])
def test_a_snapshot_that_went_bad_hides_no_zombie(it: World, released: bool) -> None:
    bad, zombie = it.ids[:2]
    it.plan([bad], lasting=60 if released else HOUR)
    it.run(2)
    it.clock.pass_by(60)
    escrow = it.tenant.sources[bad]["connectorAttributes"][ESCROW]
    it.run(3)
    it.memory.raw.execute("UPDATE snapshot SET treatment = 'fill' WHERE source_id = ?", (bad,))
    it.tenant.sources[bad]["connectorAttributes"][ESCROW] = escrow
    it.tenant.sources[zombie]["connectorAttributes"][MARKER] = True
    swept = it.sweep()
    assert swept
    assert swept.error is None
    assert {found.source_id for found in swept.findings} == ({bad, zombie} if released else {zombie})


@pytest.mark.parametrize("gone", [True, False])
def test_one_source_that_is_gone_spoils_no_list(
    it: World, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """ISC may answer 404 to a filter in which one id is of nothing, or have no list at all."""
    lost, other = it.ids[:2]
    it.plan([lost, other], lasting=60)
    it.run(2)
    for source in [lost] if gone else [lost, other]:
        it.tenant.delete(source)
    it.clock.pass_by(60)

    async def refused(**_: object) -> AsyncIterator[list[Observation]]:
        raise TenantError("ISC has no GET /sources (404)", status=404)
        yield []

    monkeypatch.setattr(it.process.isc, "pages", refused)
    reports = it.run(3)
    assert it.held == ({lost} if gone else {lost, other})
    assert (reports[0].error is None) is gone


def test_schedules_over_which_mmd_stumbles_keep_no_other_source_waiting(it: World) -> None:
    bad, other = it.ids[:2]
    it.plan([bad], lasting=HOUR)
    it.plan([other], lasting=400)
    it.run(2)
    it.tenant.read_schedules = stumbling(it.tenant.read_schedules, bad)  # type: ignore[method-assign,assignment] # a defect
    it.clock.pass_by(400)
    (report,) = it.run()
    assert it.restored(other)
    assert_told_of(report, bad)


@pytest.mark.parametrize("what", ["judge", "_posture_after"])
def test_a_source_over_which_a_pass_stumbles_hides_no_other(
    it: World, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    bad, changed = it.ids[:2]
    it.plan(it.ids, lasting=HOUR)
    it.run(2)
    before = it.store.sightings.all()
    it.tenant.patch(changed, [{"op": "remove", "path": f"/connectorAttributes/{MARKER}"}])
    monkeypatch.setattr(reconcile, what, stumbling(getattr(reconcile, what), bad))
    (report,) = it.run()
    assert_told_of(report, bad)
    assert it.store.findings.open().keys() == {changed}
    seen = {
        key for key, item in it.store.sightings.all().items() if item.observed_at > before[key].observed_at
    }
    assert seen >= {*it.ids} - {bad}


def test_a_finding_stays_while_mmd_stumbles_over_its_source(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = it.ids[0]
    it.plan([bad], lasting=HOUR)
    it.run(2)
    it.tenant.patch(bad, [{"op": "remove", "path": f"/connectorAttributes/{MARKER}"}])
    it.run()
    assert it.store.findings.open().keys() == {bad}
    monkeypatch.setattr(reconcile, "judge", stumbling(judge, bad))
    it.run()
    assert it.store.findings.open().keys() == {bad}


def assert_told_of(report: Report, bad: str) -> None:
    assert {outcome.action.source_id: str(outcome.error) for outcome in report.failed} == {
        bad: "unexpected ZeroDivisionError: a defect"
    }
    assert report.error is None  # or nothing else would be told


def test_a_source_over_which_a_sweep_stumbles_hides_no_other(
    it: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, *others = it.ids
    for source in it.ids:
        it.tenant.patch(source, [{"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": True}])
    it.sweep()
    monkeypatch.setattr(sweep, "judge", stumbling(judge, bad))
    for source in others:
        it.tenant.patch(source, [{"op": "remove", "path": f"/connectorAttributes/{MARKER}"}])
    it.tenant.patch(others[0], [{"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": True}])
    swept = it.sweep()
    assert swept is not None
    assert "unexpected ZeroDivisionError" in str(swept.error)
    assert swept.sources == len(it.ids)
    assert [finding.source_id for finding in swept.findings] == others[:1]
    assert set(it.store.findings.open()) == set(it.ids)  # nothing is cleared by a sweep that was not whole
