"""A process that stands still in the midst of entering, and goes on long after the window has closed.

Nothing can stop its next request: ISC knows neither leases nor conditions. What slips through is undone by
those who look again after a restoration (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Literal

import pytest
from matrix import at_peace
from scale import ALL
from shapes import SHAPES, Shape, tenant_of
from world import Fault, World

pytestmark = pytest.mark.slow

LASTING = 600.0
FREEZES: tuple[Literal["freeze before", "freeze after"], ...] = ("freeze before", "freeze after")
# What goes on while one process stands still, and whether its monotonic clock stands still as well, as it
# does while a machine is suspended.
MEANWHILES = [
    pytest.param(others, suspended, id=f"{name}-{'suspended' if suspended else 'stopped'}")
    for others, name in ((True, "restored"), (False, "alone"))
    for suspended in (True, False)
]


def sleep_over(world: World, *, others: bool, suspended: bool) -> None:
    """The window closes; perhaps another process restores and releases everything meanwhile."""
    frozen, monotonic = world.process, world.clock.monotonic
    world.clock.pass_by(LASTING)
    if others:
        world.begin()
        assert world.settle()
        world.process = frozen
    if suspended:
        world.clock.monotonic = monotonic


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::6], ids=str)
@pytest.mark.parametrize(("others", "suspended"), MEANWHILES)
def test_a_process_frozen_at_every_seam_of_entering_leaves_nothing_behind(
    shape: Shape, tally: Callable[[str, int], None], *, others: bool, suspended: bool
) -> None:
    world, runs = World(tenant_of(shape)), 0
    world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)
    world.sweep()
    looks_odd = set(world.store.findings.open())  # by nature, as some sources do
    start = world.save()
    for seam in count(1):
        fired = 0
        for kind in FREEZES:
            world.load(start)

            def meanwhile() -> None:
                sleep_over(world, others=others, suspended=suspended)

            world.begin([Fault(seam, kind, meanwhile)])
            world.run(2)
            fired += world.seams.fired
            world.begin()
            look_again(world, (seam, kind))
            found = world.store.findings.open()
            assert set(found) == looks_odd, (seam, kind, found)
            runs += 1
        if not fired:
            break
    world.close()
    tally("T4 frozen processes", runs)


def look_again(world: World, where: object) -> None:
    """The daemon runs on for two hours, and looks at what it released."""
    for _ in range(10):
        world.run(1, seconds=60)
    for _ in range(3):
        world.run(2, seconds=1800)
    world.sweep()
    world.lost.clear()
    try:
        at_peace(world)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
