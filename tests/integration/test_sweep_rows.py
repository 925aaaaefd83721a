"""A page that shows less of a source than the source's own document does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from world import World, drive

from mmd.findings import Kind
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


def test_a_source_that_shows_no_attributes_anywhere_makes_the_sweep_incomplete() -> None:
    world = _marked()
    world.lens = lambda source, crons: ({**source, "connectorAttributes": None}, crons)
    world.lens_for = 10_000
    swept = drive(world.process.sweeper.run())
    assert swept.error is not None
    assert "does not show the attributes of 3 sources" in swept.error.message
    assert not world.store.findings.open()
    world.close()


def test_features_alone_that_are_not_shown_leave_the_sweep_complete() -> None:
    world = _marked()
    world.lens = lambda source, crons: ({**source, "features": None}, crons)
    world.lens_for = 10_000
    swept = drive(world.process.sweeper.run())
    assert swept.error is None
    assert [item.source_id for item in swept.findings] == [world.ids[1]]
    world.close()
