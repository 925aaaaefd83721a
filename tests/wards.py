"""One source of a shared tenant, with an installation of mmd that is its alone, and requests that name it."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forker import Forker

from mmd import amend
from mmd.effects import Effects
from mmd.escrow import derive_key
from mmd.findings import Rules
from mmd.isc import Isc, Tenant
from mmd.posture import MARKER
from mmd.reconcile import Reconciler, Report
from mmd.simulator import Simulator, Switches, make_tenant
from mmd.simulator.faults import Action, Rule
from mmd.simulator.wire import Call
from mmd.store import Entry, Store, create_file
from mmd.windows import SourceRef, Window

KINDS = 12  # how many kinds of sources the simulated tenant repeats
SHAPES = {"two schedules": 0, "flags as text": 2, "one schedule, flags absent": 6}
SECRET = "CANARY-" + "s" * 24


def utcnow() -> datetime:
    return datetime.now(tz=UTC)  # noqa: TID251 - the clock of the processes that are tested


@contextmanager
def tenant(sources: int, switches: Switches | None = None) -> Iterator[Simulator]:
    """A tenant on a socket that limits nobody."""
    with Simulator(make_tenant(sources, seed=5), switches or Switches(rate=None, health_seconds=0)) as made:
        yield made


class Ward:
    """A source and the mmd that keeps it: its own folder, database and client id."""

    def __init__(self, sim: Simulator, source_id: str, folder: Path, template: Path) -> None:
        folder.mkdir()
        self.sim, self.source_id, self.folder = sim, source_id, folder
        self.database, self.log = folder / "mmd.db", folder / "log"
        shutil.copy(template, self.database)
        self.client_id = secrets.token_hex(8)
        sim.clients.secrets[self.client_id] = SECRET
        self.before = sim.tenant.comparable(source_id)
        self.config = folder / "mmd.toml"
        self.configure()

    def configure(self, **more: str) -> None:
        values = {"base_url": self.sim.base_url, "client_id": self.client_id, **more}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        database = f'[database]\nurl = "sqlite:///{self.database}"\n'
        rhythm = '[reconcile]\ninterval = "1s"\nsweep = "1h"'
        self.config.write_text("[tenant]\n" + "\n".join(lines) + f"\n{database}{rhythm}\n")

    def move(self, folder: Path) -> None:
        """Keep the database in another folder from now on."""
        self.database = Path(shutil.move(self.database, folder / "mmd.db"))
        self.configure()

    # -- what is planned

    def open_window(
        self, lasting: timedelta = timedelta(hours=1), *, after: timedelta = timedelta(seconds=-1)
    ) -> None:
        """Plan a window that has been open for a second, or opens later."""
        start = (utcnow() + after).replace(microsecond=0)
        window = Window(
            id="wproof",
            sources=(SourceRef(self.source_id, self.sim.tenant.sources[self.source_id]["name"]),),
            starts_local=start.replace(tzinfo=None),
            timezone="UTC",
            duration=lasting,
            reason="patching",
            created_at=utcnow(),
            effective_from=start,
        )
        with Store.open(self.database) as store:
            store.plans.add(window, Entry(at=start, kind="window.added", actor="test"))

    def close_window(self) -> None:
        """End the window now, as `mmd schedule end` does."""
        now = utcnow()
        with Store.open(self.database) as store:
            entry = Entry(at=now, kind="window.ended", actor="test", window_id="wproof")
            store.plans.change("wproof", lambda window: (amend.cancel(window, now), entry))

    # -- who works on it

    def arguments(self, *words: str) -> tuple[str, ...]:
        return ("--config", str(self.config), *words)

    @property
    def environment(self) -> dict[str, str]:
        return {"MMD_TENANT__CLIENT_SECRET": SECRET}

    def live(self, forker: Forker, *words: str, file_size: int | None = None) -> int:
        """A whole life of a command; return its exit code."""
        self.start(forker, *(words or ("reconcile",)), file_size=file_size)
        return forker.end()

    def start(self, forker: Forker, *words: str, file_size: int | None = None) -> None:
        """Start a command, the daemon mostly."""
        forker.begin(*self.arguments(*words), log=self.log, environment=self.environment, file_size=file_size)

    def wait(self, happened: Callable[[], bool], within: float = 30) -> None:
        """Wait for what must happen."""
        begun = time.monotonic()
        while not happened():
            assert time.monotonic() - begun < within, self.told()[-3000:]
            time.sleep(0.05)

    @property
    def changes(self) -> int:
        """How many requests that change something were sent."""
        return sum(not line.startswith(("GET", "POST /oauth")) for line in self.requests())

    def pass_by(self) -> Report:
        """One pass in this process, over HTTP, to get somewhere without ado."""
        return asyncio.run(self._pass())

    async def _pass(self) -> Report:
        key = derive_key(SECRET)
        tenant = Tenant(
            base_url=self.sim.base_url, api_version="v2026", client_id=self.client_id, user_agent="mmd/test"
        )
        with Store.open(self.database) as store:
            async with Isc(tenant, lambda: SECRET) as isc:
                effects = Effects(store, isc, key=key, actor="test", now=utcnow)
                rules = Rules(grace=timedelta(minutes=2), key=key)
                work = Reconciler(store, isc, effects, now=utcnow, actor="test", rules=rules)
                return await work.run()

    # -- what goes wrong

    def names(self, call: Call) -> bool:
        """Whether this ward's mmd asks for a token, or about its source; others sweep the whole tenant."""
        if call.path == "/oauth/token":
            return self.client_id.encode() in call.body
        sender = self.sim.clients.holder(call.headers.get("authorization", ""), now=self.sim.tenant.clock())
        about = call.path + call.query.get("filters", "")
        return sender == self.client_id and self.source_id in about

    def fault(self, action: Action, *, nth: int) -> Rule:
        """Have something go wrong at the nth request of this ward."""
        rule = Rule(action, nth=nth, when=self.names)
        self.sim.faults.append(rule)
        return rule

    def requests(self) -> list[str]:
        """What was asked about the source, or for a token of the ward's."""
        return [
            f"{one.method} {re.sub('[0-9a-f]{32}', 'ID', one.path)}"
            for one in list(self.sim.log)
            if one.client_id == self.client_id
        ]

    # -- what is to be seen

    @property
    def restored(self) -> bool:
        """Whether the whole source is what it was, schedules included."""
        return self.sim.tenant.comparable(self.source_id) == self.before

    @property
    def in_maintenance(self) -> bool:
        attributes = self.sim.tenant.sources[self.source_id]["connectorAttributes"]
        return attributes.get(MARKER) is True and not self.sim.tenant.schedules[self.source_id]

    @property
    def released(self) -> bool:
        with Store.open(self.database) as store:
            return not store.holds.held() and store.journal.verify().broken is None

    def told(self) -> str:
        """What mmd said, for a message of a failing test."""
        return self.log.read_text() if self.log.exists() else ""


class Wards:
    """Hands out fresh sources of a shape."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self.sim, self._folder, self._lock = sim, folder, threading.Lock()
        self._template = folder / "template.db"
        create_file(self._template)
        names = [
            source["name"] for source in sorted(sim.tenant.sources.values(), key=lambda it: it["created"])
        ]
        ids = {source["name"]: key for key, source in sim.tenant.sources.items()}
        self._left = {shape: [ids[name] for name in names[kind::KINDS]] for shape, kind in SHAPES.items()}

    def take(self, shape: str) -> Ward:
        with self._lock:
            source_id = self._left[shape].pop()
        return Ward(self.sim, source_id, self._folder / source_id, self._template)


def until(happened: Callable[[], bool], do: Callable[[], object], *, times: int) -> int:
    """Do something until what must happen has happened; return how often it took, or fail."""
    for count in range(times + 1):
        if happened():
            return count
        do()
    assert happened(), f"not within {times} lives"
    return times
