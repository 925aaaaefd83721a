"""`mmd restore` and `mmd adopt`: what to do about a source that is, or was left, in maintenance."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from mmd.amend import still_wanted
from mmd.cli.app import config_option
from mmd.cli.completion import complete_source
from mmd.cli.output import format_option, progress, progress_done, say
from mmd.cli.words import sentence
from mmd.errors import Conflict, Denied, MmdError, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.isc import Isc
    from mmd.plan import Held
    from mmd.posture import Json, Observation
    from mmd.reconcile import Reconciler
    from mmd.recovery import Remembered, Told
    from mmd.store import Store
    from mmd.windows import Window

WITHIN: Final = 120.0  # seconds in which a running daemon should have restored a source
TRIES: Final = 5  # passes of our own


def told_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which a person says what nothing remembers."""
    for option in (
        click.option("--accept-unsigned", is_flag=True, help="Believe an escrow with another signature."),
        click.option(
            "--set",
            "flags",
            multiple=True,
            metavar="FLAG=VALUE",
            help="enableProvisioningFeature or disable_health_check before: true, false or absent.",
        ),
        click.option(
            "--features", metavar="A,B,…", help="Its features before, with commas between; or `none`."
        ),
    ):
        command = option(command)
    return command


def told(features: str | None, flags: Sequence[str], *, accept_unsigned: bool) -> Told:
    """Read what a person says of the time before.

    Raises:
        Refused: a flag or a value is not one of those there are.
    """
    from mmd.posture import FLAGS  # noqa: PLC0415 - not for `--help`
    from mmd.recovery import ABSENT, Told  # noqa: PLC0415 - as above

    names = None
    if features is not None:
        names = tuple(name.strip() for name in features.split(",") if name.strip() not in ("", "none"))
    values: dict[str, bool | str] = {}
    for text in flags:
        name, _, value = text.partition("=")
        if name not in FLAGS or value not in ("true", "false", ABSENT):
            raise Refused(
                f"--set {text} is not understood", hint=f"{' or '.join(FLAGS)}, =true, =false or =absent"
            )
        values[name] = value if value == ABSENT else value == "true"
    return Told(features=names, flags=values, accept_unsigned=accept_unsigned)


@config_option
@click.command(name="restore")
@click.argument("source", shell_complete=complete_source)
@told_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def restore(app: App, /, source: str, *, yes: bool, dry_run: bool, **before: Any) -> None:  # noqa: ANN401 - `told` types them
    """Bring SOURCE back now: from the database's snapshot, else its escrow, else the forum's stored crons.

    What nothing remembers is asked for, never guessed: --features, and --set for the two flags. Open windows
    go on for their other sources, and leave this one alone.
    """
    said, source = told(**before), sentence("source", source)
    asyncio.run(_restore(app, meant(app, source), said, yes=yes, dry_run=dry_run))


def meant(app: App, source: str) -> str:
    """Return the id of the one source that is meant; ISC is not asked about one that is held.

    Raises:
        NotFound: there is none.
        Refused: several are.
    """
    with app.store() as store:
        return find_held(store, source) or only(app, source)


def find_held(store: Store, source: str) -> str | None:
    """Return the id of a held source that is given by its id, or by its name of now or when it was entered.

    Raises:
        Refused: other sources that mmd knows have, or had, the name.
    """
    (whole, damaged), seen = store.holds.open(), store.sightings.all()
    held = {source_id: item.snapshot.source_name for source_id, item in whole.items()}
    held |= {source_id: error.source_name for source_id, error in damaged.items()}
    if source in held or source in seen:
        return source if source in held else None
    names = {source_id: {name} for source_id, name in held.items()}
    for source_id, item in seen.items():
        names[source_id] = {item.name} | names.get(source_id, set())
    ids = [source_id for source_id, known in names.items() if source in known]
    if len(ids) > 1 and not held.keys().isdisjoint(ids):
        _refuse_several(source, {it: seen[it].name if it in seen else source for it in ids})
    return ids[0] if ids and ids[0] in held else None


