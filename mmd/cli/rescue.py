"""`mmd restore`: bring one source back now, whatever is planned for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from mmd.cli.app import config_option
from mmd.cli.output import progress, progress_done, say
from mmd.errors import Conflict, MmdError, NotFound, Refused
from mmd.store import Entry

if TYPE_CHECKING:
    from mmd.cli.app import App
    from mmd.plan import Held
    from mmd.posture import Json
    from mmd.reconcile import Reconciler
    from mmd.store import Store

WITHIN = 120.0  # seconds
TRIES = 5


@config_option
@click.command(name="restore")
@click.argument("source")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def restore(app: App, source: str, *, yes: bool, dry_run: bool) -> None:
    """Bring SOURCE back now. Open windows go on for their other sources, and leave this one alone."""
    with app.store() as store:
        held = find_held(store, source)
        name = held.snapshot.source_name
        taken = f"{held.snapshot.taken_at:%Y-%m-%d %H:%M:%SZ}"
        if dry_run:
            say(f"{name} would go back to the snapshot taken at {taken}")
            return
        app.confirm(f"restore {name} to the snapshot taken at {taken} now?", yes=yes)
        asyncio.run(_restored(app, held))
    say(f"{name} is back to what it was")


def find_held(store: Store, source: str) -> Held:
    """Return the open snapshot of a source given by id or name.

    Raises:
        NotFound: mmd holds no such source.
        Refused: several held sources have the name.
    """
    held = store.holds.held()
    if source in held:
        return held[source]
    found = [item for item in held.values() if item.snapshot.source_name == source]
    if len(found) > 1:
        ids = ", ".join(item.snapshot.source_id for item in found)
        raise Refused(f"several held sources are called {source}: {ids}", hint="give the id")
    if not found:
        raise NotFound(f"mmd holds no snapshot of {source}", hint="`mmd status` lists what is held")
    return found[0]


async def _restored(app: App, held: Held) -> None:
    from mmd.cli.workshop import at_work, daemon_or_lock  # noqa: PLC0415 - the adapters are slow to import

    async with at_work(app, create=True) as (store, work, _):
        with daemon_or_lock(app) as running:
            _exempt(app, store, work, held)
            if running:
                await _wait_for_daemon(store, held)
            else:
                await _by_hand(store, work, held)


def _exempt(app: App, store: Store, work: Reconciler, held: Held) -> None:
    """Leave the source out of whatever is open for it, so that no pass takes it again."""
    source_id = held.snapshot.source_id
    open_now = work.wanted(store.plans.current(app.now), app.now).get(source_id, ())
    out = [(window.id, item.key, source_id) for window, item in open_now]
    named: list[Json] = [window.id for window, _ in open_now]
    body: dict[str, Json] = {"name": held.snapshot.source_name, "windows": named}
    entry = Entry(at=app.now, kind="restore.asked", actor=app.actor, source_id=source_id, body=body)
    store.plans.exempt(out, reason="restored by hand", entry=entry)


async def _by_hand(store: Store, work: Reconciler, held: Held) -> None:
    """Run passes until the source is released.

    Raises:
        MmdError: ISC does not let it be restored; the snapshot stays open.
    """
    problem: MmdError | None = None
    for _ in range(TRIES):
        report = await work.run()
        failed = [item for item in report.failed if item.action.source_id == held.snapshot.source_id]
        problem = report.error or (failed[0].error if failed else None)
        if _is_back(store, held):
            return
        await asyncio.sleep(1)
    raise problem or Conflict(f"{held.snapshot.source_name} is not back yet", hint="`mmd status` says more")


async def _wait_for_daemon(store: Store, held: Held) -> None:
    deadline = asyncio.get_running_loop().time() + WITHIN
    while not _is_back(store, held):
        if asyncio.get_running_loop().time() > deadline:
            raise Conflict("the running daemon has not restored it yet", hint="`mmd status` says why")
        progress(f"the daemon restores {held.snapshot.source_name}")
        await asyncio.sleep(0.2)
    progress_done()


def _is_back(store: Store, held: Held) -> bool:
    current = store.holds.held(held.snapshot.source_id).get(held.snapshot.source_id)
    return current is None or current.restored_at is not None
