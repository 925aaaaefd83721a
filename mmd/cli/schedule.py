"""`mmd schedule` and `mmd start`: planning windows. ISC is asked only which sources there are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from errno import EPIPE
from typing import TYPE_CHECKING, Any, Final

import click

from mmd import config
from mmd.amend import Edit, cancel, check_editable, edit, end, extend, settle, skip
from mmd.cli.app import Group, config_option
from mmd.cli.completion import complete_source, complete_window
from mmd.cli.output import Table, emit, format_option, say
from mmd.cli.resolve import Candidate, find_window, parse_match, pick, resolve
from mmd.cli.words import echo, echoed, new_times, sentence, short, timing
from mmd.errors import Conflict, Refused
from mmd.posture import Treatment
from mmd.views import (
    definition,
    difference,
    first_of,
    moved_by_clocks,
    occurrence_view,
    overlapping,
    window_view,
)
from mmd.when import describe, format_duration, parse_duration, parse_instant, takes_effect
from mmd.windows import (
    SourceRef,
    Window,
    WindowState,
    check_repeat,
    next_of,
    occurrences,
    open_now,
    state,
    upcoming,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.posture import Json
    from mmd.store import Entry, Store
    from mmd.windows import Occurrence

_SHORT: Final = timedelta(seconds=60)  # a window of seconds is allowed, with a warning
_LONG: Final = timedelta(seconds=10)  # entering that takes longer than this is worth telling beforehand
_NOTES: Final = 5  # of one kind; more would hide the plan
_TIMES: Final = """T is a time: "2026-12-01 22:00" (in --tz, else the configured zone), RFC 3339 with an
offset, now, +30m, 22:00 (the next), "tomorrow 22:00", "sat 02:00".

D is a duration, in elapsed time: 30s, 90m, 2h, 1h30m, 2d, PT2H.
"""
_NO_REASON: Final = "the reason is empty"
_WHY: Final = "say why: it is what people read in alerts and reports"
_HEADINGS: Final = ("ID", "STATE", "OPENS", "CLOSES", "REPEAT", "SOURCES", "REASON")
_MATCH: Final = (
    'Sources by field=glob terms, all of which must fit: "name=HR *,type=Workday". Fields: id, name, type.'
)


@config_option
@click.group(name="schedule", cls=Group)
def schedule() -> None:
    """Plan maintenance windows.

    ID is a window's id, or the beginning of one that no other has. `mmd schedule add --help` explains times
    and durations.
    """


# --- Options --------------------------------------------------------------------------------------------


def _writing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that writes its three options."""
    for option in (
        format_option,
        click.option("--yes", is_flag=True, help="Do not ask."),
        click.option("--dry-run", is_flag=True, help="Say what would be written, and write nothing."),
    ):
        command = option(command)
    return command


