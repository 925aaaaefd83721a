"""`mmd was` and `mmd history`: what is on file about the past; from the database, without network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from mmd.cli.app import config_option, no_database
from mmd.cli.completion import complete_source
from mmd.cli.output import SCHEMA_VERSION, Table, as_csv, emit, format_option, instant, say
from mmd.cli.resolve import Candidate, pick
from mmd.errors import NotFound, Refused
from mmd.history import BRIDGE
from mmd.history import was as answer_for
from mmd.text import inert, printable
from mmd.when import parse_instant

if TYPE_CHECKING:
    from datetime import datetime

    from mmd.cli.app import App
    from mmd.history import Answer
    from mmd.posture import Json
    from mmd.store import Entry, Store
    from mmd.windows import SourceRef

_NEWEST: Final = 200
_VERIFY: Final = "verify"
_ANSWERS: Final[Mapping[bool | None, tuple[str, int]]] = {
    True: ("yes", 0),
    False: ("no", 3),
    None: ("not known", 1),
}


# --- was ------------------------------------------------------------------------------------------------


@config_option
@click.command(name="was")
@click.argument("source", shell_complete=complete_source)
@click.option("--at", "time", metavar="T", required=True, help='When: "2026-12-01 22:00", or RFC 3339.')
@format_option
@click.pass_context
def was(ctx: click.Context, source: str, time: str, form: str) -> None:
    """Say whether SOURCE was in maintenance at T, with evidence.

    What was planned, what mmd did, and what was seen are told apart. SOURCE is an id or a name, of now or of
    then. Exits 0 for yes, 3 for no, and 1 where it is not known: nobody looked, it was neither one nor the
    other, or T is still to come.
    """
    app: App = ctx.obj
    at = parse_instant(time, zone=app.zone, now=app.now).at
    with app.store() as store:
        found = one_source(store, source)
        (line,) = store.past.timelines([found.id], at - BRIDGE, at + BRIDGE)
    answer = answer_for(line, at, now=app.now)
    said, code = _ANSWERS[answer.in_maintenance]
    data = {
        "source_id": line.source_id,
        "source_name": line.source_name,
        "at": at,
        "in_maintenance": answer.in_maintenance,
        "evidence": answer.evidence,
    }
    facts = [("source", f"{line.source_name} ({line.source_id})"), ("at", instant(at)), ("maintenance", said)]
    emit(form, data, Table(("FIELD", "VALUE"), [*facts, *_lanes(answer)], [line.source_id]))
    ctx.exit(code)


def _lanes(answer: Answer) -> Iterator[tuple[str, str]]:
    for sentence in answer.evidence:
        lane, _, text = sentence.partition(": ")
        yield lane, text


def one_source(store: Store, word: str) -> SourceRef:
    """Return the one source that a word means, by any name that it is known to have had.

    Raises:
        NotFound: mmd knows none.
        Refused: there are several; all are named.
    """
    if not store.exists:
        raise no_database(store.file)
    known = store.past.names(word) or store.past.names()  # all of them for a pattern, or for a mistake
    try:
        found = {ref.id: ref for ref in pick([word], [Candidate(*pair) for pair in known])}
    except NotFound as error:
        if word in store.plans.ids(word):
            error.hint = f"{word} is a window: `mmd schedule show {word}` shows it"
        raise
    if len(found) > 1:
        listed = ", ".join(f"{ref.id} ({ref.name})" for ref in found.values())
        raise Refused(f"{word!r} means {len(found)} sources: {listed}", hint="give the id of one")
    return next(iter(found.values()))


# --- history --------------------------------------------------------------------------------------------


@config_option
@click.command(name="history")
@click.argument("source", required=False, shell_complete=complete_source)
@click.option("--since", metavar="T", help="From this time on.")
@click.option("--until", metavar="T", help="Before this time.")
@click.option(
    "-n",
    "newest",
    metavar="N",
    type=click.IntRange(min=0),
    help=f"So many of the newest; 0 for all. Else {_NEWEST} lines, and all of a period, of CSV and of JSON.",
)
@format_option
@click.pass_obj
def history(
    app: App, source: str | None, since: str | None, until: str | None, newest: int | None, form: str
) -> None:
    """Show what happened, newest last: of everything, or of SOURCE and the windows that name it.

    `mmd history verify` checks that nothing in the journal was changed or taken out, and says how it begins
    and ends: whoever keeps the last hash elsewhere can prove that nothing was rewritten since.
    """
    if source == _VERIFY:
        _verify(app, form)
        return
    begins, ends = (_instant(app, text) for text in (since, until))
    if newest is None:  # whoever names a period, or exports, wants all of it
        newest = _NEWEST if form == "table" and begins is ends is None else 0
    shown = 0
    with app.store() as store:
        source_id = None if source is None else one_source(store, source).id
        entries = store.journal.stream(source_id=source_id, since=begins, until=ends, last=newest or None)
        for text in _FORMS[form](entries):
            click.echo(text)
            shown += 1
    empty = app.nothing(store, "nothing of this is on file")
    if form == "table":
        _tell(shown, newest, empty)


def _instant(app: App, text: str | None) -> datetime | None:
    return None if text is None else parse_instant(text, zone=app.zone, now=app.now).at


def _tell(shown: int, newest: int, empty: str) -> None:
    if empty and not shown:
        say(empty)
    elif shown == newest:
        say(f"these are the newest {newest}; -n 0 shows all")


def _as_lines(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        yield printable(f"{_when(entry)}  {entry.actor}  {told(entry.kind, entry.window_id, entry.body)}")


def _as_csv(entries: Iterable[Entry]) -> Iterator[str]:
    yield _csv_row("seq", "at", "kind", "actor", "source_id", "window_id", "what")
    for entry in entries:
        what = told(entry.kind, entry.window_id, entry.body)
        ids = (entry.source_id or "", entry.window_id or "")
        yield _csv_row(str(entry.seq), instant(entry.at), entry.kind, entry.actor, *ids, what)


def _csv_row(*cells: str) -> str:
    return as_csv(Table(tuple(map(inert, cells)), ())).rstrip("\n")


def _as_json(entries: Iterable[Entry]) -> Iterator[str]:
    """Yield one object in pieces, because there may be a million entries."""
    before = f'{{"schema_version": {SCHEMA_VERSION}, "entries": ['
    for entry in entries:
        yield before + json.dumps(_view(entry))
        before = ", "
    yield f"{'' if before == ', ' else before}]}}"


def _view(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": instant(entry.at),
        "kind": entry.kind,
        "actor": entry.actor,
        "source_id": entry.source_id,
        "window_id": entry.window_id,
        "body": entry.body,
    }


_FORMS: Final[Mapping[str, Callable[[Iterable[Entry]], Iterator[str]]]] = {
    "table": _as_lines,
    "csv": _as_csv,
    "json": _as_json,
    "id": lambda entries: (str(entry.seq) for entry in entries),
}


def _when(entry: Entry) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M:%SZ}"


# --- An entry in words ----------------------------------------------------------------------------------

# Kind: what happened, and what of the body is worth reading, in order. Other kinds show all of it.
_WORDS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "window.added": (
        "planned",
        ("sources", "starts_local", "timezone", "repeat", "reason", "ticket", "owner"),
    ),
    "window.adopted": ("adopted", ("sources", "reason")),
    "occurrence.begun": ("opened", ("opens_at", "closes_at")),
    "occurrence.missed": ("was over before it could open", ("opens_at", "closes_at")),
    "snapshot.taken": ("snapshot taken", ("reason",)),
    "snapshot.recalled": ("snapshot recalled", ("notes", "reason")),
    "intent": ("about to send", ("request", "cron", "operations")),
    "outcome": ("sent", ("request", "outcome", "error", "tracking_id")),
    "entered": ("in maintenance, verified", ()),
    "verified": ("in maintenance again, verified", ()),
    "captured": ("what others changed is kept", ("kept",)),
    "re-enter": ("to be entered again", ("reason", "changed", "kept")),
    "restored": ("restored, verified", ("reason", "kept")),
    "released": ("released", ("reason",)),
    "reopened": ("held again", ("reason",)),
    "failed": ("failed", ("verb", "error")),
    "restore.asked": ("a person asks to restore it", ("windows",)),
    "seen": ("seen", ("posture",)),
    "finding.opened": ("found", ("kind", "detail")),
    "finding.cleared": ("no longer", ("kind",)),
    "alert.opened": ("alert", ("kind", "detail")),
    "alert.cleared": ("alert is over", ("kind",)),
}


def told(kind: str, window_id: str | None, body: Mapping[str, Json]) -> str:
    """Return an entry of the journal as a sentence: whom it is about, what happened, and the particulars."""
    name = body.get("name")
    about = [str(name)] if name else []
    about += [f"window {window_id}"] if window_id and not name else []
    what, keys = _WORDS.get(kind, (kind.removeprefix("window."), tuple(body)))
    particulars = [_said(body[key]) for key in keys if key != "name" and body.get(key)]
    return f"{': '.join([*about, what])}{': ' if particulars else ''}{', '.join(particulars)}"


def _said(value: Json) -> str:
    if isinstance(value, list):
        return " and ".join(map(_said, value))
    if isinstance(value, dict):
        return " and ".join(f"{key} {_said(item)}" for key, item in value.items())
    return str(value)


# --- verify ---------------------------------------------------------------------------------------------


def _verify(app: App, form: str) -> None:
    """Check the journal's chain.

    Raises:
        Damaged: a row does not fit.
    """
    from mmd.cli.database import existing  # noqa: PLC0415 - only for this word
    from mmd.store import Damaged  # noqa: PLC0415 - SQLAlchemy takes a quarter of a second

    existing(app)
    with app.store() as store:
        chain = store.journal.verify()
    data = {"entries": chain.rows, "first": chain.first, "last": chain.last, "broken": chain.broken}
    rows = [(name, str(value)) for name, value in data.items() if value not in (None, "")]
    emit(form, data, Table(("FIELD", "VALUE"), rows, [chain.last]))
    if chain.broken is not None:
        raise Damaged(
            f"{chain.problem}: {chain.rows} entries before it are sound",
            hint="something else than mmd changed the file; a backup may have it whole (docs/operations.md)",
        )
