"""One pass: gather, plan, apply. Level, not edge: each pass starts from the windows and the live sources.

The shell's heart, and the only place where what was planned, what is held and what is seen come together. A
pass never fails as a whole because of one source: what went wrong there is an outcome like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, TypeVar

from mmd.aftermath import KINDS, LATE, done_late, is_amiss, left_behind, reopened
from mmd.amend import still_wanted
from mmd.errors import (
    Denied,
    Garbled,
    Missing,
    MmdError,
    PartlyDone,
    Rejected,
    TenantError,
    Unknown,
    Unreachable,
    plainly,
)
from mmd.escrow import Escrow, Trust, unseal
from mmd.findings import Finding, Rules, judge
from mmd.isc import RANK, Priority
from mmd.plan import WRITES, Action, Case, Held, Verb, decide, in_order, is_newer, latest
from mmd.posture import Posture
from mmd.store import BadSnapshot, Entry, Sighting
from mmd.views import action_view
from mmd.windows import begun, next_boundary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from mmd.effects import Effects
    from mmd.isc import Isc
    from mmd.posture import Json, Observation
    from mmd.store import Store
    from mmd.windows import Window

T = TypeVar("T")
VERIFY_AFTER: Final = timedelta(seconds=1)  # the pass that sees what this one did
BACKOFF: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # seconds, by failures in a row of one source
LOOK_BACK: Final = timedelta(days=31)  # how far back a missed occurrence is still noticed
LOOK_AHEAD: Final = timedelta(days=2)  # what begins later is not read, and a pass comes before it does
PLANNED_BY: Final = timedelta(minutes=10)  # how long after its start a window may come on file
TRIED: Final = 10  # sources that are asked for by themselves at a time
SCHEDULES_READ: Final = 20  # held sources whose schedules are read in one pass, in turn


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one action; `error` is None when it was done."""

    action: Action
    error: MmdError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a pass. `again_at` (UTC) is when the next one is due, if sooner than the interval.

    `underway` are the ids of sources that the pass did not wait for, and that are still being worked on.
    """

    at: datetime
    outcomes: tuple[Outcome, ...] = ()
    error: MmdError | None = None
    again_at: datetime | None = None
    underway: frozenset[str] = frozenset()

    def joined(self, later: Report) -> Report:
        """This pass, and what a later one tells of the sources that this one did not wait for."""
        late = [outcome for outcome in later.outcomes if outcome.action.source_id in self.underway]
        told = {outcome.action.source_id for outcome in late}  # a pass that broke off tells of none
        return replace(self, outcomes=(*self.outcomes, *late), underway=self.underway - told)

    def followed_by(self, later: Report) -> Report:
        """This pass, with what the next one made of its failures, and the failures that are new there.

        What was to be entered and was brought back is no success.
        """
        failed = {(it.action.source_id, it.action.verb is Verb.RESTORE) for it in self.failed}
        tried = {
            (it.action.source_id, it.action.verb is Verb.RESTORE): it
            for it in later.outcomes
            if it.error or it.action.verb in WRITES
        }
        keys = [(it.action.source_id, it.action.verb is Verb.RESTORE) for it in self.outcomes]
        now = {key: it for key, it in tried.items() if key in failed or it.error}
        known = [now.get(key, it) for key, it in zip(keys, self.outcomes, strict=True)]
        new = [it for key, it in now.items() if key not in keys]
        return replace(self, outcomes=(*known, *new), error=later.error)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes that went wrong."""
        return tuple(outcome for outcome in self.outcomes if outcome.error is not None)

    @property
    def counts(self) -> dict[str, int]:
        """How many actions there were of each verb."""
        verbs = [outcome.action.verb for outcome in self.outcomes]
        return {verb.value: verbs.count(verb) for verb in Verb if verb in verbs}

    @property
    def actions(self) -> list[dict[str, Json]]:
        """What was done or tried, as the contract's JSON has it."""
        done = [outcome for outcome in self.outcomes if outcome.action.verb is not Verb.WAIT]
        return [
            {**action_view(outcome.action), "error": outcome.error.message if outcome.error else None}
            for outcome in done
        ]

    @property
    def verdict(self) -> MmdError | None:
        """What went wrong in the pass as a whole, with the exit code that fits; None where nothing did."""
        if self.error is not None or not self.failed:
            return self.error
        tried = [outcome for outcome in self.outcomes if outcome.action.verb in WRITES or outcome.error]
        names = "; ".join(f"{outcome.action.source_name}: {outcome.error}" for outcome in self.failed)
        if len(self.failed) < len(tried):
            return PartlyDone(
                f"{len(self.failed)} of {len(tried)} sources failed: {names}",
                hint="the next pass tries them again; `mmd history NAME` says what was sent",
            )
        first = self.failed[0].error
        kind = type(first) if isinstance(first, Denied | Unreachable | Unknown) else MmdError
        hint = first.hint if first and len(self.failed) == 1 else ""
        return kind(names, hint=hint or "the next pass tries again")


