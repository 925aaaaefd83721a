"""`mmd run`, `mmd plan`, `mmd reconcile`: passes, by the daemon, in thought, and once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from mmd.cli.app import config_option
from mmd.cli.output import Table, emit, format_option, say
from mmd.errors import Findings, MmdError, PartlyDone
from mmd.plan import WRITES, Verb
from mmd.posture import Posture
from mmd.views import action_view
from mmd.when import format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.cli.app import App
    from mmd.cli.workshop import Answer
    from mmd.daemon import Alarm
    from mmd.isc import Isc
    from mmd.plan import Action
    from mmd.publish import Publisher
    from mmd.store import Store


@config_option
@click.command(name="run")
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.pass_obj
def run(app: App, *, yes: bool) -> None:
    """Run the daemon in the foreground, until SIGTERM or Ctrl-C.

    Under systemd it says when it is ready and keeps the watchdog fed; see systemd/mmd.service.
    """
    from mmd import config, log  # noqa: PLC0415 - only the daemon logs

    del yes
    loaded = app.config
    secret = config.client_secret(loaded)
    hidden = [secret, *loaded.alerts.urls, loaded.alerts.heartbeat_url]
    log.configure(loaded.log.level, loaded.log.format, hidden=hidden)
    asyncio.run(_serve(app))


async def _serve(app: App) -> None:
    from mmd import config  # noqa: PLC0415 - as above
    from mmd.cli.workshop import reconciler, sweeper  # noqa: PLC0415 - the adapters take a third of a second
    from mmd.daemon import Daemon, Rhythm  # noqa: PLC0415 - as above
    from mmd.lock import only_one  # noqa: PLC0415 - as above

    with only_one(app.config.database.file), app.store(create=True, upgrade=True) as store:
        store.service.bind(config.base_url(app.config))
        async with app.isc() as isc:
            with app.store() as reading:
                await Daemon(
                    store,
                    isc,
                    reconciler=reconciler(app, store, isc),
                    sweeper=sweeper(app, store, isc),
                    publisher=_publisher(app, reading, isc),
                    alarm=_alarm(app, store),
                    rhythm=Rhythm(interval=app.config.reconcile.interval, sweep=app.config.reconcile.sweep),
                ).run()


def _publisher(app: App, reading: Store, isc: Isc) -> Publisher:
    """Return who writes the periodic reports, in a thread and so with a connection of its own."""
    from mmd.cli.workshop import terms  # noqa: PLC0415 - as above
    from mmd.publish import Publisher  # noqa: PLC0415 - as above

    reports = app.config.reports
    return Publisher(
        store=reading,
        isc=isc,
        terms=terms(app),
        every=reports.every,
        folder=reports.directory,
        formats=reports.formats,
    )


def _alarm(app: App, store: Store) -> Alarm:
    """Return who has people told, as the configuration asks."""
    from mmd import config  # noqa: PLC0415 - as above
    from mmd.cli.workshop import clock  # noqa: PLC0415 - as above
    from mmd.daemon import Alarm  # noqa: PLC0415 - as above
    from mmd.desk import AlertDesk, Courier, Settings  # noqa: PLC0415 - as above
    from mmd.notify import Channel  # noqa: PLC0415 - as above

    loaded = app.config
    channels = [Channel(url, number) for number, url in enumerate(loaded.alerts.urls, start=1)]
    settings = Settings(
        tenant=loaded.tenant.name or config.base_url(loaded).partition("://")[2],
        actor=app.actor,
        remind_every=loaded.alerts.remind_every,
        grace=loaded.reconcile.zombie_grace,
        before=loaded.alerts.before,
    )
    courier = Courier(
        store,
        channels,
        now=clock,
        heartbeat_url=loaded.alerts.heartbeat_url,
        interval=loaded.reconcile.interval,
    )
    desk = AlertDesk(store, [channel.key for channel in channels], settings)
    return Alarm(desk=desk, courier=courier, client_id=config.client_id(loaded))


@config_option
@click.command(name="plan")
@format_option
@click.pass_obj
def plan(app: App, form: str) -> None:
    """Say what the next pass would do, and why; exit 10 if it would change anything on the tenant."""
    actions = asyncio.run(_planned(app))
    writes = [action for action in actions if action.verb in WRITES]
    takes = app.pace.entering(len(writes)) if writes else timedelta(0)
    views = [action_view(action) for action in actions]
    data = {"actions": views, "seconds": int(takes.total_seconds())}
    emit(form, data, _table(views), empty="nothing to do")
    if writes:
        say(f"this would take about {format_duration(takes)}")
        raise Findings("")


async def _planned(app: App) -> list[Action]:
    from mmd.cli.workshop import at_work  # noqa: PLC0415 - as above

    async with at_work(app) as (_, work, _):
        actions, error = await work.plan()
        if error is not None:
            raise error
        return [action for action in actions if action.verb is not Verb.WAIT or _is_stuck(action)]


def _is_stuck(action: Action) -> bool:
    """Whether it waits for ISC to show the source, and so may wait for ever: people must hear of that."""
    return action.case.posture is Posture.UNKNOWN


@config_option
@click.command(name="reconcile")
@format_option
@click.option("--yes", is_flag=True, help="Taken by every command that writes; nothing is asked here.")
@click.option("--dry-run", is_flag=True, help="The same as `mmd plan`.")
@click.pass_obj
@click.pass_context
def reconcile(ctx: click.Context, app: App, form: str, *, yes: bool, dry_run: bool) -> None:
    """Run one pass now. Where the daemon runs, it is asked to; else this command does it."""
    del yes
    if dry_run:
        ctx.invoke(plan, form=form)
        return
    answer = asyncio.run(_reconciled(app))
    data: dict[str, Any] = {"actions": answer.actions}
    if answer.daemon is not None:
        say(f"the daemon has done a pass: {answer.daemon}")
        data["daemon"] = answer.daemon
    error = _verdict(app, answer)
    emit(form, data, _table(answer.actions), empty="" if answer.daemon or error else "nothing to do")
    if error is not None:
        raise error


def _verdict(app: App, answer: Answer) -> MmdError | None:
    """What went wrong: a source that cannot be read is not done, though nothing failed."""
    from mmd.cli.status import concerned, unread  # noqa: PLC0415 - as above

    states = concerned(app)
    not_shown = unread(states)
    partly = bool(answer.actions) or any(item.posture is not Posture.UNKNOWN for item in states)
    if answer.error is not None:
        if not_shown and partly:
            say(f"warning: {not_shown}")
        return answer.error
    kind = PartlyDone if partly else MmdError
    return kind(not_shown, hint="`mmd plan` lists them; see what ISC shows of them") if not_shown else None


async def _reconciled(app: App) -> Answer:
    from mmd.cli.workshop import Answer, ask_daemon, at_work, daemon_or_lock, passes  # noqa: PLC0415 - as above

    async with at_work(app, create=True) as (store, work, _), daemon_or_lock(app) as running:
        if running:
            return await ask_daemon(store, "pass", app.actor)
        report = await passes(work)
        return Answer(actions=report.actions, error=report.verdict)


_HEADINGS = ("SOURCE", "VERB", "REASON", "ID")


def _table(actions: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        tuple(action[key] for key in ("source_name", "verb", "reason", "source_id")) for action in actions
    ]
    return Table(_HEADINGS, rows, [action["source_id"] for action in actions])
