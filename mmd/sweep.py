"""One sweep: the whole tenant read, and compared with what is wanted and held.

Pages are judged as they come, so memory stays flat however many sources there are. What looks wrong on a
page is read once more by itself, schedules included, before it becomes a finding. A sweep that did not see
the whole tenant clears nothing: what was not seen proves nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from mmd.aftermath import reopened
from mmd.amend import still_wanted
from mmd.errors import Garbled, Missing, MmdError, TenantError, plainly
from mmd.findings import ZOMBIES, Finding, Rules, judge, suspicious
from mmd.isc import Priority
from mmd.plan import Case
from mmd.posture import Posture
from mmd.store import Damaged, Entry, Sighting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from mmd.isc import Isc
    from mmd.plan import Held
    from mmd.posture import Observation
    from mmd.store import Store
    from mmd.windows import Occurrence, Window

# Suspects of one page that are read again; more at once is not a zombie but a change of the tenant, or of
# ISC.
CONFIRMED: Final = 50
RESTORED_AT_ONCE: Final = 25  # zombies of mmd's own making that one sweep brings back by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep saw. `error` says why it is incomplete; None means that every source was seen.

    `blind` names sources that may be in maintenance for all that ISC shows of them.
    """

    at: datetime
    sources: int
    findings: tuple[Finding, ...]
    reopened: int = 0
    error: MmdError | None = None
    blind: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What a sweep has seen so far.

    `ids` are those of all sources on the pages, `partly` those of the sources that ISC did not show whole,
    `blind` the names of those among them of which it showed no attributes. `defect` is what mmd itself
    stumbled over.
    """

    sources: int = 0
    reopened: int = 0
    ids: set[str] = field(default_factory=set)
    partly: set[str] = field(default_factory=set)
    blind: set[str] = field(default_factory=set)
    defect: MmdError | None = None

    def note(self, cases: Sequence[Case]) -> None:
        """Count in what was not shown whole."""
        self.partly |= {case.source_id for case in cases if case.observed and not case.observed.complete}
        hidden = [case for case in cases if case.observed and case.observed.attributes is None]
        self.blind |= {case.source_name for case in hidden if not case.held}


class Sweeper:
    """Reads the whole tenant, page by page."""

    def __init__(
        self,
        store: Store,
        isc: Isc,
        rules: Rules,
        *,
        now: Callable[[], datetime],
        actor: str,
        every: timedelta,
        restore_own: bool = False,
    ) -> None:
        self._store = store
        self._isc = isc
        self._rules = rules
        self._now = now
        self._actor = actor
        self._every = every
        self._restore_own = restore_own

    async def run(self, *, record: bool = True, progress: Callable[[int], None] = lambda _: None) -> Swept:
        """Sweep once. Without `record` nothing is written: the answer is all there is."""
        started, tally, error = self._now(), _Tally(), None
        found: list[Finding] = []
        try:
            async for page in self._isc.pages(priority=Priority.SWEEP):
                tally.sources += len(page)
                tally.ids |= {observed.source_id for observed in page}
                found += await self._parts(page, tally, record=record)
                progress(tally.sources)
            found += await self._parts(await self._overlooked(tally), tally, record=record)
            error = tally.defect
        except MmdError as problem:
            error = problem
        found += self._unseen_and_late({finding.source_id for finding in found})
        if record:
            self._conclude(started, found, tally, complete=error is None)
        return Swept(
            at=started,
            sources=tally.sources,
            findings=tuple(found),
            reopened=tally.reopened,
            error=error,
            blind=tuple(sorted(tally.blind)),
        )

    async def _overlooked(self, tally: _Tally) -> list[Observation]:
        """Return the sources with an open finding that were on no page, and are there all the same.

        When a source is deleted while its tenant is read, those behind it move up, and one is on no page. One
        that ISC cannot show by itself keeps its finding.
        """
        missing = [name for name in self._store.findings.open() if name not in tally.ids]
        tally.partly |= {*missing[CONFIRMED:]}
        found = []
        for name in missing[:CONFIRMED]:
            try:
                found.append(await self._isc.source(name, priority=Priority.SWEEP))
            except Missing:
                continue
            except TenantError as error:
                if error.status is None and not isinstance(error, Garbled):
                    raise
                tally.partly.add(name)
        return found

    async def _parts(self, page: Sequence[Observation], tally: _Tally, *, record: bool) -> list[Finding]:
        """Judge a page; where mmd stumbles over a source of it, one by one, and without that source."""
        try:
            return await self._page(page, tally, record=record)
        except MmdError:
            raise
        except Exception as error:  # noqa: BLE001 - a defect with one source must not hide the others
            if len(page) == 1:
                tally.defect = plainly(error)
                return []
        parts = [await self._parts([observed], tally, record=record) for observed in page]
        return [finding for part in parts for finding in part]

    async def _page(self, page: Sequence[Observation], tally: _Tally, *, record: bool) -> list[Finding]:
        now = self._now()
        (held, damaged), open_now = self._store.holds.open(), self._wanted(now)
        tally.partly |= damaged.keys()  # the passes tell of these
        whole = [_case(observed, held, open_now) for observed in page if observed.source_id not in damaged]
        cases = await self._confirmed(whole)
        tally.note(cases)
        judged = [judge(case, self._rules, now) for case in cases if _is_to_judge(case)]
        found = [finding for finding in judged if finding]
        if record:
            bad = [_unjudged(observed, now) for observed in page if observed.source_id in damaged]
            self._store.sightings.save([*(_sighting(case, now) for case in cases), *bad], actor=self._actor)
            found = [finding for finding in found if not self._is_taken_back(finding, cases, tally)]
        return found

    async def _confirmed(self, cases: Sequence[Case]) -> list[Case]:
        """Read again, one by one, what looks wrong on a page, and then what the page does not show whole."""
        odd = sorted(filter(_is_odd, cases), key=lambda case: not _is_suspect(case))[:CONFIRMED]
        read = await asyncio.gather(*(self._again(case) for case in odd))
        asked = {case.source_id for case in odd}
        return [
            *(case for case in cases if case.source_id not in asked),
            *(case for case in read if case is not None),
        ]

    async def _again(self, case: Case) -> Case | None:
        """Read a source by itself; None when it is gone, or when a pass has taken it meanwhile.

        One that ISC cannot show by itself either is judged by its row.
        """
        try:
            observed, schedules = await asyncio.gather(
                self._isc.source(case.source_id, priority=Priority.SWEEP),
                self._isc.schedules(case.source_id, priority=Priority.SWEEP),
            )
        except Missing:
            return None
        except TenantError as error:
            if error.status is None and not isinstance(error, Garbled):
                raise
            return case
        if self._store.holds.held(case.source_id):
            return None
        return replace(case, observed=replace(observed, schedules=schedules))

    def _unseen_and_late(self, known: set[str]) -> list[Finding]:
        """Judge what is held, should be back by now, and was on no page."""
        now = self._now()
        open_now = self._wanted(now)
        missing = [
            Case(source_id=source_id, source_name=held.snapshot.source_name, held=held)
            for source_id, held in self._store.holds.open()[0].items()
            if source_id not in known and source_id not in open_now
        ]
        found = [judge(case, self._rules, now) for case in missing]
        return [finding for finding in found if finding]

    def _wanted(self, now: datetime) -> dict[str, tuple[tuple[Window, Occurrence], ...]]:
        windows = self._store.plans.current(now, ahead=self._rules.pace.longest)
        exemptions = self._store.plans.exemptions(windows)
        return still_wanted(windows, exemptions, now, self._rules.pace.ahead)

    def _is_taken_back(self, finding: Finding, cases: Sequence[Case], tally: _Tally) -> bool:
        """Hold a source again that carries this database's own escrow; bounded, and only where asked.

        One that is held still is the passes' to bring back.
        """
        if not self._restore_own or tally.reopened >= RESTORED_AT_ONCE:
            return False
        free = (case.observed for case in cases if case.source_id == finding.source_id and case.held is None)
        observed = next(free, None)
        if observed is None or observed.escrow is None:
            return False
        entries: list[Held] = []
        with suppress(Damaged):
            entries = [item for item, _ in self._store.holds.history(finding.source_id)]
        if all(item.text != observed.escrow for item in entries):
            return False
        newest = reopened(entries[-1], observed, ())
        entry = Entry(
            at=self._now(),
            kind="reopened",
            actor=self._actor,
            source_id=finding.source_id,
            body={"name": finding.source_name, "snapshot": newest.snapshot.id, "reason": finding.detail},
        )
        self._store.holds.recall(newest, entry)
        tally.reopened += 1
        return True

    def _conclude(
        self, started: datetime, found: Sequence[Finding], tally: _Tally, *, complete: bool
    ) -> None:
        now = self._now()
        held, known = self._store.holds.open()[0], self._store.findings.open().values()
        # Drift inside a window is for the passes to judge, and what ISC showed in part is not gone.
        drift = [item for item in known if item.kind not in ZOMBIES and item.source_id in held]
        kept = [*drift, *(item for item in known if item.source_id in tally.partly)]
        judged = None if complete else frozenset[str]()
        self._store.findings.update([*kept, *found], judged=judged, now=now, actor=self._actor)
        if complete:
            self._store.sightings.unlisted(before=started, at=now)
            self._store.findings.swept(now, sources=tally.sources, within=self._every * 3)


def _is_suspect(case: Case) -> bool:
    return case.observed is not None and suspicious(case.observed)


def _is_odd(case: Case) -> bool:
    """Whether a free source's row on a page is not enough to say that it is in order.

    Missing features are no reason to read again: some sources have none by nature, and what tells a zombie is
    among the attributes.
    """
    if case.held is not None or case.observed is None:
        return False
    return suspicious(case.observed) or case.observed.attributes is None


def _is_to_judge(case: Case) -> bool:
    """Whether the sweep judges a source; what mmd holds for an open window is judged by the passes."""
    return not case.wanted if case.held else _is_suspect(case)


def _case(
    observed: Observation,
    held: dict[str, Held],
    open_now: dict[str, tuple[tuple[Window, Occurrence], ...]],
) -> Case:
    return Case(
        source_id=observed.source_id,
        source_name=observed.name,
        wanted=open_now.get(observed.source_id, ()),
        held=held.get(observed.source_id),
        observed=observed,
    )


def _unjudged(observed: Observation, now: datetime) -> Sighting:
    """Return that a source is there, of which mmd cannot say what it should look like."""
    return Sighting(
        source_id=observed.source_id,
        name=observed.name,
        connector=observed.connector,
        posture=Posture.UNKNOWN,
        reason="its snapshot is not what was written",
        observed_at=now,
    )


def _sighting(case: Case, now: datetime) -> Sighting:
    return Sighting(
        source_id=case.source_id,
        name=case.source_name,
        connector=case.observed.connector if case.observed else "",
        posture=case.posture,
        reason="seen by the sweep",
        observed_at=now,
    )
