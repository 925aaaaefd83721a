"""What is on file, as people and programs are shown it: the JSON of a window, and the state of each source.

Pure: values and `now` in, values out; instants stay datetimes (UTC) until they are printed. The shapes are
those of docs/contract.md, "JSON".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from mmd.amend import still_wanted
from mmd.escrow import Claim, stamp
from mmd.findings import Finding, Kind
from mmd.plan import Action, Held
from mmd.posture import Json, Posture
from mmd.windows import (
    Lead,
    Occurrence,
    Window,
    WindowState,
    instants,
    next_of,
    no_lead,
    occurrences,
    open_at,
    state,
    upcoming,
    zone_named,
)

Exemptions = frozenset[tuple[str, str, str]]  # window id, occurrence key, source id


def action_view(action: Action) -> dict[str, Json]:
    """Return an action of a pass as the contract's JSON has it."""
    return {
        "source_id": action.source_id,
        "source_name": action.source_name,
        "verb": action.verb.value,
        "reason": action.reason,
    }


def first_of(window: Window) -> Occurrence | None:
    """Return the window's first occurrence: the one-off itself, with the end it really has or had.

    None for a definition that never opens.
    """
    alive = replace(window, cancelled_at=None)
    defined = next_of(alive, window.effective_from)
    found = [item for item in (*window.recorded, defined) if item is not None and not item.skipped]
    if not found:
        return next_of(replace(alive, recorded=()), window.effective_from)
    return min(found, key=lambda item: item.opens_at)


def window_view(window: Window, now: datetime) -> dict[str, Any]:
    """Return a window as the contract's JSON has it (W).

    `starts_at` and `ends_at` are those of the first occurrence, `open` is the one open now, and `next`
    the next to open. `duration_seconds` is elapsed time: of a one-off as it came to be, of a rule as it
    stands. An empty ticket or owner is null, and so is the id of a window that is only thought of.
    """
    first = first_of(window)
    duration = first.closes_at - first.opens_at if first and window.repeat is None else window.duration
    return {
        "id": window.id or None,
        "state": state(window, now).value,
        "sources": [{"id": source.id, "name": source.name} for source in window.sources],
        "starts_at": first.opens_at if first else None,
        "ends_at": first.closes_at if first else None,
        "timezone": window.timezone,
        "duration_seconds": int(duration.total_seconds()),
        "repeat": window.repeat,
        "reason": window.reason,
        "ticket": window.ticket or None,
        "owner": window.owner or None,
        "created_by": window.created_by,
        "treatment": window.treatment,
        "open": occurrence_view(open_at(window, now)),
        "next": occurrence_view(next(iter(upcoming(window, now)), None)),
    }


def occurrence_view(item: Occurrence | None) -> dict[str, datetime] | None:
    """Return an occurrence as the JSON of `open` and `next` has it."""
    return None if item is None else {"opens_at": item.opens_at, "closes_at": item.closes_at}


def overlapping(planned: Window, others: Iterable[Window], now: datetime) -> dict[str, tuple[str, ...]]:
    """Return which of a window's sources others have when it opens next: the others' ids, by source name."""
    item = next_of(planned, now)
    if item is None:
        return {}
    names = {source.id: source.name for source in planned.sources}
    found: dict[str, tuple[str, ...]] = {}
    for other in others:
        if other.id != planned.id and _meets(other, item, now):
            for source in other.sources:
                if source.id in names:
                    name = names[source.id]
                    found[name] = (*found.get(name, ()), other.id)
    return found


def _meets(other: Window, item: Occurrence, now: datetime) -> bool:
    """Whether a window is open at some instant of an occurrence."""
    return any(True for _ in occurrences(other, max(item.opens_at, now), item.closes_at))


def moved_by_clocks(window: Window, now: datetime) -> tuple[Occurrence, ...]:
    """Return the occurrences of a repeat within a year whose local start does not exist, or happens twice."""
    zone = zone_named(window.timezone)
    coming = occurrences(window, now, now + timedelta(days=366)) if window.repeat else ()
    return tuple(item for item in coming if len(instants(datetime.fromisoformat(item.key), zone)) != 1)


# --- What changed ---------------------------------------------------------------------------------------


