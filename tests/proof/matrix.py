"""One life with one fault, what is lost with it, the lives after it, and what must be true at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, product
from typing import Final

from shapes import Shape, tenant_of
from world import KINDS, Fault, State, World

from mmd.posture import ACCOUNTS

SOURCE: Final = "s1"
LASTING: Final = 3600.0
PASSES: Final = 3  # of a life with a fault in it

# What is lost together with the process: nothing, the database, the escrow.
LOSSES: Final = ("nothing", "database", "escrow")
# When the next life begins: while a window is open, after it closed, or while ISC cannot be reached.
LATERS: Final = ("window open", "window over", "ISC down")


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the life of a window, by the state it starts from and what the process then does."""

    name: str
    prepare: Callable[[World, Shape], None]
    recovers: bool = False  # the process begins with `mmd recover`
    forgets: bool = False  # its database may know nothing of the window: the next one begins with it, too
    losses: tuple[str, ...] = LOSSES


def _open(world: World, shape: Shape) -> None:
    world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)


def _hold(world: World, shape: Shape) -> None:
    _open(world, shape)
    world.run(2)


def _make_a_schedule(world: World) -> None:
    cron = "0 7 7 * * ?"
    world.tenant.post_schedule(SOURCE, {"type": ACCOUNTS, "cronExpression": cron})
    world.expected[SOURCE]["schedules"][ACCOUNTS] = cron


def _edited(world: World, shape: Shape) -> None:
    """In maintenance, and an administrator has given it a schedule and a feature of his own since."""
    _hold(world, shape)
    _make_a_schedule(world)
    live = world.tenant.sources[SOURCE]["features"]
    value = [*live, "PROXY"]
    world.tenant.patch(SOURCE, [{"op": "replace", "path": "/features", "value": value}])
    right = world.expected[SOURCE]
    right["source"]["features"] = sorted({*right["source"]["features"], "PROXY"})
    world.clock.pass_by(301)


def _over(world: World, shape: Shape) -> None:
    _hold(world, shape)
    world.clock.pass_by(LASTING)


def _forgotten(world: World, shape: Shape) -> None:
    _hold(world, shape)
    world.wipe()


def _backed_up(world: World, shape: Shape) -> None:
    """In maintenance, edited since, and the database is a backup of before that."""
    _open(world, shape)
    old = world.memory.raw.serialize()
    world.run(2)
    _make_a_schedule(world)
    world.memory.load(old)


PHASES: Final = (
    Phase("enter", _open),
    Phase("hold", _edited),
    Phase("restore", _over),
    Phase("recovery", _forgotten, recovers=True, losses=("nothing", "database")),
    Phase("recall", _backed_up, losses=("nothing", "database"), forgets=True),
)


@contextmanager
def starting(phase: Phase, shape: Shape) -> Iterator[tuple[World, State]]:
    """A world of one source, and the state at the beginning of the phase."""
    world = World(tenant_of(shape))
    world.expected = {key: world.tenant.comparable(key) for key in world.ids}
    phase.prepare(world, shape)
    try:
        yield world, world.save()
    finally:
        world.close()


def first_life(world: World, phase: Phase, faults: Sequence[Fault]) -> int:
    """Live with faults; return how many of them happened."""
    world.begin(faults)
    if not phase.recovers or world.recover():
        world.run(PASSES)
    return world.seams.fired


def lose(world: World, loss: str) -> None:
    """Lose the database, or the escrow."""
    if loss == "database":
        world.wipe()
    elif loss == "escrow":
        world.strip()


def next_life(world: World, phase: Phase, shape: Shape, loss: str, later: str) -> None:
    """Live on until all is well, and look closely whether it is."""
    if later == "window open" and phase.name == "restore":
        world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)
    elif later == "window over":
        world.clock.pass_by(2 * LASTING)
    elif later == "ISC down":
        world.down = True
        world.run(3, seconds=LASTING)
        world.down = False
    if loss == "database" or phase.recovers or phase.forgets:
        assert world.recover()
    if later == "window open":
        world.run(2, seconds=70)
        for key in world.held:
            assert not world.tenant.schedules[key], "held and wanted, and not in maintenance"
            assert None not in world.copies(key), "held, and kept once"
        if loss != "database" or phase.recovers:
            assert world.held == set(world.ids), "wanted, and not held"
        world.clock.pass_by(2 * LASTING)
    at_peace(world)


def at_peace(world: World) -> None:
    """Every source is what it should be, nothing is held, nothing was ever at risk, and nothing is done."""
    settled = world.settle()
    assert not world.lost, world.lost
    differing = [world.differs(key) for key in world.ids if not world.restored(key)]
    assert not differing, differing
    assert settled, f"still held: {sorted(world.held)}"
    writes = world.writes
    world.run()
    assert world.writes == writes, "not quiet"


def one_fault(
    world: World,
    state: State,
    phase: Phase,
    shape: Shape,
    fault: Fault,
    variants: Sequence[tuple[str, str]],
) -> int:
    """A life with a fault, and after it each of these losses and times. Return how many runs that is."""
    world.load(state)
    if not first_life(world, phase, [fault]):
        return 0
    left = world.save()
    for number, (loss, later) in enumerate(variants):
        ended = fault.kind.startswith("die") or loss != "nothing"
        if number and ended:
            world.load(left)
        elif number:  # the process goes on, and what it knows is in no state
            world.load(state)
            assert first_life(world, phase, [fault]), "the same life met no fault"
        world.seams.faults = []
        if ended:
            world.begin()
        lose(world, loss)
        try:
            next_life(world, phase, shape, loss, later)
        except AssertionError as error:
            said = f"{shape}, {phase.name}, {fault.kind} seam {fault.at}, lost: {loss}, then {later}"
            raise AssertionError(f"{said}: {error}\n{world.seams.trace}") from error
    return len(variants)


def crashes(phase: Phase, shape: Shape, *, turns: int | None = None) -> int:
    """Every seam, every kind of fault; of losses and times all, or so many in turn. Return how many runs."""
    variants, runs, turn = list(product(phase.losses, LATERS)), 0, shape.number
    with starting(phase, shape) as (world, state):
        for seam in count(1):
            fired = 0
            for kind in KINDS:
                chosen = [variants[(turn + step) % len(variants)] for step in range(turns or len(variants))]
                turn += len(chosen)
                fired += one_fault(world, state, phase, shape, Fault(seam, kind), chosen)
            runs += fired
            if not fired:
                assert seam > 5, "the loop did not go through the phase"
                return runs
    raise AssertionError
