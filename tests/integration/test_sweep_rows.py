"""A page that shows less of a source than the source's own document does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from world import World, drive

from mmd.errors import Unreachable
from mmd.findings import Kind
from mmd.isc import Priority
from mmd.posture import MARKER, Observation

Bare = Callable[[Observation], Observation]


def _marked() -> World:
    """A world in which somebody has set the marker on the second source."""
    world = World()
    path = f"/connectorAttributes/{MARKER}"
    world.tenant.patch(world.ids[1], [{"op": "add", "path": path, "value": True}])
    return world


def _shows(world: World, bare: Bare, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = world.process.isc.pages

    async def shown(**more: Any) -> AsyncIterator[Sequence[Observation]]:  # noqa: ANN401 - its own
        async for page in pages(**more):
            yield [bare(observed) for observed in page]

    monkeypatch.setattr(world.process.isc, "pages", shown)


def _without_attributes(observed: Observation) -> Observation:
    return replace(observed, attributes=None)


def test_a_zombie_whose_row_is_bare_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _marked()
    _shows(world, _without_attributes, monkeypatch)
    swept = drive(world.process.sweeper.run())
    assert [(item.source_id, item.kind) for item in swept.findings] == [(world.ids[1], Kind.ORPHAN)]
    assert swept.error is None
    world.close()


def test_a_source_that_shows_no_attributes_anywhere_is_told_and_hides_nothing_else() -> None:
    world = _marked()
    hidden = world.ids[0]
    world.lens = lambda source, crons: (
        {**source, "connectorAttributes": None} if source["id"] == hidden else source,
        crons,
    )
    world.lens_for = 10_000
    swept = drive(world.process.sweeper.run())
    assert swept.blind == (world.tenant.sources[hidden]["name"],)
    assert swept.error is None
    assert [item.source_id for item in swept.findings] == [world.ids[1]]
    world.close()


@pytest.mark.parametrize("bad", [0, 1], ids=["another", "the zombie"])
def test_a_source_that_cannot_be_read_by_itself_hides_no_zombie(
    bad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = _marked()
    broken, zombie = world.ids[bad], world.ids[1]
    _shows(world, lambda seen: seen if seen.source_id == zombie else _without_attributes(seen), monkeypatch)
    read = world.process.isc.source

    async def source(source_id: str, *, priority: Priority) -> Observation:
        if source_id == broken:
            raise Unreachable("ISC failed at GET source (500)", status=500)
        return await read(source_id, priority=priority)

    monkeypatch.setattr(world.process.isc, "source", source)
    swept = drive(world.process.sweeper.run())
    assert swept.error is None
    assert [item.source_id for item in swept.findings] == [world.ids[1]]
    world.close()


def test_features_alone_that_are_not_shown_cost_no_request_and_leave_the_sweep_complete() -> None:
    world = _marked()
    world.lens = lambda source, crons: ({**source, "features": None}, crons)
    world.lens_for = 10_000
    swept = drive(world.process.sweeper.run())
    assert world.reads == 1 + 2, "a page, and the zombie with its schedules"
    assert swept.error is None
    assert [item.source_id for item in swept.findings] == [world.ids[1]]
    world.close()


@pytest.mark.parametrize("there", [True, False])
def test_a_zombie_that_slips_between_two_pages_stays_one(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = _marked()
    zombie = world.ids[1]
    drive(world.process.sweeper.run())
    pages = world.process.isc.pages

    async def slipping(**more: Any) -> AsyncIterator[Sequence[Observation]]:  # noqa: ANN401 - its own
        async for page in pages(**more):
            yield [observed for observed in page if observed.source_id != zombie]

    monkeypatch.setattr(world.process.isc, "pages", slipping)
    if not there:
        world.tenant.delete(zombie)
    swept = drive(world.process.sweeper.run())
    assert swept.error is None
    assert [item.source_id for item in swept.findings] == [zombie] * there
    assert list(world.store.findings.open()) == [zombie] * there
    world.close()


def test_a_source_that_is_held_still_is_not_taken_back_by_a_sweep() -> None:
    world = World()
    source = world.ids[0]
    world.plan([source], lasting=60)
    world.run(2)
    world.clock.pass_by(600)  # no pass meanwhile
    swept = drive(world.process.sweeper.run())
    assert swept.reopened == 0
    assert [(item.source_id, item.kind) for item in swept.findings] == [(source, Kind.OVERDUE)]
    assert list(world.store.findings.open()) == [source]
    world.close()


def test_a_zombie_on_no_page_that_cannot_be_read_keeps_its_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    world = _marked()
    drive(world.process.sweeper.run())

    async def none(**_: object) -> AsyncIterator[Sequence[Observation]]:
        yield []

    async def failing(_: str, *, priority: Priority) -> Observation:
        del priority
        raise Unreachable("ISC failed at GET source (500)", status=500)

    monkeypatch.setattr(world.process.isc, "pages", none)
    monkeypatch.setattr(world.process.isc, "source", failing)
    swept = drive(world.process.sweeper.run())
    assert swept.error is None
    assert list(world.store.findings.open()) == [world.ids[1]]
    world.close()