def definition(window: Window) -> dict[str, Json]:
    """Return what was planned, as the journal keeps it."""
    return {
        "sources": [source.name for source in window.sources],
        "source_ids": [source.id for source in window.sources],
        "starts_local": window.starts_local.isoformat(),
        "fold": window.fold,
        "timezone": window.timezone,
        "duration_seconds": int(window.duration.total_seconds()),
        "repeat": window.repeat,
        "until": stamp(window.until) if window.until else None,
        "reason": window.reason,
        "ticket": window.ticket,
        "owner": window.owner,
        "treatment": window.treatment,
        "cancelled_at": stamp(window.cancelled_at) if window.cancelled_at else None,
    }


def difference(before: Window, after: Window) -> dict[str, Json]:
    """Return what differs, as the journal keeps it: {"before": …, "after": …}, and occurrences by key."""
    old = {**definition(before), **_on_file(before)}
    new = {**definition(after), **_on_file(after)}
    changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return {
        "before": {name: old[name] for name in changed if name in old},
        "after": {name: new[name] for name in changed if name in new},
    }


def _on_file(window: Window) -> dict[str, Json]:
    return {
        item.key: "skipped" if item.skipped else f"{stamp(item.opens_at)} to {stamp(item.closes_at)}"
        for item in window.recorded
    }


