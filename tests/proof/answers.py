"""What ISC may answer, or silently do, at any one request: each a life that must end well all the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any, Final

from matrix import LASTING, SOURCE, at_peace
from people import People
from shapes import Shape, tenant_of
from world import KEY, START, Lens, World

from mmd.errors import Garbled, Unreachable
from mmd.escrow import Escrow, seal, unseal
from mmd.posture import (
    ACCOUNTS,
    CRON_KEYS,
    ESCROW,
    GROUPS,
    HEALTH_FLAG,
    MARKER,
    Fields,
    Observation,
    Snapshot,
    Treatment,
    canonical,
)
from mmd.simulator.problems import Problem

Source = dict[str, Any]
Operations = list[dict[str, Any]]


def without(name: str) -> Lens:
    """An answer that lacks a field."""
    return lambda source, crons: ({key: source[key] for key in source if key != name}, crons)


def _null_features(source: Source, crons: dict[str, str]) -> tuple[Source, dict[str, str]]:
    return {**source, "features": None}, crons


def _gone(_source: Source, _crons: dict[str, str]) -> tuple[Source, dict[str, str]]:
    raise Problem(404)


def _broken(_source: Source, _crons: dict[str, str]) -> tuple[Source, dict[str, str]]:
    raise Garbled("ISC's answer broke off")


def never_twice_the_same() -> Lens:
    """An answer that no other one agrees with."""
    numbers = count(1)

    def another(source: Source, crons: dict[str, str]) -> tuple[Source, dict[str, str]]:
        return {**source, "features": [*source["features"], f"N{next(numbers)}"]}, crons

    return another


LENSES: Final[dict[str, Lens]] = {
    "without features": without("features"),
    "features null": _null_features,
    "without connectorAttributes": without("connectorAttributes"),
    "not found": _gone,
    "broken off": _broken,
}


@contextmanager
def fresh(shape: Shape) -> Iterator[World]:
    """A world of one source, with a window open."""
    world = World(tenant_of(shape))
    world.plan(world.ids, lasting=LASTING, treatment=shape.treatment.value)
    try:
        yield world
    finally:
        world.close()


def _live(world: World, refused: Sequence[int] = ()) -> None:
    """Go through the window; a source whose treatment ISC refuses is not in maintenance in it."""
    world.begin()
    world.run(4, seconds=70)
    assert refused or not world.tenant.schedules[SOURCE], "not in maintenance"
    world.clock.pass_by(LASTING)
    world.run(3, seconds=20)
    at_peace(world)


def odd_reads(shape: Shape, lens: str, *, reads: tuple[int, ...] = (1, 2, 3)) -> int:
    """One, two or three reads in a row are odd, beginning with any of them. Return how many lives that is."""
    runs = 0
    with fresh(shape) as world:
        start = world.save()
        for number in count(1):
            for several in reads:
                world.load(start)
                world.lens, world.lens_at, world.lens_for = LENSES[lens], number, several
                try:
                    _live(world)
                except AssertionError as error:
                    raise AssertionError(f"{several} reads from {number} on {lens}: {error}") from error
                runs += 1
            if number > world.reads:
                return runs
    raise AssertionError


def reads_that_never_agree(shape: Shape) -> int:
    """For a while no two reads agree: then nothing is done on their word."""
    with fresh(shape) as world:
        for first in (1, 4, 7):
            start = world.save()
            world.lens, world.lens_at, world.lens_for = never_twice_the_same(), first, 12
            _live(world)
            world.load(start)
    return 3


def ignored_calls(shape: Shape) -> int:
    """A schedule's deletion or creation is answered as done, and was not: any of them. Return how many."""
    runs = 0
    with fresh(shape) as world:
        start = world.save()
        for number in count(1):
            world.load(start)
            if not _swallow(world, number):
                return runs
            runs += 1
    raise AssertionError


def _swallow(world: World, number: int) -> bool:
    """Live through a window in which the schedule call of this number does nothing; tell if there was one."""
    seen, tenant = [0], world.tenant
    calls = {name: getattr(tenant, name) for name in ("delete_schedule", "post_schedule")}

    def swallowing(call: Callable[..., object], *arguments: Any) -> object:  # noqa: ANN401 - whatever the call takes
        seen[0] += 1
        return None if seen[0] == number else call(*arguments)

    for name, call in calls.items():
        setattr(tenant, name, partial(swallowing, call))
    try:
        _live(world)
    finally:
        for name in calls:
            delattr(tenant, name)
    return seen[0] >= number


