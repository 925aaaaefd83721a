"""What goes wrong beside the passes, in a daemon that runs here: it is told, and everything goes on."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from desk import Desk, tenant

from mmd import daemon
from mmd.alerts import Kind
from mmd.amend import end
from mmd.cli.app import App
from mmd.cli.service import _alarm, _publisher
from mmd.cli.workshop import reconciler, sweeper
from mmd.daemon import Daemon, Rhythm
from mmd.errors import MmdError, Unreachable
from mmd.plan import Action, Case, Verb
from mmd.posture import MARKER
from mmd.reconcile import Outcome, Report
from mmd.simulator import Simulator
from mmd.store import Entry, Store, database
from mmd.store.database import Locked
from mmd.windows import SourceRef, Window

PATIENCE: Final = 20.0  # seconds that a test waits at most for what must happen within less
SECRET: Final = "MMD_TENANT__CLIENT_SECRET"
OFTEN, HARDLY_EVER = timedelta(seconds=0.05), timedelta(days=1)
NOON: Final = datetime(2026, 12, 1, 12, tzinfo=UTC)


@dataclass
class House:
    """A tenant, a database with nobody's plans in it, and a daemon."""

    desk: Desk
    simulator: Simulator

    @asynccontextmanager
    async def daemon(
        self, *, interval: timedelta = HARDLY_EVER, sweep: timedelta = OFTEN
    ) -> AsyncIterator[tuple[Daemon, Store]]:
        """Run it for as long as the block lasts; it must leave in peace."""
        app = App(str(self.desk.folder / "mmd.toml"))
        with app.store(create=True) as store, app.store() as reading:
            async with app.isc() as isc:
                it = Daemon(
                    store,
                    isc,
                    reconciler=reconciler(app, store, isc),
                    sweeper=sweeper(app, store, isc),
                    publisher=_publisher(app, reading, isc),
                    alarm=_alarm(app, store),
                    rhythm=Rhythm(interval=interval, sweep=sweep),
                )
                running = asyncio.create_task(it.run())
                yield it, store
                it._stop.set()
                await running

    def zombie(self) -> str:
        """Leave a source in maintenance by somebody's hand."""
        source_id = min(self.simulator.tenant.sources)
        mark = {"op": "add", "path": f"/connectorAttributes/{MARKER}", "value": True}
        self.simulator.tenant.patch(source_id, [mark])
        return source_id


