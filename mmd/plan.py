"""What to do about each source, and why: the decision table and the planner.

Pure. Wanted, held and posture index `DECISIONS`, which is data: a test counts its rows, and
`docs/architecture.md` shows it. What has no code of its own because of the table: overlapping, cancelled
and shortened windows, a daemon that was down, a crash between any two steps, start-up recovery.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Final

from mmd.escrow import Claim, Escrow, stamp
from mmd.posture import CRON_KEYS, ESCROW, Observation, Posture, Snapshot, Treatment, classify, drift

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mmd.windows import Occurrence, Window


class Verb(StrEnum):
    """What is done about a source in one pass."""

    RESTORE = "restore"
    RELEASE = "release"
    ENTER = "enter"
    REENTER = "re-enter"
    ALERT = "alert"
    WAIT = "wait"


# What goes first when requests are short: what gives back, then what takes, then what only looks.
ORDER: Final = tuple(Verb)
WRITES: Final = frozenset({Verb.RESTORE, Verb.ENTER, Verb.REENTER})

WANTED: Final = True
HELD: Final = True

DECISIONS: Final[Mapping[tuple[bool, bool, Posture], tuple[Verb, str]]] = {
    (WANTED, not HELD, Posture.NORMAL): (Verb.ENTER, "window open"),
    (WANTED, not HELD, Posture.MIXED): (
        Verb.ALERT,
        "an escrow stands on it that this database does not know",
    ),
    (WANTED, not HELD, Posture.MAINTENANCE): (Verb.ALERT, "already in maintenance by someone else's hand"),
    (WANTED, not HELD, Posture.UNKNOWN): (Verb.WAIT, "window open, and the source cannot be read"),
    (WANTED, HELD, Posture.NORMAL): (Verb.REENTER, "window open, and the source is back to normal"),
    (WANTED, HELD, Posture.MIXED): (Verb.REENTER, "window open, and the source is not wholly in maintenance"),
    (WANTED, HELD, Posture.MAINTENANCE): (Verb.WAIT, "in maintenance, as planned"),
    (WANTED, HELD, Posture.UNKNOWN): (Verb.WAIT, "held, and the source cannot be read"),
    (not WANTED, HELD, Posture.NORMAL): (Verb.RELEASE, "back to what it was, seen twice"),
    (not WANTED, HELD, Posture.MIXED): (Verb.RESTORE, "no window open, and the source is not wholly back"),
    (not WANTED, HELD, Posture.MAINTENANCE): (Verb.RESTORE, "no open window wants it"),
    (not WANTED, HELD, Posture.UNKNOWN): (Verb.WAIT, "to be restored, and the source cannot be read"),
    (not WANTED, not HELD, Posture.NORMAL): (Verb.WAIT, "nothing planned"),
    (not WANTED, not HELD, Posture.MIXED): (Verb.ALERT, "zombie: an escrow that this database does not know"),
    (not WANTED, not HELD, Posture.MAINTENANCE): (
        Verb.ALERT,
        "zombie: in maintenance, and no window accounts for it",
    ),
    (not WANTED, not HELD, Posture.UNKNOWN): (Verb.WAIT, "nothing planned, and the source cannot be read"),
}


class Interference(StrEnum):
    """What to do when someone else undoes the maintenance of a source (configuration: on_interference)."""

    ENFORCE = "enforce"
    RESPECT = "respect"


class Limit(IntEnum):
    """Brakes, as numbers."""

    ENFORCEMENTS = 2  # of one source per occurrence; then it is contested, and left to people


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An open snapshot, with what is known of its entry. Instants are UTC.

    `text` is the escrow that should be on the source, and `revision` its number. `entered_at` is when the
    source was first verified in maintenance, `restored_at` when everything was verified back. `verified`
    says that mmd has left it wholly in maintenance and not touched it since. `enforced` counts the times
    somebody's change was undone; `written_at` is ISC's `modified` after mmd's last write: an older answer is
    stale (docs/reliability.md F2).
    """

    snapshot: Snapshot
    claims: tuple[Claim, ...]
    text: str
    entered_at: datetime | None = None
    restored_at: datetime | None = None
    enforced: int = 0
    written_at: datetime | None = None
    verified: bool = False
    revision: int = 0

    @property
    def escrow(self) -> Escrow:
        """The escrow that `text` is the sealed form of."""
        return Escrow(snapshot=self.snapshot, claims=self.claims, revision=self.revision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Everything a decision about one source rests on; `at` is an instant (UTC)."""

    source_id: str
    source_name: str
    wanted: tuple[tuple[Window, Occurrence], ...] = ()
    held: Held | None = None
    observed: Observation | None = None
    at: datetime | None = None

    @property
    def is_ahead(self) -> bool:
        """Whether nothing that wants it is open yet: it is entered ahead of the start."""
        at = self.at
        return bool(self.wanted) and at is not None and all(item.opens_at > at for _, item in self.wanted)

    @property
    def posture(self) -> Posture:
        """What the observation adds up to, given what is held."""
        if self.held is None:
            return classify(self.observed, None, escrow="", restored=False)
        restored = self.held.restored_at is not None
        return classify(self.observed, self.held.snapshot, escrow=self.held.text, restored=restored)

    @property
    def treatment(self) -> Treatment:
        """The strongest treatment that an open window, or the present hold, asks for."""
        asked = [Treatment(window.treatment) for window, _ in self.wanted]
        held = [self.held.snapshot.treatment] if self.held else []
        return max(asked + held, key=lambda treatment: treatment.strength)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """The open occurrences, as the escrow names them."""
        return tuple(
            Claim(
                window_id=window.id,
                key=occurrence.key,
                opens_at=occurrence.opens_at,
                closes_at=occurrence.closes_at,
                reason=window.reason,
                ticket=window.ticket,
                owner=window.owner,
                created_by=window.created_by,
            )
            for window, occurrence in self.wanted
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One decision: what to do about one source, and the reason that people will read."""

    verb: Verb
    source_id: str
    source_name: str
    reason: str
    case: Case


def plan(cases: Iterable[Case], *, interference: Interference = Interference.ENFORCE) -> tuple[Action, ...]:
    """Decide about each source."""
    return in_order(decide(case, interference=interference) for case in cases)


def in_order(actions: Iterable[Action]) -> tuple[Action, ...]:
    """Return the actions as they are to be done: restores before enters, and everything else after."""
    return tuple(sorted(actions, key=lambda action: (ORDER.index(action.verb), action.source_name)))


def decide(case: Case, *, interference: Interference = Interference.ENFORCE) -> Action:
    """Decide about one source."""
    verb, reason = DECISIONS[bool(case.wanted), case.held is not None, case.posture]
    details = _windows(case)
    if verb is Verb.REENTER:
        verb, reason = _reenter(case, reason, interference)
    elif verb is Verb.WAIT and _outgrown(case):
        verb, reason = Verb.REENTER, "its windows have changed"
    elif verb is Verb.WAIT and _unverified(case):
        verb, reason = Verb.REENTER, "in maintenance, and not verified yet"
    if case.is_ahead:
        reason = reason.replace("window open", "window about to open")
    return Action(
        verb=verb,
        source_id=case.source_id,
        source_name=case.source_name,
        reason=f"{reason} ({details})" if details else reason,
        case=case,
    )


def _windows(case: Case) -> str:
    """Name the windows that a decision is about, with the end of the last one."""
    claims = case.claims or (case.held.claims if case.held else ())
    if not claims:
        return ""
    names = ", ".join(sorted({claim.window_id for claim in claims}))
    until = max(claim.closes_at for claim in claims)
    return f"{names} until {stamp(until)[:19]}Z"


def _reenter(case: Case, reason: str, interference: Interference) -> tuple[Verb, str]:
    """Tell finishing one's own work from undoing somebody else's."""
    changed = interfered(case)
    if not changed:
        return Verb.REENTER, reason
    names = ", ".join(changed)
    if interference is Interference.RESPECT:
        return Verb.ALERT, f"changed by someone else and respected: {names}"
    if is_contested(case):
        return Verb.ALERT, f"contested: put back {enforced(case)} times, changed again: {names}"
    return Verb.REENTER, f"changed by someone else: {names}"


def is_contested(case: Case) -> bool:
    """Whether somebody's changes were undone as often as they are to be."""
    return enforced(case) >= Limit.ENFORCEMENTS


def enforced(case: Case) -> int:
    """Return how often somebody's change was undone; an occurrence that joins begins anew."""
    if case.held is None:
        return 0
    known = {(claim.window_id, claim.key) for claim in case.held.claims}
    joined = any((claim.window_id, claim.key) not in known for claim in case.claims)
    return 0 if joined else case.held.enforced


def interfered(case: Case) -> tuple[str, ...]:
    """Name what somebody changed on a source that was left in maintenance; mmd's own keys do not count.

    The marker does: taking it off is how the forum's Disable, or a person, ends maintenance. What mmd itself
    has begun, to enter, to restore, or to switch off more, is nobody's interference, done or not.
    """
    if case.held is None or not case.held.verified or case.observed is None:
        return ()
    if not case.observed.complete:
        return ()
    names = drift(case.observed, case.held.snapshot, escrow=case.held.text)
    return tuple(name for name in names if name not in {*CRON_KEYS.values(), ESCROW})


def _outgrown(case: Case) -> bool:
    """Whether the hold no longer says what the open windows ask for: an end moved, a stronger treatment."""
    if case.held is None or not case.wanted or case.posture is not Posture.MAINTENANCE:
        return False
    moved = _until(case.claims) != _until(case.held.claims)
    return moved or case.treatment is not case.held.snapshot.treatment


def _unverified(case: Case) -> bool:
    """Whether nobody has verified yet what mmd did: killed before that, or recalled from an escrow."""
    held = case.held
    return (
        held is not None and not held.verified and case.posture is Posture.MAINTENANCE and bool(case.wanted)
    )


def _until(claims: tuple[Claim, ...]) -> datetime | None:
    return max((claim.closes_at for claim in claims), default=None)


def is_newer(escrow: Escrow, held: Held | None) -> bool:
    """Whether an escrow tells of a later entry of its source than the database does, or more of the same."""
    if held is None:
        return True
    if escrow.snapshot.id == held.snapshot.id:
        return escrow.revision > held.revision
    return escrow.snapshot.taken_at > held.snapshot.taken_at


def latest(told: Held, known: Held | None) -> Held:
    """Return the later of what an escrow tells and what is on file of the same entry, to be held again.

    A late answer, or an old copy of a source that somebody saved over it, shows an escrow as it was before
    others' edits were captured.
    """
    if known is None:
        return told
    later = told if told.revision > known.revision else known
    return replace(
        known,
        snapshot=later.snapshot,
        claims=later.claims,
        text=later.text,
        revision=later.revision,
        restored_at=None,
        verified=False,
    )
