"""`mmd alerts`: what people are to look at, and whether they would get to know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from mmd.cli.app import Group, config_option
from mmd.cli.output import Table, emit, format_option, say
from mmd.errors import MmdError, NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mmd.alerts import Message
    from mmd.cli.app import App
    from mmd.notify import Channel

_HEADINGS = ("KIND", "SUBJECT", "SINCE", "TOLD", "DETAIL", "NEXT STEP")


@config_option
@click.group(name="alerts", cls=Group)
def alerts() -> None:
    """See what people were alerted to, and whether messages get through."""


@config_option
@alerts.command(name="list")
@format_option
@click.pass_obj
def list_alerts(app: App, form: str) -> None:
    """List the open alerts, from the database, and how many messages wait to be delivered."""
    with app.store() as store:
        found = store.alerts.open()
        pending, since = store.alerts.waiting()
    rows = [
        (
            it.condition.kind.value,
            it.condition.subject,
            f"{it.opened_at:%Y-%m-%d %H:%M:%SZ}",
            f"{it.reminded_at:%Y-%m-%d %H:%M:%SZ}",
            it.condition.detail,
            it.condition.next_step,
        )
        for it in found
    ]
    data = [
        {
            "cause": it.condition.cause,
            "kind": it.condition.kind.value,
            "source_id": it.condition.source_id,
            "subject": it.condition.subject,
            "detail": it.condition.detail,
            "next_step": it.condition.next_step,
            "opened_at": it.opened_at,
            "reminded_at": it.reminded_at,
        }
        for it in found
    ]
    table = Table(_HEADINGS, rows, [it.condition.cause for it in found])
    emit(form, {"alerts": data, "pending": pending}, table, empty=app.nothing(store, "no alert is open"))
    if since is not None:
        say(f"{pending} deliveries are pending, the oldest since {since:%Y-%m-%d %H:%M:%SZ}")


@config_option
@alerts.command(name="test")
@format_option
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.option("--dry-run", is_flag=True, help="Say what would be sent to, and send nothing.")
@click.pass_obj
def test(app: App, form: str, *, yes: bool, dry_run: bool) -> None:
    """Send a test message to every channel now, and say which took it."""
    from mmd.notify import Channel  # noqa: PLC0415 - Apprise takes a third of a second

    del yes
    urls = app.config.alerts.urls
    if not urls:
        raise NotFound("no channel is configured", hint="name someone in [alerts] urls")
    channels = [Channel(url, number) for number, url in enumerate(urls, start=1)]
    problems = ["not sent" for _ in channels] if dry_run else asyncio.run(_sent(channels, _message(app)))
    results = [problem or "ok" for problem in problems]
    data = [
        {"channel": channel.label, "ok": not problem, "error": problem or None}
        for channel, problem in zip(channels, problems, strict=True)
    ]
    rows = [(channel.label, result) for channel, result in zip(channels, results, strict=True)]
    emit(form, {"channels": data}, Table(("CHANNEL", "RESULT"), rows, [row[0] for row in rows]))
    failures = sum(bool(problem) for problem in problems)
    if failures and not dry_run:
        raise MmdError(
            f"{failures} of {len(channels)} channels did not take the message",
            hint="check their [alerts] urls: Apprise's documentation has the form of each service",
        )


def _message(app: App) -> Message:
    from mmd.alerts import Kind, Message  # noqa: PLC0415 - only here

    body = f"If you read this, mmd can tell you what is wrong. Sent by {app.actor} with `mmd alerts test`."
    return Message(kind=Kind.TEST, title="mmd: test", body=body)


async def _sent(channels: Sequence[Channel], message: Message) -> list[str]:
    return list(await asyncio.gather(*(channel.send(message) for channel in channels)))