def ignored_operations(shape: Shape) -> int:
    """A patch loses one of its operations, and is answered 200: any patch, any operation."""
    return _bad_patches(shape, _ignore, goes_on=True)


def applied_in_part(shape: Shape) -> int:
    """The first operations of a patch are applied, and it is refused: any patch, any prefix."""
    return _bad_patches(shape, _refuse, goes_on=False)


def _ignore(world: World, key: str, operations: Operations, number: int) -> Source:
    rest = operations[:number] + operations[number + 1 :]
    return world.tenant.patch(key, rest) if rest else world.tenant.read(key)


def _refuse(world: World, key: str, operations: Operations, number: int) -> Source:
    if number:
        world.tenant.patch(key, operations[:number])
    raise Problem(400)


BadPatch = Callable[[World, str, Operations, int], Source]


def _bad_patches(shape: Shape, bad: BadPatch, *, goes_on: bool) -> int:
    runs = 0
    with fresh(shape) as world:
        start = world.save()
        for patch in count(1):
            for number in count():
                world.load(start)
                happened = _spoil(world, bad, patch, number)
                _live(world, () if goes_on else happened)
                if not happened:
                    break
                runs += 1
            if number == 0:
                return runs
    raise AssertionError


def _spoil(world: World, bad: BadPatch, patch: int, number: int) -> list[int]:
    """Spoil the patch of this number, at the operation of this one; the list is filled when it happens."""
    seen, happened = [0], list[int]()

    def spoiled(key: str, operations: Operations) -> Source:
        seen[0] += 1
        if seen[0] != patch or number >= len(operations):
            return world.tenant.patch(key, operations)
        happened.append(number)
        return bad(world, key, operations, number)

    world.patch = spoiled
    return happened


LAGS: Final = (0.0, 1.0, 5.0, 40.0)  # seconds for which ISC goes on showing a schedule that it has deleted


def refuses_late(shape: Shape) -> int:
    """ISC refuses the treatment, and its reads are behind its own deletions. Return how many lives."""
    for lag in LAGS:
        with fresh(shape) as world:
            world.patch = partial(_refuse_marker, world)
            _fall_behind(world, lag)
            world.begin()
            world.run(3)
            for later in (70, 600, 3600):
                world.clock.pass_by(later)
                world.begin()
                world.run(2)
            world.lost.clear()  # what was let go before its time is back by now, or it shows here
            at_peace(world)
    return len(LAGS)


def _refuse_marker(world: World, key: str, operations: Operations) -> Source:
    if any(item["path"].endswith(MARKER) and item.get("value") is True for item in operations):
        raise Problem(400)
    return world.tenant.patch(key, operations)


def _fall_behind(world: World, lag: float) -> None:
    """Show deleted schedules for so many seconds more."""
    delete, gone = world.tenant.delete_schedule, dict[str, tuple[datetime, str]]()

    def noting(source_id: str, kind: str) -> None:
        cron = world.tenant.schedules[source_id].get(kind)
        delete(source_id, kind)
        if cron is not None:
            gone[kind] = (world.clock.at, cron)

    def behind(source: Source, crons: dict[str, str]) -> tuple[Source, dict[str, str]]:
        shown = {
            kind: cron for kind, (at, cron) in gone.items() if world.clock.at < at + timedelta(seconds=lag)
        }
        return source, {**crons, **shown}

    world.tenant.delete_schedule = noting  # type: ignore[method-assign] # to know when
    world.lens, world.lens_at, world.lens_for = behind, 0, 10_000


def with_nulls(shape: Shape) -> int:
    """What mmd touches was null before, which ISC may not take: it comes back as null, or absent."""
    for takes_nulls in (True, False):
        with fresh(shape) as world:
            own = world.tenant.sources[SOURCE]["connectorAttributes"]
            own |= {HEALTH_FLAG: None, CRON_KEYS[GROUPS]: None, MARKER: None}
            world.expected[SOURCE] = world.tenant.comparable(SOURCE)
            world.loosely = not takes_nulls
            world.patch = partial(_patch_with_nulls, world) if takes_nulls else None
            _live(world)
    return 2


def _patch_with_nulls(world: World, key: str, operations: Operations) -> Source:
    """Apply a patch as a tenant would that takes nulls."""
    nulls = [item for item in operations if item["op"] == "add" and item["value"] is None]
    rest = [item for item in operations if item not in nulls]
    if rest:
        world.tenant.patch(key, rest)
    for item in nulls:
        world.tenant.sources[key]["connectorAttributes"][item["path"].rsplit("/", 1)[1]] = None
    return world.tenant.read(key)


