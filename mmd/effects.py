"""What is done to one source, in an order that may be cut off anywhere.

    enter    GET source, schedules -> snapshot on disk -> PATCH escrow and crons -> DELETE schedules
             -> PATCH treatment and marker -> GET source, schedules
    restore  GET source, schedules -> PATCH treatment undone -> POST schedules -> GET source, schedules
             -> PATCH marker, crons and escrow off

Eight requests each way with two schedules. Nothing is destroyed before its value is on disk and in the
escrow. After any failure the source is left as it stands: the next pass reads it again and decides anew, so
there is no "resume" (docs/adr/0002). A request whose reply was lost is never repeated blindly.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeAlias

from mmd.changes import clear, missing_schedules, shelter, suppress, undo, without_nulls
from mmd.errors import Conflict, Garbled, MmdError, Rejected
from mmd.escrow import Trust, fields_to_json, seal, unseal
from mmd.isc import Priority
from mmd.plan import Held, enforced, interfered, is_newer
from mmd.posture import (
    ESCROW,
    OWN_KEYS,
    TOUCHED_KEYS,
    Observation,
    Snapshot,
    alike,
    canonical,
    drift,
    foreign_edits,
    merge,
    remaining,
)
from mmd.store import Entry, Unwritable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from mmd.changes import Operation
    from mmd.isc import Isc
    from mmd.plan import Action, Case
    from mmd.posture import Fields, Json
    from mmd.store import Store

READS: Final = 4  # of one source, to find two in a row that agree
PAUSE: Final = 0.3  # seconds between such reads
FENCE: Final = timedelta(minutes=5)  # how long ISC may lag behind mmd's own writes
FRESH: Final = 60.0  # seconds that a read may be old when something is destroyed on its word


# What ISC says to a change: the source as it is now, where the answer has it, and the request's tracking id.
_Reply: TypeAlias = "tuple[Observation | None, str | None]"


def elapsed() -> float:
    """Return seconds that only go on, while the machine is suspended as well where that is counted."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class NotDone(MmdError):
    """ISC said yes, and the source does not look as it should."""


class TooLate(MmdError):
    """The window has closed, or too much time has passed since the source was read."""


@dataclass(frozen=True, slots=True)
class Look:
    """A source as read just now, schedules included; `at` is the monotonic clock's reading."""

    observed: Observation
    at: float