def only(app: App, source: str) -> str:
    """Return the id of the one source of the tenant that is meant.

    Raises:
        NotFound: there is none.
        Refused: several are.
    """
    from mmd.cli.resolve import resolve  # noqa: PLC0415 - only where the tenant must be asked

    found = resolve(app, [source])
    if len(found) > 1:
        _refuse_several(source, {ref.id: ref.name for ref in found})
    return found[0].id


def _refuse_several(source: str, names: Mapping[str, str]) -> NoReturn:
    listed = ", ".join(f"{source_id} ({name})" for source_id, name in sorted(names.items()))
    raise Refused(f"{source!r} means {len(names)} sources: {listed}", hint="give the id of one")


async def _restore(app: App, source_id: str, before: Told, *, yes: bool, dry_run: bool) -> None:
    from mmd.cli.workshop import at_work  # noqa: PLC0415 - the adapters are slow to import

    async with at_work(app, create=not dry_run) as (store, work, isc):
        held = store.holds.held(source_id).get(source_id)
        known = _of_held(held) if held else recall(app, await live(isc, source_id), before)
        for note in known.notes:
            say(f"  {note}")
        name, aim = known.snapshot.source_name, f"to what it was{_when(known)}"
        if dry_run:
            say(f"would restore {name} {aim}")
            return
        app.confirm(f"restore {name} now, {aim}?", yes=yes)
        await _bring_back(app, store, work, held or take(store, known, now=app.now, actor=app.actor))
    say(f"{name} is back to what it was")


def _when(known: Remembered) -> str:
    """Say from when the state is; one without an escrow is told, or taken from what is there now."""
    return f" at {known.snapshot.taken_at:%Y-%m-%d %H:%M:%SZ}" if known.text else ""


def _of_held(held: Held) -> Remembered:
    from mmd.recovery import Remembered  # noqa: PLC0415 - as above

    return Remembered(snapshot=held.snapshot, claims=held.claims, text=held.text)


async def live(isc: Isc, source_id: str) -> Observation:
    """Read one source with its schedules."""
    from mmd.isc import Priority  # noqa: PLC0415 - as above

    observed = await isc.source(source_id, priority=Priority.RESTORE)
    return replace(observed, schedules=await isc.schedules(source_id, priority=Priority.RESTORE))


def recall(app: App, observed: Observation, before: Told) -> Remembered:
    """Work out what a source that the database does not hold should go back to."""
    from mmd.cli.workshop import rules  # noqa: PLC0415 - as above
    from mmd.recovery import remembered  # noqa: PLC0415 - as above

    return remembered(observed, before, key=rules(app).key, new_id=uuid.uuid4().hex, now=app.now)


def take(store: Store, known: Remembered, *, now: datetime, actor: str) -> Held:
    """Put what was recalled on file as an open snapshot.

    Raises:
        Conflict: its id is that of another source's entry.
    """
    from mmd.plan import Held, latest  # noqa: PLC0415 - as above
    from mmd.store import Entry  # noqa: PLC0415 - as above

    notes: list[Json] = list(known.notes)
    told = Held(snapshot=known.snapshot, claims=known.claims, text=known.text, revision=known.revision)
    entry_on_file = store.holds.find(told.snapshot.id)
    if entry_on_file and entry_on_file.snapshot.source_id != told.snapshot.source_id:
        raise Conflict(
            f"the escrow on {told.snapshot.source_name} has the id of another source's",
            hint="a copy: take mmd_escrow off the source, and say what it was: --features, --set",
        )
    held = latest(told, entry_on_file)
    entry = Entry(
        at=now,
        kind="snapshot.recalled",
        actor=actor,
        source_id=held.snapshot.source_id,
        body={"snapshot": held.snapshot.id, "name": held.snapshot.source_name, "notes": notes},
    )
    store.holds.recall(held, entry)
    return held


