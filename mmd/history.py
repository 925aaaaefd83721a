"""What was: planned, applied and observed, told apart.

Pure. Planned is what windows said. Applied is what mmd did and verified. Observed is what passes and sweeps
saw, and holds only where somebody looked. Where the three do not answer, the answer is "not known"
(docs/adr/0016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

from mmd.escrow import stamp
from mmd.posture import Posture

# Two looks that agree speak for the time between them, if it is no longer than this: a daemon that was
# restarted, a tenant that could not be reached for a moment.
BRIDGE: Final = timedelta(hours=1)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
_LONG_AGO: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One occurrence of a window, as it was to be. Instants are UTC, the end exclusive."""

    window_id: str
    key: str
    opens_at: datetime
    closes_at: datetime
    reason: str
    ticket: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One entry of the source by mmd: verified in maintenance at `entered_at`, back at `restored_at`.

    One that was released without being restored gave way to a newer one, or to another database's. One that
    was recalled is of a source that was found in maintenance; `last_look` is the look before that, if any.
    """

    snapshot_id: str
    window_ids: tuple[str, ...]
    taken_at: datetime
    entered_at: datetime | None = None
    restored_at: datetime | None = None
    released_at: datetime | None = None
    recalled: bool = False
    last_look: datetime | None = None

    @property
    def until(self) -> datetime:
        """When it was over; at the end of time while it is not."""
        return self.restored_at or self.released_at or _NEVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The posture of the source changed, as far as passes and sweeps saw it.

    It was first seen so at `at`; `last_look` is the look before, which still saw the posture before, where
    that is known. In between nobody looked.
    """

    at: datetime
    posture: Posture
    last_look: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding about the source, from `since` until `cleared_at`."""

    kind: str
    since: datetime
    detail: str
    cleared_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Everything that is known of one source's past; each part in order of time.

    `watched` are the spans in which every sweep of the tenant was complete and in time. `looked_at` is the
    last time that the source itself was read, and `lost_at` is set while it cannot be.
    """

    source_id: str
    source_name: str
    planned: tuple[Planned, ...] = ()
    applied: tuple[Applied, ...] = ()
    seen: tuple[Seen, ...] = ()
    found: tuple[Found, ...] = ()
    watched: tuple[tuple[datetime, datetime], ...] = ()
    looked_at: datetime | None = None
    lost_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a source was in maintenance, None for "not known", and what says so.

    Each sentence of the evidence begins with "planned", "applied" or "observed"; where they contradict each
    other, all are there.
    """

    in_maintenance: bool | None
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The posture was known from `since` to `until`, both inclusive; they may be the same instant."""

    since: datetime
    until: datetime
    posture: Posture


def was(timeline: Timeline, at: datetime, *, now: datetime) -> Answer:
    """Say whether the source was in maintenance at an instant.

    What was seen counts before what mmd did, and that before what was planned, which alone proves nothing.
    While mmd held the source, verified in maintenance, it was; while it was being entered, or looked neither
    one nor the other, the answer is not known; nor is it before the source was first seen, where nobody
    looked, or ahead of `now`.
    """
    planned = _plans(timeline, at)
    if at > now:
        return Answer(None, (*planned, "observed: nothing, because the instant is still to come"))
    posture = _posture_at(stretches(timeline), at)
    answer = {Posture.MAINTENANCE: True, Posture.NORMAL: False}.get(posture)
    return Answer(answer, (*planned, *_deeds(timeline, at), *_sights(timeline, at)))


# -- what is known, and when ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Change:
    """From `at` on the posture was another; what is read at `last_look` was still the one before."""

    at: datetime
    posture: Posture
    last_look: datetime | None = None


def stretches(timeline: Timeline) -> tuple[Stretch, ...]:
    """Return when the posture is known and what it was, in order; between them nobody looked.

    While a source is being entered it is "mixed". An entry that mmd verified stands until it is restored,
    watched or not, unless something else was seen meanwhile.
    """
    changes = _changes(timeline)
    found: list[Stretch] = []
    for change, following in pairwise([*changes, None]):
        if change is not None:
            found += _known(timeline, change, following)
    return tuple(sorted(found, key=lambda item: (item.since, item.until)))


def _changes(timeline: Timeline) -> list[_Change]:
    """Return what was seen and what mmd did as one sequence."""
    seen = [
        _Change(item.at, item.posture, item.last_look)
        for item in timeline.seen
        if item.posture is not Posture.UNKNOWN or _hold(timeline, item.at) is None
    ]
    done = [change for item in timeline.applied for change in _steps(item, seen)]
    return sorted([*done, *seen], key=lambda change: change.at)


def _steps(item: Applied, seen: Sequence[_Change]) -> Iterator[_Change]:
    """Yield what an entry did to the posture."""
    yield _Change(item.taken_at, Posture.MIXED, _look_before(item, seen))
    if item.entered_at is not None:
        yield _Change(item.entered_at, Posture.MAINTENANCE)
    if item.restored_at is not None:
        yield _Change(item.restored_at, Posture.NORMAL)
    elif item.released_at is not None:
        yield _Change(item.released_at, Posture.UNKNOWN)


def _look_before(item: Applied, seen: Sequence[_Change]) -> datetime | None:
    """Return the last look at which the source was still normal, if it was seen so before an entry.

    A snapshot is only taken of a source that looks normal, which makes it such a look; one that was recalled
    is of a source that somebody had put into maintenance at any time since the last look before.
    """
    before = [change.posture for change in seen if change.at < item.taken_at]
    if not before or before[-1] is not Posture.NORMAL:
        return None
    if not item.recalled:
        return item.taken_at
    looks = (item.last_look, *(change.last_look for change in seen))
    return max((look for look in looks if look and look <= item.taken_at), default=_LONG_AGO)