@pytest.fixture
def house(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    with tenant(3) as simulator:
        monkeypatch.setenv(SECRET, simulator.client_secret)
        monkeypatch.setattr(daemon, "AGAIN", 0.05)
        desk = Desk(tmp_path, capsys)
        desk.configure(simulator)
        yield House(desk, simulator)


async def soon(happened: Callable[[], bool]) -> None:
    """Wait for something."""
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < PATIENCE
        await asyncio.sleep(0.01)


def told(store: Store) -> set[tuple[Kind, str]]:
    """What people are told of now: kind and subject."""
    return {(alert.condition.kind, alert.condition.subject) for alert in store.alerts.open()}


@dataclass
class Fault:
    """Something that goes wrong in place of a call, for as long as it is switched on."""

    instead_of: Callable[..., Any]
    error: Exception
    on: bool = True
    met: int = 0

    def call(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - the call's own
        if self.on:
            self.met += 1
            raise self.error
        return self.instead_of(*arguments, **options)


@pytest.mark.parametrize("error", [ValueError("a defect"), MmdError("the database takes nothing")])
def test_a_sweep_that_breaks_off_is_told_and_the_next_one_comes(house: House, error: Exception) -> None:
    async def life() -> None:
        async with house.daemon() as (it, store):
            fault = Fault(it._sweeper.run, error)
            it._sweeper.run = fault.call  # type: ignore[method-assign] # for a while
            await soon(lambda: (Kind.SWEEP, "tenant") in told(store))
            assert str(error) in store.alerts.open()[0].condition.detail
            fault.on = False
            await soon(lambda: [kind for kind, _ in told(store)] == [Kind.ZOMBIE])

    house.zombie()
    asyncio.run(life())


@pytest.mark.parametrize("error", [ValueError("a defect"), MmdError("the database takes nothing")])
def test_a_pass_that_breaks_off_is_told_and_the_next_one_comes(house: House, error: Exception) -> None:
    async def life() -> None:
        async with house.daemon(interval=OFTEN, sweep=HARDLY_EVER) as (it, store):
            fault = Fault(it._reconciler.run, error)
            it._reconciler.run = fault.call  # type: ignore[method-assign] # for a while
            await soon(lambda: (Kind.FAILED, "every pass") in told(store))
            fault.on = False
            await soon(lambda: (Kind.FAILED, "every pass") not in told(store))

    asyncio.run(life())


@pytest.mark.parametrize("error", [ValueError("a defect"), MmdError("the database cannot be read")])
def test_commands_are_seen_again_when_the_database_can_be_read_again(house: House, error: Exception) -> None:
    async def life() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (_, store):
            await soon(lambda: (found := store.service.daemon()) is not None and found.sweep_at is not None)
            fault = Fault(store.database.data_version, error)
            store.database.data_version = fault.call  # type: ignore[method-assign] # for a while
            await soon(lambda: fault.met > 0)
            fault.on = False
            said = await asyncio.to_thread(
                house.desk.process,
                "--config",
                "mmd.toml",
                "start",
                source,
                "--for",
                "1h",
                "--reason",
                "x",
                "--yes",
            )
            assert said.returncode == 0, said.stderr
            await soon(lambda: source in store.holds.held())

    source = min(house.simulator.tenant.sources)
    asyncio.run(life())


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Somebody begins a transaction, and leaves it open."""
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_a_database_that_is_locked_keeps_no_source_from_being_restored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def life() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (it, store):
            window = open_window(source)
            store.plans.add(window, Entry(at=window.created_at, kind="window.added", actor="me"))
            it._tick.set()
            await soon(lambda: source in store.holds.held() and store.holds.held()[source].verified)
            now = daemon.utcnow()
            ended = Entry(at=now, kind="window.ended", actor="me")
            store.plans.change(window.id, lambda on_file: (end(on_file, now), ended))
            with locked(house.desk.database):
                it._tick.set()
                await soon(lambda: house.simulator.tenant.comparable(source) == before)
                assert source in store.holds.held()
            await soon(lambda: not store.holds.held())

    monkeypatch.setattr(database, "BUSY_SECONDS", 0)
    source = min(house.simulator.tenant.sources)
    before = house.simulator.tenant.comparable(source)
    asyncio.run(life())


def test_a_daemon_that_starts_beside_a_lock_restores_every_source_and_hardly_waits(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def entered() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (it, store):
            store.plans.add(window, Entry(at=window.created_at, kind="window.added", actor="me"))
            it._tick.set()
            await soon(lambda: sum(held.verified for held in store.holds.held().values()) == len(sources))

    async def restored() -> None:
        async with house.daemon(interval=OFTEN, sweep=HARDLY_EVER) as (_, store):
            waits = Waits(store.database.write)
            store.database.write = waits.write  # type: ignore[method-assign] # the same, with a watch beside it
            with locked(house.desk.database):
                await soon(lambda: seen() == before)
                assert len(store.holds.held()) == len(sources)
            assert sum(seconds >= database.BUSY_SECONDS for seconds in waits.seconds) <= 2
            assert len(waits.seconds) > len(sources)
            await soon(lambda: not store.holds.held())
            row = store.service.daemon()
            assert row is not None
            assert row.started_at > ended.at
            assert row.stopped_at is None

    def seen() -> list[Any]:
        return [house.simulator.tenant.comparable(source) for source in sources]

    sources = sorted(house.simulator.tenant.sources)
    window, before = open_window(*sources), seen()
    asyncio.run(entered())
    ended = Entry(at=daemon.utcnow(), kind="window.ended", actor="me")
    with house.desk.open() as store:
        store.plans.change(window.id, lambda on_file: (end(on_file, ended.at), ended))
    monkeypatch.setattr(database, "BUSY_SECONDS", 1)
    asyncio.run(restored())


@dataclass
class Waits:
    """How long each attempt to write took that failed."""

    instead_of: Callable[[], AbstractContextManager[Any]]
    seconds: list[float] = field(default_factory=list)

    @contextmanager
    def write(self) -> Iterator[Any]:
        begun = time.monotonic()
        try:
            with self.instead_of() as connection:
                yield connection
        except Locked:
            self.seconds.append(time.monotonic() - begun)
            raise


def open_window(*source_ids: str) -> Window:
    """A window that opens now, for a day."""
    now = daemon.utcnow().replace(microsecond=0)
    return Window(
        id="w234567",
        sources=tuple(SourceRef(source_id, source_id) for source_id in source_ids),
        starts_local=now.replace(tzinfo=None),
        timezone="UTC",
        duration=timedelta(days=1),
        reason="patching",
        created_at=now,
        effective_from=now,
    )


def answer(store: Store, number: int) -> dict[str, Any]:
    """What a command that asked for a pass is told."""
    told = store.service.answered(number)
    return {} if told is None else dict(json.loads(told))


def test_a_pass_is_answered_when_its_slow_sources_are_done_whatever_the_wall_clock_does(house: House) -> None:
    async def life() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (it, store):
            number, begun, at = store.service.ask("pass", actor="me", now=NOON), time.monotonic(), NOON
            it._reply(number, Report(at=at, underway=frozenset({"s1"})), begun)
            at += timedelta(hours=1)
            it._reply(number, Report(at=at, error=MmdError("the database cannot be read")), time.monotonic())
            assert answer(store, number) == {}
            it._reply(number, Report(at=at, outcomes=(failed("s1"),)), time.monotonic())
            assert answer(store, number)["exit_code"] == 6
            late = store.service.ask("pass", actor="me", now=NOON)
            it._reply(late, Report(at=at, underway=frozenset({"s1"})), begun - daemon.ANSWER_WITHIN)
            assert answer(store, late)["summary"] == "1 under way"  # by someone who is still there to be told

    asyncio.run(life())


def failed(source_id: str) -> Outcome:
    case = Case(source_id=source_id, source_name=source_id)
    action = Action(verb=Verb.ENTER, source_id=source_id, source_name=source_id, reason="so", case=case)
    return Outcome(action=action, error=Unreachable("ISC is gone"))


def test_an_answer_that_the_database_did_not_take_is_written_later(house: House) -> None:
    async def life() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (it, store):
            number, begun = store.service.ask("pass", actor="me", now=NOON), time.monotonic()
            fault = Fault(store.service.answer, MmdError("the database takes nothing"))
            store.service.answer = fault.call  # type: ignore[method-assign] # for a while
            it._reply(number, Report(at=NOON, outcomes=(failed("s1"),)), begun)
            fault.on = False
            it._reply(number, Report(at=NOON), begun)
            assert answer(store, number)["exit_code"] == 6

    asyncio.run(life())


def test_who_asked_for_a_pass_is_answered_before_the_daemon_leaves(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def life() -> None:
        async with house.daemon(sweep=HARDLY_EVER) as (it, store):
            stuck, met = asyncio.Event(), asyncio.Event()
            await soon(lambda: (found := store.service.daemon()) is not None and found.sweep_at is not None)

            async def patch(*_: object, **__: object) -> None:
                met.set()
                await stuck.wait()
                raise Unreachable("ISC is gone")

            monkeypatch.setattr(it._isc, "patch_source", patch)
            window = open_window(min(house.simulator.tenant.sources))
            store.plans.add(window, Entry(at=window.created_at, kind="window.added", actor="me"))
            number = store.service.ask("pass", actor="me", now=NOON)
            it._tick.set()
            await asyncio.wait_for(met.wait(), PATIENCE)
            await soon(lambda: number in it._asked)
            it._stop.set()
            await soon(lambda: it._reconciler.stopping)
            assert answer(store, number) == {}
            stuck.set()
            await soon(lambda: answer(store, number).get("exit_code") == 6)

    monkeypatch.setattr(daemon, "PATIENCE", 0.05)
    asyncio.run(life())


def test_without_a_good_sweep_the_heartbeat_is_withheld(house: House) -> None:
    async def life() -> None:
        async with house.daemon() as (it, _):
            it._swept -= 14 * 60
            assert it._blind() == ""
            it._sweeper.run = Fault(it._sweeper.run, ValueError("a defect")).call  # type: ignore[method-assign] # for good
            it._swept -= 60
            assert it._blind() == "no good sweep for 15 minutes"

    asyncio.run(life())


@pytest.mark.parametrize(
    ("sweep", "took", "limit"),
    [
        (timedelta(minutes=5), timedelta(seconds=9), timedelta(minutes=15)),
        (timedelta(seconds=10), timedelta(0), timedelta(minutes=15)),
        (timedelta(hours=1), timedelta(minutes=5), timedelta(hours=3)),
        (timedelta(minutes=5), timedelta(minutes=20), timedelta(hours=1)),
    ],
)
def test_sweeps_are_missed_after_three_intervals_or_three_times_as_long_as_one_takes(
    sweep: timedelta, took: timedelta, limit: timedelta
) -> None:
    rhythm = Rhythm(interval=timedelta(seconds=30), sweep=sweep)
    assert not rhythm.sweeps_are_missed(limit, took)
    assert rhythm.sweeps_are_missed(limit + timedelta.resolution, took)