async def _bring_back(app: App, store: Store, work: Reconciler, held: Held) -> None:
    from mmd.cli.workshop import daemon_or_lock  # noqa: PLC0415 - as above

    async with daemon_or_lock(app) as running:
        _exempt(app, store, held)
        if running:
            await _wait_for_daemon(store, held, app.clock())
        else:
            await _by_hand(store, work, held)


def _exempt(app: App, store: Store, held: Held) -> None:
    """Leave the source out of whatever is open for it, so that no pass takes it again."""
    from mmd.store import Entry  # noqa: PLC0415 - as above

    source_id = held.snapshot.source_id
    now = app.clock()  # what opened while a person was asked is meant as well
    windows = store.plans.current(now)
    exemptions = store.plans.exemptions(windows)
    open_now = still_wanted(windows, exemptions, now, app.pace.ahead).get(source_id, ())
    out = [(window.id, item.key, source_id) for window, item in open_now]
    named: list[Json] = [window.id for window, _ in open_now]
    body: dict[str, Json] = {"name": held.snapshot.source_name, "windows": named}
    entry = Entry(at=now, kind="restore.asked", actor=app.actor, source_id=source_id, body=body)
    store.plans.exempt(out, reason="restored by hand", entry=entry)


async def _by_hand(store: Store, work: Reconciler, held: Held) -> None:
    """Run passes until the source is back, and has been seen so once more.

    Raises:
        MmdError: ISC does not let it be restored; the snapshot stays open.
    """
    from mmd.cli.workshop import one_pass  # noqa: PLC0415 - as above

    problem: MmdError | None = None
    for _ in range(TRIES):
        report = await one_pass(work)
        failed = [item for item in report.failed if item.action.source_id == held.snapshot.source_id]
        # A pass that only waits until it may try again has no other reason than the last one's.
        problem = report.error or (failed[0].error if failed else problem)
        if not store.holds.held(held.snapshot.source_id):
            return
        await asyncio.sleep(1)
    if _is_back(store, held):
        return
    problem = problem or Conflict(f"{held.snapshot.source_name} is not back yet")
    problem.hint = problem.hint or f"`mmd history {held.snapshot.source_id}` shows what was sent; try again"
    raise problem


async def _wait_for_daemon(store: Store, held: Held, since: datetime) -> None:
    """Wait until the daemon has brought the source back, or has failed in a way that waiting does not mend.

    Raises:
        MmdError: it has not, for the reason that it met last.
    """
    deadline = asyncio.get_running_loop().time() + WITHIN
    try:
        while not _is_back(store, held):
            late = asyncio.get_running_loop().time() > deadline
            failure = _last_failure(store, held, since)
            if late or isinstance(failure, Denied):
                raise failure or _not_yet(store)
            progress(f"the daemon restores {held.snapshot.source_name}")
            await asyncio.sleep(0.2)
    finally:
        progress_done()


def _not_yet(store: Store) -> MmdError:
    row = store.service.daemon()
    trouble = f": {row.pass_note}" if row and not row.pass_ok and row.pass_note else ""
    return Conflict(
        f"the running daemon has not restored it yet{trouble}", hint="it goes on trying; its log says more"
    )


def _last_failure(store: Store, held: Held, since: datetime) -> MmdError | None:
    """Return what the daemon's last attempt since an instant came to, if it failed."""
    from mmd.cli.workshop import of_code  # noqa: PLC0415 - as above

    source_id = held.snapshot.source_id
    lines = store.journal.read(source_id=source_id, since=since, kinds=("failed",))
    if not lines:
        return None
    body = lines[-1].body
    hint = f"the daemon goes on trying; `mmd history {source_id}` shows how"
    return of_code(body.get("exit_code"), f"{body['name']}: {body['error']}", hint)


