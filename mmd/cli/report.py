"""`mmd report`: what is in maintenance now, and what was in a period, for an auditor."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmd.cli.app import config_option
from mmd.cli.output import progress, progress_done, say
from mmd.errors import MmdError, PartlyDone, Refused
from mmd.when import parse_instant

if TYPE_CHECKING:
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.publish import Listing
    from mmd.report import Report

_PAST = 'a report is about the past: "2026-12-01 22:00"'


@config_option
@click.command(name="report")
@click.option(
    "--format",
    "form",
    type=click.Choice(("csv", "html", "json")),
    default="csv",
    show_default=True,
    help="For the auditor's table, for people, or for programs.",
)
@click.option(
    "--since", metavar="T", help="The beginning of the period; else [reports] every before its end."
)
@click.option("--until", metavar="T", help="The end of the period; else now.")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to a file, whole or not at all."
)
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.pass_obj
def report(
    app: App, form: str, since: str | None, until: str | None, output: Path | None, *, yes: bool
) -> None:
    """Report what is in maintenance now, and what was in a period.

    CSV lists what is in maintenance now, as the forum's audit script does; HTML and JSON also have the
    period: the timeline, what went late, findings, skipped aggregations. The tenant is read whole. Where it
    cannot be, the report says INCOMPLETE, goes to FILE.incomplete, and the exit code is 7.
    """
    from mmd.publish import save  # noqa: PLC0415 - the adapters take a third of a second
    from mmd.report import FORMATS  # noqa: PLC0415 - as above

    del yes
    begin, end = _period(app, since, until)
    made = _made(app, begin, end)
    text = FORMATS[form](made)
    if output is None:
        click.echo(text, nl=False)
    else:
        say(f"written: {save(output, text, complete=made.complete)}")
    if not made.complete:
        raise PartlyDone(
            f"INCOMPLETE: the tenant could not be read whole: {made.facts.trouble}",
            hint="what is in maintenance now is as last known; `mmd doctor` says what is wrong",
        )


def _period(app: App, since: str | None, until: str | None) -> tuple[datetime, datetime]:
    """Understand the period.

    Raises:
        Refused: it is not over, or there is none.
    """
    end = app.now if until is None else parse_instant(until, zone=app.zone, now=app.now).at
    begin = end - app.config.reports.every
    if since is not None:
        begin = parse_instant(since, zone=app.zone, now=app.now).at
    if end > app.now:
        raise Refused("--until is still to come", hint=_PAST)
    if begin >= app.now:
        raise Refused("--since is still to come", hint=_PAST)
    if begin >= end:
        raise Refused("--since is not before --until", hint="name the date of both")
    return begin, end


def _made(app: App, since: datetime, until: datetime) -> Report:
    from mmd.cli.workshop import check_tenant, terms  # noqa: PLC0415 - as above
    from mmd.publish import gather  # noqa: PLC0415 - as above
    from mmd.report import make  # noqa: PLC0415 - as above

    with app.store() as store:
        check_tenant(app, store)
        said = asyncio.run(_said(app))
        return make(gather(store, said, terms(app), since, until, app.now))


async def _said(app: App) -> Listing:
    """Ask the tenant; where it cannot even be asked, that is why the report is incomplete."""
    from mmd.publish import Listing, listing  # noqa: PLC0415 - as above

    progress("reading the tenant's sources")
    try:
        async with app.isc() as isc:
            return await listing(isc)
    except MmdError as error:
        return Listing(trouble=error.message)
    finally:
        progress_done()
