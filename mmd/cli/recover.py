"""`mmd recover`: the database is lost, or an old backup; rebuild it from the escrows on the sources."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from mmd.cli.app import config_option
from mmd.cli.output import Table, emit, format_option, progress, progress_done, say
from mmd.errors import Conflict, NotFound, PartlyDone

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.isc import Isc
    from mmd.posture import Json
    from mmd.recovery import Remembered
    from mmd.store import Store


@dataclass(slots=True)
class Found:
    """What the sources tell: what to put on file, and what cannot be believed, a sentence and a hint each."""

    new: list[Remembered] = field(default_factory=list)
    known: int = 0
    doubts: list[Conflict] = field(default_factory=list)

    @property
    def doubtful(self) -> list[str]:
        """The sentences alone."""
        return [doubt.message for doubt in self.doubts]

    @property
    def hint(self) -> str:
        """What to do about what is doubtful."""
        return "; ".join(dict.fromkeys(doubt.hint for doubt in self.doubts if doubt.hint))


@config_option
@click.command(name="recover")
@click.option("--accept-unsigned", is_flag=True, help="Believe escrows with another signature as well.")
@format_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be recovered, and write nothing.")
@click.pass_obj
def recover(app: App, form: str, *, accept_unsigned: bool, yes: bool, dry_run: bool) -> None:
    """Rebuild the database from the escrows on the sources, and restore what is overdue.

    An escrow is the second copy of what a source looked like; mmd keeps it on the source for as long as it
    is in maintenance. Run this where the database is lost, or was restored from a backup that is older than
    what is in maintenance now. Only what was in maintenance is told by the sources: plan repeating windows
    anew.
    """
    found = asyncio.run(_recovered(app, accept_unsigned=accept_unsigned, yes=yes, dry_run=dry_run))
    rows = [
        (item.snapshot.source_name, _until(item), ", ".join(_windows(item)), item.snapshot.source_id)
        for item in found.new
    ]
    table = Table(("SOURCE", "UNTIL", "WINDOWS", "ID"), rows, [item.snapshot.source_id for item in found.new])
    data = {"recovered": [_view(item) for item in found.new], "doubtful": found.doubtful}
    emit(form, data, table)
    if found.doubtful:
        raise PartlyDone(
            f"{len(found.doubtful)} escrows were not believed: {'; '.join(found.doubtful)}",
            hint=found.hint,
        )
    if not found.new:
        known = f" ({found.known} are on file already)" if found.known else ""
        raise NotFound(
            f"no source carries an escrow that is not on file{known}",
            hint="there is nothing to recover; `mmd zombies` lists what else is in maintenance",
        )


async def _recovered(app: App, *, accept_unsigned: bool, yes: bool, dry_run: bool) -> Found:
    from mmd.cli.workshop import (  # noqa: PLC0415 - slow to import
        at_work,
        daemon_or_lock,
        passes,
        rules,
    )

    async with at_work(app, create=not dry_run) as (store, work, isc):
        found = await search(store, isc, rules(app).key, accept_unsigned=accept_unsigned, told=progress)
        progress_done()
        for item in found.new:
            say(f"{item.snapshot.source_name}: {item.notes[0]}, until {_until(item)}")
        if dry_run or not found.new:
            return found
        app.confirm(f"put {len(found.new)} sources on file, and restore what is overdue?", yes=yes)
        async with daemon_or_lock(app) as running:
            put_on_file(store, found.new, now=app.now, actor=app.actor)
            if not running:
                report = await passes(work)
                if report.verdict is not None:
                    raise report.verdict
    return found


async def search(
    store: Store, isc: Isc, key: bytes, *, accept_unsigned: bool, told: Callable[[str], None]
) -> Found:
    """Read the whole tenant for escrows; one that cannot be read whole recovers nothing."""
    from mmd.recovery import from_escrow  # noqa: PLC0415 - as above

    found, count = Found(), 0
    owners: dict[str, str] = {}
    async for page in isc.pages():
        count += len(page)
        told(f"{count} sources read")
        for seen in page:
            if seen.escrow is None:
                continue
            try:
                item = from_escrow(seen, key, accept_unsigned=accept_unsigned)
            except Conflict as doubt:
                found.doubts.append(doubt)
                continue
            if _owner(store, owners, item) != seen.source_id:
                found.doubts.append(_copied(seen.name))
            elif _is_news(store, item):
                found.new.append(item)
            else:
                found.known += 1
    return found


def _copied(name: str) -> Conflict:
    return Conflict(
        f"the escrow on {name} has the id of another source's",
        hint="a copy of somebody's making: take mmd_escrow off where it does not belong",
    )


def _owner(store: Store, owners: dict[str, str], item: Remembered) -> str:
    """Return whose entry it is: one id on two sources is a copy of somebody's making."""
    known = store.holds.find(item.snapshot.id)
    first = item.snapshot.source_id if known is None else known.snapshot.source_id
    return owners.setdefault(item.snapshot.id, first)


def _is_news(store: Store, item: Remembered) -> bool:
    """Whether the database does not hold this entry: it knows none of the source, or an older one."""
    from mmd.escrow import Escrow  # noqa: PLC0415 - as above
    from mmd.plan import is_newer  # noqa: PLC0415 - as above

    held = store.holds.held(item.snapshot.source_id).get(item.snapshot.source_id)
    return is_newer(Escrow(snapshot=item.snapshot, claims=item.claims, revision=item.revision), held)


def put_on_file(store: Store, found: list[Remembered], *, now: datetime, actor: str) -> None:
    """Windows first: a snapshot on file without its window would be restored at once."""
    from mmd.cli.rescue import take  # noqa: PLC0415 - as above
    from mmd.recovery import rebuilt  # noqa: PLC0415 - as above
    from mmd.store import Entry  # noqa: PLC0415 - as above

    for window in rebuilt([(item.snapshot, item.claims) for item in found], now):
        if store.plans.get(window.id) is None:
            body: dict[str, Json] = {"recovered": True, "reason": window.reason}
            entry = Entry(at=now, kind="window.added", actor=actor, window_id=window.id, body=body)
            store.plans.add(window, entry)
    for item in found:
        _set_aside(store, item, now=now, actor=actor)
        take(store, item, now=now, actor=actor)


def _set_aside(store: Store, item: Remembered, *, now: datetime, actor: str) -> None:
    """Release an older snapshot that the database took for open: the escrow on the source is newer."""
    from mmd.store import Entry  # noqa: PLC0415 - as above

    older = store.holds.held(item.snapshot.source_id).get(item.snapshot.source_id)
    if older is not None and older.snapshot.id != item.snapshot.id:
        body: dict[str, Json] = {
            "name": item.snapshot.source_name,
            "reason": "a newer escrow is on the source",
        }
        entry = Entry(at=now, kind="released", actor=actor, source_id=item.snapshot.source_id, body=body)
        store.holds.release(older.snapshot.id, entry)


def _view(item: Remembered) -> dict[str, Any]:
    return {
        "source_id": item.snapshot.source_id,
        "source_name": item.snapshot.source_name,
        "taken_at": item.snapshot.taken_at,
        "windows": _windows(item),
    }


def _windows(item: Remembered) -> list[str]:
    return sorted({claim.window_id for claim in item.claims})


def _until(item: Remembered) -> str:
    ends = [claim.closes_at for claim in item.claims]
    return f"{max(ends):%Y-%m-%d %H:%M:%SZ}" if ends else "unknown"