def _is_back(store: Store, held: Held) -> bool:
    current = store.holds.held(held.snapshot.source_id).get(held.snapshot.source_id)
    return current is None or current.restored_at is not None


@config_option
@click.command(name="adopt")
@click.argument("source", shell_complete=complete_source)
@click.option("--for", "lasts", metavar="D", help="How long it stays in maintenance from now.")
@click.option("--until", "end", metavar="T", help="Until when it stays in maintenance.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for everybody who will ask.")
@click.option("--tz", "zone", metavar="ZONE", help="The time zone of --until.")
@click.option("--ticket", metavar="ID", default="", help="The change or ticket it belongs to.")
@click.option("--owner", metavar="WHO", default="", help="Who answers for it.")
@told_options
@format_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.pass_obj
def adopt(app: App, /, source: str, *, yes: bool, dry_run: bool, **asked: Any) -> None:  # noqa: ANN401 - Asked types them
    """Make a window of a source that someone else put into maintenance; at its end it is restored.

    What to restore comes from its escrow, else from the forum's stored crons. What nothing remembers is asked
    for, never guessed: --features, and --set for the two flags.
    """
    from mmd.cli.schedule import Asked, draft, show_written  # noqa: PLC0415 - as above

    _check_end(asked["end"], asked["lasts"])
    before = told(
        *(asked.pop(name) for name in ("features", "flags")), accept_unsigned=asked.pop("accept_unsigned")
    )
    rest: dict[str, Any] = {"match": None, "start": "now", "repeat": None, "until": None, "treatment": "full"}
    planned = draft(app, Asked(source=(source,), yes=yes, dry_run=dry_run, **rest, **asked))
    source_id = meant(app, sentence("source", source))
    planned = asyncio.run(_adopt(app, source_id, planned, before, yes=yes, dry_run=dry_run))
    show_written(asked["form"], planned, app.now, dry_run=dry_run)


def _check_end(end: str | None, lasts: str | None) -> None:
    """Ask for one end; here its option has another name than elsewhere.

    Raises:
        Refused: there is none, or there are two.
    """
    if end is None and lasts is None:
        raise Refused("when does it end?", hint="add --for 2h, or --until with a time")
    if end is not None and lasts is not None:
        raise Refused("--until and --for exclude each other", hint="leave one out")


async def _adopt(
    app: App, source_id: str, planned: Window, before: Told, *, yes: bool, dry_run: bool
) -> Window:
    from mmd.cli.schedule import announce, warn_without_daemon  # noqa: PLC0415 - as above
    from mmd.cli.workshop import at_work  # noqa: PLC0415 - as above
    from mmd.store import Entry  # noqa: PLC0415 - as above
    from mmd.windows import SourceRef  # noqa: PLC0415 - as above

    async with at_work(app, create=not dry_run) as (store, _, isc):
        _refuse_held(store, source_id)
        observed = await live(isc, source_id)
        known = recall(app, observed, before)
        planned = replace(planned, sources=(SourceRef(source_id, observed.name),))
        announce(app, planned)
        for note in known.notes:
            say(f"  {note}")
        if dry_run:
            return replace(planned, id="")  # that of no window
        if app.interactive:
            app.confirm(f"hold {observed.name} until its window closes, then restore it?", yes=yes)
        body: dict[str, Json] = {"adopted": observed.name, "reason": planned.reason}
        entry = Entry(at=app.now, kind="window.added", actor=app.actor, window_id=planned.id, body=body)
        store.plans.add(planned, entry)  # first: a snapshot without a window would be restored at once
        take(store, known, now=app.now, actor=app.actor)
        warn_without_daemon(app, store)
    return planned


def _refuse_held(store: Store, source_id: str) -> None:
    held = store.holds.held(source_id).get(source_id)
    if held is not None:
        raise Conflict(
            f"mmd holds {held.snapshot.source_name} already",
            hint="`mmd schedule extend` moves the end of its window",
        )