# --- The state of each source ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A source as it was last read."""

    name: str
    posture: Posture
    observed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OnFile:
    """All that the database knows that bears on the present.

    `windows` are those that are not over, and those that an open snapshot still names.
    """

    windows: tuple[Window, ...] = ()
    exemptions: Exemptions = frozenset()
    held: Mapping[str, Held] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    found: Mapping[str, Finding] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """What is so of one source now, and what is next.

    `since` is when it was taken into maintenance, `until` when the last of its occurrences closes or closed,
    `next` when it is planned again. Instants are UTC.
    """

    source_id: str
    source_name: str
    posture: Posture
    wanted: bool
    held: bool
    finding: str | None
    windows: tuple[str, ...]
    since: datetime | None
    until: datetime | None
    reason: str
    observed_at: datetime | None
    next: Occurrence | None

    @classmethod
    def idle(cls, source_id: str, seen: Seen) -> SourceState:
        """A source that was seen, and that nothing is planned for."""
        return cls(
            source_id=source_id,
            source_name=seen.name,
            posture=seen.posture,
            wanted=False,
            held=False,
            finding=None,
            windows=(),
            since=None,
            until=None,
            reason="",
            observed_at=seen.observed_at,
            next=None,
        )

    @property
    def view(self) -> dict[str, Any]:
        """The source as the contract's JSON of `status` has it, and what is next."""
        return {
            "source_id": self.source_id,
            "source_name": self.source_name,
            "posture": self.posture.value,
            "wanted": self.wanted,
            "held": self.held,
            "finding": self.finding,
            "windows": list(self.windows),
            "since": self.since,
            "until": self.until,
            "reason": self.reason,
            "observed_at": self.observed_at,
            "next": occurrence_view(self.next),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """What bears on one source: what is open and planned for it, and what is known of it."""

    id: str
    open_now: tuple[tuple[Window, Occurrence], ...]
    planned: tuple[Window, ...]
    held: Held | None
    seen: Seen | None
    found: Finding | None

    @property
    def claims(self) -> tuple[Claim, ...]:
        """What it is held for, as far as it is."""
        return self.held.claims if self.held else ()

    @property
    def name(self) -> str:
        """The newest name on file."""
        known = [self.seen.name] if self.seen else []
        known += [self.held.snapshot.source_name] if self.held else []
        known += [self.found.source_name] if self.found else []
        known += [source.name for window in self.planned for source in window.sources if source.id == self.id]
        return next(iter(known), self.id)

    @property
    def since(self) -> datetime | None:
        """When it was taken into maintenance, else since when something is wrong."""
        if self.held is not None:
            return self.held.entered_at or self.held.snapshot.taken_at
        return self.found.since if self.found else None

    @property
    def windows(self) -> tuple[str, ...]:
        """The windows that it is, was last or will be in maintenance for; those that are open first."""
        ids = [window.id for window, _ in self.open_now] + [window.id for window in self.planned]
        return tuple(dict.fromkeys(ids or [claim.window_id for claim in self.claims]))

    @property
    def reason(self) -> str:
        """Why it is in maintenance, or was last, or will be; or what is wrong with it."""
        texts = [window.reason for window, _ in self.open_now] or [claim.reason for claim in self.claims]
        texts = texts or ([self.found.detail] if self.found else [window.reason for window in self.planned])
        return "; ".join(dict.fromkeys(texts))


def source_states(
    on_file: OnFile, now: datetime, *, grace: timedelta, lead: Lead = no_lead
) -> tuple[SourceState, ...]:
    """Return the state of each source that is planned, wanted or held, or that something is wrong with.

    First what is wrong, then what is in maintenance or should be, then what opens soonest.
    """
    planned = _planned(on_file.windows, now)
    opened = still_wanted(on_file.windows, on_file.exemptions, now, lead)
    closes = {(item.window_id, item.key): item.closes_at for it in on_file.windows for item in it.recorded}
    coming = {window.id: next(iter(upcoming(window, now)), None) for window in on_file.windows}
    states = []
    for source_id in {*planned, *opened, *on_file.held, *on_file.found}:
        source = _Source(
            id=source_id,
            open_now=opened.get(source_id, ()),
            planned=tuple(planned.get(source_id, ())),
            held=on_file.held.get(source_id),
            seen=on_file.seen.get(source_id),
            found=on_file.found.get(source_id),
        )
        following = [
            item
            for window in source.planned
            if (item := _not_left_out(window, coming[window.id], source_id, on_file.exemptions))
        ]
        states.append(_state(source, last_close(source.claims, closes), following, now, grace))
    return tuple(sorted(states, key=_urgency))


def _not_left_out(
    window: Window, item: Occurrence | None, source_id: str, exemptions: Exemptions
) -> Occurrence | None:
    """Return an occurrence to come, or the first after it that the source is not left out of."""
    while item is not None and (window.id, item.key, source_id) in exemptions:
        item = next(iter(upcoming(window, item.opens_at)), None)
    return item


def _urgency(item: SourceState) -> tuple[bool, bool, float, str]:
    opens = item.next.opens_at.timestamp() if item.next else 0.0
    idle = not (item.wanted or item.held)
    return (item.finding is None, idle, opens if idle else 0.0, item.source_name)


def _planned(windows: Iterable[Window], now: datetime) -> dict[str, list[Window]]:
    """Return the windows that are not over, by the ids of their sources."""
    found: dict[str, list[Window]] = {}
    for window in windows:
        if state(window, now) in (WindowState.PLANNED, WindowState.ACTIVE):
            for source in window.sources:
                found.setdefault(source.id, []).append(window)
    return found


def _state(
    source: _Source,
    closed_at: datetime | None,
    following: list[Occurrence],
    now: datetime,
    grace: timedelta,
) -> SourceState:
    wanted = bool(source.open_now)
    return SourceState(
        source_id=source.id,
        source_name=source.name,
        posture=source.seen.posture if source.seen else Posture.UNKNOWN,
        wanted=wanted,
        held=source.held is not None,
        finding=finding(source.found, source.held, wanted, closed_at, now, grace=grace),
        windows=source.windows,
        since=source.since,
        until=max((item.closes_at for _, item in source.open_now), default=closed_at),
        reason=source.reason,
        observed_at=source.seen.observed_at if source.seen else None,
        next=min(following, key=lambda item: item.opens_at, default=None),
    )


def last_close(claims: Iterable[Claim], closes: Mapping[tuple[str, str], datetime]) -> datetime | None:
    """Return when the last of the claimed occurrences closes: as on file, where ended or extended since."""
    return max((closes.get((it.window_id, it.key), it.closes_at) for it in claims), default=None)


def finding(
    found: Finding | None,
    held: Held | None,
    is_wanted: bool,
    closed_at: datetime | None,
    now: datetime,
    *,
    grace: timedelta,
) -> str | None:
    """Return the kind of what is wrong with a source: as found, and "overdue" also where nobody looked.

    It is overdue when its windows are over and it is not back, `grace` being how long a restoration may take.
    """
    if found is not None:
        return found.kind.value
    if held is None or is_wanted or now - (closed_at or held.snapshot.taken_at) <= grace:
        return None
    return Kind.OVERDUE.value
