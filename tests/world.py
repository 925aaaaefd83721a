"""A small world in one process: a tenant, a database, a clock that only moves when told, and faults.

The tenant keeps the simulator's rules and the database is SQLite with mmd's own schema; only HTTP and the
disk are left out, so that a hundred lives fit into a second. Every request and every commit is a numbered
seam. At a seam the process can die, be told that it failed, or stand still while others go on, before or
after the effect; whatever it would have done after its death does not happen.

The oracle is the state of the world: each source as a whole against what it should be, and after each change
whether everything that is gone from a source is kept twice.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import pickle
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

import sqlalchemy as sa

from mmd.changes import Operation
from mmd.cli.recover import put_on_file, search
from mmd.effects import Effects
from mmd.errors import Denied, Missing, MmdError, Rejected, Unknown, Unreachable
from mmd.escrow import Trust, derive_key, fields_from_json, unseal
from mmd.findings import Rules
from mmd.isc import Isc, Priority, door
from mmd.plan import Interference
from mmd.posture import ESCROW, FLAGS, MARKER, SCHEDULE_TYPES, TOUCHED_KEYS, Fields, Observation
from mmd.reconcile import Reconciler, Report
from mmd.simulator import Switches, Tenant, make_tenant
from mmd.simulator.problems import Problem
from mmd.store import Entry, Store, create_file
from mmd.store.database import Database, Unwritable
from mmd.sweep import Sweeper, Swept
from mmd.windows import SourceRef, Window

T = TypeVar("T")
Source = dict[str, Any]
# What a read makes of a source and its schedules; it may raise what ISC would answer.
Lens = Callable[[dict[str, Any], dict[str, str]], tuple[dict[str, Any], dict[str, str]]]
Kind = Literal["die before", "die after", "error before", "error after"]
KINDS: tuple[Kind, ...] = ("die before", "die after", "error before", "error after")
KEY = derive_key("secret")
ROTATED = derive_key("another secret")
START = datetime(2026, 12, 1, 12, tzinfo=UTC)
GRACE = timedelta(minutes=2)
WRITABLE: Final = {"/features", *(f"/connectorAttributes/{key}" for key in TOUCHED_KEYS)}
ABSENT: Final = "(absent)"


class Died(BaseException):
    """The process is gone: nothing catches this, and nothing happens after it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one seam, counted from 1; `meanwhile` is done while a process stands still there."""

    at: int
    kind: Kind | Literal["freeze before", "freeze after"]
    meanwhile: Callable[[], object] = field(default=lambda: None, compare=False)


@dataclass(frozen=True, slots=True)
class Stale:
    """From the read number `at` on (from 1), `reads` of them show the source as it was `back` changes ago."""

    at: int
    back: int = 1
    reads: int = 1


@dataclass(slots=True)
class Clock:
    """Wall and monotonic time, moved by hand; `skew` is how far mmd's wall clock is from ISC's."""

    at: datetime = START
    monotonic: float = 0.0
    skew: timedelta = timedelta(0)

    def now(self) -> datetime:
        return self.at + self.skew

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)


# --- running ------------------------------------------------------------------------------------------------

_LOOP = asyncio.new_event_loop()
atexit.register(_LOOP.close)
# A process that died asks nobody what became of its tasks, and no one tells the log of it.
_LOOP.set_exception_handler(lambda *_: None)


def drive(doing: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop that is kept; inside a process that stands still, on a thread of its own."""
    if _LOOP.is_running():
        return _aside(doing)
    try:
        return _LOOP.run_until_complete(doing)
    finally:
        left = asyncio.all_tasks(_LOOP)
        for task in left:
            task.cancel()
        if left:
            _LOOP.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _aside(doing: Coroutine[Any, Any, T]) -> T:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(asyncio.run, doing).result()


# --- the database -------------------------------------------------------------------------------------------


@cache
def _empty() -> bytes:
    """An empty database, migrated once."""
    with tempfile.TemporaryDirectory(prefix="mmd-world-") as folder:
        path = Path(folder) / "empty.db"
        create_file(path)
        return for_memory(path)


