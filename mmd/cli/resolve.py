"""From what a person typed to sources and windows: an id, an exact name, a glob, `--match` terms.

Ids and names of sources are asked for by filter, in a request or two; globs need the tenant's whole listing.
What a word means is decided by `pick`, which is pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from mmd.cli.app import no_database
from mmd.cli.output import progress, progress_done, say
from mmd.errors import NotFound, Refused, Rejected, Unreachable
from mmd.windows import SourceRef

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from mmd.cli.app import App
    from mmd.isc import Isc
    from mmd.posture import Observation
    from mmd.store import Store
    from mmd.windows import Window

FIELDS: Final = ("id", "name", "type")
_GLOB: Final = frozenset("*?[")
_FILTERED: Final = 20  # names asked for by filter; more are found sooner in the listing
_NEAR: Final = 3

Term = tuple[str, str]  # field, glob


@dataclass(frozen=True, slots=True)
class Candidate:
    """A source that a word may mean."""

    id: str
    name: str
    type: str = ""

    @property
    def ref(self) -> SourceRef:
        """The source as a window names it."""
        return SourceRef(self.id, self.name)


def parse_match(text: str) -> tuple[Term, ...]:
    """Read `field=glob` terms with commas between them; a comma in a glob is written `?`.

    Raises:
        Refused: a term has another form, or names no known field.
    """
    terms = []
    for part in text.split(","):
        field, equals, glob = part.strip().partition("=")
        if not equals or not glob:
            raise Refused(
                f"--match does not take {part.strip()!r}", hint='write it like "name=HR *,type=Workday"'
            )
        if field not in FIELDS:
            raise Refused(f"--match knows no field {field!r}", hint=f"the fields are {', '.join(FIELDS)}")
        terms.append((field, glob))
    return tuple(terms)


def resolve(app: App, words: Sequence[str], terms: Sequence[Term] = ()) -> tuple[SourceRef, ...]:
    """Return the sources of the live tenant that the words or all of the terms name, by name.

    Where ISC cannot be reached, ids and exact names that were seen before are taken as last seen, with a
    warning.

    Raises:
        NotFound: a word or the terms name no source.
        Refused: a name is that of several sources.
        TenantError: ISC does not say.
    """
    import asyncio  # noqa: PLC0415 - not for `mmd status`, which only needs `pick`

    try:
        known = asyncio.run(_live(app, words, everything=bool(terms) or any(map(is_glob, words))))
    except Unreachable as error:
        known = seen_before(app, words, terms, error)
    return pick(words, known, terms)


def is_glob(word: str) -> bool:
    """Whether a word may be a pattern; a name may look like one too."""
    return not _GLOB.isdisjoint(word)


async def _live(app: App, words: Sequence[str], *, everything: bool) -> list[Candidate]:
    progress("asking ISC for the sources")
    try:
        async with app.isc() as isc:
            if not everything and len(words) <= _FILTERED:
                found = await _asked_for(isc, words)
                if all(any(word in (item.id, item.name) for item in found) for word in words):
                    return found
            return await _listing(isc)
    finally:
        progress_done()


async def _asked_for(isc: Isc, words: Sequence[str]) -> list[Candidate]:
    """Ask for the words as ids, then for the others as names; where ISC refuses that, the listing is left."""
    try:
        found = [_candidate(seen) async for page in isc.pages(ids=words) for seen in page]
        rest = set(words) - {item.id for item in found}
        return found + await _named(isc, sorted(rest)) if rest else found
    except Rejected:
        return []


async def _named(isc: Isc, names: Sequence[str]) -> list[Candidate]:
    from mmd.isc import door  # noqa: PLC0415 - httpx takes a tenth of a second

    quoted = ",".join('"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"' for name in names)
    document = await isc.get_json(
        "sources", {"filters": f"name in ({quoted})", "limit": "250", "sorters": "id"}
    )
    return [_candidate(door.observe(row)) for row in door.rows(document)]


async def _listing(isc: Isc) -> list[Candidate]:
    found: list[Candidate] = []
    async for page in isc.pages():
        found += map(_candidate, page)
        progress(f"{len(found)} sources read")
    return found


def _candidate(seen: Observation) -> Candidate:
    return Candidate(seen.source_id, seen.name, seen.connector)


def seen_before(app: App, words: Sequence[str], terms: Sequence[Term], error: Unreachable) -> list[Candidate]:
    """Return the sources as last seen, with a warning, if that is enough to know what the words mean.

    Raises:
        Unreachable: the error given, since it is not.
    """
    with app.store() as store:
        seen = store.sightings.all().values()
    known = [Candidate(item.source_id, item.name, item.connector) for item in seen]
    texts = {text for item in known for text in (item.id, item.name)}
    if terms or not texts.issuperset(words):
        error.hint = error.hint or "until it answers, only ids and exact names seen before can be planned"
        raise error
    say(f"warning: {error.message}; taking the sources as they were last seen")
    return known


def pick(
    words: Iterable[str], known: Collection[Candidate], terms: Sequence[Term] = ()
) -> tuple[SourceRef, ...]:
    """Return what the words, and all of the terms together, mean among the known sources; by name, each once.

    Raises:
        NotFound: a word or the terms mean none.
        Refused: a name is that of several.
    """
    chosen = {item.id: item for word in words for item in _meant(word, known)}
    if terms:
        chosen |= {item.id: item for item in _matching(terms, known)}
    return tuple(item.ref for item in sorted(chosen.values(), key=lambda item: (item.name, item.id)))


def _meant(word: str, known: Collection[Candidate]) -> list[Candidate]:
    by_id = [item for item in known if item.id == word][:1]
    named = {item.id: item for item in known if item.name == word}
    if not by_id and len(named) > 1:
        listed = ", ".join(f"{item.id} ({item.type})" if item.type else item.id for item in named.values())
        raise Refused(
            f"{len(named)} sources are called {word!r}: {listed}", hint="give the id of the one you mean"
        )
    matched = [item for item in known if fnmatchcase(item.name, word)] if is_glob(word) else []
    found = by_id or list(named.values()) or matched
    if not found:
        what = "no source matches" if is_glob(word) else "there is no source"
        raise NotFound(f"{what} {word!r}", hint=_near(word, known))
    return found


def _matching(terms: Sequence[Term], known: Iterable[Candidate]) -> list[Candidate]:
    found = [item for item in known if all(fnmatchcase(getattr(item, field), glob) for field, glob in terms)]
    if not found:
        wanted = ",".join(f"{field}={glob}" for field, glob in terms)
        raise NotFound(
            f"no source matches {wanted!r}", hint="`mmd sources --live` lists them with their types"
        )
    return found


def _near(word: str, known: Iterable[Candidate]) -> str:
    """A hint with the nearest names; case does not count here."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    lower = {item.name.lower(): item.name for item in known}
    if is_glob(word):
        near = [name for key, name in lower.items() if fnmatchcase(key, word.lower())][:_NEAR]
    else:
        near = [lower[key] for key in get_close_matches(word.lower(), lower, n=_NEAR)]
    return f"did you mean {' or '.join(near)}?" if near else "`mmd sources --live` lists them"


def find_window(store: Store, text: str) -> Window:
    """Return the window with an id, or with the only id that begins so.

    Raises:
        NotFound: there is none.
        Refused: several ids begin so.
    """
    if not store.exists:
        raise no_database(store.file)
    ids = store.plans.ids(text) if text else []
    if text not in ids and len(ids) > 1:
        raise Refused(
            f"several windows begin with {text!r}: {', '.join(sorted(ids))}", hint="give one more letter"
        )
    window = store.plans.get(text if text in ids else ids[0]) if ids else None
    if window is None:
        raise NotFound(f"there is no window {text!r}", hint="`mmd schedule list --all` lists them")
    return window