class Effects:
    """Does what was decided, one source at a time; many run side by side."""

    def __init__(
        self,
        store: Store,
        isc: Isc,
        *,
        key: bytes,
        actor: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = elapsed,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._isc = isc
        self._key = key
        self._actor = actor
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep

    async def enter(self, action: Action) -> None:
        """Take the snapshot, then bring the source into maintenance.

        Raises:
            MmdError: it is not in maintenance, or not verified to be; nothing is lost.
        """
        case = action.case
        look = await self._look(case, Priority.ENTER, expected=self._recent_schedules(case))
        if look.observed.marked or look.observed.escrow is not None:
            raise NotDone(f"{case.source_name} is in maintenance by someone else's hand by now")
        fields = look.observed.fields
        snapshot = Snapshot(
            id=uuid.uuid4().hex,
            source_id=case.source_id,
            source_name=look.observed.name,
            treatment=case.treatment,
            taken_at=self._now(),
            before=fields,
            after=fields,
        )
        held = self._sealed(Held(snapshot=snapshot, claims=case.claims, text=""))
        self._store.holds.take(held, self._entry(held, "snapshot.taken", {"reason": action.reason}))
        await self._drive(held, look)

    async def reenter(self, action: Action) -> None:
        """Bring a held source (back) into maintenance, keeping what other people changed."""
        case = action.case
        held = _held(case)
        look = await self._look(case, Priority.ENTER, expected={} if held.verified else None)
        self._check_escrow(held, look.observed)
        undone = interfered(replace(case, observed=look.observed))
        held = self._caught_up(held, case, look.observed)
        held = replace(held, enforced=enforced(case) + bool(undone), verified=False)
        kept: dict[str, Json] = {"changed": list(undone), "kept": list(foreign_edits(held.snapshot))}
        self._store.holds.keep(held, self._entry(held, "re-enter", {"reason": action.reason, **kept}))
        await self._drive(held, look)

    def _caught_up(self, held: Held, case: Case, live: Observation) -> Held:
        """Return the hold with the edits of others captured, and the claims and treatment of today."""
        snapshot = held.snapshot
        goal = merge(snapshot.after, snapshot.during, live.fields)
        snapshot = replace(snapshot, after=goal, treatment=case.treatment)
        return self._sealed(replace(held, snapshot=snapshot, claims=case.claims, restored_at=None))

    async def _drive(self, held: Held, look: Look) -> None:
        """Bring the source to the treatment: escrow first, marker last, then look."""
        until = max(claim.closes_at for claim in held.claims)
        await self._shelter(held, look, until)
        schedules = look.observed.schedules or {}
        await _all(self._delete(held, kind, look, until) for kind in schedules)
        operations = suppress(look.observed, held.snapshot)
        if operations:
            self._check_time(look, until)
            await self._patch(held, "treatment", operations, Priority.ENTER)
        seen = await self._read(held.snapshot.source_id, Priority.VERIFY)
        left = drift(seen, held.snapshot, escrow=held.text)
        if left:
            raise NotDone(f"{held.snapshot.source_name} is not wholly in maintenance: {', '.join(left)}")
        if held.entered_at is None:
            entered = replace(held, entered_at=self._now(), verified=True)
            self._store.holds.keep(entered, self._entry(held, "entered", {}))
        else:
            self._store.holds.verified(held.snapshot.id, self._entry(held, "verified", {}))

    async def _shelter(self, held: Held, look: Look, until: datetime) -> None:
        """Put the second copy on the source, and see it there."""
        operations = shelter(look.observed, held.snapshot, held.text)
        if not operations:
            return
        self._check_time(look, until)
        answer = await self._patch(held, "escrow", operations, Priority.ENTER)
        if answer is None or answer.escrow != held.text:
            answer = await self._isc.source(held.snapshot.source_id, priority=Priority.ENTER)
        if answer.escrow != held.text:
            raise NotDone(
                f"{held.snapshot.source_name} does not keep the escrow, so nothing was switched off",
                hint="does another tool strip unknown connectorAttributes?",
            )

    async def _delete(self, held: Held, kind: str, look: Look, until: datetime) -> None:
        self._check_time(look, until)
        cron = (look.observed.schedules or {}).get(kind, "")
        await self._journaled(
            held,
            {"request": f"DELETE schedule {kind}", "cron": cron},
            lambda: _bodiless(
                self._isc.delete_schedule(held.snapshot.source_id, kind, priority=Priority.ENTER)
            ),
        )

    async def restore(self, action: Action) -> None:
        """Put back what was found, keeping what other people changed meanwhile.

        Raises:
            MmdError: it is not wholly back, or not verified to be; the snapshot stays open.
        """
        held = _held(action.case)
        look = await self._look(action.case, Priority.RESTORE, expected={} if held.verified else None)
        self._check_escrow(held, look.observed)
        held = self._decided(held, look.observed)
        snapshot = held.snapshot
        await self._undo(held, look.observed)
        missing = missing_schedules(look.observed.schedules or {}, snapshot.after.schedules)
        await _all(self._create(held, kind, cron) for kind, cron in missing.items())
        seen = await self._read(snapshot.source_id, Priority.RESTORE)
        self._verify(snapshot, seen)
        goal = _goal(snapshot, seen)
        operations = clear(seen, goal)
        if operations:
            await self._let_go(held, goal, operations)
        if operations or held.restored_at is None:
            self._restored(held, goal, action.reason)

    async def _let_go(self, held: Held, goal: Fields, operations: Sequence[Operation]) -> None:
        """Take mmd's own keys off, and see them gone: a source that keeps them is still in maintenance.

        What was there before counts by what it means, as in `_undo`.
        """
        snapshot = held.snapshot
        seen = await self._patch(held, "own keys off", operations, Priority.RESTORE)
        if seen is None or seen.attributes is None or clear(seen, goal):
            seen = await self._isc.source(snapshot.source_id, priority=Priority.RESTORE)
        if seen.attributes is None:
            raise Garbled(f"{seen.name} came without connectorAttributes")
        own, right = seen.attributes, goal.attributes
        left = [key for key in OWN_KEYS if not alike(own.get(key), right.get(key))]
        _check_back(snapshot, [*left, *([] if seen.escrow is None else [ESCROW])])

    def _decided(self, held: Held, live: Observation) -> Held:
        """Put on file what others changed, before anything goes back: half-way back it could be mistaken."""
        snapshot = replace(held.snapshot, after=_goal(held.snapshot, live))
        decided = replace(held, snapshot=snapshot, verified=False)
        with contextlib.suppress(Unwritable):  # as in _journaled
            if fields_to_json(snapshot.after) != fields_to_json(held.snapshot.after):
                kept: list[Json] = list(foreign_edits(snapshot))
                self._store.holds.keep(decided, self._entry(held, "captured", {"kept": kept}))
            elif held.verified:
                self._store.holds.unverified(snapshot.id)
        return decided

    async def _undo(self, held: Held, live: Observation) -> None:
        """Undo the treatment, and see it undone: no aggregation may run on a source that is half back.

        What is not seen exactly as it was sent is sent once more; then it counts by what it means, for ISC
        may keep a value in a form of its own (docs/reliability.md B13, B25).
        """
        snapshot = held.snapshot
        for _ in range(2):
            operations = undo(live, _aim(snapshot, live))
            if not operations:
                return
            live = await self._seen_after(held, operations)
            if not live.complete:
                break
        _check_back(snapshot, remaining(live, snapshot))

    async def _seen_after(self, held: Held, operations: Sequence[Operation]) -> Observation:
        """Undo, and return the source as it is then: as the answer has it, or as one more look shows it."""
        snapshot = held.snapshot
        answer = await self._patch(held, "treatment undone", operations, Priority.RESTORE)
        if answer is None or undo(answer, _aim(snapshot, answer)):
            return await self._isc.source(snapshot.source_id, priority=Priority.RESTORE)
        return answer

    async def _create(self, held: Held, kind: str, cron: str) -> None:
        await self._journaled(
            held,
            {"request": f"POST schedule {kind}", "cron": cron},
            lambda: _bodiless(
                self._isc.create_schedule(held.snapshot.source_id, kind, cron, priority=Priority.RESTORE)
            ),
            restoring=True,
        )

    def _verify(self, snapshot: Snapshot, seen: Observation) -> None:
        """Believe in the restoration only when all but mmd's own keys is as it should be."""
        left = missing_schedules(seen.schedules or {}, _goal(snapshot, seen).schedules)
        _check_back(snapshot, (*remaining(seen, snapshot), *left))

    def _restored(self, held: Held, goal: Fields, reason: str) -> None:
        snapshot = replace(held.snapshot, after=goal)
        done = replace(held, snapshot=snapshot, restored_at=self._now())
        kept: list[Json] = list(foreign_edits(snapshot))
        self._store.holds.keep(done, self._entry(held, "restored", {"reason": reason, "kept": kept}))

    async def _look(
        self, case: Case, priority: Priority, *, expected: Mapping[str, str] | None = None
    ) -> Look:
        """Read source and schedules until two reads in a row agree; the pass's own read counts as the first.

        Schedules are read once, unless they surprise: `expected` is what mmd itself left there, if anything.

        Raises:
            Garbled: no two reads agree, or they are older than mmd's last write (docs/reliability.md F2).
        """
        before, surprise = case.observed, None
        for attempt in range(READS):
            if attempt:
                await self._sleep(PAUSE)
            at = self._monotonic()
            seen = await self._read(case.source_id, priority)
            settled = expected is None or seen.schedules in (expected, surprise)
            if before is not None and _same(before, seen) and settled and not self._stale(case, seen):
                return Look(seen, at)
            before, surprise = seen, seen.schedules
        raise Garbled(f"{case.source_name} looks different at every read", hint="it is read again soon")

    async def _read(self, source_id: str, priority: Priority) -> Observation:
        source, schedules = await asyncio.gather(
            self._isc.source(source_id, priority=priority), self._isc.schedules(source_id, priority=priority)
        )
        if not source.complete:
            raise Garbled(f"{source.name} came without features or connectorAttributes")
        return replace(source, schedules=schedules)

    def _stale(self, case: Case, seen: Observation) -> bool:
        """Whether an answer is older than what mmd wrote last."""
        fence = case.held.written_at if case.held else self._last_write(case)
        if fence is None or seen.modified is None:
            return False
        return seen.modified < fence and self._now() - fence < FENCE

    def _last_write(self, case: Case) -> datetime | None:
        last = self._last_released(case)
        return last.written_at if last else None

    def _recent_schedules(self, case: Case) -> Mapping[str, str] | None:
        last = self._last_released(case)
        return last.snapshot.after.schedules if last else None

    def _last_released(self, case: Case) -> Held | None:
        since = self._now() - FENCE
        return self._store.holds.last_released([case.source_id], since).get(case.source_id)

    def _check_escrow(self, held: Held, live: Observation) -> None:
        """Write nothing on the word of a snapshot that is older than the escrow: the database is a backup."""
        trust, escrow = unseal(live.escrow, source_id=live.source_id, key=self._key)
        if escrow is None or not is_newer(escrow, held):
            return
        if trust is Trust.SIGNED:
            raise Conflict(
                f"the escrow on {live.name} is newer than this database",
                hint="`mmd recover` takes what the sources say over what the database says",
            )
        # Unsigned, it proves nothing of an entry on file, but may be all there is of one that is not.
        if self._store.holds.find(escrow.snapshot.id) is None:
            raise Conflict(
                f"the escrow on {live.name} is of a later entry that this database does not know, and signed "
                "with another client secret",
                hint="find out whose it is: take mmd_escrow off, or `mmd recover --accept-unsigned`",
            )

    def _check_time(self, look: Look, until: datetime) -> None:
        """Destroy nothing after the end, or on the word of an old read: a frozen process may wake up here."""
        if self._now() >= until:
            raise TooLate("the window closed while the source was being entered")
        if self._monotonic() - look.at > FRESH:
            raise TooLate("too much time has passed since the source was read")

    async def _patch(
        self, held: Held, what: str, operations: Sequence[Operation], priority: Priority
    ) -> Observation | None:
        """Send a patch; where ISC refuses a null that was there before, what is null goes off instead."""
        try:
            return await self._patch_as_it_is(held, what, operations, priority)
        except Rejected:
            plain = without_nulls(operations)
            if plain == tuple(operations):
                raise
            return await self._patch_as_it_is(held, what, plain, priority)

    async def _patch_as_it_is(
        self, held: Held, what: str, operations: Sequence[Operation], priority: Priority
    ) -> Observation | None:
        paths: list[Json] = [f"{operation.op} {operation.path}" for operation in operations]
        return await self._journaled(
            held,
            {"request": f"PATCH {what}", "operations": paths},
            lambda: self._isc.patch_source(held.snapshot.source_id, operations, priority=priority),
            restoring=priority is Priority.RESTORE,
        )

    async def _journaled(
        self,
        held: Held,
        body: dict[str, Json],
        send: Callable[[], Awaitable[_Reply]],
        *,
        restoring: bool = False,
    ) -> Observation | None:
        """Write the intent, send, write the outcome: an intent without one means "not known".

        A disk that takes nothing ends an entry; a restoration goes on beside it, for it destroys nothing.
        """
        write = self._try_to_write if restoring else self._write
        write(held, "intent", body)
        try:
            answer, tracking_id = await send()
        except MmdError as error:
            tracking_id = getattr(error, "tracking_id", None)
            failure: dict[str, Json] = {"outcome": type(error).__name__.lower(), "tracking_id": tracking_id}
            write(held, "outcome", {**body, **failure, "error": error.message})
            raise
        modified = answer.modified if answer else None
        write(held, "outcome", {**body, "outcome": "ok", "tracking_id": tracking_id}, modified)
        return answer

    def _write(self, held: Held, kind: str, body: dict[str, Json], modified: datetime | None = None) -> None:
        entry = self._entry(held, kind, body)
        if modified is not None:
            self._store.holds.wrote(held.snapshot.id, modified, entry)
        else:
            self._store.journal.write(entry)

    def _try_to_write(
        self, held: Held, kind: str, body: dict[str, Json], modified: datetime | None = None
    ) -> None:
        with contextlib.suppress(Unwritable):
            self._write(held, kind, body, modified)

    def _sealed(self, held: Held) -> Held:
        """Seal what is held; where it is not what was sealed before, as the next revision."""
        escrow = held.escrow
        if held.text and seal(escrow, self._key) != held.text:
            escrow = replace(escrow, revision=escrow.revision + 1)
        return replace(held, text=seal(escrow, self._key), revision=escrow.revision)

    def _entry(self, held: Held, kind: str, body: dict[str, Json]) -> Entry:
        return Entry(
            at=self._now(),
            kind=kind,
            actor=self._actor,
            source_id=held.snapshot.source_id,
            window_id=held.claims[0].window_id if held.claims else None,
            body={"snapshot": held.snapshot.id, "name": held.snapshot.source_name, **body},
        )


def _held(case: Case) -> Held:
    if case.held is None:
        raise ValueError(f"{case.source_id} is not held")
    return case.held


def _goal(snapshot: Snapshot, live: Observation) -> Fields:
    return merge(snapshot.after, snapshot.during, live.fields)


def _aim(snapshot: Snapshot, live: Observation) -> Fields:
    """Return what to undo the treatment to: as decided, but for features that others have set since."""
    return replace(snapshot.after, features=_goal(snapshot, live).features)


def _check_back(snapshot: Snapshot, left: Collection[str]) -> None:
    if left:
        raise NotDone(f"{snapshot.source_name} is not wholly back: {', '.join(left)}")


def _same(one: Observation, other: Observation) -> bool:
    """Whether two reads show the same source, as far as mmd may touch it; features are a set."""
    if not (one.complete and other.complete):
        return False
    first, second = one.attributes or {}, other.attributes or {}
    same_keys = all(
        (key in first) == (key in second) and canonical(first.get(key)) == canonical(second.get(key))
        for key in TOUCHED_KEYS
    )
    return same_keys and set(one.features or ()) == set(other.features or ())


async def _bodiless(sending: Awaitable[str | None]) -> tuple[None, str | None]:
    """Give a reply without a source the shape of one with."""
    return None, await sending


async def _all(sendings: Iterable[Awaitable[object]]) -> None:
    """Send side by side; when some fail, the others are still waited for, and the first failure is told."""
    results = await asyncio.gather(*sendings, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
