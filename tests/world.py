"""A small world in one process: a tenant, a database on disk, a clock that only moves when told, and faults.

The tenant keeps the simulator's rules; only HTTP is left out, so that thousands of lives fit into a minute.
Every request and every commit is a numbered seam. At a seam the process can die, or be told that it failed,
before or after the effect; whatever it would have done after its death does not happen.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from mmd.changes import Operation
from mmd.effects import Effects
from mmd.errors import Denied, Missing, MmdError, Rejected, Unknown, Unreachable
from mmd.escrow import Trust, derive_key, unseal
from mmd.findings import Rules
from mmd.isc import Isc, Priority, door
from mmd.plan import Interference
from mmd.posture import ESCROW, MARKER, Observation
from mmd.reconcile import Reconciler, Report
from mmd.simulator import Switches, Tenant, make_tenant
from mmd.simulator.problems import Problem
from mmd.store import Entry, Store, create_file
from mmd.store.database import Database
from mmd.windows import SourceRef, Window

if TYPE_CHECKING:
    import sqlalchemy as sa

T = TypeVar("T")
Kind = Literal["die before", "die after", "error before", "error after"]
KINDS: tuple[Kind, ...] = ("die before", "die after", "error before", "error after")
KEY = derive_key("secret")
START = datetime(2026, 12, 1, 12, tzinfo=UTC)
GRACE = timedelta(minutes=2)
MEMORY = Path("/dev/shm")  # noqa: S108 - commits there cost no disk


class Died(BaseException):
    """The process is gone: nothing catches this, and nothing happens after it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at one seam, counted from 1."""

    at: int
    kind: Kind


@dataclass(slots=True)
class Clock:
    """Wall and monotonic time, moved by hand."""

    at: datetime = START
    monotonic: float = 0.0

    def now(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.monotonic += seconds

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)


@cache
def _template() -> Path:
    """An empty database, migrated once."""
    path = Path(tempfile.mkdtemp(prefix="mmd-world-")) / "empty.db"
    create_file(path)
    return path


@dataclass
class Seams:
    """Counts the seams, and does at each what the plan of faults says."""

    faults: list[Fault] = field(default_factory=list)
    count: int = 0
    fired: int = 0
    dead: bool = False
    trace: list[str] = field(default_factory=list)

    def before(self, what: str, error: type[MmdError]) -> None:
        if self.dead:
            raise Died(what)
        self.count += 1
        self.trace.append(what)
        self._maybe("before", what, error)

    def after(self, what: str, error: type[MmdError]) -> None:
        self._maybe("after", what, error)

    def _maybe(self, when: str, what: str, error: type[MmdError]) -> None:
        for fault in self.faults:
            if fault.at == self.count and fault.kind.endswith(when):
                self.fired += 1
                if fault.kind.startswith("die"):
                    self.dead = True
                    raise Died(what)
                raise error(f"injected {when} {what}")


class NearIsc:
    """The tenant without HTTP: the same calls, the same errors, as `mmd.isc.Isc`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def pages(
        self, *, ids: Sequence[str] | None = None, priority: Priority = Priority.SWEEP
    ) -> AsyncIterator[Sequence[Observation]]:
        del priority
        wanted = set(self._world.tenant.sources if ids is None else ids)
        yield self._call(
            "GET page",
            lambda: [door.observe(self._world.tenant.read(key)) for key in sorted(wanted & self._known())],
        )

    def _known(self) -> set[str]:
        return set(self._world.tenant.sources)

    async def source(self, source_id: str, *, priority: Priority) -> Observation:
        del priority
        return self._call("GET source", lambda: door.observe(self._world.tenant.read(source_id)))

    async def schedules(self, source_id: str, *, priority: Priority) -> dict[str, str]:
        del priority
        read = self._world.tenant.read_schedules
        return self._call(
            "GET schedules", lambda: {item["type"]: item["cronExpression"] for item in read(source_id)}
        )

    async def patch_source(
        self, source_id: str, operations: Sequence[Operation], *, priority: Priority
    ) -> tuple[Observation | None, str | None]:
        del priority
        wire = [operation.wire() for operation in operations]
        patch = self._world.tenant.patch
        return self._change(f"PATCH {wire[0]['path']}", lambda: door.observe(patch(source_id, wire))), None

    async def delete_schedule(self, source_id: str, kind: str, *, priority: Priority) -> str | None:
        del priority
        try:
            self._change(f"DELETE {kind}", lambda: self._world.tenant.delete_schedule(source_id, kind))
        except Missing:
            return None
        return None

    async def create_schedule(
        self, source_id: str, kind: str, cron: str, *, priority: Priority
    ) -> str | None:
        del priority
        body = {"type": kind, "cronExpression": cron}
        self._change(f"POST {kind}", lambda: self._world.tenant.post_schedule(source_id, body))
        return None

    def _call(self, what: str, do: Callable[[], T]) -> T:
        self._world.seams.before(what, Unreachable)
        self._world.clock.pass_by(0.05)
        result = _as_isc(do)
        self._world.seams.after(what, Unreachable)
        return result

    def _change(self, what: str, do: Callable[[], T]) -> T:
        self._world.writes += 1
        self._world.seams.before(what, Unknown)
        self._world.clock.pass_by(0.05)
        result = _as_isc(do)
        self._world.check_two_copies()
        self._world.seams.after(what, Unknown)
        return result


