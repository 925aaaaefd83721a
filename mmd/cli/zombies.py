"""`mmd zombies`: the sources in maintenance that no open window accounts for."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from mmd.cli.app import config_option
from mmd.cli.output import Table, emit, format_option, progress, progress_done, say
from mmd.errors import Findings

if TYPE_CHECKING:
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.findings import Finding

_NAMED: Final = 3  # of the sources that are not shown whole; more would hide the list


@config_option
@click.command(name="zombies")
@format_option
@click.option("--last", is_flag=True, help="Do not ask the tenant: what the daemon's last sweep found.")
@click.pass_obj
def zombies(app: App, form: str, *, last: bool) -> None:
    """List the sources in maintenance that no open window accounts for; exit 10 if there are any.

    Reads the whole tenant, and changes nothing. KIND is overdue (our window closed, and the source is not
    back), orphan (no window ever), foreign (the forum workflow's) or half (left half-way, no marker).
    """
    asked = app.now  # before anything is read
    found, empty = _last_found(app) if last else (asyncio.run(_found(app)), "no zombies")
    rows = [
        (item.source_name, item.kind.value, _since(item, asked, form), item.detail, item.source_id)
        for item in found
    ]
    table = Table(("SOURCE", "KIND", "SINCE", "DETAIL", "ID"), rows, [item.source_id for item in found])
    emit(form, {"zombies": [_zombie(item) for item in found]}, table, empty=empty)
    for item in found if form == "table" else ():
        say(f"{item.source_name}: {item.next_step}")
    if found:
        raise Findings("")


def _since(item: Finding, asked: datetime, form: str) -> str:
    """Say since when; where nothing tells when it began, people read that it is when it was first seen."""
    from mmd.findings import Kind  # noqa: PLC0415 - not for `--help`

    since = f"{item.since:%Y-%m-%d %H:%M:%SZ}"
    if form != "table" or item.kind is Kind.OVERDUE:
        return since
    return "first seen now" if item.since >= asked else f"first seen {since}"


def _zombie(item: Finding) -> dict[str, Any]:
    return {
        "source_id": item.source_id,
        "source_name": item.source_name,
        "kind": item.kind.value,
        "since": item.since,
        "window": item.window,
        "detail": item.detail,
        "next_step": item.next_step,
    }


def _last_found(app: App) -> tuple[list[Finding], str]:
    """Return what is on file, and what it means if that is nothing; say of which sweep it is."""
    from mmd.findings import ZOMBIES  # noqa: PLC0415 - not for `--help`

    with app.store() as store:
        found = [item for item in store.findings.open().values() if item.kind in ZOMBIES]
        swept = store.findings.last_sweep()
        if swept is None:
            return found, app.nothing(
                store, "no complete sweep is on file; `mmd zombies` reads the tenant now"
            )
        as_of = f"as of {swept:%Y-%m-%d %H:%M:%SZ} (last sweep)"
        if found:
            say(as_of)
        return found, f"no zombies {as_of}"


async def _found(app: App) -> list[Finding]:
    """Sweep the tenant now; since when is taken from the daemon's sweeps, where they saw it before."""
    from mmd.cli.workshop import at_work, sweeper  # noqa: PLC0415 - the adapters are slow to import
    from mmd.findings import ZOMBIES  # noqa: PLC0415 - as above

    async with at_work(app) as (store, _, isc):
        known = store.findings.open()
        sweep = sweeper(app, store, isc)
        swept = await sweep.run(record=False, progress=lambda count: progress(f"{count} sources read"))
        progress_done()
    if swept.error is not None:
        raise type(swept.error)(
            f"INCOMPLETE: the tenant could not be read whole, and that proves nothing: {swept.error}",
            hint=swept.error.hint,
        )
    if swept.blind:
        names, more = ", ".join(swept.blind[:_NAMED]), " and others" * (len(swept.blind) > _NAMED)
        say(f"ISC shows no attributes of {names}{more}, so whether they are in maintenance is not known")
    found = [item for item in swept.findings if item.kind in ZOMBIES]
    return [_since_known(item, known.get(item.source_id)) for item in found]


def _since_known(item: Finding, known: Finding | None) -> Finding:
    same = known is not None and known.kind is item.kind
    return replace(item, since=known.since) if same and known is not None else item
