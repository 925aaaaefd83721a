"""What mmd sees is late, or not all there was: stale reads, changes it never saw, and all that lies between.

The third of the kind, a state in the midst of a change, is the crash matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, product

import pytest
from matrix import at_peace
from people import People
from scale import ALL
from shapes import SHAPES, Shape, tenant_of
from world import Stale, World

from mmd.posture import ACCOUNTS, GROUPS, HEALTH_FLAG, PROVISIONING_FLAG

pytestmark = pytest.mark.slow

SOURCE = "s1"
LASTING = 240.0
GAPS = (3.0, 65.0)  # seconds from the end of one window to the start of the next
# So many reads show the source as it was so many changes ago.
LATE = [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]


def two_windows(world: World, shape: Shape, gap: float) -> None:
    """Live through two windows, one soon after the other."""
    for after in (0, LASTING + gap):
        world.plan(world.ids, after=after, lasting=LASTING, treatment=shape.treatment.value)
    world.begin()
    world.run(4, seconds=60)
    world.clock.pass_by(1)
    world.run(3, seconds=1)
    world.clock.pass_by(gap)
    world.run(4, seconds=1)
    world.clock.pass_by(LASTING)
    world.run(3)
    at_peace(world)


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_stale_read_over_two_windows(shape: Shape, gap: float, tally: Callable[[str, int], None]) -> None:
    world, runs = World(tenant_of(shape)), 0
    start = world.save()
    for number in count(1):
        late = LATE if ALL else [LATE[(number + shape.number + step) % len(LATE)] for step in range(2)]
        for back, reads in late:
            world.load(start)
            world.stale = Stale(at=number, back=back, reads=reads)
            try:
                two_windows(world, shape, gap)
            except AssertionError as error:
                raise AssertionError(f"read {number}, {back} back, {reads} reads: {error}") from error
            runs += 1
        if number > world.reads:
            break
    world.close()
    assert runs > 40
    tally("T3 stale reads, unobserved changes", runs)


Change = Callable[[People], None]
CHANGES: dict[str, tuple[Change, ...]] = {
    "none": (),
    "a feature": (lambda people: people.feature(SOURCE, "PROXY"),),
    "a provisioning feature": (lambda people: people.feature(SOURCE, "DELETE"),),
    "a schedule": (lambda people: people.schedule(SOURCE, ACCOUNTS, "0 1 2 * * ?"),),
    "a schedule, and away again": (
        lambda people: people.schedule(SOURCE, GROUPS, "0 1 2 * * ?"),
        lambda people: people.schedule(SOURCE, GROUPS, None),
    ),
    "a flag": (lambda people: people.flag(SOURCE, HEALTH_FLAG, "off"),),
    "a flag on and off": (
        lambda people: people.flag(SOURCE, PROVISIONING_FLAG, "true"),
        lambda people: people.flag(SOURCE, PROVISIONING_FLAG, False),
    ),
    "the escrow taken off": (lambda people: people.strip(SOURCE),),
    "the workflow's Disable": (lambda people: people.disable(SOURCE),),
    "the workflow's Enable": (lambda people: people.enable(SOURCE),),
    "the workflow's both": (
        lambda people: people.disable(SOURCE),
        lambda people: people.enable(SOURCE),
    ),
    "a description": (lambda people: people.describe(SOURCE, "edited"),),
}


MINUTES = range(9)  # five of a window, and four after it
MADE = (1, 3)  # in which minute the change comes


def with_changes(world: World, changes: tuple[Change, ...], *, skipped: range, made_at: int) -> None:
    """Live minute by minute, without the passes of some of them, while somebody makes changes."""
    people = People(world)
    for minute in MINUTES:
        if minute not in skipped:
            world.run(2, seconds=1)
            world.clock.pass_by(-2)
        if 0 <= minute - made_at < len(changes):
            changes[minute - made_at](people)
        world.clock.pass_by(60)
    at_peace(world)


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::4], ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_passes_that_never_came(change: str, shape: Shape, tally: Callable[[str, int], None]) -> None:
    world, runs = World(tenant_of(shape)), 0
    world.plan(world.ids, lasting=290, treatment=shape.treatment.value)
    start = world.save()
    for first, long in product(MINUTES, (1, 2, 4)):
        for made_at in MADE if ALL else (MADE[(first + long + shape.number) % 2],):
            world.load(start)
            world.begin()
            skipped = range(first, first + long)
            try:
                with_changes(world, CHANGES[change], skipped=skipped, made_at=made_at)
            except AssertionError as error:
                raise AssertionError(f"no passes in {skipped}, change in {made_at}: {error}") from error
            runs += 1
    world.close()
    tally("T3 stale reads, unobserved changes", runs)
