"""The next life dies as well: every pair of seams, and the third life brings everything back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
from matrix import LASTING, PHASES, Phase, at_peace, first_life, starting
from scale import ALL
from shapes import SHAPES, Shape
from world import Fault, Kind, State, World

pytestmark = pytest.mark.slow

ELEVEN = SHAPES[:11]
LONGEST = 60  # seams, more than any life has
SAMPLE = 9  # of so many pairs of seams one, another one for each shape
DEATHS: tuple[Kind, ...] = ("die before", "die after")
THREE = [phase for phase in PHASES if not (phase.recovers or phase.forgets)]


def deaths(world: World, state: State, phase: Phase) -> Iterator[tuple[int, Kind, State]]:
    """Every death in the phase, and the state it leaves behind."""
    for seam in count(1):
        for kind in DEATHS:
            world.load(state)
            if not first_life(world, phase, [Fault(seam, kind)]):
                return
            assert not world.lost, world.lost
            world.begin()
            yield seam, kind, world.save()


def dies_again(world: World, left: State, shape: Shape, phase: Phase, fault: Fault, *, later: bool) -> bool:
    """The second life dies in its turn; the third one brings everything back. Tell whether it died."""
    world.load(left)
    world.begin()
    if later:
        world.clock.pass_by(2 * LASTING)
    elif phase.name == "restore":
        world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)
    world.begin([fault])
    world.run(4)
    if not world.seams.fired:
        return False
    world.begin()
    if not later:
        world.run(1)
        world.clock.pass_by(2 * LASTING)
    at_peace(world)
    return True


def second_deaths(world: World, left: State, shape: Shape, phase: Phase, first: int, *, later: bool) -> int:
    """Every death of the second life, or a sample of them. Return how many."""
    runs = 0
    for second in count(1):
        if not ALL and second < LONGEST and (first * 5 + second + shape.number) % SAMPLE:
            continue
        faults = [Fault(second, again) for again in DEATHS]
        died = [dies_again(world, left, shape, phase, fault, later=later) for fault in faults]
        assert not world.lost, (second, world.lost)
        if not any(died):
            return runs
        runs += sum(died)
    raise AssertionError


@pytest.mark.parametrize("shape", ELEVEN, ids=str)
@pytest.mark.parametrize("phase", THREE, ids=lambda phase: phase.name)
def test_every_pair_of_deaths(phase: Phase, shape: Shape, tally: Callable[[str, int], None]) -> None:
    runs = 0
    with starting(phase, shape) as (world, state):
        for first, kind, left in deaths(world, state, phase):
            for later in (False, True):
                try:
                    runs += second_deaths(world, left, shape, phase, first, later=later)
                except AssertionError as error:
                    when = "over" if later else "open"
                    raise AssertionError(f"{kind} seam {first}, then window {when}: {error}") from error
    tally("T2 double crashes", runs)
