"""Every source comes back: after any sequence of passes, times, crashes and lost replies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import KINDS, Fault, World

from mmd.errors import Rejected
from mmd.plan import WRITES, Verb
from mmd.posture import ACCOUNTS, GROUPS, HEALTH_FLAG, MARKER, Treatment
from mmd.simulator import make_tenant

HOUR = 3600.0


@contextmanager
def world() -> Iterator[World]:
    made = World()
    try:
        yield made
    finally:
        made.close()


def test_a_window_enters_holds_and_restores() -> None:
    with world() as it:
        it.plan(it.ids, lasting=HOUR)
        it.run(3)
        assert all(it.in_maintenance(key) for key in it.ids)
        writes = it.writes
        it.run(20)
        assert it.writes == writes  # a settled world is left alone
        it.clock.pass_by(HOUR)
        it.run(3)
        assert all(it.restored(key) for key in it.ids)
        assert it.store.holds.held() == {}
        assert it.lost == []


@pytest.mark.parametrize("treatment", list(Treatment))
def test_each_treatment_comes_back_for_every_shape_of_source(treatment: Treatment) -> None:
    it = World(make_tenant(sources=12, seed=7))
    it.plan(it.ids, treatment=treatment.value)
    it.run(2)
    partial = [key for key in it.ids if not isinstance(it.before[key]["source"].get("features"), list)]
    assert [key for key in it.ids if not it.in_maintenance(key)] == partial
    assert len(partial) < len(it.ids) / 2
    it.clock.pass_by(HOUR)
    it.run(3)
    assert all(it.restored(key) for key in it.ids)
    it.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", ["enter", "restore"])
@pytest.mark.parametrize("later", ["window still open", "window over"])
def test_one_fault_at_every_seam_loses_nothing(kind: str, phase: str, later: str) -> None:
    for seam in range(1, 200):
        with world() as it:
            it.plan(it.ids[:2], lasting=HOUR)
            if phase == "restore":
                it.run(2)
                it.clock.pass_by(HOUR)
            it.begin([Fault(seam, kind)])  # type: ignore[arg-type] # one of KINDS
            it.run(2)
            fired = it.seams.fired
            if later == "window over" and phase == "enter":
                it.clock.pass_by(HOUR)
            it.quiet(4)
            if later == "window still open" and phase == "enter":
                assert all(it.in_maintenance(key) for key in it.ids[:2]), (seam, it.seams.trace)
            it.clock.pass_by(2 * HOUR)
            it.quiet(4)
            assert all(it.restored(key) for key in it.ids), (seam, kind, it.seams.trace)
            assert it.lost == [], (seam, kind)
            if not fired:
                assert seam > 20  # the loop went through all of it
                return
    pytest.fail("the loop did not come to its end")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 5000)),
        st.tuples(st.just("window"), st.integers(0, 2)),
        st.tuples(st.just("overlap"), st.integers(0, 2)),
        *(st.tuples(st.just(kind), st.integers(1, 40)) for kind in KINDS),
    ),
    max_size=25,
)


@pytest.mark.slow
@settings(max_examples=60)
@given(steps)
def test_every_source_comes_back(script: list[tuple[str, int]]) -> None:
    with world() as it:
        for word, number in script:
            if word == "pass":
                it.run()
            elif word == "wait":
                it.clock.pass_by(number)
            elif word == "window":
                it.begin()
                it.plan([it.ids[number]], lasting=1800)
            elif word == "overlap":
                it.begin()
                it.plan(it.ids[: number + 1], after=900, lasting=1800)
            else:
                it.begin([Fault(number, word)])  # type: ignore[arg-type] # one of KINDS
                it.run(3)
                it.begin()
        it.quiet(2)
        it.clock.pass_by(3 * HOUR)
        it.quiet(6)
        assert all(it.restored(key) for key in it.ids)
        assert it.store.holds.held() == {}
        assert it.lost == []
        reports = it.run()
        assert all(outcome.action.verb not in WRITES for outcome in reports[0].outcomes)


def test_overlapping_windows_are_a_union() -> None:
    with world() as it:
        it.plan(it.ids[:1], lasting=600)
        it.plan(it.ids[:1], after=300, lasting=600)
        it.run(2)
        it.clock.pass_by(700)
        it.run(2)
        assert it.in_maintenance(it.ids[0])
        it.clock.pass_by(300)
        it.run(2)
        assert it.restored(it.ids[0])


def test_an_edit_by_someone_else_is_kept_and_reported() -> None:
    with world() as it:
        source = it.ids[0]
        it.plan([source], lasting=600)
        it.run(2)
        it.tenant.post_schedule(source, {"type": ACCOUNTS, "cronExpression": "0 15 3 * * ?"})
        it.tenant.patch(source, [{"op": "replace", "path": "/features", "value": ["PROXY"]}])
        it.tenant.patch(source, [{"op": "add", "path": "/description", "value": "edited"}])
        it.clock.pass_by(301)
        it.run(2)
        assert it.in_maintenance(source)
        it.clock.pass_by(600)
        it.run(3)
        live = it.tenant.comparable(source)
        assert live["schedules"][ACCOUNTS] == "0 15 3 * * ?"
        assert live["schedules"].get(GROUPS) == it.before[source]["schedules"].get(GROUPS)
        assert set(live["source"]["features"]) == {*it.before[source]["source"]["features"], "PROXY"}
        assert live["source"]["description"] == "edited"
        kept = [entry.body["kept"] for entry in it.store.journal.read(kinds=("restored",))]
        assert any("PROXY" in str(note) for note in kept)


def test_interference_is_undone_twice_and_then_contested() -> None:
    with world() as it:
        source = it.ids[0]
        it.plan([source], lasting=HOUR)
        it.run(2)
        for _ in range(2):
            it.tenant.patch(
                source, [{"op": "add", "path": f"/connectorAttributes/{HEALTH_FLAG}", "value": False}]
            )
            it.run(1)
            assert it.in_maintenance(source)
        it.tenant.patch(
            source, [{"op": "add", "path": f"/connectorAttributes/{HEALTH_FLAG}", "value": False}]
        )
        verbs = [outcome.action.verb for report in it.run(2) for outcome in report.outcomes]
        assert verbs == [Verb.ALERT, Verb.ALERT]
        it.clock.pass_by(HOUR)
        it.run(3)
        assert it.tenant.comparable(source)["source"]["features"] == it.before[source]["source"]["features"]


def test_a_refused_treatment_is_undone_and_not_tried_again() -> None:
    with world() as it:
        bad, good = it.ids[0], it.ids[1]
        patch = it.tenant.patch

        def refusing(source_id: str, operations: list[dict[str, object]]) -> object:
            if source_id == bad and operations[0]["path"] == "/features" and operations[0]["value"] == []:
                from mmd.simulator.problems import Problem  # noqa: PLC0415 - the one place

                raise Problem(400, "the connector wants its features")
            return patch(source_id, operations)

        it.tenant.patch = refusing  # type: ignore[method-assign, assignment] # a connector with a will of its own
        it.plan([bad, good], lasting=HOUR)
        first, *_ = it.run(4)
        assert [type(outcome.error) for outcome in first.failed] == [Rejected]
        assert it.restored(bad)
        assert it.in_maintenance(good)


def test_a_source_that_always_fails_delays_no_other() -> None:
    with world() as it:
        bad = it.ids[0]
        read = it.tenant.read_schedules

        def failing(source_id: str) -> object:
            if source_id == bad:
                raise ZeroDivisionError("a defect")
            return read(source_id)

        it.tenant.read_schedules = failing  # type: ignore[method-assign, assignment] # a defect with one source
        it.plan(it.ids, lasting=HOUR)
        report, *_ = it.run()
        assert [outcome.action.source_id for outcome in report.failed] == [bad]
        assert all(it.in_maintenance(key) for key in it.ids[1:])


def test_a_source_in_maintenance_by_another_hand_is_never_touched() -> None:
    with world() as it:
        source = it.ids[0]
        it.tenant.patch(source, [{"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": "true"}])
        it.plan([source], lasting=600)
        it.run(3)
        it.clock.pass_by(HOUR)
        it.run(3)
        assert it.writes == 0