def _as_isc(do: Callable[[], T]) -> T:
    try:
        return do()
    except Problem as problem:
        kinds: dict[int, type[MmdError]] = {403: Denied, 404: Missing}
        raise kinds.get(problem.status, Rejected)(f"{problem.status} {problem}") from problem


class SeamedDatabase(Database):
    """The real database; each commit is a seam."""

    def __init__(self, path: Path, seams: Seams) -> None:
        super().__init__(path)
        self._seams = seams

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._seams.before("commit", MmdError)
        with super().write() as connection:
            yield connection
        self._seams.after("commit", MmdError)


class World:
    """Everything that outlives a process, and the process that lives in it."""

    def __init__(
        self, tenant: Tenant | None = None, *, interference: Interference = Interference.ENFORCE
    ) -> None:
        self.tenant = tenant or make_tenant(sources=3, seed=1)
        self.tenant.switches = Switches(health_seconds=0)
        self.clock = Clock()
        self.tenant.clock = self.clock.now
        self.seams = Seams()
        self.writes = 0
        self.lost: list[str] = []
        self.folder = Path(tempfile.mkdtemp(prefix="mmd-world-", dir=MEMORY if MEMORY.is_dir() else None))
        self.path = self.folder / "mmd.db"
        self.interference = interference
        shutil.copy(_template(), self.path)
        self.before = {key: self.tenant.comparable(key) for key in self.tenant.sources}
        self.ids = sorted(self.tenant.sources)
        self._numbers = iter(range(1, 10_000))
        self.begin()

    def begin(self, faults: Collection[Fault] = ()) -> None:
        """Start a process: what was in memory is gone, the database and the tenant are as they were left."""
        if hasattr(self, "store"):
            self.store.close()
        self.seams = Seams(list(faults))
        self.store = Store(SeamedDatabase(self.path, self.seams))
        isc = cast("Isc", NearIsc(self))
        effects = Effects(
            self.store,
            isc,
            key=KEY,
            actor="mmd",
            now=self.clock.now,
            monotonic=lambda: self.clock.monotonic,
            sleep=self.clock.sleep,
        )
        self.reconciler = Reconciler(
            self.store,
            isc,
            effects,
            now=self.clock.now,
            actor="mmd",
            rules=Rules(grace=GRACE, key=KEY, interference=self.interference),
        )

    def close(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def plan(self, ids: Sequence[str], *, after: float = 0, lasting: float = 3600, **more: Any) -> Window:  # noqa: ANN401 - a window's own fields
        """Plan a one-off window."""
        start = (self.clock.at + timedelta(seconds=after)).replace(microsecond=0)
        window = Window(
            id=f"w{next(self._numbers)}",
            sources=tuple(SourceRef(key, self.tenant.sources[key]["name"]) for key in ids),
            starts_local=start.replace(tzinfo=None),
            timezone="UTC",
            duration=timedelta(seconds=lasting),
            reason="patching",
            created_at=self.clock.at,
            effective_from=start,
            **more,
        )
        self.store.plans.add(window, Entry(at=self.clock.at, kind="window.added", actor="test"))
        return window

    def run(self, passes: int = 1, *, seconds: float = 2) -> list[Report]:
        """Run passes a little apart; the last ones are missing if the process died."""
        reports = []
        try:
            for _ in range(passes):
                reports.append(asyncio.run(self.reconciler.run()))
                self.clock.pass_by(seconds)
        except Died:
            pass
        except MmdError:  # a pass that could not even begin: the daemon logs it and tries again
            self.clock.pass_by(seconds)
        return reports

    def quiet(self, passes: int = 12) -> None:
        """Let a healthy process run until it has nothing to do."""
        self.begin()
        for _ in range(passes):
            self.run(seconds=70)

    def restored(self, source_id: str) -> bool:
        """Whether the source is what it was at the beginning."""
        return self.tenant.comparable(source_id) == self.before[source_id]

    def in_maintenance(self, source_id: str) -> bool:
        attributes = self.tenant.sources[source_id]["connectorAttributes"]
        return attributes.get(MARKER) is True and not self.tenant.schedules[source_id]

    def check_two_copies(self) -> None:
        """Note each source of which a value is gone that not both the database and its escrow still hold."""
        for key in self.ids:
            if key in self.tenant.sources and not self.restored(key) and not self._is_safe(key):
                self.lost.append(f"{key} after {self.seams.trace[-1]}")

    def _is_safe(self, key: str) -> bool:
        was, live = self.before[key], self.tenant.snapshot(key)
        kept = {*was["source"]["features"]} <= {*live["source"]["features"]}
        if kept and was["schedules"].keys() <= live["schedules"].keys():
            return True
        held = self.store.holds.held(key).get(key)
        text = live["source"]["connectorAttributes"].get(ESCROW)
        trust, escrow = unseal(text, source_id=key, key=KEY)
        if held is None or trust is not Trust.SIGNED or escrow is None:
            return False
        return (
            set(held.snapshot.before.features) == {*was["source"]["features"]}
            and dict(escrow.snapshot.before.schedules) == was["schedules"]
        )
