"""A source that takes its time keeps no other waiting."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from mmd.errors import MmdError, Unreachable
from mmd.isc import Priority
from mmd.plan import Verb
from mmd.posture import Observation
from mmd.reconcile import Outcome, Report


def test_a_slow_source_is_gone_on_with_while_another_window_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    it = World()
    slow, quick = it.ids[0], it.ids[1]
    it.plan([quick], lasting=60)
    it.run(2)
    it.plan([slow], lasting=3600)
    stuck = asyncio.Event()
    read = it.reconciler._isc.source

    async def reading(source_id: str, *, priority: Priority) -> Observation:
        if source_id == slow:
            await stuck.wait()
        return await read(source_id, priority=priority)

    monkeypatch.setattr(it.reconciler._isc, "source", reading)

    async def story() -> list[Outcome]:
        await it.reconciler.run(patience=0.01)
        it.clock.pass_by(61)
        second = await it.reconciler.run(patience=0.01)
        if quick in it.reconciler._busy:  # on a busy machine it takes longer than the pass had patience
            await it.reconciler._busy[quick]
        assert it.restored(quick)
        stuck.set()
        await it.reconciler.drain()
        third = await it.reconciler.run(patience=0.01)
        return [*second.outcomes, *third.outcomes]

    outcomes = asyncio.run(asyncio.wait_for(story(), 30))
    done = [(outcome.action.source_id, outcome.action.verb) for outcome in outcomes if outcome.error is None]
    assert (quick, Verb.RESTORE) in done
    it.run(3)
    assert it.in_maintenance(slow)
    it.close()


def test_what_came_of_a_slow_source_outlives_a_pass_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    it = World()
    source = it.ids[0]
    it.plan([source])
    stuck = asyncio.Event()
    read = it.reconciler._isc.source

    async def reading(source_id: str, *, priority: Priority) -> Observation:
        if priority is Priority.ENTER:
            await stuck.wait()
            raise Unreachable("ISC is gone")
        return await read(source_id, priority=priority)

    def unreadable(*_: object, **__: object) -> None:
        raise MmdError("the database cannot be read")

    monkeypatch.setattr(it.reconciler._isc, "source", reading)

    async def story() -> tuple[Report, Report, Report]:
        first = await it.reconciler.run(patience=0.01)
        stuck.set()
        await it.reconciler.drain()
        with monkeypatch.context() as broken:
            broken.setattr(it.store.plans, "current", unreadable)
            with pytest.raises(MmdError, match="cannot be read") as raised:
                await it.reconciler.run(patience=0.01)
        second = Report(at=it.clock.now(), error=raised.value, underway=it.reconciler.underway)
        return first, second, await it.reconciler.run(patience=0.01)

    first, second, third = asyncio.run(asyncio.wait_for(story(), 30))
    assert first.joined(second).underway == {source}
    whole = first.joined(second).joined(third)
    assert isinstance(whole.verdict, Unreachable)
    assert not whole.underway
    it.close()


def test_a_source_that_is_being_entered_again_is_not_looked_at_beside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    it = World()
    source = it.ids[0]
    it.plan([source], lasting=60)
    it.run(2)
    it.clock.pass_by(60)
    it.run(3)
    assert not it.held
    it.plan([source])
    stuck = asyncio.Event()
    read = it.reconciler._isc.source

    async def reading(source_id: str, *, priority: Priority) -> Observation:
        if priority is Priority.ENTER:
            await stuck.wait()
        return await read(source_id, priority=priority)

    monkeypatch.setattr(it.reconciler._isc, "source", reading)

    async def story() -> int:
        await it.reconciler.run(patience=0.01)
        assert it.reconciler.underway == {source}
        requests = it.seams.count
        it.clock.pass_by(70)  # its look is due as well
        await it.reconciler.run(patience=0.01)
        requests = it.seams.count - requests
        stuck.set()
        await it.reconciler.drain()
        return requests

    assert asyncio.run(asyncio.wait_for(story(), 30)) == 0
    it.run(2)
    assert it.in_maintenance(source)
    it.close()
