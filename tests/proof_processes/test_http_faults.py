"""What the network and ISC can do to a request, at every request of both ways: reliability.md 2.3 B.

The real client and reconciler over a socket, with time that passes only while somebody waits. Many sources
go through one window side by side, and each has the fault at another of its requests; none holds up another.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mmd import amend
from mmd.effects import Effects
from mmd.escrow import derive_key
from mmd.findings import Rules
from mmd.isc import Isc, Tenant
from mmd.posture import MARKER
from mmd.reconcile import Reconciler
from mmd.simulator import Simulator, Switches, faults, make_tenant
from mmd.simulator.faults import Action, Proceed, Rule
from mmd.simulator.wire import Call, Reply, answer
from mmd.store import Entry, Store, create_file
from mmd.windows import SourceRef, Window

pytestmark = pytest.mark.slow

BEGIN = datetime(2026, 12, 1, 12, tzinfo=UTC)
REQUESTS = 8  # that name one source with two schedules, each way
SHAPES = (0, 2)  # of the simulated tenant's dozen: two schedules; the same, and flags as text
KINDS = 12
BODY_LIMIT = 16 << 20


@dataclass
class Site:
    """A tenant, a database, and the one clock of everything."""

    sim: Simulator
    store: Store
    seconds: float = 0.0
    ids: list[str] = field(default_factory=list)
    before: dict[str, Any] = field(default_factory=dict)

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)

    def plan(self) -> None:
        window = Window(
            id="wproof",
            sources=tuple(SourceRef(key, self.sim.tenant.sources[key]["name"]) for key in self.ids),
            starts_local=self.now().replace(tzinfo=None),
            timezone="UTC",
            duration=timedelta(days=1),
            reason="patching",
            created_at=self.now(),
            effective_from=self.now(),
        )
        self.store.plans.add(window, Entry(at=self.now(), kind="window.added", actor="test"))

    def close(self) -> None:
        entry = Entry(at=self.now(), kind="window.cancelled", actor="test", window_id="wproof")
        self.store.plans.change("wproof", lambda window: (amend.cancel(window, self.now()), entry))

    def passes(self, done: Callable[[], bool], *, times: int = 12, apart: float = 65) -> None:
        """A life of so many passes at most; it ends when what must happen has happened."""
        asyncio.run(self._passes(done, times, apart))

    async def _passes(self, done: Callable[[], bool], times: int, apart: float) -> None:
        key = derive_key(self.sim.client_secret)
        tenant = Tenant(
            base_url=self.sim.base_url,
            api_version="v2026",
            client_id=self.sim.client_id,
            rate=10_000,
            user_agent="mmd/test",
        )
        secret = self.sim.client_secret
        async with Isc(tenant, lambda: secret, clock=lambda: self.seconds, sleep=self.sleep) as isc:
            effects = Effects(
                self.store,
                isc,
                key=key,
                actor="test",
                now=self.now,
                monotonic=lambda: self.seconds,
                sleep=self.sleep,
            )
            rules = Rules(grace=timedelta(minutes=2), key=key)
            work = Reconciler(self.store, isc, effects, now=self.now, actor="test", rules=rules)
            for _ in range(times):
                if done():
                    return
                await work.run()
                self.seconds += apart

    def fault(self, action: Action) -> list[Rule]:
        """Have it happen to the nth source of each shape at the nth request that names it."""
        rules = [Rule(action, path=key, nth=number % REQUESTS + 1) for number, key in enumerate(self.ids)]
        self.sim.faults.extend(rules)
        return rules

    def in_maintenance(self, key: str) -> bool:
        marked = self.sim.tenant.sources[key]["connectorAttributes"].get(MARKER) is True
        return marked and not self.sim.tenant.schedules[key]

    def restored(self, key: str) -> bool:
        return bool(self.sim.tenant.comparable(key) == self.before[key])

    @property
    def all_in(self) -> bool:
        return all(map(self.in_maintenance, self.ids))

    @property
    def all_back(self) -> bool:
        return all(map(self.restored, self.ids)) and not self.store.holds.held()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "mmd.db"
    create_file(path)
    return path


@pytest.fixture
def site(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr("mmd.isc.wire.READ_SECONDS", 0.3)
    monkeypatch.setattr("mmd.isc.wire.TOTAL_SECONDS", 1.0)
    switches = Switches(rate=None, health_seconds=0)
    made = make_tenant(KINDS * REQUESTS, seed=5)
    names = [one["name"] for one in sorted(made.sources.values(), key=lambda it: it["created"])]
    with Store.open(Path(shutil.copy(template, tmp_path))) as store:
        with Simulator(made, switches) as sim:
            here = Site(sim, store)
            made.clock = here.now
            here.ids = [made.id_of(name) for shape in SHAPES for name in names[shape::KINDS]]
            here.before = {key: made.comparable(key) for key in made.sources}
            yield here
            assert all(here.restored(key) for key in here.before), "something else was changed"
        assert store.journal.verify().broken is None


def _body(body: bytes, **more: Any) -> Action:  # noqa: ANN401 - a reply's fields
    return faults.rewrite(lambda reply: replace(reply, status=200, body=body, **more))


def _without(name: str) -> Action:
    """A source comes without one of its fields."""

    def strip(reply: Reply) -> Reply:
        found = json.loads(reply.body) if reply.body else None
        if isinstance(found, dict):
            found.pop(name, None)
        return reply if found is None else answer(reply.status, found)

    return faults.rewrite(strip)


def _patches(action: Action) -> Action:
    """Only where there is a patch to act on; other requests are left alone."""
    return lambda call, proceed: (action if call.method == "PATCH" else _alone)(call, proceed)


def _alone(call: Call, proceed: Proceed) -> Reply:
    return proceed(call)


NETWORK: dict[str, Action] = {
    "B1 the answer is lost": faults.drop(after=True),
    "B2 the request is lost": faults.drop(),
    "B3 429": faults.fail(429, headers={"Retry-After": "7"}),
    "B6 500 after it was done": faults.fail(500, after=True),
    "B6 500": faults.fail(500),
    "B6 502 with a page of HTML": faults.html(502),
    "B6 503": faults.fail(503),
    "B6 504 after it was done": faults.fail(504, after=True),
    "B16 an answer cut off": faults.truncate(20),
    "B16 an answer without an end": faults.truncate(0),
    "B19 no answer in time": faults.hang(0.6),
    "B19 no answer in time, and done": faults.hang(0.6, after=True),
    "B19 an answer byte by byte": faults.trickle(0.01),
}
CONTENT: dict[str, Action] = {
    "B3 429 that says nothing": faults.fail(429),
    "B13 a patch without its first operation": _patches(faults.ignore_op(0)),
    "B13 a patch without its last operation": _patches(faults.ignore_op(-1)),
    "B16 200 and a page of HTML": faults.html(200),
    "B17 an empty list": _body(b"[]"),
    "B17 null": _body(b"null"),
    "B17 nothing": _body(b""),
    "B17 without features": _without("features"),
    "B17 without connectorAttributes": _without("connectorAttributes"),
    "B22 a redirect": faults.redirect("http://127.0.0.1:9"),
    "B22 a redirect of the old kind": faults.redirect("http://127.0.0.1:9", 302),
    "B24 another source": faults.rewrite(
        lambda reply: replace(reply, body=reply.body.replace(b'"id"', b'"di"'))
    ),
    "B24 a list of numbers": _body(b"[1, 2, 3]"),
    "B23 a bomb": _body(gzip.compress(bytes(BODY_LIMIT + 1))),
    "B24 not JSON": _body(b'{"id": NaN, "id": 1, "id": "\\ud800"'),
    "C1 401": faults.fail(401),
}
FAULTS = {**NETWORK, **CONTENT}
TIER = "T10 answers, over HTTP"


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_request_of_the_way_in(
    site: Site, name: str, tally: Callable[[str, int], None]
) -> None:
    site.plan()
    rules = site.fault(FAULTS[name])
    site.passes(lambda: site.all_in and all(held.entered_at for held in site.store.holds.held().values()))
    assert all(rule.fired for rule in rules)
    assert site.all_in, [key for key in site.ids if not site.in_maintenance(key)]
    site.close()
    site.passes(lambda: site.all_back)
    assert site.all_back
    tally(TIER, len(rules))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_request_of_the_way_out(
    site: Site, name: str, tally: Callable[[str, int], None]
) -> None:
    site.plan()
    site.passes(lambda: site.all_in)
    assert site.all_in
    site.close()
    rules = site.fault(FAULTS[name])
    site.passes(lambda: site.all_back)
    assert all(rule.fired for rule in rules)
    assert site.all_back, [key for key in site.ids if not site.restored(key)]
    tally(TIER, len(rules))


@pytest.mark.parametrize("status", [400, 403, 410])
def test_a_no_to_any_request_of_the_way_in_leaves_the_source_as_it_was(site: Site, status: int) -> None:
    """B7, B8, B26: what is refused is put back, or not begun; the others go in."""
    site.plan()
    for rule in site.fault(faults.fail(status))[REQUESTS:]:
        site.sim.faults.remove(rule)
    site.passes(lambda: False, times=6)
    assert all(site.in_maintenance(key) or site.restored(key) for key in site.ids)
    assert all(map(site.in_maintenance, site.ids[REQUESTS:]))
    site.close()
    site.passes(lambda: site.all_back)
    assert site.all_back


@pytest.mark.parametrize("prefix", [0, 1, 2])
def test_a_patch_of_which_only_the_beginning_is_applied(site: Site, prefix: int) -> None:
    """B14: then ISC has said no, and still done something."""
    site.plan()
    site.fault(_patches(faults.prefix_ops(prefix)))
    site.passes(lambda: False, times=6)
    assert all(site.in_maintenance(key) or site.restored(key) for key in site.ids)
    site.fault(_patches(faults.prefix_ops(prefix)))
    site.close()
    site.passes(lambda: site.all_back)
    assert site.all_back


def _while(site: Site, until: float, action: Action) -> Action:
    """For as long as the time has not come."""

    def act(call: Call, proceed: Proceed) -> Reply:
        return action(call, proceed) if site.seconds < until else proceed(call)

    return act


OUTAGES: dict[str, tuple[Action, float]] = {
    "B4 429s for ten minutes": (faults.fail(429, headers={"Retry-After": "20"}), 600),
    "B9 no right for two hours": (faults.fail(403), 7200),
    "B20 nobody there for an hour": (faults.drop(), 3600),
    "B27 ISC's own maintenance for three hours": (faults.html(503), 3 * 3600),
}


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_over_the_end_of_a_window(site: Site, name: str) -> None:
    """All are back within a minute of its end, and two passes."""
    action, lasting = OUTAGES[name]
    del site.ids[2:]
    site.plan()
    site.passes(lambda: site.all_in)
    site.close()
    ends = site.seconds + lasting
    site.sim.faults.append(Rule(_while(site, ends, action), path="/sources"))
    site.passes(lambda: all(map(site.restored, site.ids)), times=1000, apart=30)
    assert all(map(site.restored, site.ids))
    assert ends <= site.seconds <= ends + 60 + 2 * 30
    site.passes(lambda: site.all_back)


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_over_the_start_of_a_window(site: Site, name: str) -> None:
    action, lasting = OUTAGES[name]
    del site.ids[2:]
    site.plan()
    ends = site.seconds + lasting
    site.sim.faults.append(Rule(_while(site, ends, action), path="/sources"))
    site.passes(lambda: site.all_in, times=1000, apart=30)
    assert site.all_in
    assert ends <= site.seconds <= ends + 60 + 2 * 30
    site.close()
    site.passes(lambda: site.all_back)
    assert site.all_back


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORK)
def test_a_fault_at_the_page_that_all_share(site: Site, name: str, nth: int) -> None:
    del site.ids[2:]
    site.plan()
    rule = Rule(NETWORK[name], path="/sources$", nth=nth)
    site.sim.faults.append(rule)
    site.passes(lambda: site.all_in)
    assert site.all_in
    site.close()
    site.passes(lambda: site.all_back)
    assert site.all_back
    assert rule.fired