def _planning(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give `add` and `start` what they have in common."""
    treatments = click.Choice([item.value for item in reversed(Treatment)])
    command = _writing(command)
    for option in (
        click.option(
            "--treatment", type=treatments, help="What maintenance does to a source; else as configured."
        ),
        click.option("--owner", metavar="WHO", default="", help="Who answers for it."),
        click.option("--ticket", metavar="ID", default="", help="The change or ticket it belongs to."),
        click.option("--until", metavar="T", help="The last time at which a repeat may open."),
        click.option("--repeat", metavar="RRULE", help='How it repeats, in quotes: "FREQ=WEEKLY;BYDAY=SA".'),
        click.option("--tz", "zone", metavar="ZONE", help="The time zone, such as Europe/Berlin."),
        click.option("--reason", metavar="TEXT", required=True, help="Why, for everybody who will ask."),
        click.option("--for", "lasts", metavar="D", help="How long it lasts."),
        click.option("--end", metavar="T", help="When it closes."),
        click.option("--match", metavar="EXPR", help=_MATCH),
        click.argument("source", nargs=-1, shell_complete=complete_source),
    ):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A new window as it was asked for: the options of `add`, under their names."""

    source: tuple[str, ...]
    match: str | None
    start: str
    end: str | None
    lasts: str | None
    reason: str
    zone: str | None
    repeat: str | None
    until: str | None
    ticket: str
    owner: str
    treatment: str | None
    dry_run: bool
    yes: bool
    form: str


# --- add, start -----------------------------------------------------------------------------------------


@config_option
@schedule.command(name="add", epilog=_TIMES)
@click.option("--start", metavar="T", required=True, help="When it opens.")
@_planning
@click.pass_obj
def add(app: App, /, **asked: Any) -> None:  # noqa: ANN401 - the options, which Asked types
    """Plan a window for each SOURCE: an id, an exact name, or a glob such as "HR *"."""
    plan_window(app, Asked(**asked))


@config_option
@click.command(name="start", epilog=_TIMES)
@_planning
@click.pass_obj
def start(app: App, /, **asked: Any) -> None:  # noqa: ANN401 - the options, which Asked types
    """Open a window now for each SOURCE: an id, an exact name, or a glob such as "HR *"."""
    plan_window(app, Asked(start="now", **asked))


def plan_window(app: App, asked: Asked) -> None:
    """Plan a window; what can be refused without the network is refused first."""
    drafted = draft(app, asked)
    terms = parse_match(asked.match) if asked.match is not None else ()
    if not asked.source and not terms:
        raise Refused("which sources?", hint="give ids, exact names or globs, or --match")
    words = [sentence("source", word) for word in asked.source]
    planned = replace(drafted, sources=resolve(app, words, terms))
    announce(app, planned)
    if asked.dry_run:
        planned = replace(planned, id="")  # that of no window
    else:
        _confirm(app, _too_many(app, planned), yes=asked.yes)
        _put_on_file(app, planned)
    show_written(asked.form, planned, app.now, dry_run=asked.dry_run)


def draft(app: App, asked: Asked) -> Window:
    """Return the window without its sources.

    Raises:
        Refused: its times make no sense, it has no reason, or a text is too long.
    """
    from mmd.store import new_id  # noqa: PLC0415 - SQLAlchemy is slow to import, and a refusal needs none

    times = timing(
        start=asked.start,
        end=asked.end,
        lasts=asked.lasts,
        zone=app.zone if asked.zone is None else asked.zone,
        repeat=asked.repeat,
        until=asked.until,
        now=app.now,
    )
    reason = sentence("reason", asked.reason)
    if not reason:
        raise Refused(_NO_REASON, hint=_WHY)
    drafted = Window(
        id=new_id(),
        sources=(),
        starts_local=times.start.local,
        fold=times.start.fold,
        timezone=times.start.zone,
        duration=times.duration,
        repeat=times.repeat,
        until=times.until,
        reason=reason,
        ticket=sentence("ticket", asked.ticket),
        owner=sentence("owner", asked.owner),
        created_by=app.actor,
        created_at=app.now,
        treatment=asked.treatment or app.config.windows.treatment,
        effective_from=takes_effect(times.start, app.now),
    )
    check_repeat(drafted)
    return drafted


def announce(app: App, planned: Window) -> None:
    """Echo a window, with what its author may not have meant."""
    _echo(app, planned)
    _say_how_long(app, planned)
    for item in moved_by_clocks(planned, app.now)[:_NOTES]:
        opens = describe(item.opens_at, planned.timezone, app.now)
        say(f"note: the clocks change at {item.key}; that occurrence opens {opens}")
    with app.store() as store:
        others = overlapping(planned, store.plans.current(app.now), app.now)
    for name, ids in list(others.items())[:_NOTES]:
        say(f"note: {name} is in {', '.join(ids)} at that time too; it comes back when the last one closes")


def _echo(app: App, planned: Window, *more: str) -> None:
    """Echo a window; `more` is what its next times do not say."""
    sources, *times = echo(planned, app.now)
    for line in (sources, *more, *times):
        say(line)


def _say_how_long(app: App, planned: Window) -> None:
    """Say how long entering and restoring take, and warn where the window is too short for that."""
    takes, soon = app.pace.entering(len(planned.sources)), next_of(planned, app.now)
    left = soon.opens_at - app.now if soon else timedelta(0)
    lead = max(min(app.pace.ahead(planned), left), timedelta(0))
    if takes > _LONG:
        say(f"entering takes about {format_duration(takes)}, restoring as long; the request limit decides")
    if lead:
        say(f"entering begins {format_duration(lead)} before the start")
    if planned.duration < max(_SHORT, takes - lead):
        lasts = format_duration(planned.duration)
        say(f"warning: it lasts {lasts}; entering takes up to {format_duration(takes)} of that")


def _too_many(app: App, planned: Window) -> str:
    """Return the question by which a window over very many sources is confirmed; for fewer, none."""
    count, most = len(planned.sources), app.config.windows.max_sources
    if count <= most:
        return ""
    return f"this window is over {count} sources, more than {most} (windows.max_sources): plan it?"


def _confirm(app: App, question: str, *, yes: bool) -> None:
    if question:
        app.confirm(question, yes=yes)


def _put_on_file(app: App, planned: Window) -> None:
    with app.store(create=True) as store:
        store.service.bind(config.base_url(app.config))
        store.plans.add(planned, _entry(app, "added", planned, definition(planned), app.now))
        if state(planned, app.now) is WindowState.ACTIVE:
            warn_without_daemon(app, store)


def warn_without_daemon(app: App, store: Store) -> None:
    """Say that nothing will happen to a window that is open, where no daemon runs."""
    from mmd.cli.status import daemon_view  # noqa: PLC0415 - only for a window that opens now

    if not daemon_view(app, store)["running"]:
        say("warning: the daemon is not running; it opens the window once it does: `mmd run`")


def _entry(app: App, kind: str, window: Window, body: Mapping[str, Json], at: datetime) -> Entry:
    from mmd.store import Entry  # noqa: PLC0415 - SQLAlchemy is slow to import, and a refusal needs none

    return Entry(at=at, kind=f"window.{kind}", actor=app.actor, window_id=window.id, body=body)


_window = click.argument("window_id", metavar="ID", shell_complete=complete_window)


# --- list, show, next -----------------------------------------------------------------------------------


@config_option
@schedule.command(name="list")
@click.option("--all", "everything", is_flag=True, help="Those that are over or cancelled, too.")
@click.option(
    "--source",
    metavar="SOURCE",
    multiple=True,
    shell_complete=complete_source,
    help="Those of a source: id, exact name, or glob.",
)
@format_option
@click.pass_obj
def list_(app: App, form: str, source: tuple[str, ...], *, everything: bool) -> None:
    """List the windows that are planned or active."""
    with app.store() as store:
        windows = store.plans.all() if everything else store.plans.all(after=app.now)
    alive = (WindowState.PLANNED, WindowState.ACTIVE)
    chosen = [window for window in windows if everything or state(window, app.now) in alive]
    if source:
        chosen = _of_sources(source, chosen)
    chosen.sort(key=lambda window: _sooner(window, app.now))
    empty = app.nothing(store, "no window is planned; `mmd schedule add` plans one")
    show_windows(form, chosen, app.now, empty=empty)


def _of_sources(words: Sequence[str], windows: Iterable[Window]) -> list[Window]:
    windows = list(windows)
    known = {Candidate(source.id, source.name) for window in windows for source in window.sources}
    ids = {ref.id for ref in pick(words, known)}
    return [window for window in windows if any(source.id in ids for source in window.sources)]


def _sooner(window: Window, now: datetime) -> tuple[bool, float]:
    """Order what is open or comes before what is over; that, the newest first."""
    coming = next_of(window, now)
    if coming is not None:
        return (False, coming.opens_at.timestamp())
    return (True, -window.created_at.timestamp())


@config_option
@schedule.command(name="show")
@_window
@format_option
@click.pass_obj
def show(app: App, window_id: str, form: str) -> None:
    """Show all that is on file about a window: its times, who is exempt, and who changed what."""
    with app.store() as store:
        window = find_window(store, window_id)
        entries = [item for item in store.journal.of_window(window.id) if item.kind in _KINDS]
        exemptions = sorted(store.plans.exemptions([window]))
    coming = upcoming(window, app.now, 5)
    data = window_view(window, app.now) | {
        "occurrences": [_occurrence_data(window, item) for item in window.recorded],
        "upcoming": [_occurrence_data(window, item) for item in coming],
        "exemptions": [{"key": key, "source_id": source_id} for _, key, source_id in exemptions],
        "changes": [
            {"at": item.at, "kind": item.kind, "actor": item.actor, "body": item.body} for item in entries
        ],
    }
    rows = [*_facts(window, app.now), *_history(window, coming, exemptions, entries)]
    emit(form, {"windows": [data]}, Table(("FIELD", "VALUE"), rows, [window.id]))


_KINDS: Final = tuple(
    f"window.{kind}" for kind in ("added", "edited", "extended", "ended", "cancelled", "skipped", "adopted")
)


def _facts(window: Window, now: datetime) -> list[tuple[str, str]]:
    view = window_view(window, now)
    names = ("id", "state", "timezone", "repeat", "reason", "ticket", "owner", "treatment", "created_by")
    return [
        *((name, str(view[name])) for name in names if view[name]),
        *(("source", f"{source.name} ({source.id})") for source in window.sources),
    ]


def _history(
    window: Window,
    coming: Iterable[Occurrence],
    exemptions: Iterable[tuple[str, str, str]],
    entries: Iterable[Entry],
) -> list[tuple[str, str]]:
    names = {source.id: source.name for source in window.sources}
    return [
        *(("on file", _in_words(window, item)) for item in window.recorded),
        *(("to come", _in_words(window, item)) for item in coming),
        *(("left out", f"{names.get(source_id, source_id)} of {key}") for _, key, source_id in exemptions),
        *((item.kind, f"{short(item.at, window.timezone)} {_deed(item)}") for item in entries),
    ]


def _deed(entry: Entry) -> str:
    """Say who changed what, and why, as far as it was said; the JSON has the values."""
    after, reason = entry.body.get("after"), entry.body.get("reason")
    what = f": {', '.join(after)}" if isinstance(after, dict) and after else ""
    why = f" ({reason})" if reason and what else ""
    return f"by {entry.actor}{what}{why}"


def _in_words(window: Window, item: Occurrence) -> str:
    times = f"{short(item.opens_at, window.timezone)} to {short(item.closes_at, window.timezone)}"
    return f"{item.key}: {'skipped' if item.skipped else times}"


@config_option
@schedule.command(name="next")
@click.argument("window_id", metavar="[ID]", required=False, shell_complete=complete_window)
@click.option(
    "-n", "limit", metavar="N", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many."
)
@format_option
@click.pass_obj
def next_(app: App, window_id: str | None, limit: int, form: str) -> None:
    """List the next occurrences, of one window or of all; OCCURRENCE is what `skip` takes."""
    with app.store() as store:
        windows = [find_window(store, window_id)] if window_id else store.plans.current(app.now)
    pairs = [(window, item) for window in windows for item in upcoming(window, app.now, limit)]
    pairs.sort(key=lambda pair: (pair[1].opens_at, pair[0].id))
    chosen = pairs[:limit]
    rows = [
        (
            item.key,
            window.id,
            short(item.opens_at, window.timezone),
            short(item.closes_at, window.timezone),
            _sources(window, form),
            window.reason,
        )
        for window, item in chosen
    ]
    table = Table(
        ("OCCURRENCE", "WINDOW", "OPENS", "CLOSES", "SOURCES", "REASON"), rows, [row[0] for row in rows]
    )
    data = [_occurrence_data(window, item) for window, item in chosen]
    emit(form, {"occurrences": data}, table, empty=app.nothing(store, "nothing is to come"))


def _occurrence_data(window: Window, item: Occurrence) -> dict[str, Any]:
    times = occurrence_view(item) or {}
    return {"window": window.id, "key": item.key, "skipped": item.skipped, **times}


# --- edit, extend, end, cancel, skip --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a change is made, and why, as far as it was said."""

    dry_run: bool
    yes: bool
    form: str
    reason: str | None = None


_reason = click.option("--reason", metavar="TEXT", help="Why, for the journal.")


class _Lengthening(click.Command):
    """A command with a duration among its arguments, which says of `-30m` that it is negative."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take what was typed; click would look for an option -3."""
        try:
            return super().parse_args(ctx, list(args))
        except click.NoSuchOption:
            for word in args:
                if word.startswith("-") and word[1:2].isdecimal():
                    parse_duration(word)
            raise


@config_option
@schedule.command(name="extend", cls=_Lengthening)
@_window
@click.argument("duration", metavar="D")
@_reason
@_writing
@click.pass_obj
def extend_(app: App, /, window_id: str, duration: str, **how: Any) -> None:  # noqa: ANN401 - How types them
    """Let the open occurrence close later by D, or a window to come last longer by D."""
    by = parse_duration(duration)
    before = _found(app, window_id)
    _change(
        app, before, "extended", lambda window, now: extend(window, by, now), How(**how), announce=announce
    )


@config_option
@schedule.command(name="end")
@_window
@_reason
@_writing
@click.pass_obj
def end_(app: App, /, window_id: str, **how: Any) -> None:  # noqa: ANN401 - How types them
    """Close what is open of a window now; a repeat goes on."""

    def question(after: Window) -> str:
        return f"close window {after.id} now, for {_sources(after)}?"

    before = _found(app, window_id)
    _change(app, before, "ended", end, How(**how), question, announce=_closing(before))


def _closing(before: Window) -> Callable[[App, Window], None]:
    """Echo a change after which what is open closes at once."""

    def announce(app: App, after: Window) -> None:
        ends = [item.closes_at for item in open_now(before, app.now)]
        _echo(
            app, after, *(f"closes   now, instead of {describe(at, after.timezone, app.now)}" for at in ends)
        )

    return announce


@config_option
@schedule.command(name="cancel")
@_window
@_reason
@_writing
@click.pass_obj
def cancel_(app: App, /, window_id: str, **how: Any) -> None:  # noqa: ANN401 - How types them
    """Call a window off: what is open closes now, and nothing more opens."""

    def question(after: Window) -> str:
        coming = next(iter(upcoming(before, app.now, 1)), None)
        opens = f", which opens {short(coming.opens_at, before.timezone)}" if coming else ""
        return f"cancel window {after.id} ({after.reason}), of {_sources(after)}{opens}?"

    before = _found(app, window_id)
    _change(app, before, "cancelled", cancel, How(**how), question, announce=_closing(before))


@config_option
@schedule.command(name="skip")
@_window
@click.argument("occurrence")
@_reason
@_writing
@click.pass_obj
def skip_(app: App, /, window_id: str, occurrence: str, **how: Any) -> None:  # noqa: ANN401 - How types them
    """Leave out one OCCURRENCE to come: its key (`mmd schedule next`), or the time at which it opens."""
    before = _found(app, window_id)
    key = _key(before, occurrence, app.now)

    def question(after: Window) -> str:
        """To skip all that is left is to cancel; scripts may rely on it all the same (docs/contract.md)."""
        if not app.interactive or state(after, app.now) is not WindowState.ENDED:
            return ""
        return f"nothing else of window {after.id}, of {_sources(after)}, is to come: skip it?"

    def announce(app: App, after: Window) -> None:
        (gone,) = (item for item in after.recorded if item.key == key)
        lasts = format_duration(gone.closes_at - gone.opens_at)
        _echo(app, after, f"skipped  {describe(gone.opens_at, after.timezone, app.now)} (lasts {lasts})")

    _change(
        app,
        before,
        "skipped",
        lambda window, now: skip(window, key, now),
        How(**how),
        question,
        announce=announce,
    )


def _key(window: Window, text: str, now: datetime) -> str:
    """Return the key of the occurrence that opens at a time; a key stands for itself."""
    try:
        at = parse_instant(text, zone=window.timezone, now=now).at
    except Refused:
        return text
    coming = occurrences(window, at, at + timedelta(seconds=1))
    return next((item.key for item in coming if item.opens_at == at), text)


@config_option
@schedule.command(name="edit", epilog=_TIMES)
@_window
@click.option("--start", metavar="T", help="When it opens (a repeat: from when it counts).")
@click.option("--end", metavar="T", help="When it closes.")
@click.option("--for", "lasts", metavar="D", help="How long it lasts.")
@click.option("--tz", "zone", metavar="ZONE", help="The time zone; without --start the local start stays.")
@click.option("--repeat", metavar="RRULE", help="How it repeats.")
@click.option("--until", metavar="T", help="The last time at which a repeat may open.")
@click.option("--reason", metavar="TEXT", help="The new reason.")
@click.option("--ticket", metavar="ID", help="The new ticket.")
@click.option("--owner", metavar="WHO", help="The new owner.")
@click.option("--treatment", type=click.Choice([item.value for item in reversed(Treatment)]))
@click.option(
    "--add-source", metavar="SOURCE", multiple=True, shell_complete=complete_source, help="One source more."
)
@click.option(
    "--remove-source",
    metavar="SOURCE",
    multiple=True,
    shell_complete=complete_source,
    help="One source less.",
)
@_writing
@click.pass_obj
def edit_(app: App, /, window_id: str, *, dry_run: bool, yes: bool, form: str, **asked: Any) -> None:  # noqa: ANN401
    """Change a window from now on; what has begun keeps its times."""
    if not any(asked.values()) and all(asked[name] is None for name in ("ticket", "owner", "reason")):
        raise Refused("what is to change?", hint="`mmd schedule edit --help` lists what can")

    before = _found(app, window_id)
    moves = any(asked[name] is not None for name in ("start", "end", "lasts", "zone", "repeat", "until"))
    check_editable(before, app.now, moves=moves)  # before its times are read: they would be past
    new = _edit(app, before, asked)

    def change(window: Window, now: datetime) -> Window:
        after = edit(window, new, now)
        if moves:  # else it opens as before; one that `mmd recover` rebuilt does not open again
            check_repeat(after)
        return after

    def question(after: Window) -> str:
        return _too_many(app, after) if len(after.sources) > len(before.sources) else ""

    how = How(dry_run=dry_run, yes=yes, form=form)
    _change(app, before, "edited", change, how, question, announce=announce)


def _edit(app: App, window: Window, asked: Mapping[str, Any]) -> Edit:
    """Understand the options of `edit`, given what they do not say."""

    def text(name: str) -> str | None:
        return None if asked[name] is None else sentence(name, asked[name])

    reason = text("reason")
    if reason == "":
        raise Refused(_NO_REASON, hint=_WHY)
    return replace(
        new_times(window, asked, app.now),
        reason=reason,
        ticket=text("ticket"),
        owner=text("owner"),
        treatment=asked["treatment"],
        sources=_new_sources(app, window, asked),
    )


def _new_sources(app: App, window: Window, asked: Mapping[str, Any]) -> tuple[SourceRef, ...] | None:
    """Return the sources after `--add-source` and `--remove-source`, or None where neither was given.

    Raises:
        Refused: none would be left.
    """
    if not asked["add_source"] and not asked["remove_source"]:
        return None
    gone = pick(asked["remove_source"], [Candidate(source.id, source.name) for source in window.sources])
    more = resolve(app, asked["add_source"]) if asked["add_source"] else ()
    kept = {source.id: source for source in (*window.sources, *more) if source not in gone}
    if not kept:
        raise Refused(
            "no source would be left", hint=f"`mmd schedule cancel {window.id}` calls the window off"
        )
    return tuple(kept.values())


def _found(app: App, window_id: str) -> Window:
    with app.store() as store:
        return find_window(store, window_id)


def _nothing_to_ask(_after: Window) -> str:
    return ""


def _change(
    app: App,
    before: Window,
    kind: str,
    change: Callable[[Window, datetime], Window],
    how: How,
    question: Callable[[Window], str] = _nothing_to_ask,
    announce: Callable[[App, Window], None] = _echo,
) -> None:
    """Change a window on file, saying first what it will be; `question` is what must be confirmed."""
    why = "" if how.reason is None else sentence("reason", how.reason)
    after = change(before, app.now)
    announce(app, after)
    if how.dry_run:
        show_written(how.form, after, app.now, dry_run=True)
        return
    _confirm(app, question(after), yes=how.yes)

    def make(current: Window) -> tuple[Window, Entry]:
        now = app.clock()  # a person may have taken an hour to answer
        changed = change(current, now)
        _refuse_other(before, current, after, changed, now)
        body = difference(settle(current, now), changed) | ({"reason": why} if why else {})
        return changed, _entry(app, kind, changed, body, now)

    with app.store() as store:
        written = store.plans.change(before.id, make)
    show_written(how.form, written, app.clock(), dry_run=False)


def _refuse_other(before: Window, current: Window, after: Window, changed: Window, now: datetime) -> None:
    """Write nothing but what was echoed, of the window that it was echoed for.

    That an occurrence has begun meanwhile, and is on file, changes neither.

    Raises:
        Conflict: somebody changed the window meanwhile, or what would be written is not what was said.
    """
    if settle(before, now) != settle(current, now) or echoed(after, now) != echoed(changed, now):
        raise Conflict(
            f"window {before.id} has changed meanwhile; nothing was written",
            hint="run the command again: it says what would be now",
        )


# --- Showing --------------------------------------------------------------------------------------------


def show_written(form: str, window: Window, now: datetime, *, dry_run: bool) -> None:
    """Print a window that is on file by now, and say that it is where it cannot be printed."""
    if dry_run:
        say("dry run: nothing was written")
    try:
        show_windows(form, [window], now)
    except OSError as error:
        if not dry_run and error.errno != EPIPE:  # a reader that has gone away has read enough
            say(f"window {window.id} is on file all the same")
        raise


def show_windows(form: str, windows: Sequence[Window], now: datetime, *, empty: str = "") -> None:
    """Print windows."""
    data = {"windows": [window_view(window, now) for window in windows]}
    rows = [_row(window, now, form) for window in windows]
    emit(form, data, Table(_HEADINGS, rows, [window.id for window in windows if window.id]), empty=empty)


def _row(window: Window, now: datetime, form: str) -> tuple[str, ...]:
    past = [item for item in window.recorded if not item.skipped]
    item = next_of(window, now) or (past[-1] if past else first_of(window))
    opens, closes = (
        (short(item.opens_at, window.timezone), short(item.closes_at, window.timezone)) if item else ("", "")
    )
    return (
        window.id,
        state(window, now).value,
        opens,
        closes,
        window.repeat or "",
        _sources(window, form),
        window.reason,
    )


def _sources(window: Window, form: str = "table") -> str:
    """Name two sources and count the rest; for a program, name them all."""
    names = [source.name for source in window.sources]
    shown = names if form == "csv" else names[:2]
    return ", ".join(shown) + (f" +{len(names) - len(shown)}" if len(names) > len(shown) else "")
