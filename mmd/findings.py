"""What is wrong with a source: zombies told apart, and drift inside a window.

Pure. A zombie is a source in maintenance, wholly or half, that no open window accounts for. Each finding
says what was seen, and what a person can do next; since when is the store's to remember.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mmd.escrow import Escrow, Trust, stamp, unseal
from mmd.pace import Pace
from mmd.plan import Interference, interfered, is_contested
from mmd.posture import CRON_KEYS, HEALTH_FLAG, MARKER, Posture, alike

if TYPE_CHECKING:
    from mmd.plan import Case
    from mmd.posture import Observation


class Kind(StrEnum):
    """What a finding is; the first four are zombies (docs/contract.md)."""

    OVERDUE = "overdue"  # our window closed, and the source is not back
    ORPHAN = "orphan"  # in maintenance, and no window ever
    FOREIGN = "foreign"  # put there by the forum workflow
    HALF = "half"  # no marker, and left half-way
    LOST = "lost"  # inside a window: someone ended it by hand
    PARTIAL = "partial"  # inside a window: something came back
    CONTESTED = "contested"  # inside a window: put back twice, and undone again


ZOMBIES: Final = frozenset({Kind.OVERDUE, Kind.ORPHAN, Kind.FOREIGN, Kind.HALF})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with one source.

    `since` (UTC) is when it began as far as it can be told: the closing of the window, else when it was
    first seen. `window` is the window it belongs to, where there is one.
    """

    source_id: str
    source_name: str
    connector: str
    kind: Kind
    since: datetime
    detail: str
    next_step: str
    window: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What judging needs besides the source: the configuration, and the key that escrows are signed with."""

    grace: timedelta
    key: bytes
    pace: Pace = field(default_factory=Pace)
    interference: Interference = Interference.ENFORCE


def judge(case: Case, rules: Rules, now: datetime) -> Finding | None:
    """Say what is wrong with a source, if anything.

    What an incomplete observation does not show proves nothing; a marker or an escrow that it shows does.
    """
    if case.held is not None:
        return _drifted(case, rules, now) if case.wanted else _late(case, rules, now)
    return None if case.observed is None else _stray(case, case.observed, rules, now)


def suspicious(observed: Observation) -> bool:
    """Whether a source that mmd does not hold needs a closer look, schedules included."""
    return observed.marked or observed.escrow is not None or _left_by_the_forum(observed)


def _late(case: Case, rules: Rules, now: datetime) -> Finding | None:
    """Held, and its last window closed longer ago than the grace."""
    if case.held is None or case.wanted or case.posture is Posture.NORMAL:
        return None
    closed_at = max((claim.closes_at for claim in case.held.claims), default=case.held.snapshot.taken_at)
    if now < closed_at + rules.grace:
        return None
    seen = "cannot be read" if case.posture is Posture.UNKNOWN else "is not back"
    return _finding(
        case,
        Kind.OVERDUE,
        closed_at,
        f"the window closed at {stamp(closed_at)[:19]}Z and the source {seen}",
        f"the daemon goes on trying; `mmd restore {case.source_id}` tries now and says what is in the way",
        window=case.held.claims[0].window_id if case.held.claims else None,
    )


def _drifted(case: Case, rules: Rules, now: datetime) -> Finding | None:
    """Held and wanted: what somebody changed since it was verified in maintenance."""
    changed = interfered(case)
    if not changed or case.held is None:
        return None
    kind = Kind.LOST if MARKER in changed else Kind.PARTIAL
    step = "mmd puts it back at the next pass"
    if rules.interference is Interference.RESPECT:
        step = "left alone, as on_interference asks; it is restored when the window closes"
    elif is_contested(case):
        kind, step = Kind.CONTESTED, f"find out who works on it; `mmd restore {case.source_id}` ends it"
    window = case.held.claims[0].window_id if case.held.claims else None
    return _finding(case, kind, now, f"changed by someone else: {', '.join(changed)}", step, window=window)


def _stray(case: Case, observed: Observation, rules: Rules, now: datetime) -> Finding | None:
    """Not held: whatever stands on the source is not of this database."""
    if observed.escrow is not None:
        return _escrowed(case, observed, rules, now)
    crons = [name for name in CRON_KEYS.values() if name in (observed.attributes or {})]
    if observed.marked and crons:
        detail = f"put into maintenance by the forum workflow, which keeps {' and '.join(crons)}"
        return _finding(case, Kind.FOREIGN, now, detail, _both_ways(case))
    if observed.marked:
        detail = f"{MARKER} is set, and no window accounts for it"
        return _finding(case, Kind.ORPHAN, now, detail, _both_ways(case))
    signs = _half_signs(observed)
    if not signs:
        return None
    step = f"`mmd restore {case.source_id} --features …` puts back what is remembered"
    return _finding(case, Kind.HALF, now, f"no marker, but {' and '.join(signs)}", step)


def _both_ways(case: Case) -> str:
    if case.observed is not None and not case.observed.complete:
        return "ISC does not show all of this source, so mmd changes nothing there: take the flag off by hand"
    known = case.observed is not None and case.observed.features
    values = "" if known else " --features …"
    return (
        f"`mmd adopt {case.source_id} --for D --reason …{values}` makes it a window, "
        f"`mmd restore {case.source_id}{values}` ends it"
    )


def _escrowed(case: Case, observed: Observation, rules: Rules, now: datetime) -> Finding:
    """An escrow that this database does not know: it was lost, or is older, or another mmd wrote it."""
    trust, escrow = unseal(observed.escrow, source_id=case.source_id, key=rules.key)
    until = escrow.until if escrow else None
    whose = {
        Trust.SIGNED: "this mmd's escrow, which the database does not know",
        Trust.UNSIGNED: "an escrow with another signature: another mmd's, or the client secret was changed",
        Trust.BROKEN: "an escrow that is damaged, or of a newer mmd",
    }[trust]
    step = {
        Trust.SIGNED: "`mmd recover` rebuilds the database from the escrows",
        Trust.UNSIGNED: "if no other mmd works on this tenant, `mmd recover --accept-unsigned` takes it over",
        Trust.BROKEN: f"take mmd_escrow off, then {_both_ways(case)}; docs/operations.md says how",
    }[trust]
    if until is not None and now >= until + rules.grace:
        detail = f"{whose}; its window closed at {stamp(until)[:19]}Z"
        return _finding(case, Kind.OVERDUE, until, detail, step, window=_first_window(escrow))
    kind = Kind.ORPHAN if observed.marked else Kind.HALF
    return _finding(case, kind, now, whose, step, window=_first_window(escrow))


def _first_window(escrow: Escrow | None) -> str | None:
    return escrow.claims[0].window_id if escrow and escrow.claims else None


def _left_by_the_forum(observed: Observation) -> bool:
    """No marker, but the workflow's keys, and something still switched off."""
    if not observed.complete:
        return False
    own = observed.attributes or {}
    keys = any(name in own for name in CRON_KEYS.values())
    return keys and not observed.marked and (alike(own.get(HEALTH_FLAG), True) or not observed.features)


def _half_signs(observed: Observation) -> list[str]:
    """Say what shows that a source was left half-way; nothing where it was not.

    The workflow's keys stay behind for ever, so alone they say nothing; nor does an empty list of features,
    which some sources have by nature: it takes the health check, or a remembered schedule that is gone as
    well.
    """
    if not _left_by_the_forum(observed):
        return []
    own, there = observed.attributes or {}, observed.schedules
    health = [f"{HEALTH_FLAG} is set"] if alike(own.get(HEALTH_FLAG), True) else []
    features = [] if observed.features else ["features are empty"]
    gone = [
        f"schedule {kind} is missing"
        for kind, name in CRON_KEYS.items()
        if there is not None and own.get(name) and kind not in there
    ]
    return [*health, *features, *gone] if health or gone else []


def _finding(
    case: Case, kind: Kind, since: datetime, detail: str, next_step: str, *, window: str | None = None
) -> Finding:
    return Finding(
        source_id=case.source_id,
        source_name=case.source_name,
        connector=case.observed.connector if case.observed else "",
        kind=kind,
        since=since,
        detail=detail,
        next_step=next_step,
        window=window,
    )
