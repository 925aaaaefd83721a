"""`mmd sources`: the tenant's sources with their posture."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from mmd.cli.app import config_option
from mmd.cli.output import Table, emit, format_option, progress, progress_done

if TYPE_CHECKING:
    from mmd.cli.app import App
    from mmd.store import Sighting


@config_option
@click.command(name="sources")
@click.option("--live", is_flag=True, help="Read them from the tenant now, not from the database.")
@format_option
@click.pass_obj
def sources(app: App, form: str, *, live: bool) -> None:
    """List the sources with their posture: as last seen, or with --live as they are now."""
    found, empty = (asyncio.run(_live(app)), "ISC lists no source") if live else _known(app)
    found.sort(key=lambda sighting: sighting.name)
    rows = [
        (
            item.name,
            item.connector,
            item.posture.value,
            f"{item.observed_at:%Y-%m-%d %H:%M:%SZ}",
            item.source_id,
        )
        for item in found
    ]
    data = [
        {
            "source_id": item.source_id,
            "source_name": item.name,
            "connector_type": item.connector,
            "posture": item.posture.value,
            "observed_at": item.observed_at,
        }
        for item in found
    ]
    table = Table(("SOURCE", "TYPE", "POSTURE", "SEEN", "ID"), rows, [item.source_id for item in found])
    emit(form, {"sources": data}, table, empty=empty)


def _known(app: App) -> tuple[list[Sighting], str]:
    """Return what was seen, and what it means if that is nothing."""
    with app.store() as store:
        found = list(store.sightings.all().values())
        return found, app.nothing(store, "no source was seen yet; `mmd sources --live` asks the tenant")


async def _live(app: App) -> list[Sighting]:
    from mmd.cli.workshop import check_tenant  # noqa: PLC0415 - only with --live
    from mmd.plan import Case  # noqa: PLC0415 - as above
    from mmd.store import Sighting  # noqa: PLC0415 - as above

    found: list[Sighting] = []
    with app.store() as store:
        check_tenant(app, store)
        held = store.holds.open()[0]
    async with app.isc() as isc:
        async for page in isc.pages():
            progress(f"{len(found) + len(page)} sources read")
            for seen in page:
                case = Case(
                    source_id=seen.source_id,
                    source_name=seen.name,
                    held=held.get(seen.source_id),
                    observed=seen,
                )
                found.append(
                    Sighting(
                        source_id=seen.source_id,
                        name=seen.name,
                        connector=seen.connector,
                        posture=case.posture,
                        reason="",
                        observed_at=app.now,
                    )
                )
    progress_done()
    return found
