"""A source that takes its time keeps no other waiting."""

from __future__ import annotations

import asyncio

import pytest
from world import World

from mmd.isc import Priority
from mmd.plan import Verb
from mmd.posture import Observation


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

    async def story() -> list[Verb]:
        await it.reconciler.run(patience=0.01)
        it.clock.pass_by(61)
        second = await it.reconciler.run(patience=0.01)
        assert it.restored(quick)
        stuck.set()
        await it.reconciler.drain()
        await it.reconciler.run(patience=0.01)
        return [outcome.action.verb for outcome in second.outcomes]

    assert asyncio.run(story()) == [Verb.RESTORE]
    it.run(3)
    assert it.in_maintenance(slow)
    it.close()
