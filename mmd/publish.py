"""Making reports: bringing the facts together, and putting files where auditors look for them.

A file is there whole or not at all, and for its owner alone. A complete report is never replaced by an
incomplete one: that has a name of its own, which ends in ".incomplete", and goes when the complete one comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mmd.errors import MmdError, Refused
from mmd.findings import ZOMBIES, Finding, Kind, Rules, judge, suspicious
from mmd.isc import Priority
from mmd.plan import Case
from mmd.posture import MARKER, Json, Observation, Posture
from mmd.report import FORMATS, Change, Facts, Kept, Live, Report, Schedule, make
from mmd.report.period import Period, period_before
from mmd.report.sheet import audited
from mmd.windows import zone_named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from mmd.history import Timeline
    from mmd.isc import Isc
    from mmd.store import Entry, Store
    from mmd.windows import Window

# A year's audit, and a month to be late with it.
KEEP: Final = timedelta(days=400)
INCOMPLETE: Final = ".incomplete"
RETRY: Final = timedelta(minutes=5)  # after a report that could not be completed
LOOK: Final = timedelta(minutes=1)  # between looks at the clock, which may be stepped
_NAMES: Final = re.compile(r"mmd-([0-9]{4}-[0-9]{2}-[0-9]{2})[0-9TZdhms-]*\.(csv|html|json)(\.incomplete)?")
_DEEDS: Final = ("added", "edited", "extended", "ended", "cancelled", "skipped", "adopted")
RECENT: Final = timedelta(minutes=5)  # longer than a listing takes
_MOMENT: Final = timedelta(microseconds=1)
_MOST_CHANGES: Final = 4  # of one change of plan, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a report needs of the configuration: whose it is, the readers' zone, how sources are judged."""

    tenant: str
    zone: str
    rules: Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the tenant said: its sources in maintenance, or why it did not say all; and its time zone.

    `suspects` are the sources that may be left behind, for all that their rows show.
    """

    live: tuple[Live, ...] = ()
    suspects: tuple[Observation, ...] = ()
    trouble: str = ""
    zone: str | None = None


# --- Facts ------------------------------------------------------------------------------------------------


async def listing(isc: Isc) -> Listing:
    """Read every source of the tenant, and its time zone; whatever goes wrong is part of the answer."""
    live: list[Live] = []
    suspects: list[Observation] = []
    unread = 0
    try:
        zone = await _zone(isc)
        async for page in isc.pages(priority=Priority.SWEEP):
            unread += sum(seen.attributes is None for seen in page)
            marked = (seen for seen in page if audited((seen.attributes or {}).get(MARKER)))
            live += [Live(seen.source_id, seen.name, seen.connector) for seen in marked]
            suspects += filter(suspicious, page)
    except MmdError as error:
        return Listing(trouble=error.message)
    trouble = f"{unread} of its sources came without connectorAttributes" if unread else ""
    return Listing(live=tuple(live), suspects=tuple(suspects), trouble=trouble, zone=zone)


async def _zone(isc: Isc) -> str | None:
    """The zone of the tenant's crons; many tokens may not ask for it, and a report does without."""
    try:
        name = (await isc.org_config()).get("timeZone")
        return zone_named(name).key if isinstance(name, str) else None
    except MmdError:
        return None


def gather(
    store: Store, said: Listing, terms: Terms, since: datetime, until: datetime, now: datetime
) -> Facts:
    """Bring together what the database and the tenant know of `[since, until)`, and of `now`."""
    live = _last_known(store) if said.trouble else said.live
    grace = terms.rules.grace
    timelines = store.past.timelines(None, since - grace, until)
    present = store.past.timelines({item.source_id for item in live}, now - grace, now + _MOMENT)
    new = _not_swept_yet(store, said, terms.rules, now)
    open_now = [*store.findings.open().values(), *new]
    findings = [
        *store.findings.between(since, until),
        *((found, None) for found in new if found.since < until or until >= now),
    ]
    return Facts(
        tenant=terms.tenant,
        since=since,
        until=until,
        now=now,
        zone=terms.zone,
        tenant_zone=said.zone,
        grace=grace,
        live=live,
        trouble=said.trouble,
        present=tuple(present),
        open_now=tuple(open_now),
        windows=_windows(store, since - grace, [*timelines, *present], open_now),
        timelines=tuple(timelines),
        schedules=tuple(
            item for line in timelines if line.applied for item in _schedules(store, line.source_id)
        ),
        findings=tuple(findings),
        changes=tuple(map(_change, _entries(store, since, until, *(f"window.{deed}" for deed in _DEEDS)))),
        kept=tuple(kept for kept in map(_kept, _entries(store, since, until, "restored")) if kept.notes),
        watched=tuple(store.findings.covered(since, until)),
    )