def _hold(timeline: Timeline, at: datetime) -> Applied | None:
    """Return the entry that the instant lies in, from the snapshot to the restoration."""
    return next((item for item in timeline.applied if item.taken_at <= at < item.until), None)


def _known(timeline: Timeline, change: _Change, following: _Change | None) -> list[Stretch]:
    """Return the stretches in which a posture is known that began with one change and ended by another."""
    held = _hold(timeline, change.at) is not None and change.posture is not Posture.NORMAL
    end = _end(timeline, change, following, held=held)
    if held:
        return [Stretch(change.at, end, change.posture)]
    looks = [change.at]
    if following is not None and following.last_look is not None:
        looks.append(end)
    if following is None and timeline.looked_at is not None:
        looks.append(max(timeline.looked_at, change.at))
    spans = [(max(since, change.at), min(until, end)) for since, until in timeline.watched]
    spans = [(since, until) for since, until in spans if since <= until and since < end]
    return [Stretch(since, until, change.posture) for since, until in (*((at, at) for at in looks), *spans)]


def _end(timeline: Timeline, change: _Change, following: _Change | None, *, held: bool) -> datetime:
    """Return when a posture was last known to be so."""
    if following is None:
        lost = timeline.lost_at is not None and timeline.looked_at is not None and not held
        return max(change.at, timeline.looked_at) if lost and timeline.looked_at else _NEVER
    if following.last_look is None or (held and following.posture is change.posture):
        return following.at
    return max(change.at, following.last_look)


def _posture_at(known: Sequence[Stretch], at: datetime) -> Posture:
    """Return the posture at an instant: known, or the same at two looks not far before and after it."""
    here = [item for item in known if item.since <= at <= item.until]
    if here:
        return here[-1].posture
    before, after = _neighbours(known, at)
    if before is None or after is None or before.posture is not after.posture:
        return Posture.UNKNOWN
    return before.posture if after.since - before.until <= BRIDGE else Posture.UNKNOWN


def _neighbours(known: Sequence[Stretch], at: datetime) -> tuple[Stretch | None, Stretch | None]:
    before = max((item for item in known if item.until < at), key=lambda item: item.until, default=None)
    return before, next((item for item in known if item.since > at), None)


# -- evidence ------------------------------------------------------------------------------------------------


def _plans(timeline: Timeline, at: datetime) -> list[str]:
    open_then = [item for item in timeline.planned if item.opens_at <= at < item.closes_at]
    if not open_then:
        return ["planned: nothing"]
    return [
        f"planned: {item.window_id} from {_said(item.opens_at)} to {_said(item.closes_at)}: {item.reason}"
        for item in open_then
    ]


def _deeds(timeline: Timeline, at: datetime) -> list[str]:
    hold = _hold(timeline, at)
    if hold is None:
        back = [item.restored_at for item in timeline.applied if item.restored_at and item.restored_at <= at]
        return [f"applied: back, and verified, at {_said(max(back))}" if back else "applied: nothing"]
    whose = f" for {', '.join(hold.window_ids)}" if hold.window_ids else ""
    if hold.entered_at is None:
        told = "never verified in maintenance"
    elif at < hold.entered_at:
        told = f"verified in maintenance only at {_said(hold.entered_at)}"
    else:
        told = f"verified in maintenance at {_said(hold.entered_at)}"
    end = "not back yet"
    if hold.restored_at or hold.released_at:
        end = f"{'back' if hold.restored_at else 'given up'} at {_said(hold.until)}"
    return [f"applied: entered by mmd from {_said(hold.taken_at)}{whose}, {told}, {end}"]


def _sights(timeline: Timeline, at: datetime) -> list[str]:
    last = max((item for item in timeline.seen if item.at <= at), key=lambda item: item.at, default=None)
    coming = next((item for item in timeline.seen if item.at > at), None)
    told = [f"{_named(last.posture)} at {_said(last.at)}" if last else "not by then"]
    told += [f"then {_named(coming.posture)} at {_said(coming.at)}"] if coming else []
    return [
        f"observed: seen {', '.join(told)}",
        *(f"observed: {text}" for text in _findings(timeline, at)),
        f"observed: {_watch(timeline, at)}",
    ]


def _named(posture: Posture) -> str:
    return {
        Posture.MAINTENANCE: "in maintenance",
        Posture.MIXED: "half in maintenance, neither one nor the other,",
        Posture.UNKNOWN: "unreadable",
    }.get(posture, posture.value)


def _findings(timeline: Timeline, at: datetime) -> Iterator[str]:
    for item in timeline.found:
        if item.since <= at < (item.cleared_at or _NEVER):
            until = f"until {_said(item.cleared_at)}" if item.cleared_at else "and it still is"
            yield f"{item.kind} from {_said(item.since)} {until}: {item.detail}"


def _watch(timeline: Timeline, at: datetime) -> str:
    """Say who looked, and when."""
    known = stretches(timeline)
    around = [(since, until) for since, until in timeline.watched if since <= at <= until]
    if around and any(item.since <= at <= item.until for item in known):
        return f"the tenant was watched from {_said(around[0][0])} to {_said(around[0][1])}"
    before, after = _neighbours(known, at)
    if any(item.since <= at <= item.until for item in known):
        return "nobody watched the whole tenant then"
    return (
        f"nobody looked at the source {f'after {_said(before.until)}' if before else 'before that'}"
        f"{f', until {_said(after.since)}' if after else ''}"
    )


def _said(at: datetime) -> str:
    return f"{stamp(at)[:19]}Z"
