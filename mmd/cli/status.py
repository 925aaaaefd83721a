"""`mmd status`: what is in maintenance, what is next, what is wrong; from the database, without network."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mmd.cli.app import config_option
from mmd.cli.completion import complete_source
from mmd.cli.output import Table, emit, format_option, say
from mmd.cli.resolve import Candidate, pick
from mmd.cli.words import short
from mmd.lock import is_held_by_daemon
from mmd.posture import Posture
from mmd.views import OnFile, Seen, SourceState, source_states

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.store import Store

_HEADINGS = ("SOURCE", "POSTURE", "NOW", "NEXT", "WINDOWS", "FINDING", "REASON")
# A daemon that has not finished a pass in so many intervals is late; tenants differ in how long a pass takes.
_LATE = 10


@config_option
@click.command(name="status")
@click.argument("source", nargs=-1, shell_complete=complete_source)
@format_option
@click.pass_obj
def status(app: App, source: tuple[str, ...], form: str) -> None:
    """Show what is in maintenance, what is next, and what is wrong.

    Of all sources planned or held, or of every SOURCE: an id, an exact name, or a glob. It reads the database
    only, without network or token; sources are shown as last seen.
    """
    with app.store() as store:
        on_file = _on_file(store, app.now, everything=bool(source))
        daemon = daemon_view(app, store)
        states = _states(app, on_file, app.now)
        if source and store.exists:
            states = _chosen(source, states, on_file)
        damaged = store.holds.open()[1]
    data = {"daemon": daemon, "sources": [item.view for item in states]}
    empty = app.nothing(store, "nothing is planned, and nothing is in maintenance")
    emit(form, data, _table(states, app), empty=empty)
    _tell(daemon, states)
    for error in damaged.values():
        raise error


def _states(app: App, on_file: OnFile, now: datetime) -> tuple[SourceState, ...]:
    return source_states(on_file, now, grace=app.config.reconcile.zombie_grace, lead=app.pace.ahead)


def concerned(app: App) -> list[SourceState]:
    """The sources that should be in maintenance now, or are held there, as the last pass saw them."""
    now = app.clock()
    with app.store() as store:
        states = _states(app, _on_file(store, now, everything=False), now)
    return [item for item in states if item.wanted or item.held]


def unread(states: Sequence[SourceState]) -> str:
    """Say which of the sources that are wanted or held ISC did not show; nothing where it showed all."""
    names = [
        item.source_name
        for item in states
        if (item.wanted or item.held) and item.posture is Posture.UNKNOWN and item.observed_at
    ]
    return f"ISC does not show these, or not wholly, so nothing is done: {', '.join(names)}" if names else ""


def _on_file(store: Store, now: datetime, *, everything: bool) -> OnFile:
    """Read what bears on the present; of a tenant's ten thousand sources only those concerned, or all."""
    held, found = store.holds.open()[0], store.findings.open()
    windows = {window.id: window for window in store.plans.current(now)}
    claimed = {claim.window_id for item in held.values() for claim in item.claims} - windows.keys()
    over = [window for window in map(store.plans.get, sorted(claimed)) if window is not None]
    planned = {source.id for window in windows.values() for source in window.sources}
    seen = store.sightings.all(None if everything else {*planned, *held, *found})
    return OnFile(
        windows=(*windows.values(), *over),
        exemptions=store.plans.exemptions(windows.values()),
        held=held,
        seen={
            name: Seen(name=item.name, posture=item.posture, observed_at=item.observed_at)
            for name, item in seen.items()
        },
        found=found,
    )


def _chosen(words: Sequence[str], states: Sequence[SourceState], on_file: OnFile) -> tuple[SourceState, ...]:
    """The states of the sources that the words mean; a source that was seen and is not planned has one too.

    Raises:
        NotFound: a word means no source on file.
        Refused: a name is that of several.
    """
    rows = {item.source_id: item for item in states}
    known = [Candidate(item.source_id, item.source_name) for item in states]
    known += [Candidate(name, item.name) for name, item in on_file.seen.items() if name not in rows]
    wanted = {ref.id for ref in pick(words, known)}
    idle = [
        SourceState.idle(name, item)
        for name, item in on_file.seen.items()
        if name in wanted and name not in rows
    ]
    return (*(item for item in states if item.source_id in wanted), *idle)


def daemon_view(app: App, store: Store) -> dict[str, Any]:
    """Return what the daemon last wrote about itself, and whether it is there.

    `late`: it is there, and has not finished a pass for much longer than it should take.
    """
    row = store.service.daemon()
    if row is None:
        return {"running": False}
    patience = _LATE * app.config.reconcile.interval + timedelta(minutes=1)
    running = row.stopped_at is None and is_held_by_daemon(row.pid, app.config.database.file)
    return {
        "running": running,
        "late": running and app.now - (row.pass_at or row.started_at) > patience,
        "pid": row.pid,
        "host": row.host,
        "version": row.version,
        "started_at": row.started_at,
        "stopped_at": row.stopped_at,
        "last_pass_at": row.pass_at,
        "last_pass_ok": row.pass_ok,
        "note": row.pass_note,
        "next_pass_at": row.next_at,
    }


def _table(states: Sequence[SourceState], app: App) -> Table:
    rows = [
        (
            item.source_name,
            item.posture.value,
            _now(item, app.zone, app.now),
            short(item.next.opens_at, app.zone) if item.next else "",
            ", ".join(item.windows),
            item.finding or "",
            item.reason,
        )
        for item in states
    ]
    return Table(_HEADINGS, rows, [item.source_id for item in states])


def _now(item: SourceState, zone: str, now: datetime) -> str:
    """What is going on with a source, in a few words."""
    until = f" until {short(item.until, zone)}" if item.until else ""
    since = f" since {short(item.until, zone)}" if item.until and item.until <= now else ""
    match item.wanted, item.held:
        case True, True:
            return f"in maintenance{until}"
        case True, False:
            return f"wanted{until}"
        case False, True:
            return f"to be restored{since}"
        case _:
            return ""


def _tell(daemon: dict[str, Any], states: Sequence[SourceState]) -> None:
    """Say what the table has no room for: a daemon that is needed, and is not at work."""
    if not any(item.wanted or item.held for item in states):
        return
    if not_shown := unread(states):
        say(f"warning: {not_shown}")
    if not daemon["running"]:
        say("warning: the daemon is not running: nothing is entered or restored; start it: `mmd run`")
    elif daemon["late"]:
        say(f"warning: the daemon (pid {daemon['pid']}) is late with its pass; see its log")
    elif daemon["last_pass_at"] and not daemon["last_pass_ok"]:
        say(f"warning: the daemon's last pass failed: {daemon['note']}")