def _not_swept_yet(store: Store, said: Listing, rules: Rules, now: datetime) -> list[Finding]:
    """Judge what the listing shows and no sweep has found yet, for want of one or since the last.

    What was released lately may have been listed before that.
    """
    held, damaged = store.holds.open()
    known = {*held, *damaged, *store.findings.open()}
    free = [seen for seen in said.suspects if seen.source_id not in known]
    recent = store.holds.last_released([seen.source_id for seen in free], now - RECENT)
    cases = (Case(source_id=seen.source_id, source_name=seen.name, observed=seen) for seen in free)
    judged = (judge(case, rules, now) for case in cases if case.source_id not in recent)
    return [found for found in judged if found]


def _entries(store: Store, since: datetime, until: datetime, *kinds: str) -> list[Entry]:
    return store.journal.read(since=since, until=until, kinds=kinds)


def _windows(
    store: Store, since: datetime, lines: Iterable[Timeline], findings: Iterable[Finding]
) -> tuple[Window, ...]:
    """The windows that were not over at an instant, and those that what is still not back was entered for."""
    windows = {window.id: window for window in store.plans.all(after=since)}
    named = {found.window for found in findings if found.window}
    named |= {name for line in lines for item in line.applied for name in item.window_ids}
    over = (store.plans.get(name) for name in sorted(named - windows.keys()))
    return (*windows.values(), *(window for window in over if window is not None))


def _last_known(store: Store) -> tuple[Live, ...]:
    """What was in maintenance when it was last looked at."""
    found = {
        seen.source_id: Live(seen.source_id, seen.name, seen.connector)
        for seen in store.sightings.all().values()
        if seen.posture is Posture.MAINTENANCE
    }
    for item in store.findings.open().values():
        if item.kind in ZOMBIES - {Kind.HALF}:
            found.setdefault(item.source_id, Live(item.source_id, item.source_name, item.connector))
    return tuple(found.values())


def _schedules(store: Store, source_id: str) -> Iterable[Schedule]:
    """The schedules that entries of a source took away."""
    for held, released_at in store.holds.history(source_id):
        for kind, cron in held.snapshot.before.schedules.items():
            yield Schedule(
                source_id=source_id,
                source_name=held.snapshot.source_name,
                kind=kind,
                cron=cron,
                since=held.entered_at or held.snapshot.taken_at,
                until=held.restored_at or released_at,
            )


def _change(entry: Entry) -> Change:
    return Change(
        at=entry.at,
        kind=entry.kind.removeprefix("window."),
        actor=entry.actor,
        window_id=entry.window_id or "",
        what=_what(entry),
    )


def _what(entry: Entry) -> str:
    """Say what a change of plan changed, and why as far as somebody said it."""
    before, after, why = (entry.body.get(name) for name in ("before", "after", "reason"))
    old = before if isinstance(before, dict) else {}
    new = after if isinstance(after, dict) else {}
    changed = [f"{name}: {_value(old[name])} became {_value(new.get(name))}" for name in old if name in new]
    fresh = [f"{name}: {_value(new[name])}" for name in new if name not in old]
    texts = [*([why] if isinstance(why, str) and why else []), *(changed + fresh)[:_MOST_CHANGES]]
    return "; ".join(texts)