@dataclass(frozen=True, slots=True)
class Gathered:
    """What a pass knows before it decides. `error` says why sources may be missing from `cases`."""

    windows: tuple[Window, ...]
    cases: tuple[Case, ...]
    error: MmdError | None = None


@dataclass(slots=True)
class Trouble:
    """How often a source failed in a row, and until when it is left alone."""

    failures: int = 0
    until: datetime | None = None

    def is_waiting(self, now: datetime) -> bool:
        """Whether the pause lasts; one longer than any that is made was made by a clock that was ahead."""
        return self.until is not None and now < self.until <= now + timedelta(seconds=BACKOFF[-1])


@dataclass(slots=True)
class Turns:
    """Whose schedules were read when, so that each held source has its turn."""

    read_at: dict[str, datetime] = field(default_factory=dict)

    def next(self, source_ids: Collection[str], now: datetime, every: timedelta) -> list[str]:
        """Return those whose turn it is, longest waiting first."""
        due = [
            name  # what is yet to come was noted by a clock that was ahead
            for name in source_ids
            if name not in self.read_at or abs(now - self.read_at[name]) >= every
        ]
        return sorted(due, key=lambda name: (name in self.read_at, self.read_at.get(name, now)))[
            :SCHEDULES_READ
        ]


class Reconciler:
    """Runs passes, one at a time."""

    def __init__(
        self,
        store: Store,
        isc: Isc,
        effects: Effects,
        *,
        now: Callable[[], datetime],
        actor: str,
        rules: Rules,
        sweep: timedelta = timedelta(minutes=5),
    ) -> None:
        self._store = store
        self._isc = isc
        self._effects = effects
        self._now = now
        self._actor = actor
        self._rules = rules
        self._sweep = sweep
        self._trouble: dict[str, Trouble] = {}
        self._turns = Turns()
        self._claimed_until: datetime | None = None
        self._unwritten: MmdError | None = None
        self._stumbled: dict[str, MmdError] = {}
        self._busy: dict[str, asyncio.Task[Outcome]] = {}
        self._untold: list[Outcome] = []  # until a report has them: a pass may break off before
        self.stopping = False

    async def run(self, *, hold_enters: bool = False, patience: float | None = None) -> Report:
        """One pass. With `hold_enters` nothing new is entered or claimed: the clock is not to be trusted.

        With `patience` (seconds) the pass does not wait longer for its sources: those that take their time
        are gone on with, left out of the passes that follow, and told of in the one that finds them done.
        """
        self._finished()
        now = self._now()
        self._unwritten, self._stumbled = None, {}
        gathered = await self.gather(now, claim=not hold_enters)
        actions = self._decided(gathered.cases)
        due = [action for action in actions if self._is_due(action, now, hold_enters=hold_enters)]
        self._release(due)
        outcomes = await self._apply(due, patience)
        with self._noting():
            self._see(gathered, actions, outcomes)
        report = Report(
            at=now,
            outcomes=(*self._untold, *self._failures(gathered.cases)),
            error=gathered.error or self._unwritten,
            again_at=self._again(gathered, outcomes, now),
            underway=frozenset(self._busy),
        )
        self._untold.clear()
        return report

    def rest(self) -> Report:
        """What no pass has told of yet: what came of the sources that were done since the last one."""
        self._finished()
        return Report(at=self._now(), outcomes=tuple(self._untold), underway=frozenset(self._busy))

    @property
    def underway(self) -> frozenset[str]:
        """The ids of the sources that are being worked on."""
        return frozenset(name for name, task in self._busy.items() if not task.done())

    async def plan(self) -> tuple[tuple[Action, ...], MmdError | None]:
        """What a pass would do now; sends no mutating request and writes nothing."""
        self._stumbled = {}
        gathered = await self.gather(self._now(), record=False)
        actions = self._decided(gathered.cases)
        return actions, gathered.error or next(iter(self._stumbled.values()), None)

    def _decided(self, cases: Iterable[Case]) -> tuple[Action, ...]:
        """Decide about each source that can be decided about."""
        actions: list[Action] = []
        for case in cases:
            with self._apart(case.source_id):
                actions.append(decide(case, interference=self._rules.interference))
        return in_order(actions)

    @contextlib.contextmanager
    def _apart(self, source_id: str) -> Iterator[None]:
        """Keep what goes wrong with one source from the others; its outcome tells."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a defect, too
            self._stumbled[source_id] = plainly(error)

    def _failures(self, cases: Iterable[Case]) -> tuple[Outcome, ...]:
        """Return an outcome for each source over which mmd stumbled before anything was done."""
        known = {case.source_id: replace(case, observed=None) for case in cases}
        return tuple(
            _failure(known.get(source_id, _unknown(source_id, error)), error)
            for source_id, error in self._stumbled.items()
        )

    # -- gather
    # -----------------------------------------------------------------------------------------------

    async def gather(self, now: datetime, *, record: bool = True, claim: bool = True) -> Gathered:
        """Bring together what is planned, what is held, and what is seen.

        Without `claim` nothing is put on file as begun: a clock that is not trusted may be far ahead.
        """
        since = self._claimed_since(now) if record else now
        ahead = self._rules.pace.longest + LOOK_AHEAD
        windows = self._store.plans.current(now, since=now - since, ahead=ahead)
        if record and claim:
            windows = self._claim(windows, since, now)
        exemptions = self._store.plans.exemptions(windows)
        open_now = still_wanted(windows, exemptions, now, self._rules.pace.ahead)
        held, damaged = self._store.holds.open()
        self._stumbled |= damaged
        apart = {*self._busy, *damaged}
        watch = self._to_watch(open_now, {*held, *apart}, now)
        open_now = {name: pairs for name, pairs in open_now.items() if name not in apart}
        held = {name: item for name, item in held.items() if name not in apart}
        observed, error = await self._observe({*open_now, *held, *watch})
        turn = [name for name in held if name in open_now and name in observed]
        looked_at = [*self._turns.next(turn, now, self._sweep), *(name for name in watch if name in observed)]
        observed = await self._with_schedules(observed, looked_at, now)
        if record:
            for name in watch if error is None else watch.keys() & observed.keys():
                with self._apart(name):
                    held |= self._rewatch(name, watch[name], observed.get(name), now)
        if record and error is None:
            for name, seen in observed.items():
                with self._apart(name):
                    held |= self._recalled({name: seen}, held)
        names = {source.id: source.name for window in windows for source in window.sources}
        cases = [
            Case(
                source_id=source_id,
                source_name=observed[source_id].name
                if source_id in observed
                else _name(source_id, names, held),
                wanted=open_now.get(source_id, ()),
                held=held.get(source_id),
                observed=observed.get(source_id),
                at=now,
            )
            for source_id in sorted({*open_now, *held})
        ]
        return Gathered(tuple(windows), tuple(cases), error)

    def _to_watch(
        self, wanted: Collection[str], held: Collection[str], now: datetime
    ) -> dict[str, list[tuple[Held, datetime]]]:
        """Return the released snapshots to be looked at, by source.

        Also those of a source that is to be entered again soon after its release: what a late request took
        from it would be missing in the next snapshot.
        """
        free = [name for name in wanted if name not in held]
        found = self._store.holds.to_watch(now, wanted=free, since=now - LATE)
        return {name: items for name, items in found.items() if name not in held}

    def _claimed_since(self, now: datetime) -> datetime:
        """Return since when occurrences are to be claimed; a command takes a while to plan one for "now"."""
        return now - LOOK_BACK if self._claimed_until is None else min(self._claimed_until, now) - PLANNED_BY

    def _claim(self, windows: list[Window], since: datetime, now: datetime) -> list[Window]:
        """Put occurrences that have begun on file: from now on they keep their instants."""
        new = {window.id: begun(window, since, now) for window in windows}
        found = [item for items in new.values() for item in items]
        if not found:
            self._claimed_until = now
            return windows
        kinds = {item: "occurrence.begun" if item.closes_at > now else "occurrence.missed" for item in found}
        entries = [
            Entry(
                at=now,
                kind=kind,
                actor=self._actor,
                window_id=item.window_id,
                body={
                    "key": item.key,
                    "opens_at": item.opens_at.isoformat(),
                    "closes_at": item.closes_at.isoformat(),
                },
            )
            for item, kind in kinds.items()
        ]
        with self._noting():
            self._store.plans.record(found, entries)
            self._claimed_until = now
        return [
            replace(window, recorded=(*window.recorded, *new[window.id])) if new[window.id] else window
            for window in windows
        ]

    async def _observe(self, source_ids: set[str]) -> tuple[dict[str, Observation], MmdError | None]:
        """Read the sources by shared pages; one that no page shows, or not wholly, is asked for by its id."""
        if not source_ids:
            return {}, None
        try:
            seen = await self._pages(sorted(source_ids))
        except MmdError as error:
            return await self._in_spite(error, sorted(source_ids))
        found, _ = await self._one_by_one(sorted(source_ids - seen.keys()))
        return seen | found, None

    async def _pages(self, source_ids: list[str]) -> dict[str, Observation]:
        seen: dict[str, Observation] = {}
        try:
            async for page in self._isc.pages(ids=source_ids, priority=Priority.RESTORE):
                shown = [observed for observed in page if observed.complete]
                seen |= {
                    observed.source_id: observed for observed in shown if observed.source_id in source_ids
                }
        except Rejected:  # a tenant that does not know the filter `id in (...)`
            return {}
        return seen

    async def _in_spite(
        self, error: MmdError, source_ids: list[str]
    ) -> tuple[dict[str, Observation], MmdError | None]:
        """Ask for each source by itself where the shared page is at fault: one may spoil it for all.

        A few at a time, and no more when none of these has an answer, for then it is not the page. The error
        stays unless all have one: from what was not seen nothing follows. Where ISC has no list, that it has
        none of the sources either is no answer.
        """
        seen: dict[str, Observation] = {}
        unanswered = 0
        has_no_list = isinstance(error, TenantError) and error.status == HTTPStatus.NOT_FOUND
        while source_ids and is_of_the_page(error):
            some, source_ids = source_ids[:TRIED], source_ids[TRIED:]
            found, silent = await self._one_by_one(some)
            seen |= found
            unanswered += silent
            if silent == len(some) or (has_no_list and not found):
                break
        return seen, error if unanswered or source_ids or (has_no_list and not seen) else None

    async def _one_by_one(self, source_ids: list[str]) -> tuple[dict[str, Observation], int]:
        """Ask for single sources; one that ISC does not have, or not wholly, stays unknown.

        Return those that were shown, and for how many there was no answer: that a source is not there is one.
        """
        seen = await asyncio.gather(
            *(self._isc.source(source_id, priority=Priority.RESTORE) for source_id in source_ids),
            return_exceptions=True,
        )
        self._note_defects(source_ids, seen)
        found = {
            name: one
            for name, one in zip(source_ids, seen, strict=True)
            if not isinstance(one, BaseException)
        }
        missing = sum(isinstance(one, Missing) for one in seen)
        return found, len(source_ids) - len(found) - missing

    async def _with_schedules(
        self, seen: dict[str, Observation], source_ids: Collection[str], now: datetime
    ) -> dict[str, Observation]:
        """Read the schedules of some sources: one that came back, or is gone, shows nowhere else."""
        found = await asyncio.gather(
            *(self._isc.schedules(name, priority=Priority.SWEEP) for name in source_ids),
            return_exceptions=True,
        )
        self._note_defects(source_ids, found)
        for name, schedules in zip(source_ids, found, strict=True):
            if isinstance(schedules, dict):
                self._turns.read_at[name] = now
                seen[name] = replace(seen[name], schedules=schedules)
        return seen

    def _note_defects(self, source_ids: Iterable[str], answers: Iterable[object]) -> None:
        """Note what is neither an answer nor an error of ISC's; the source is as good as not shown."""
        for source_id, answer in zip(source_ids, answers, strict=True):
            if isinstance(answer, BaseException) and not isinstance(answer, MmdError):
                with self._apart(source_id):
                    raise answer

    def _rewatch(
        self,
        source_id: str,
        released: Sequence[tuple[Held, datetime]],
        seen: Observation | None,
        now: datetime,
    ) -> dict[str, Held]:
        """Hold a released source again when mmd's own values are on it after all (docs/reliability.md F1).

        `released` are its snapshots, oldest first.
        """
        whole = seen if seen and seen.complete and seen.schedules is not None else None
        item = self._left_by(whole, released, now) if whole else None
        if item is not None:
            reason: dict[str, Json] = {"reason": "mmd's own values are on a source that was restored"}
            with self._noting():
                self._store.holds.recall(item, self._entry("reopened", item, reason))
            return {source_id: item}
        for last, released_at in released:
            # One that ISC does not show has its turn as well, or it would be asked for in every pass.
            with self._noting():
                self._store.holds.watched(last.snapshot.id, released_at, now)
        return {}

    def _left_by(
        self, seen: Observation, released: Sequence[tuple[Held, datetime]], now: datetime
    ) -> Held | None:
        """Return what to go back to, if mmd's own values are on a released source.

        The newest snapshot, whichever entry's late request it was: the older ones know nothing of what people
        have changed since.
        """
        newest = released[-1][0]
        late = [item for item, at in released if self._done_late(seen, item, at, now)]
        left = left_behind(seen, newest) or any(seen.escrow == item.text for item, _ in released)
        return reopened(newest, seen, late) if late or left else None

    def _done_late(self, seen: Observation, last: Held, released_at: datetime, now: datetime) -> bool:
        """Whether what is amiss may come of a request of mmd's own that was carried out after the release."""
        if not is_amiss(seen, last):
            return False
        lines = self._store.journal.read(source_id=last.snapshot.source_id, kinds=KINDS)
        own = [line for line in lines if line.body.get("snapshot") == last.snapshot.id]
        return done_late(seen, last, own, released_at=released_at, now=now)

    def _recalled(self, observed: Mapping[str, Observation], held: Mapping[str, Held]) -> dict[str, Held]:
        """Believe a newer escrow over an older database: a backup was restored (docs/reliability.md F6s).

        Only an escrow that this mmd signed, and of an entry or for a window that this database knows, so that
        another installation's sources are left to `mmd recover` and a person.
        """
        found: dict[str, Held] = {}
        for source_id, seen in observed.items():
            trust, escrow = unseal(seen.escrow, source_id=source_id, key=self._rules.key)
            if trust is not Trust.SIGNED or escrow is None or not is_newer(escrow, held.get(source_id)):
                continue
            if self._is_known(escrow):
                told = Held(
                    snapshot=escrow.snapshot,
                    claims=escrow.claims,
                    text=str(seen.escrow),
                    revision=escrow.revision,
                )
                item = latest(told, self._store.holds.find(escrow.snapshot.id))
                with self._noting():
                    self._recall(item, held.get(source_id))
                found[source_id] = item
        return found

    def _is_known(self, escrow: Escrow) -> bool:
        entry = self._store.holds.find(escrow.snapshot.id)
        return entry is not None or any(self._store.plans.get(claim.window_id) for claim in escrow.claims)

    def _recall(self, item: Held, older: Held | None) -> None:
        reason: dict[str, Json] = {"reason": "the escrow on the source is newer than the database"}
        if older is not None and older.snapshot.id != item.snapshot.id:
            self._store.holds.release(older.snapshot.id, self._entry("released", older, reason))
        self._store.holds.recall(item, self._entry("snapshot.recalled", item, reason))

    # -- apply
    # ------------------------------------------------------------------------------------------------

    def _is_due(self, action: Action, now: datetime, *, hold_enters: bool) -> bool:
        if (hold_enters and _takes(action)) or (self.stopping and action.verb in WRITES):
            return False
        trouble = self._trouble.get(action.source_id)
        return action.verb not in WRITES or trouble is None or not trouble.is_waiting(now)

    def _release(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if action.verb is Verb.RELEASE and action.case.held is not None:
                held = action.case.held
                entry = self._entry("released", held, {"reason": action.reason})
                with self._noting():
                    self._store.holds.release(held.snapshot.id, entry)

    async def _apply(self, actions: Iterable[Action], patience: float | None) -> tuple[Outcome, ...]:
        for rank, action in enumerate(actions):
            self._busy[action.source_id] = asyncio.create_task(self._attempt(action, rank))
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=patience)
        return self._finished()

    def _finished(self) -> tuple[Outcome, ...]:
        """Take out the sources whose work is done, and return what came of it."""
        done = {name: task for name, task in self._busy.items() if task.done()}
        for name in done:
            del self._busy[name]
        outcomes = tuple(task.result() for task in done.values())
        self._untold += outcomes
        return outcomes

    async def drain(self) -> None:
        """Wait for the sources that are being worked on."""
        if self._busy:
            await asyncio.wait(self._busy.values())

    async def _attempt(self, action: Action, rank: int) -> Outcome:
        """Do one action; whatever goes wrong stays with its source."""
        RANK.set(rank)  # of this task alone
        if action.verb not in WRITES:
            return Outcome(action=action)
        try:
            await self._do(action)
        except Exception as error:  # noqa: BLE001 - a defect with one source must not stop the others
            problem = plainly(error)
            self._failed(action, problem)
            return Outcome(action=action, error=problem)
        self._trouble.pop(action.source_id, None)
        self._turns.read_at[action.source_id] = self._now()
        return Outcome(action=action)

    async def _do(self, action: Action) -> None:
        match action.verb:
            case Verb.ENTER:
                await self._effects.enter(action)
            case Verb.REENTER:
                await self._effects.reenter(action)
            case _:
                await self._effects.restore(action)

    def _failed(self, action: Action, error: MmdError) -> None:
        """Leave the source alone for a while; when ISC refuses the treatment, for the whole occurrence."""
        trouble = self._trouble.setdefault(action.source_id, Trouble())
        wait = BACKOFF[min(trouble.failures, len(BACKOFF) - 1)]
        trouble.failures += 1
        trouble.until = self._now() + timedelta(seconds=wait)
        self._turns.read_at.pop(action.source_id, None)  # what came back is still there, and no page shows it
        body: dict[str, Json] = {
            "name": action.source_name,
            "verb": action.verb.value,
            "error": error.message,
            "exit_code": error.exit_code,
        }
        entry = Entry(at=self._now(), kind="failed", actor=self._actor, source_id=action.source_id, body=body)
        with self._noting():
            if isinstance(error, Rejected) and action.verb in (Verb.ENTER, Verb.REENTER):
                out = [(window.id, item.key, action.source_id) for window, item in action.case.wanted]
                self._store.plans.exempt(out, reason=f"ISC refused: {error.message}", entry=entry)
                trouble.until = None  # what was done already is undone at once
            else:
                self._store.journal.write(entry)

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Write what tells of a pass; what cannot be written keeps no source from going back."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a defect, too
            self._unwritten = self._unwritten or plainly(error)

    # -- afterwards
    # ---------------------------------------------------------------------------------------------

    def _see(self, gathered: Gathered, actions: Iterable[Action], outcomes: Iterable[Outcome]) -> None:
        """Keep what was seen, as it is after what was done."""
        done = {outcome.action.source_id: outcome for outcome in outcomes}
        seen = [action for action in actions if action.case.observed and action.case.observed.complete]
        sightings = self._of_each(self._sighting, seen, done)
        self._store.sightings.save([*sightings.values()], actor=self._actor)
        shown = {action.source_id for action in seen}
        unseen = {item.source_id: item.source_name for item in actions if item.source_id not in shown}
        reason = gathered.error.message if gathered.error else "ISC does not show the source, or not wholly"
        self._store.sightings.fail(unseen, at=self._now(), reason=reason)
        judged = self._of_each(self._finding, actions, done)
        found = [finding for finding in judged.values() if finding]
        # What ISC did not show is not gone: its finding stays, unless there is another one.
        ids = (shown & judged.keys()) | {finding.source_id for finding in found}
        self._store.findings.update(found, judged=ids, now=self._now(), actor=self._actor)

    def _of_each(
        self,
        make: Callable[[Action, Outcome | None], T],
        actions: Iterable[Action],
        done: Mapping[str, Outcome],
    ) -> dict[str, T]:
        """Make something of each source, by id; one over which mmd stumbles is left out."""
        made: dict[str, T] = {}
        for action in actions:
            with self._apart(action.source_id):
                made[action.source_id] = make(action, done.get(action.source_id))
        return made

    def _finding(self, action: Action, outcome: Outcome | None) -> Finding | None:
        """Judge a source as the pass met it; what the pass has brought back by itself is no finding."""
        done = outcome is not None and outcome.error is None
        if done and action.verb in (Verb.RESTORE, Verb.RELEASE):
            return None
        return judge(action.case, self._rules, self._now())

    def _sighting(self, action: Action, outcome: Outcome | None) -> Sighting:
        error = outcome.error.message if outcome and outcome.error else ""
        observed = action.case.observed
        return Sighting(
            source_id=action.source_id,
            name=action.source_name,
            connector=observed.connector if observed else "",
            posture=_posture_after(action, outcome),
            reason=error or action.reason,
            observed_at=self._now(),
        )

    def _again(self, gathered: Gathered, outcomes: Iterable[Outcome], now: datetime) -> datetime:
        """When the next pass is due: to see what was done, to try again, at the next boundary or watch.

        Only what is to come counts: what was due before this pass and is left, such as a look at a source
        that is held again or cannot be read, has to wait for its turn, or pass would follow upon pass.
        """
        later = self._now()
        due = [trouble.until for trouble in self._trouble.values() if trouble.until]
        due.append(now + LOOK_AHEAD)
        if gathered.error is not None:
            due.append(later + VERIFY_AFTER * 2)
        if self._busy:
            due.append(later + VERIFY_AFTER)
        if any(outcome.action.verb in WRITES and outcome.error is None for outcome in outcomes):
            due.append(later + VERIFY_AFTER)
        if any(outcome.error is not None and _is_refused(outcome) for outcome in outcomes):
            due.append(later)
        due += [
            at
            for at in (
                next_boundary(gathered.windows, now, self._rules.pace.ahead),
                self._store.holds.next_watch(now),
            )
            if at
        ]
        return min(at for at in due if at > now)

    def _entry(self, kind: str, held: Held, body: dict[str, Json]) -> Entry:
        return Entry(
            at=self._now(),
            kind=kind,
            actor=self._actor,
            source_id=held.snapshot.source_id,
            window_id=held.claims[0].window_id if held.claims else None,
            body={"snapshot": held.snapshot.id, "name": held.snapshot.source_name, **body},
        )