def for_memory(path: Path) -> bytes:
    """What a file holds; not in WAL mode, which a database in memory cannot be."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        return connection.serialize()


class _Memory:
    """SQLite in memory. The engine is shared by all worlds: its caches are what takes long to make."""

    _made: _Memory

    def __init__(self, data: bytes) -> None:
        self.raw = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        self.raw.execute("PRAGMA foreign_keys=ON")
        self.raw.execute("PRAGMA trusted_schema=OFF")
        self.load(data)
        _Memory._made = self
        self.connection = _engine().connect()

    def load(self, data: bytes) -> None:
        if self.raw.in_transaction:
            self.raw.rollback()
        self.raw.deserialize(data)

    def close(self) -> None:
        self.connection.close()
        self.raw.close()


@cache
def _engine() -> sa.Engine:
    return sa.create_engine("sqlite://", creator=lambda: _Memory._made.raw, poolclass=sa.NullPool)


class SeamedDatabase(Database):
    """A database in which each commit is a seam."""

    def __init__(self, memory: _Memory, seams: Seams) -> None:
        self.path = Path("memory")
        self._memory = memory
        self._seams = seams

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        yield self._memory.connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._seams.before("commit", Unwritable)
        self._memory.raw.execute("BEGIN IMMEDIATE")
        try:
            yield self._memory.connection
        except BaseException:
            self._memory.raw.rollback()
            raise
        self._memory.raw.execute("COMMIT")
        self._seams.after("commit", Unwritable)

    def close(self) -> None:
        pass


# --- faults -------------------------------------------------------------------------------------------------


@dataclass
class Seams:
    """Counts the seams, and does at each what the plan of faults says."""

    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    fired: int = 0
    dead: bool = False
    trace: list[str] = field(default_factory=list)

    def before(self, what: str, error: type[MmdError]) -> int:
        if self.dead:
            raise Died(what)
        self.count += 1
        self.trace.append(what)
        number = self.count
        self._maybe("before", what, error)
        return number

    def after(self, what: str, error: type[MmdError]) -> None:
        self._maybe("after", what, error)

    def _maybe(self, when: str, what: str, error: type[MmdError]) -> None:
        for fault in self.faults:
            if fault.at == self.count and fault.kind.endswith(when):
                self.fired += 1
                if fault.kind.startswith("die"):
                    self.dead = True
                    raise Died(what)
                if fault.kind.startswith("error"):
                    raise error(f"injected {when} {what}")
                fault.meanwhile()


class NearIsc:
    """The tenant without HTTP: the same calls, the same errors, as `mmd.isc.Isc`."""

    def __init__(self, world: World, seams: Seams) -> None:
        self._world = world
        self._seams = seams
        self._unknown: set[tuple[str, str]] = set()

    async def pages(
        self, *, ids: Sequence[str] | None = None, priority: Priority = Priority.SWEEP
    ) -> AsyncIterator[Sequence[Observation]]:
        del priority
        asked = self._world.tenant.sources if ids is None else ids
        yield self._call("GET page", lambda: self._page(sorted(asked)))

    def _page(self, asked: Sequence[str]) -> list[Observation]:
        seen: list[Observation] = []
        for key in asked:
            try:
                seen.append(door.observe(self._world.shown(key, whole=False)[0]))
            except Problem as problem:
                if problem.status != HTTPStatus.NOT_FOUND:  # what is not there is on no page
                    raise
        return seen

    async def source(self, source_id: str, *, priority: Priority) -> Observation:
        del priority
        return self._call("GET source", lambda: door.observe(self._world.shown(source_id, whole=False)[0]))

    async def schedules(self, source_id: str, *, priority: Priority) -> dict[str, str]:
        del priority
        return self._call("GET schedules", lambda: self._world.shown(source_id)[1])

    async def patch_source(
        self, source_id: str, operations: Sequence[Operation], *, priority: Priority
    ) -> tuple[Observation | None, str | None]:
        del priority
        wire = [operation.wire() for operation in operations]
        patch, paths = self._world.patch or self._world.tenant.patch, {str(item["path"]) for item in wire}
        if not paths <= WRITABLE:
            self._world.lost.append(f"wrote where it must not: {paths - WRITABLE}")
        what = f"PATCH {wire[0]['path']}"
        return self._change(source_id, what, lambda: door.observe(patch(source_id, wire))), None

    async def delete_schedule(self, source_id: str, kind: str, *, priority: Priority) -> str | None:
        del priority
        delete = self._world.tenant.delete_schedule
        try:
            self._change(source_id, f"DELETE {kind}", lambda: delete(source_id, kind))
        except Missing:
            return None
        return None

    async def create_schedule(
        self, source_id: str, kind: str, cron: str, *, priority: Priority
    ) -> str | None:
        del priority
        body, post = {"type": kind, "cronExpression": cron}, self._world.tenant.post_schedule
        self._change(source_id, f"POST {kind}", lambda: post(source_id, body))
        return None

    def _call(self, what: str, do: Callable[[], T]) -> T:
        self._begin(what, Unreachable)
        self._world.reads += 1
        result = _as_isc(do)
        self._unknown.clear()
        self._seams.after(what, Unreachable)
        return result

    def _change(self, source_id: str, what: str, do: Callable[[], T]) -> T:
        world = self._world
        world.writes += 1
        world.check_intent(source_id, what, repeated=(source_id, what) in self._unknown)
        self._unknown.add((source_id, what))
        try:
            self._begin(what, Unknown)
        except (Died, Unknown):
            world.undelivered = do
            raise
        missing, copies = world.missing(source_id), world.copies(source_id)
        world.remember(source_id)
        try:
            result = _as_isc(do)
        except Rejected:  # it is known what became of it
            self._unknown.discard((source_id, what))
            raise
        world.check(source_id, what, missing, copies)
        self._seams.after(what, Unknown)
        self._unknown.discard((source_id, what))
        return result

    def _begin(self, what: str, error: type[MmdError]) -> None:
        self._seams.before(what, error)
        if self._world.down:
            raise error(f"ISC is down: {what}")
        self._world.clock.pass_by(0.05)


def _as_isc(do: Callable[[], T]) -> T:
    try:
        return do()
    except Problem as problem:
        kinds: dict[int, type[MmdError]] = {403: Denied, 404: Missing, 503: Unreachable}
        raise kinds.get(problem.status, Rejected)(f"{problem.status} {problem}") from problem


@lru_cache(maxsize=4096)
def _believed(text: str, source_id: str) -> Fields | None:
    for key in (KEY, ROTATED):
        trust, escrow = unseal(text, source_id=source_id, key=key)
        if trust is Trust.SIGNED and escrow is not None:
            return escrow.snapshot.after
    return None


@lru_cache(maxsize=4096)
def _on_file(text: str) -> Fields:
    return fields_from_json(json.loads(text))


# --- the world ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class State:
    """Everything that outlives a process, at one instant."""

    database: bytes
    tenant: bytes
    at: datetime
    monotonic: float
    expected: bytes


@dataclass(frozen=True, slots=True)
class Process:
    """One process: what is gone when it dies."""

    seams: Seams
    store: Store
    isc: Isc
    reconciler: Reconciler
    sweeper: Sweeper


Values = dict[str, Any]  # what should be on a source, by the name of the field


class World:
    """Everything that outlives a process, and the process that lives in it."""

    def __init__(
        self, tenant: Tenant | None = None, *, interference: Interference = Interference.ENFORCE
    ) -> None:
        self.tenant = tenant or make_tenant(sources=3, seed=1)
        self.tenant.switches = Switches(health_seconds=0)
        self.clock = Clock()
        self.tenant.clock = lambda: self.clock.at
        self.interference = interference
        self.memory = _Memory(_empty())
        self.ids = sorted(self.tenant.sources)
        self.before: dict[str, Any] = {key: self.tenant.comparable(key) for key in self.ids}
        self.expected: dict[str, Any] = dict(self.before)
        self._fresh()
        self.begin()

    def _fresh(self) -> None:
        self.writes = self.reads = 0
        self.key = KEY  # that escrows are signed with
        self.lost: list[str] = []
        # Whether "true" is as good as true, and null as absent: where people write flags as well as mmd.
        self.loosely = False
        self.down = False
        self.stale: Stale | None = None
        self.lens: Lens | None = None
        self.lens_at, self.lens_for = 0, 1
        self.patch: Callable[[str, Any], Source] | None = None  # instead of the tenant's own
        self.harm: list[str] = []
        self.undelivered: Callable[[], object] = lambda: None
        self.clock.skew = timedelta(0)
        self.past: dict[str, list[tuple[Source, dict[str, str]]]] = {}
        self._numbers = iter(range(1, 10_000))

    def begin(self, faults: Collection[Fault] = ()) -> None:
        """Start a process: what was in memory is gone, the database and the tenant are as they were left."""
        if self.memory.raw.in_transaction:
            self.memory.raw.rollback()
        self.process = self._process(Seams(list(faults)))

    def _process(self, seams: Seams) -> Process:
        store, isc = Store(SeamedDatabase(self.memory, seams)), cast("Isc", NearIsc(self, seams))
        effects = Effects(
            store,
            isc,
            key=self.key,
            actor="mmd",
            now=self.clock.now,
            monotonic=lambda: self.clock.monotonic,
            sleep=self.clock.sleep,
        )
        rules = Rules(grace=GRACE, key=self.key, interference=self.interference)
        return Process(
            seams=seams,
            store=store,
            isc=isc,
            reconciler=Reconciler(store, isc, effects, now=self.clock.now, actor="mmd", rules=rules),
            sweeper=Sweeper(
                store,
                isc,
                rules,
                now=self.clock.now,
                actor="mmd",
                every=timedelta(minutes=5),
                restore_own=True,
            ),
        )

    @property
    def seams(self) -> Seams:
        return self.process.seams

    @property
    def store(self) -> Store:
        return self.process.store

    @property
    def reconciler(self) -> Reconciler:
        return self.process.reconciler

    @property
    def held(self) -> set[str]:
        """The ids of the sources that are held."""
        query = "SELECT source_id FROM snapshot WHERE released_at IS NULL"
        return {row[0] for row in self.memory.raw.execute(query)}

    def close(self) -> None:
        self.memory.close()

    # -- what outlives a process

    def save(self) -> State:
        """Keep everything that outlives a process."""
        tenant = pickle.dumps((self.tenant.sources, self.tenant.schedules, self.tenant._turn))
        clock = self.clock
        return State(
            self.memory.raw.serialize(), tenant, clock.at, clock.monotonic, pickle.dumps(self.expected)
        )

    def load(self, state: State) -> None:
        """Go back to a state that was kept; begin a process afterwards."""
        self._fresh()
        self.memory.load(state.database)
        kept = pickle.loads(state.tenant)  # noqa: S301 - our own
        self.tenant.sources, self.tenant.schedules, self.tenant._turn = kept
        self.expected = pickle.loads(state.expected)  # noqa: S301 - our own
        self.clock.at, self.clock.monotonic = state.at, state.monotonic

    def wipe(self) -> None:
        """Delete the database."""
        self.memory.load(_empty())

    def replace_database(self, data: bytes) -> None:
        """Go on with a database of another make; SQLite knows a schema by its number alone, so afresh."""
        self.memory.close()
        self.memory = _Memory(data)
        self.begin()

    def strip(self) -> None:
        """Take the escrow off every source, as an administrator may."""
        for key, source in self.tenant.sources.items():
            if ESCROW in source["connectorAttributes"]:
                path = f"/connectorAttributes/{ESCROW}"
                self.tenant.patch(key, [{"op": "remove", "path": path}])

    def plan(self, ids: Sequence[str], *, after: float = 0, lasting: float = 3600, **more: Any) -> Window:  # noqa: ANN401 - a window's own fields
        """Plan a one-off window."""
        now = self.clock.now()
        start = (now + timedelta(seconds=after)).replace(microsecond=0)
        window = Window(
            id=f"w{next(self._numbers)}t{now:%d%H%M%S}",
            sources=tuple(SourceRef(key, self.tenant.sources[key]["name"]) for key in ids),
            starts_local=start.replace(tzinfo=None),
            timezone="UTC",
            duration=timedelta(seconds=lasting),
            reason="patching",
            created_at=now,
            effective_from=start,
            **more,
        )
        self.store.plans.add(window, Entry(at=now, kind="window.added", actor="test"))
        return window

    def put(self, changed: Window) -> None:
        """Put a changed window on file."""
        entry = Entry(at=self.clock.now(), kind="window.edited", actor="test", window_id=changed.id)
        self.store.plans.change(changed.id, lambda _: (changed, entry))

    # -- what a process does

    def run(self, passes: int = 1, *, seconds: float = 2, hold_enters: bool = False) -> list[Report]:
        """Run passes a little apart; the last ones are missing if the process died."""
        reports = []
        try:
            for _ in range(passes):
                before = self.held
                reports.append(drive(self.reconciler.run(hold_enters=hold_enters)))
                self.check_released(before)
                self.clock.pass_by(seconds)
        except Died:
            pass
        except MmdError:  # a pass that could not even begin: the daemon logs it and tries again
            self.clock.pass_by(seconds)
        return reports

    def sweep(self) -> Swept | None:
        """Sweep the tenant, unless the process dies of it."""
        try:
            return drive(self.process.sweeper.run())
        except Died:
            return None

    def recover(self, *, accept_unsigned: bool = False) -> bool:
        """Do what `mmd recover` does before its passes; tell whether it came to its end."""
        try:
            drive(self._recover(accept_unsigned=accept_unsigned))
        except (Died, MmdError):
            return False
        return True

    async def _recover(self, *, accept_unsigned: bool) -> None:
        found = await search(
            self.store, self.process.isc, self.key, accept_unsigned=accept_unsigned, told=lambda _: None
        )
        put_on_file(self.store, found.new, now=self.clock.now(), actor="test")

    def quiet(self, passes: int = 12) -> None:
        """Let a healthy process run until it has nothing to do."""
        self.begin()
        for _ in range(passes):
            self.run(seconds=70)

    def settle(self, passes: int = 6) -> bool:
        """Run passes, as a healthy process, until every source is what it should be and none is held."""
        for _ in range(passes):
            self.run(seconds=70)
            if self.held:
                continue
            if all(map(self.restored, self.ids)):
                return True
            if not self.loosely:
                self.lost.append("released what was not back")
        return False

    def deliver(self) -> None:
        """Let the request arrive that a process died over."""
        _as_isc(self.undelivered)

    # -- what is true

    def restored(self, source_id: str) -> bool:
        """Whether the source as a whole is what it should be with no window open."""
        return not self.differs(source_id)

    def differs(self, source_id: str) -> str:
        """Say how the whole source differs from what it should be; empty where it does not."""
        live, right = (
            self._compared(self.tenant.comparable(source_id)),
            self._compared(self.expected[source_id]),
        )
        if live == right:
            return ""
        return f"{source_id}: is {_differing(live, right)}, should be {_differing(right, live)}"

    def _compared(self, document: dict[str, Any]) -> dict[str, Any]:
        if not self.loosely:
            return document
        attributes = {
            name: value
            for name, value in document["source"]["connectorAttributes"].items()
            if value is not None
        }
        flags = {name: plainly(attributes[name]) for name in (*FLAGS, MARKER) if name in attributes}
        source = {**document["source"], "connectorAttributes": {**attributes, **flags}}
        return {**document, "source": source}

    def in_maintenance(self, source_id: str) -> bool:
        attributes = self.tenant.sources[source_id]["connectorAttributes"]
        return attributes.get(MARKER) is True and not self.tenant.schedules[source_id]

    def shown(self, source_id: str, *, whole: bool = True) -> tuple[Source, dict[str, str]]:
        """What the present read shows: the source now, or as it was a few changes ago."""
        stale, past = self.stale, self.past.get(source_id, [])
        if stale and past and stale.at <= self.reads < stale.at + stale.reads:
            return past[-min(stale.back, len(past))]
        if self.lens and self.lens_at <= self.reads < self.lens_at + self.lens_for:
            return self.lens(self.tenant.read(source_id), dict(self.tenant.schedules[source_id]))
        source = self.tenant.read(source_id)
        rows = self.tenant.read_schedules(source_id) if whole else []
        return source, {row["type"]: row["cronExpression"] for row in rows}

    def remember(self, source_id: str) -> None:
        """Keep what the source looks like before a change, where stale reads are to come."""
        if self.stale and source_id in self.tenant.sources:
            now = (self.tenant.sources[source_id], dict(self.tenant.schedules[source_id]))
            self.past.setdefault(source_id, []).append(now)

    def missing(self, source_id: str) -> Values:
        """What should be on the source and is not, of what mmd may take away."""
        if source_id not in self.tenant.sources:
            return {}
        right = self.expected[source_id]
        source, schedules = self.tenant.sources[source_id], self.tenant.schedules[source_id]
        gone: Values = {
            kind: cron for kind, cron in right["schedules"].items() if schedules.get(kind) != cron
        }
        features = {*(right["source"].get("features") or ())} - {*(source.get("features") or ())}
        gone |= {f"feature {name}": name for name in features}
        was, own = right["source"].get("connectorAttributes", {}), source.get("connectorAttributes", {})
        plain = plainly if self.loosely else _as_is
        flags = {key: was.get(key, ABSENT) for key in FLAGS}
        return gone | {
            key: value for key, value in flags.items() if plain(own.get(key, ABSENT)) != plain(value)
        }

    def copies(self, source_id: str) -> tuple[Fields | None, Fields | None]:
        """What the database and the escrow on the source would go back to."""
        query = "SELECT after FROM snapshot WHERE source_id = ? AND released_at IS NULL"
        row = self.memory.raw.execute(query, (source_id,)).fetchone()
        source = self.tenant.sources.get(source_id, {})
        text = source.get("connectorAttributes", {}).get(ESCROW)
        escrow = _believed(text, source_id) if isinstance(text, str) else None
        return (_on_file(row[0]) if row else None), escrow

    def check(
        self, source_id: str, what: str, missing: Values, copies: tuple[Fields | None, Fields | None]
    ) -> None:
        """Note what a change took away that was not kept twice before, or left with a copy less."""
        if source_id not in self.tenant.sources:
            return
        taken = {key: value for key, value in self.missing(source_id).items() if key not in missing}
        if taken:
            self.harm.append(what)
        if what.startswith("POST") and not missing.keys() <= set(SCHEDULE_TYPES):
            self.lost.append(f"{what} before the rest of {source_id} was back")
        left, kept = {**missing, **taken}.keys() & self.missing(source_id).keys(), self.copies(source_id)
        for name in sorted(left):
            value = {**missing, **taken}[name]
            if name in taken and not all(_keeps(copy, name, value) for copy in copies):
                self.lost.append(f"{what} took {name} of {source_id} before it was kept twice")
            elif any(
                _keeps(was, name, value) > _keeps(now, name, value)
                for was, now in zip(copies, kept, strict=True)
            ):
                self.lost.append(f"{what} left {name} of {source_id} with a copy less")

    def check_intent(self, source_id: str, what: str, *, repeated: bool) -> None:
        """Note a request that the journal does not announce, or that repeats one whose outcome is unknown."""
        query = "SELECT kind FROM journal WHERE source_id = ? ORDER BY seq DESC LIMIT 1"
        row = self.memory.raw.execute(query, (source_id,)).fetchone()
        if not self.seams.fired and (row is None or row[0] != "intent"):
            self.lost.append(f"{what} was not announced")
        if repeated:
            self.lost.append(f"{what} was repeated blindly")

    def check_released(self, before: set[str]) -> None:
        """Note a source that was let go and is not what it should be, unless a fault was at work."""
        if self.loosely or self.seams.fired:
            return
        gone = (before - self.held) & self.tenant.sources.keys()
        self.lost += [f"released {key}, which was not back" for key in sorted(gone) if not self.restored(key)]

    def verify_journal(self) -> bool:
        """Whether the journal is whole."""
        return self.store.journal.verify().broken is None


def _keeps(copy: Fields | None, name: str, value: object) -> bool:
    if copy is None:
        return False
    if name.startswith("feature "):
        return value in copy.features
    if name in FLAGS:
        return bool(plainly(copy.attributes.get(name, ABSENT)) == plainly(value))
    return copy.schedules.get(name) == value


def plainly(value: object) -> object:
    """What a value means to ISC: "true" is true, and null is nothing."""
    if value is None:
        return ABSENT
    plain = {"true": True, "false": False}
    return plain.get(value.strip().lower(), value) if isinstance(value, str) else value


def _as_is(value: object) -> object:
    return value


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for key in one:
        if one[key] == other.get(key):
            continue
        nested = isinstance(one[key], dict) and isinstance(other.get(key), dict)
        parts[key] = _differing(one[key], other[key]) if nested else one[key]
    return parts