def _value(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "none" if value in (None, "") else str(value)


def _kept(entry: Entry) -> Kept:
    notes = entry.body.get("kept")
    return Kept(
        at=entry.at,
        source_id=entry.source_id or "",
        source_name=str(entry.body.get("name") or entry.source_id or ""),
        notes=tuple(map(str, notes)) if isinstance(notes, list) else (),
    )


# --- Files ------------------------------------------------------------------------------------------------


def save(path: Path, text: str, *, complete: bool) -> Path:
    """Put a report where it belongs, and return where that is.

    Raises:
        MmdError: the file cannot be written; whatever was there before is as it was.
    """
    aside = path.with_name(path.name + INCOMPLETE)
    target = path if complete else aside
    try:
        _write(target, text.encode())
        if complete:
            aside.unlink(missing_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise MmdError(
            f"{target} cannot be written: {why}", hint="is there the room, and the right?"
        ) from error
    return target


def _write(path: Path, data: bytes) -> None:
    """Write beside, then rename: whoever reads sees the old or the new, and no planted link is followed."""
    if path.is_dir():
        raise Refused(f"{path} is a folder", hint="name a file in it")
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_folder(folder: Path) -> None:
    """Make the folder of the reports, for its owner alone, if it is not there.

    Raises:
        MmdError: it cannot be made.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or str(error)
        raise MmdError(
            f"the folder {folder} cannot be made: {why}", hint="see [reports] directory"
        ) from error


def forget(folder: Path, today: date) -> list[str]:
    """Delete the reports of periods that began longer ago than `KEEP`, nothing else; return their names."""
    gone = []
    for path in sorted(folder.iterdir()):
        found = _NAMES.fullmatch(path.name)
        if found is None or path.is_dir():
            continue
        with contextlib.suppress(ValueError, OSError):  # no date after all; somebody else was faster
            if date.fromisoformat(found[1]) < today - KEEP:
                path.unlink()
                gone.append(path.name)
    return gone


# --- By themselves ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """Writes the report of each period when it is over."""

    store: Store
    isc: Isc
    terms: Terms
    every: timedelta
    folder: Path
    formats: Sequence[str]

    async def run(self, now: datetime) -> Report | None:
        """Write the report of the last period, if it is not there yet, and return it.

        There is none of a time before mmd knew anything, and none that is older than the last period: what
        is in maintenance now is part of it.

        Raises:
            MmdError: it cannot be written, or the database not be read.
        """
        period = period_before(now, self.every, self.terms.zone)
        missing = self._missing(period)
        if not missing:
            return None
        said = await listing(self.isc)
        return await asyncio.to_thread(self._publish, said, period, missing, now)

    def _missing(self, period: Period) -> dict[str, Path]:
        """The files of a period, by form, that are still to be written."""
        if not self.store.journal.read(until=period.until, last=1):
            return {}
        paths = {form: self.folder / f"{period.name}.{form}" for form in self.formats}
        return {form: path for form, path in paths.items() if not os.path.lexists(path)}

    def _publish(self, said: Listing, period: Period, paths: Mapping[str, Path], now: datetime) -> Report:
        report = make(gather(self.store, said, self.terms, period.since, period.until, now))
        make_folder(self.folder)
        for form, path in paths.items():
            save(path, FORMATS[form](report), complete=report.complete)
        forget(self.folder, now.date())
        return report


async def publish_periodically(
    publisher: Publisher,
    *,
    now: Callable[[], datetime],
    log: Any,  # noqa: ANN401 - structlog's loggers have no type of their own
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Write a report whenever a period is over, for ever; one that fails is told and tried again."""
    while True:
        wait = min(LOOK, publisher.every)
        try:
            report = await publisher.run(now())
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one report, the next is due all the same
            hint = error.hint if isinstance(error, MmdError) else "please report it"
            log.error("report.failed", error=str(error), kind=type(error).__name__, hint=hint)  # noqa: TRY400 - no traceback
            wait = RETRY
        else:
            if report is not None and report.complete:
                log.info("report.written", since=report.facts.since, until=report.facts.until)
            elif report is not None:
                log.warning("report.incomplete", error=report.facts.trouble)
                wait = RETRY
        await sleep(wait.total_seconds())