def _failure(case: Case, error: MmdError) -> Outcome:
    action = Action(
        verb=Verb.WAIT,
        source_id=case.source_id,
        source_name=case.source_name,
        reason=error.message,
        case=case,
    )
    return Outcome(action=action, error=error)


def _unknown(source_id: str, error: MmdError) -> Case:
    """Return the case of a source of which nothing is known but its name, if that."""
    name = error.source_name if isinstance(error, BadSnapshot) else source_id
    return Case(source_id=source_id, source_name=name)


def is_of_the_page(error: MmdError) -> bool:
    """Whether single sources may be readable although the page that has them all is not.

    Not where ISC cannot be reached at all, asks for patience, or does not know who is asking.
    """
    if not isinstance(error, TenantError):
        return False
    whole = {HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
    return isinstance(error, Garbled) or (error.status is not None and error.status not in whole)


def _name(source_id: str, names: Mapping[str, str], held: Mapping[str, Held]) -> str:
    if source_id in held:
        return held[source_id].snapshot.source_name
    return names.get(source_id, source_id)


def _posture_after(action: Action, outcome: Outcome | None) -> Posture:
    """Return the posture a source is left in: verified by the action itself where there was one."""
    if outcome is None or outcome.error is not None or action.verb not in WRITES:
        return action.case.posture
    return Posture.NORMAL if action.verb is Verb.RESTORE else Posture.MAINTENANCE


def _takes(action: Action) -> bool:
    """Whether an action takes from a source what no window has taken yet, all of it or more of it."""
    held = action.case.held
    return action.verb is Verb.ENTER or (
        action.verb is Verb.REENTER and held is not None and action.case.treatment != held.snapshot.treatment
    )


def _is_refused(outcome: Outcome) -> bool:
    return isinstance(outcome.error, Rejected) and outcome.action.verb is not Verb.RESTORE
