"""Lives in which something is late, unseen, old or frozen; each must end well."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count, product
from typing import Final, Literal

from matrix import SOURCE, at_peace
from people import People
from shapes import SHAPES, Shape, tenant_of
from world import KEY, ROTATED, START, Fault, Stale, World

from mmd.amend import Edit, cancel, edit
from mmd.errors import MmdError
from mmd.posture import ACCOUNTS, GROUPS, HEALTH_FLAG, MARKER, PROVISIONING_FLAG, Treatment

# --- late reads ---------------------------------------------------------------------------------------------

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
SHORT: Final = 240.0  # seconds of a window
EDITED: Final = "0 1 2 * * ?"
# So many changes ago, so many reads in a row.
LATE: Final = ((1, 1), (2, 1), (3, 1), (1, 2), (1, 3))


def late_reads(shape: Shape, gap: float, *, variants: int = len(LATE)) -> int:
    """Any read of two windows, `gap` seconds apart, shows the source as it was. Return how many lives."""
    world, runs = World(tenant_of(shape)), 0
    start = world.save()
    for number in count(1):
        for step in range(variants):
            back, reads = LATE[(number + shape.number + step) % len(LATE)]
            world.load(start)
            world.stale = Stale(at=number, back=back, reads=reads)
            try:
                _two_windows(world, shape, gap)
            except AssertionError as error:
                raise AssertionError(f"read {number}, {back} back, {reads} reads: {error}") from error
            runs += 1
        if number > world.reads:
            break
    world.close()
    return runs


def _two_windows(world: World, shape: Shape, gap: float) -> None:
    for after in (0, SHORT + gap):
        world.plan(world.ids, after=after, lasting=SHORT, treatment=shape.treatment.value)
    world.begin()
    world.run(4, seconds=60)
    world.clock.pass_by(1)
    world.run(3, seconds=1)
    world.clock.pass_by(gap)
    world.run(4, seconds=1)
    world.clock.pass_by(SHORT)
    world.run(3)
    at_peace(world)


def late_schedules(shape: Shape) -> int:
    """An edit is captured; then any one read shows the source as it was. Return how many lives."""
    world, runs = World(tenant_of(shape)), 0
    world.plan(world.ids, lasting=SHORT, treatment=shape.treatment.value)
    start = world.save()
    for number in count(1):
        for back in range(1, 8):
            world.load(start)
            world.begin()
            try:
                _edited_twice(world, Stale(at=number, back=back))
            except AssertionError as error:
                raise AssertionError(f"read {number}, {back} back: {error}") from error
            runs += 1
        if number > world.reads:
            break
    world.close()
    return runs


def _edited_twice(world: World, late: Stale) -> None:
    people, world.stale = People(world), Stale(at=10_000)  # what was is kept, and not shown yet
    world.run(2)
    people.schedule(SOURCE, ACCOUNTS, EDITED)
    people.flag(SOURCE, HEALTH_FLAG, value=False)
    world.run(2)
    people.flag(SOURCE, HEALTH_FLAG, value=False)
    world.reads, world.stale = 0, late
    world.run(2)
    world.clock.pass_by(SHORT)
    at_peace(world)


def edited_at_any_seam(shape: Shape) -> int:
    """A schedule is edited at any seam of entering: that cron comes back. Return how many lives.

    But for one gap, which no client of ISC can close (docs/reliability.md D7): between the last look at the
    schedule and its deletion.
    """
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=SHORT, treatment=shape.treatment.value)
    start = world.save()
    for seam in count(1):
        world.load(start)
        edit = partial(People(world).schedule, SOURCE, ACCOUNTS, EDITED)
        world.begin([Fault(seam, "freeze before", edit)])
        world.run(2)
        trace = world.seams.trace
        if not world.seams.fired:
            break
        world.clock.pass_by(301)
        world.settle()
        if world.tenant.schedules[SOURCE].get(ACCOUNTS) != EDITED:
            before, after = trace[: seam - 1], trace[seam - 1 :]
            assert "GET schedules" in before, (seam, trace)
            assert after.index(f"DELETE {ACCOUNTS}") < after.index("GET schedules"), (seam, trace)
        else:
            at_peace(world)
    world.close()
    return seam - 1


# --- unseen changes -----------------------------------------------------------------------------------------

Change = Callable[[People], None]
CHANGES: Final[dict[str, tuple[Change, ...]]] = {
    "none": (),
    "a feature": (lambda people: people.feature(SOURCE, "PROXY"),),
    "a provisioning feature": (lambda people: people.feature(SOURCE, "DELETE"),),
    "a schedule": (lambda people: people.schedule(SOURCE, ACCOUNTS, EDITED),),
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
    "the workflow's Disable, and a flag": (
        lambda people: people.disable(SOURCE),
        lambda people: people.flag(SOURCE, PROVISIONING_FLAG, value=False),
    ),
    "a description": (lambda people: people.describe(SOURCE, "edited"),),
}
MINUTES: Final = range(9)  # five of a window, and four after it


def unseen_changes(shape: Shape, change: str = "", *, firsts: range = range(2, 5)) -> int:
    """Passes that never came, while somebody makes changes. Return how many lives."""
    world, runs = World(tenant_of(shape)), 0
    world.plan(world.ids, lasting=290, treatment=shape.treatment.value)
    start = world.save()
    for name, first, long in product([change] if change else CHANGES, firsts, (1, 2, 4)):
        world.load(start)
        world.begin()
        skipped, made_at = range(first, first + long), 1 + 2 * ((first + long + shape.number) % 2)
        try:
            _with_changes(world, CHANGES[name], skipped=skipped, made_at=made_at)
        except AssertionError as error:
            raise AssertionError(f"{name} in {made_at}, no passes in {skipped}: {error}") from error
        runs += 1
    world.close()
    return runs


def _with_changes(world: World, changes: tuple[Change, ...], *, skipped: range, made_at: int) -> None:
    people = People(world)
    for minute in MINUTES:
        if minute not in skipped:
            world.run(2, seconds=1)
            world.clock.pass_by(-2)
        if 0 <= minute - made_at < len(changes):
            changes[minute - made_at](people)
        world.clock.pass_by(60)
    at_peace(world)


# --- old databases ------------------------------------------------------------------------------------------


def backed_up(shape: Shape) -> int:
    """An old backup is put in place: of before the window, of before an edit, of the window before."""
    for between in (_enters, _captures, _goes_through_a_window):
        world = World(tenant_of(shape))
        people = People(world)
        for after in (0, 2000):
            world.plan(world.ids, after=after, lasting=1000, treatment=shape.treatment.value)
        if between is not _enters:
            world.run(2)
        old = world.memory.raw.serialize()
        between(world, people)
        people.backup(old)
        world.begin()
        world.run(2, seconds=70)
        assert not world.tenant.schedules[SOURCE], between.__name__
        world.clock.pass_by(9000)
        try:
            at_peace(world)
        except AssertionError as error:
            raise AssertionError(f"{between.__name__}: {error}") from error
        world.close()
    return 3


def _enters(world: World, _: People) -> None:
    world.run(2)


def _captures(world: World, people: People) -> None:
    people.schedule(SOURCE, ACCOUNTS, EDITED)
    people.feature(SOURCE, "PROXY")
    world.clock.pass_by(301)
    world.run(2)


def _goes_through_a_window(world: World, people: People) -> None:
    world.clock.pass_by(1000)
    world.run(3)
    people.feature(SOURCE, "PROXY")
    world.clock.pass_by(1000)
    world.run(2)


def backed_up_before_the_window(shape: Shape) -> int:
    """The backup holds the source for an older window, and knows nothing of the one that is open.

    The client secret is as it was, or has been changed since.
    """
    for key in (KEY, ROTATED):
        world = World(tenant_of(shape))
        people = People(world)
        world.plan(world.ids, lasting=1000, treatment=shape.treatment.value)
        world.run(2)
        old = world.memory.raw.serialize()
        world.clock.pass_by(1000)
        world.run(3)
        people.feature(SOURCE, "PROXY")
        world.plan(world.ids, lasting=3000, treatment=shape.treatment.value)
        world.run(2)
        people.backup(old)
        world.key = key
        _keeps_off(world, accept_unsigned=key is ROTATED)
        world.close()
    return 2


def of_another_installation(shape: Shape) -> int:
    """Another mmd, with the same secret, has the source in maintenance: a window of ours changes nothing."""
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=3000, treatment=shape.treatment.value)
    world.run(2)
    world.wipe()
    world.plan(world.ids, lasting=2000)
    _keeps_off(world)
    world.close()
    return 1


def _keeps_off(world: World, *, accept_unsigned: bool = False) -> None:
    """A new process touches nothing, until a person says that the escrows are to be believed."""
    world.begin()
    writes = world.writes
    world.run(3, seconds=70)
    world.sweep()
    assert world.writes == writes, "touched on the word of a database that does not know"
    assert world.recover(accept_unsigned=accept_unsigned)
    world.run(2, seconds=70)
    world.clock.pass_by(9000)
    at_peace(world)


def edited_on_the_way_out(shape: Shape) -> int:
    """A feature is added at any seam of restoring a source that keeps its features. Return how many lives."""
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=SHORT, treatment=Treatment.KEEP_FEATURES.value)
    world.run(2)
    world.clock.pass_by(SHORT)
    start = world.save()
    for seam in count(1):
        world.load(start)
        world.begin([Fault(seam, "freeze before", partial(People(world).feature, SOURCE, "PROXY"))])
        world.run(2)
        if not world.seams.fired:
            break
        assert "PROXY" in world.tenant.sources[SOURCE]["features"], (seam, world.seams.trace)
        world.begin()
        at_peace(world)
    world.close()
    return seam - 1


def made_and_deleted_by_others(shape: Shape) -> int:
    """A restoration fails once; others make the schedules anew, and delete them. Return how many lives."""
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=SHORT, treatment=shape.treatment.value)
    world.run(2)
    world.clock.pass_by(SHORT)
    start = world.save()
    for seam in count(1):
        world.load(start)
        world.begin([Fault(seam, "error before")])
        world.run(1)
        if not world.seams.fired:
            break
        people = People(world)
        for kind, cron in shape.crons.items():
            people.schedule(SOURCE, kind, cron)
        world.begin()
        assert world.settle()
        world.clock.pass_by(1300)  # what is late is not so late
        for kind in shape.crons:
            people.schedule(SOURCE, kind, None)
        for _ in range(3):
            world.run(2, seconds=1800)
        at_peace(world)
    world.close()
    return seam - 1


def dies_while_edits_go_back(shape: Shape) -> int:
    """Others have changed the source, and a process dies restoring it. Return how many lives."""
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=SHORT, treatment=shape.treatment.value)
    world.run(2)
    start = world.save()
    for seam in count(1):
        world.load(start)
        people = People(world)
        people.disable(SOURCE)
        people.flag(SOURCE, PROVISIONING_FLAG, value=False)
        world.clock.pass_by(SHORT)
        world.begin([Fault(seam, "die after")])
        world.run(2)
        if not world.seams.fired:
            break
        world.begin()
        at_peace(world)
    world.close()
    return seam - 1


# --- several sources ----------------------------------------------------------------------------------------


def several() -> int:
    """One source always fails; the others come and go as planned."""
    world = World(tenant_of(*SHAPES[:3]))
    read, bad = world.tenant.read_schedules, world.ids[0]

    def failing(source_id: str) -> list[dict[str, str]]:
        if source_id == bad:
            raise ZeroDivisionError("a defect")
        return read(source_id)

    world.plan(world.ids, lasting=600)
    world.tenant.read_schedules = failing  # type: ignore[method-assign] # a defect with one source
    try:
        world.run(2)
    except ZeroDivisionError as error:
        raise AssertionError("a pass failed as a whole") from error
    assert all(not world.tenant.schedules[key] for key in world.ids[1:])
    world.tenant.read_schedules = read  # type: ignore[method-assign] # and the end of it
    world.clock.pass_by(700)
    at_peace(world)
    world.close()
    return 1


# --- clocks that were wrong ---------------------------------------------------------------------------------


def far_ahead(shape: Shape) -> int:
    """The clock is far ahead for a while, trusted or not; then the window is cancelled, or moved."""
    for trusted, cancelled in product((True, False), repeat=2):
        world = World(tenant_of(shape))
        window = world.plan(world.ids, after=HOUR, repeat="FREQ=DAILY", treatment=shape.treatment.value)
        world.run(1)
        world.clock.skew = timedelta(days=20)
        world.run(1, hold_enters=not trusted)
        world.clock.skew = timedelta(0)
        world.run(1, hold_enters=True)
        found, now = world.store.plans.get(window.id), world.clock.now()
        assert found is not None
        assert trusted or not found.recorded, "put on file by a clock that is not to be trusted"
        later = Edit(starts_local=window.starts_local + timedelta(hours=6))
        changed = cancel(found, now) if cancelled else edit(found, later, now)
        world.put(changed)
        for hour in range(1, 49):
            world.clock.pass_by(HOUR)
            world.run(2)
            wanted = not cancelled and hour % 24 == 7
            assert bool(world.held) is wanted, (trusted, cancelled, hour)
        at_peace(world)
        world.close()
    return 4


# --- frozen processes and late requests ---------------------------------------------------------------------

LASTING: Final = 600.0
GAP: Final = 20.0  # seconds between two windows, shorter than until the first look
UNANSWERED: Final[tuple[Literal["die before", "error before"], ...]] = ("die before", "error before")
FREEZES: Final[tuple[Literal["freeze before", "freeze after"], ...]] = ("freeze before", "freeze after")


def frozen(shape: Shape, *, others: bool, suspended: bool) -> int:
    """A process stands still at any seam of entering until the window is over. Return how many lives.

    Meanwhile others restore the source, or nobody does; its monotonic clock stands still as well, as it does
    while a machine is suspended, or does not.
    """
    world, runs = _ready(shape), 0
    looks_odd = set(world.store.findings.open())  # by nature, as some sources do
    start = world.save()
    for seam in count(1):
        fired = 0
        for kind in FREEZES:
            world.load(start)
            harm = [0]

            def meanwhile(harm: list[int] = harm) -> None:
                _sleep_over(world, others=others, suspended=suspended)
                harm[0] = len(world.harm)

            world.begin([Fault(seam, kind, meanwhile)])
            world.run(2)
            fired += world.seams.fired
            assert len(world.harm) - harm[0] <= 1 or not world.seams.fired, "went on destroying"
            world.begin()
            _look_again(world, (seam, kind), looks_odd)
            runs += 1
        if not fired:
            break
    world.close()
    return runs


def delayed(shape: Shape) -> int:
    """A request that nobody answered arrives when the source was restored long since."""
    world, runs = _ready(shape), 0
    looks_odd = set(world.store.findings.open())
    start = world.save()
    for seam, kind in ((number, kind) for number in count(1) for kind in UNANSWERED):
        world.load(start)
        world.begin([Fault(seam, kind)])
        world.run(2)
        if not world.seams.fired:
            break
        world.begin()
        world.clock.pass_by(LASTING)
        assert world.settle()
        with suppress(MmdError):
            world.deliver()
        _look_again(world, (seam, kind), looks_odd)
        runs += 1
    world.close()
    return runs


def delayed_beside_an_older_look(shape: Shape) -> int:
    """Such a request arrives as mmd has yesterday's entry on its list of what to look at again, too.

    In between somebody has edited the source, of which yesterday's snapshot knows nothing.
    """
    world, runs = World(tenant_of(shape)), 0
    for after in (0.0, DAY - LASTING / 2):
        world.plan(world.ids, after=after, lasting=LASTING, treatment=shape.treatment.value)
    for seconds in (0.0, LASTING, 61.0, LASTING, HOUR):
        world.clock.pass_by(seconds)
        world.run(3)
    People(world).features(SOURCE, ["SEARCH", "PROXY"])
    world.clock.at = START + timedelta(seconds=DAY - LASTING / 2)
    start = world.save()
    for seam, kind in ((number, kind) for number in count(1) for kind in UNANSWERED):
        world.load(start)
        world.begin([Fault(seam, kind)])
        world.run(2)
        if not world.seams.fired:
            break
        world.begin()
        world.clock.at = START + timedelta(seconds=DAY + LASTING / 2)
        assert world.settle()
        world.clock.pass_by(61)
        world.run()  # today's own first look
        with suppress(MmdError):
            world.deliver()
        world.clock.at = START + timedelta(seconds=DAY + LASTING + 1)
        _look_again(world, (seam, kind), set())
        runs += 1
    world.close()
    return runs


def delayed_between_two_windows(shape: Shape) -> int:
    """Such a request arrives before the next window takes the source, while it has it, or thereafter.

    Between the windows somebody edits the features: before the request arrives, or after it, unless it has
    brought all of maintenance. Where it arrives before, the next window lasts until nothing that is missing
    is thought to be late any more.
    """
    world, runs = _ready(shape), 0
    looks_odd = set(world.store.findings.open())
    start = world.save()
    for seam, kind, arrives in product(range(1, 30), UNANSWERED, range(3)):
        world.load(start)
        lasting = LASTING if arrives else HOUR
        world.begin()
        world.clock.pass_by(1)
        world.plan(world.ids, after=LASTING + GAP - 1, lasting=lasting, treatment=shape.treatment.value)
        world.begin([Fault(seam, kind)])
        world.run(2)
        if not world.seams.fired:
            continue
        world.begin()
        for turn, opens_or_closes in enumerate((LASTING, LASTING + GAP, LASTING + GAP + lasting)):
            world.clock.at = START + timedelta(seconds=opens_or_closes)
            world.run(4, seconds=1)
            if turn == 0 < arrives:
                _edit_features(world)
            if turn == arrives:
                with suppress(MmdError):
                    world.deliver()
            if turn == arrives == 0 and not world.tenant.sources[SOURCE]["connectorAttributes"].get(MARKER):
                _edit_features(world)
        _look_again(world, (seam, kind, arrives), looks_odd)
        runs += 1
    world.close()
    return runs


def _edit_features(world: World) -> None:
    """Somebody edits the features of a free source, whatever of mmd's is on it besides."""
    edited = ["PROXY", "SEARCH"]
    world.tenant.patch(SOURCE, [{"op": "replace", "path": "/features", "value": edited}])
    world.expected[SOURCE]["source"]["features"] = edited


def _ready(shape: Shape) -> World:
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)
    world.sweep()
    return world


def _sleep_over(world: World, *, others: bool, suspended: bool) -> None:
    process, monotonic = world.process, world.clock.monotonic
    world.clock.pass_by(LASTING)
    if others:
        world.begin()
        assert world.settle()
        world.process = process
    if suspended:
        world.clock.monotonic = monotonic


def _look_again(world: World, where: object, looks_odd: set[str]) -> None:
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
    found = world.store.findings.open()
    assert set(found) == looks_odd, (where, found)
