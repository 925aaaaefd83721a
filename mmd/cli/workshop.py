"""Putting the parts together for a command that reads or changes the tenant."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mmd import config
from mmd.cli.output import progress, progress_done
from mmd.effects import Effects
from mmd.errors import Conflict, Denied, MmdError, NotFound, PartlyDone, Refused, Unreachable
from mmd.escrow import derive_key
from mmd.findings import Rules
from mmd.lock import COMMAND, Taken, only_one
from mmd.plan import WRITES, Interference
from mmd.publish import Terms
from mmd.reconcile import Reconciler, Report
from mmd.sweep import Sweeper

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from mmd.cli.app import App
    from mmd.isc import Isc
    from mmd.store import Store

ANSWER_WITHIN = 120.0  # seconds in which a running daemon should have answered
POLL = 0.2
_KINDS = (Refused, NotFound, Conflict, Denied, Unreachable, PartlyDone)
_BY_CODE: dict[object, type[MmdError]] = {kind.exit_code: kind for kind in _KINDS}


def clock() -> datetime:
    """Return the wall clock's instant in UTC."""
    return datetime.now(tz=UTC)  # noqa: TID251 - this is the shell's clock


def reconciler(app: App, store: Store, isc: Isc) -> Reconciler:
    """Return a reconciler for the configured tenant."""
    secret = config.client_secret(app.config).reveal()
    effects = Effects(store, isc, key=derive_key(secret), actor=app.actor, now=clock)
    return Reconciler(
        store,
        isc,
        effects,
        now=clock,
        actor=app.actor,
        rules=rules(app),
        sweep=app.config.reconcile.sweep,
    )


def rules(app: App) -> Rules:
    """Return what sources are judged by."""
    return _rules(app, derive_key(config.client_secret(app.config).reveal()))


def _rules(app: App, key: bytes) -> Rules:
    return Rules(
        grace=app.config.reconcile.zombie_grace,
        key=key,
        pace=app.pace,
        interference=Interference(app.config.reconcile.on_interference),
    )


def sweeper(app: App, store: Store, isc: Isc) -> Sweeper:
    """Return a sweeper for the configured tenant."""
    return Sweeper(
        store,
        isc,
        rules(app),
        now=clock,
        actor=app.actor,
        every=app.config.reconcile.sweep,
        restore_own=app.config.reconcile.on_zombie == "restore",
    )


def terms(app: App) -> Terms:
    """Return what a report needs of the configuration; without a secret nothing is read, nor judged."""
    tenant = app.config.tenant
    try:
        judged_by = rules(app)
    except MmdError:
        judged_by = _rules(app, b"")
    return Terms(
        tenant=tenant.name or tenant.base_url.partition("://")[2],
        zone=app.zone,
        rules=judged_by,
    )


def check_tenant(app: App, store: Store) -> None:
    """Believe nothing of a database about a tenant that is not its own.

    Raises:
        Conflict: it belongs to another one.
    """
    if store.exists:
        store.service.check_tenant(config.base_url(app.config))


@contextlib.asynccontextmanager
async def at_work(app: App, *, create: bool = False) -> AsyncIterator[tuple[Store, Reconciler, Isc]]:
    """Open database and tenant for one command.

    Raises:
        Conflict: the database belongs to another tenant.
    """
    with app.store(create=create) as store:
        if store.exists and create:
            store.service.bind(config.base_url(app.config))
        check_tenant(app, store)
        async with app.isc() as isc:
            yield store, reconciler(app, store, isc), isc


@contextlib.asynccontextmanager
async def daemon_or_lock(app: App) -> AsyncIterator[bool]:
    """Yield True where a daemon runs on the database; else hold its lock and yield False.

    Another command that holds the lock is waited for.

    Raises:
        Taken: it does not come to its end.
    """
    deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(only_one(app.config.database.file, COMMAND))
            except Taken as taken:
                if taken.holder and not taken.holder.endswith(COMMAND):
                    running = True
                    break
                if asyncio.get_running_loop().time() > deadline:
                    progress_done()
                    raise
                progress(f"another mmd is at work ({taken.holder}) …")
                await asyncio.sleep(POLL)
            else:
                running = False
                break
        progress_done()
        yield running


async def passes(work: Reconciler) -> Report:
    """Run a pass, and another look at what it did; return what came of both."""
    report = await one_pass(work)
    if any(outcome.action.verb in WRITES for outcome in report.outcomes):
        await asyncio.sleep(1)
        report = report.followed_by(await one_pass(work))
    return report


async def one_pass(work: Reconciler) -> Report:
    """Run a pass, and show how many sources are still to be done."""
    running = asyncio.create_task(work.run())
    try:
        while not (await asyncio.wait([running], timeout=POLL))[0]:
            left = len(work.underway)
            progress(f"{left} source{'s' * (left > 1)} to be done" if left else "reading the sources …")
    finally:
        progress_done()
    return running.result()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of a pass; `daemon` is the daemon's word for it, where it ran there."""

    actions: Sequence[Mapping[str, Any]] = ()
    error: MmdError | None = None
    daemon: str | None = None


async def ask_daemon(store: Store, kind: str, actor: str) -> Answer:
    """Leave the daemon a request and wait for its answer.

    Raises:
        Conflict: it does not answer.
    """
    number = store.service.ask(kind, actor=actor, now=clock())
    deadline = asyncio.get_running_loop().time() + ANSWER_WITHIN
    try:
        while asyncio.get_running_loop().time() < deadline:
            progress("waiting for the daemon's pass …")
            answer = store.service.answered(number)
            if answer is not None:
                row = store.service.daemon()
                return _read(answer, ok=row is not None and row.pass_ok)
            await asyncio.sleep(POLL)
    finally:
        progress_done()
    raise Conflict(
        f"the running daemon has not answered within {ANSWER_WITHIN:.0f} s",
        hint="see its log; `mmd status` shows its last pass",
    )


def of_code(code: object, message: str, hint: str) -> MmdError:
    """Return the error that another process met, by its exit code."""
    return _BY_CODE.get(code, MmdError)(message, hint=hint)


def _read(answer: str, *, ok: bool) -> Answer:
    """Read the daemon's answer; an older mmd's is a sentence alone, and `ok` says how its pass went."""
    try:
        said = json.loads(answer)
    except ValueError:
        hint = "an older mmd runs as the daemon: restart it; its log says more"
        return Answer(daemon=answer, error=None if ok else MmdError(answer, hint=hint))
    code, error = said["exit_code"], None
    if code:
        error = of_code(code, said["error"], said["hint"])
    return Answer(actions=said["actions"], error=error, daemon=said["summary"])