def spoils_its_pages(shape: Shape) -> int:
    """From some moment on ISC's pages fail, or show less of a source than the source's own document."""
    for pages in (_failing_pages, _bare_pages):
        with fresh(shape) as world:
            world.begin()
            world.run(2)
            world.clock.pass_by(LASTING)
            world.begin()
            pages(world)
            world.run(4, seconds=70)
            assert not world.held, pages.__name__
            at_peace(world)
    return 2


def _failing_pages(world: World) -> None:
    async def failing(**_: object) -> AsyncIterator[Sequence[Observation]]:
        raise Unreachable("ISC failed at GET sources (500)", status=500)
        yield ()

    world.process.isc.pages = failing  # type: ignore[method-assign] # as a tenant with one bad source would


def _bare_pages(world: World) -> None:
    pages = world.process.isc.pages

    async def bare(**more: Any) -> AsyncIterator[Sequence[Observation]]:  # noqa: ANN401 - its own
        async for page in pages(**more):
            yield [replace(observed, attributes=None) for observed in page]

    world.process.isc.pages = bare  # type: ignore[method-assign] # as a tenant with leaner pages would


def strips_what_it_does_not_know(shape: Shape) -> int:
    """ISC keeps no unknown attribute: then nothing may be switched off."""
    with fresh(shape) as world:

        def stripped(key: str, operations: Operations) -> Source:
            world.tenant.patch(key, operations)
            world.tenant.sources[key]["connectorAttributes"].pop(ESCROW, None)
            return world.tenant.read(key)

        world.patch = stripped
        world.begin()
        world.run(6, seconds=70)
        assert not world.harm, world.harm
        world.clock.pass_by(LASTING)
        at_peace(world)
    return 1


def belongs_to_others(shape: Shape) -> int:
    """What another hand put into maintenance, or another mmd, is never touched."""
    strangers = {"another mmd": _forged(b"another key"), "no text": _not_storable()}
    for how in ("workflow", *strangers):
        with fresh(shape) as world:
            people = People(world)
            if how == "workflow":
                people.enable(SOURCE)
            else:
                people.admin.set_attribute(SOURCE, ESCROW, strangers[how])
                world.expected[SOURCE] = world.tenant.comparable(SOURCE)
            world.begin()
            world.run(3, seconds=70)
            swept = world.sweep()
            assert swept is not None
            assert swept.error is None, (how, swept.error)
            assert SOURCE in world.store.findings.open(), how
            world.recover()
            world.run(2)
            world.clock.pass_by(LASTING)
            world.run(3, seconds=70)
            world.sweep()
            assert world.writes == 0, how
            at_peace(world)
    return 3


def tampered_with(shape: Shape) -> int:
    """An escrow that somebody has changed is not believed; the database is."""
    with fresh(shape) as world:
        world.run(2)
        text = world.tenant.sources[SOURCE]["connectorAttributes"][ESCROW]
        for forged in (_forged(b"another key"), text.replace("ACCOUNT", "GROUP"), text[:-9], 7, {"v": 1}):
            for later in (60.0, LASTING):
                start = world.save()
                path = f"/connectorAttributes/{ESCROW}"
                world.tenant.patch(SOURCE, [{"op": "add", "path": path, "value": forged}])
                world.clock.pass_by(later)
                world.begin()
                world.run(2)
                world.clock.pass_by(LASTING)
                at_peace(world)
                world.load(start)
    return 10


def _forged(key: bytes) -> str:
    nothing = Fields((), {}, {ACCOUNTS: "0 0 0 1 1 ?"})
    snapshot = Snapshot(
        id="f" * 32,
        source_id=SOURCE,
        source_name="forged",
        treatment=Treatment.FULL,
        taken_at=START,
        before=nothing,
        after=nothing,
    )
    text = seal(Escrow(snapshot=snapshot, claims=()), key)
    assert unseal(text, source_id=SOURCE, key=KEY)[1] is not None
    return text


def _not_storable() -> str:
    """An escrow with the right digest, which names a window that no database takes."""
    body = {name: part for name, part in json.loads(_forged(b"")).items() if name not in ("sha256", "hmac")}
    at = START.isoformat()
    body["windows"] = [{"id": "\ud800", "key": "k", "opens_at": at, "closes_at": at}]
    digest = hashlib.sha256(canonical(body).encode("utf-8", "surrogatepass")).hexdigest()
    return json.dumps({**body, "sha256": digest})
