"""What people are told: what is wrong becomes alerts, and alerts become messages.

Pure. A condition is something that is wrong now, known by its cause; an alert is a condition on file.
`triage` compares the two: a cause is told once, again every so often while it lasts, and once when it is
gone. What is new of one kind at one time is one message, however many sources it concerns.

Names and reasons come from elsewhere: every line of a message is made harmless here, once for all channels.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mmd.escrow import stamp
from mmd.findings import ZOMBIES
from mmd.findings import Kind as FindingKind
from mmd.text import printable
from mmd.windows import occurrences, open_now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from mmd.findings import Finding
    from mmd.plan import Held
    from mmd.posture import Json
    from mmd.windows import Occurrence, Window


class Kind(StrEnum):
    """What an alert, or a message, is about."""

    ZOMBIE = "zombie"
    DRIFT = "drift"
    CONTESTED = "contested"
    FAILED = "failed"
    REFUSED = "refused"
    LATE = "late"
    MISSED = "missed"
    UNSEEN = "unseen"
    UNREACHABLE = "unreachable"
    CREDENTIALS = "credentials"
    TOKEN = "token"  # noqa: S105 - the name of a kind
    CLOCK = "clock"
    SWEEP = "incomplete-sweep"
    OPENED = "opened"
    RESTORED = "restored"
    OPENING = "opening"
    CLOSING = "closing"
    TEST = "test"


_PHRASES: Final[Mapping[Kind, str]] = {
    Kind.ZOMBIE: "zombie",
    Kind.DRIFT: "changed by someone during its window",
    Kind.CONTESTED: "contested",
    Kind.FAILED: "failing",
    Kind.REFUSED: "refused by ISC",
    Kind.LATE: "not in maintenance in time",
    Kind.MISSED: "its window was missed",
    Kind.UNSEEN: "in maintenance, and not shown by ISC",
    Kind.UNREACHABLE: "unreachable",
    Kind.CREDENTIALS: "credentials refused",
    Kind.TOKEN: "the access token ends soon",
    Kind.CLOCK: "the clock is not to be trusted",
    Kind.SWEEP: "not read whole",
    Kind.OPENED: "in maintenance",
    Kind.RESTORED: "restored",
    Kind.OPENING: "to be taken into maintenance",
    Kind.CLOSING: "to be restored",
    Kind.TEST: "test",
}
_OF_FINDING: Final = {
    **dict.fromkeys(ZOMBIES, Kind.ZOMBIE),
    FindingKind.LOST: Kind.DRIFT,
    FindingKind.PARTIAL: Kind.DRIFT,
    FindingKind.CONTESTED: Kind.CONTESTED,
}
# A token's end is told at each of these, not every few hours for a month.
TOKEN_STAGES: Final = (1, 7, 14, 30)  # days
_TOLD_ONCE: Final = frozenset({Kind.TOKEN})
# How often in a row, and for how long, something must have gone wrong before people are told: a pass that
# failed is followed by others within seconds, and the client has retried before.
_PATIENCE: Final[Mapping[Kind, tuple[int, timedelta]]] = {
    Kind.FAILED: (3, timedelta(0)),
    Kind.UNREACHABLE: (2, timedelta(minutes=1)),
    Kind.CREDENTIALS: (2, timedelta(0)),
    Kind.SWEEP: (2, timedelta(0)),
    Kind.UNSEEN: (3, timedelta(minutes=10)),
}

NAMED: Final = 20  # how many one message names; the rest is a number
_LONGEST_NAME: Final = 80
_LONGEST_NAMED: Final = 160  # a name with its id
_LONGEST_DETAIL: Final = 300
_FIRST_WAIT: Final = 30.0  # seconds
_LONGEST_WAIT: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is wrong now. `subject` names the source, or else what it is about."""

    cause: str
    kind: Kind
    source_id: str | None
    subject: str
    detail: str
    next_step: str = ""

    @property
    def matter(self) -> tuple[Kind, str | None]:
        """What it is about, whatever the cause: one cause may give way to another of the same matter."""
        return self.kind, self.source_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition on file: since when, and when people were told last (UTC)."""

    condition: Condition
    opened_at: datetime
    reminded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent: a title of one line, and plain text."""

    kind: Kind
    title: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of the alerts. `changed` stand, and read differently than before."""

    opened: tuple[Alert, ...] = ()
    changed: tuple[Alert, ...] = ()
    cleared: tuple[Alert, ...] = ()
    messages: tuple[Message, ...] = ()


def triage(
    conditions: Iterable[Condition],
    alerts: Iterable[Alert],
    *,
    now: datetime,
    remind_every: timedelta,
    judged: Callable[[Alert], bool] = lambda _: True,
    missed: Callable[[Alert], bool] = lambda _: False,
) -> Verdict:
    """Compare what is wrong with what is on file.

    `judged` says of an alert whose cause was not seen whether that proves anything: what could not be looked
    at is not cleared. `missed` says of one that is cleared whether it is over without having been mended.
    """
    standing = {condition.cause: condition for condition in conditions}
    known = {alert.condition.cause: alert for alert in alerts}
    opened = tuple(
        Alert(condition=condition, opened_at=now, reminded_at=now)
        for cause, condition in standing.items()
        if cause not in known
    )
    kept = {cause: alert for cause, alert in known.items() if cause in standing}
    due = {cause for cause, alert in kept.items() if _is_due(alert, now, remind_every)}
    current = {
        cause: replace(
            alert,
            condition=standing[cause],
            reminded_at=now if cause in due else alert.reminded_at,
        )
        for cause, alert in kept.items()
    }
    cleared = tuple(alert for cause, alert in known.items() if cause not in standing and judged(alert))
    matters = {condition.matter for condition in standing.values()}
    over = [alert for alert in cleared if alert.condition.matter not in matters and not missed(alert)]
    never = [_as_missed(alert) for alert in cleared if missed(alert)]
    reminded = [current[cause] for cause in current if cause in due]
    return Verdict(
        opened=opened,
        changed=tuple(alert for cause, alert in current.items() if alert != known[cause]),
        cleared=cleared,
        messages=(
            *_grouped("", [*opened, *never]),
            *_grouped("still ", reminded),
            *_grouped("over: ", over),
        ),
    )


def _as_missed(alert: Alert) -> Alert:
    step = "work that was done in the window was done on a source that was not wholly in maintenance"
    return replace(alert, condition=replace(alert.condition, kind=Kind.MISSED, next_step=step))


def _is_due(alert: Alert, now: datetime, remind_every: timedelta) -> bool:
    # What was told in the future was told by a clock that was ahead.
    return alert.condition.kind not in _TOLD_ONCE and abs(now - alert.reminded_at) >= remind_every


def catching_up(alerts: Iterable[Alert], verdict: Verdict, now: datetime) -> tuple[Message, ...]:
    """Return what a new channel is to hear: all that is open, and is not in the verdict's messages.

    `alerts` were on file before the verdict, and `now` is its instant.
    """
    gone = {alert.condition.cause for alert in verdict.cleared}
    changed = {alert.condition.cause: alert for alert in verdict.changed}
    current = [changed.get(alert.condition.cause, alert) for alert in alerts]
    standing = [alert for alert in current if alert.condition.cause not in gone and alert.reminded_at != now]
    return tuple(_grouped("still ", standing))


def backoff(attempts: int) -> timedelta:
    """Return how long to wait after so many attempts at a delivery that all failed."""
    return timedelta(seconds=min(_FIRST_WAIT * 2 ** min(attempts - 1, 10), _LONGEST_WAIT))


def is_waiting(next_at: datetime, now: datetime) -> bool:
    """Whether a delivery waits; one that would for longer than any does was put off by a clock ahead."""
    return timedelta(0) < next_at - now <= timedelta(seconds=_LONGEST_WAIT)


# -- what is wrong
# ------------------------------------------------------------------------------------------------


def found_wrong(findings: Iterable[Finding]) -> list[Condition]:
    """Return what passes and sweeps have found: a zombie, drift, a source that is contested."""
    return [
        Condition(
            cause=f"finding:{finding.source_id}:{finding.kind.value}",
            kind=_OF_FINDING[finding.kind],
            source_id=finding.source_id,
            subject=finding.source_name,
            detail=f"{finding.kind.value}: {finding.detail}",
            next_step=finding.next_step,
        )
        for finding in findings
    ]


def late(
    wanted: Mapping[str, tuple[tuple[Window, Occurrence], ...]],
    held: Mapping[str, Held],
    *,
    explained: Collection[str],
    grace: timedelta,
    now: datetime,
) -> list[Condition]:
    """Return the sources whose window has been open for longer than the grace, and which never were verified.

    Those in `explained` have a finding that says why. A source that is late to be restored is the finding
    "overdue".
    """
    missing = {
        source_id: pairs
        for source_id, pairs in wanted.items()
        if source_id not in explained and (source_id not in held or held[source_id].entered_at is None)
    }
    return [
        Condition(
            cause=late_cause(window, item, source_id),
            kind=Kind.LATE,
            source_id=source_id,
            subject=_name(window, source_id),
            detail=f"window {window.id} opened at {_utc(item.opens_at)}, and it was not verified since",
            next_step=f"the daemon goes on trying; `mmd status {source_id}` says what is in the way",
        )
        for source_id, pairs in missing.items()
        for window, item in pairs
        if now >= item.opens_at + grace
    ]


def late_cause(window: Window, item: Occurrence, source_id: str) -> str:
    """Return the cause of a source's being late for an occurrence."""
    return f"late:{window.id}:{item.key}:{source_id}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that is left out of an open occurrence, because ISC refused the treatment."""

    window_id: str
    key: str
    source_id: str
    reason: str


def refused(refusals: Iterable[Refusal], windows: Iterable[Window], now: datetime) -> list[Condition]:
    """Return the sources that ISC would not have in maintenance, for as long as their occurrence is open."""
    running = {(window.id, item.key): window for window in windows for item in open_now(window, now)}
    return [
        Condition(
            cause=f"refused:{it.window_id}:{it.key}:{it.source_id}",
            kind=Kind.REFUSED,
            source_id=it.source_id,
            subject=_name(running[it.window_id, it.key], it.source_id),
            detail=f"left out of window {it.window_id}: {it.reason}",
            next_step="it runs as usual; if that must not be, end the window, or use another treatment",
        )
        for it in refusals
        if (it.window_id, it.key) in running
    ]


def ending(ends_at: datetime | None, windows: Iterable[Window], now: datetime) -> list[Condition]:
    """Return whether mmd's access token ends soon, or while a window is open, which leaves sources behind."""
    if ends_at is None:
        return []
    stage = next((days for days in TOKEN_STAGES if ends_at - now <= timedelta(days=days)), None)
    cut = sorted(window.id for window in windows if open_now(window, ends_at))
    if stage is None and not cut:
        return []
    meanwhile = f", while windows are open: {', '.join(cut[:NAMED])}" if cut else ""
    return [
        Condition(
            cause=f"token:{stage}{':window' if cut else ''}",
            kind=Kind.TOKEN,
            source_id=None,
            subject="client_id",
            detail=f"it ends at {_utc(ends_at)}{meanwhile}",
            next_step="make a new token in ISC, put its secret in the old one's place, restart the daemon",
        )
    ]


def token_end(tokens: Iterable[Mapping[str, Json]], client_id: str) -> datetime | None:
    """Return when (UTC) the token of this id ends, of those ISC lists; None where it does not say."""
    for token in tokens:
        with suppress(ValueError):
            end = datetime.fromisoformat(str(token.get("expirationDate") or ""))
            if token.get("id") == client_id and end.tzinfo is not None:
                return end.astimezone(UTC)
    return None


@dataclass(frozen=True, slots=True)
class Streak:
    """Something that went wrong several times in a row, the first time at `since` (UTC)."""

    condition: Condition
    times: int
    since: datetime


def prolong(
    streaks: Mapping[str, Streak],
    wrong: Iterable[Condition],
    *,
    is_over: Callable[[Condition], bool],
    now: datetime,
) -> dict[str, Streak]:
    """Count what went wrong once more, and forget what went well."""
    kept = {cause: streak for cause, streak in streaks.items() if not is_over(streak.condition)}
    for condition in wrong:
        before = kept.get(condition.cause, Streak(condition, 0, now))
        kept[condition.cause] = Streak(condition, before.times + 1, min(before.since, now))
    return kept


def lasting(streaks: Iterable[Streak], now: datetime) -> list[Condition]:
    """Return what has gone wrong often and long enough to be told."""
    found = []
    for streak in streaks:
        times, span = _PATIENCE[streak.condition.kind]
        if streak.times >= times and now - streak.since >= span:
            found.append(streak.condition)
    return found


# -- what happened, and what is ahead
# ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to tell of once. `detail` may be empty."""

    kind: Kind
    subject: str
    detail: str


def tell(events: Sequence[Event]) -> tuple[Message, ...]:
    """Return one message for each kind of event."""
    groups: defaultdict[Kind, list[Event]] = defaultdict(list)
    for event in events:
        groups[event.kind].append(event)
    return tuple(
        Message(
            kind=kind,
            title=_title("", kind, [event.subject for event in group]),
            body=_body([_line(event.subject, event.detail) for event in group]),
        )
        for kind, group in groups.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """An opening or closing that is near; `cause` is the same for as long as nothing more is to be said."""

    cause: str
    at: datetime
    event: Event


def ahead(windows: Iterable[Window], leads: Collection[timedelta], now: datetime) -> list[Announcement]:
    """Return which openings and closings are to be announced now; those announced before are among them.

    Of several leads that have passed the shortest counts. A closing is not announced at or before the opening
    of its own occurrence. What has happened is not announced any more, so none is late by more than its lead.
    """
    if not leads:
        return []
    found = []
    for window in windows:
        for item in occurrences(window, now, now + max(leads) + timedelta.resolution):
            found += _announced(window, item, item.opens_at, Kind.OPENING, leads, now)
            length = item.closes_at - item.opens_at
            within = [lead for lead in leads if lead < length]
            found += _announced(window, item, item.closes_at, Kind.CLOSING, within, now)
    return found


def _announced(
    window: Window,
    item: Occurrence,
    at: datetime,
    kind: Kind,
    leads: Collection[timedelta],
    now: datetime,
) -> list[Announcement]:
    lead = min((lead for lead in leads if at - lead <= now < at), default=None)
    if lead is None:
        return []
    names = [source.name for source in window.sources]
    detail = f"window {window.id}, {_utc(item.opens_at)} to {_utc(item.closes_at)}: {window.reason}"
    event = Event(kind=kind, subject=_several(names), detail=f"at {_utc(at)} ({detail})")
    cause = f"{kind.value}:{window.id}:{item.key}:{stamp(at)}:{round(lead.total_seconds())}"
    return [Announcement(cause=cause, at=at, event=event)]


# -- words
# ------------------------------------------------------------------------------------------------


def _grouped(prefix: str, alerts: Iterable[Alert]) -> list[Message]:
    """Return one message for each kind."""
    groups: defaultdict[Kind, list[Alert]] = defaultdict(list)
    for alert in alerts:
        groups[alert.condition.kind].append(alert)
    return [
        Message(
            kind=kind,
            title=_title(prefix, kind, [alert.condition.subject for alert in group]),
            body=_body([_paragraph(alert) for alert in group]),
        )
        for kind, group in groups.items()
    ]


def _paragraph(alert: Alert) -> str:
    it = alert.condition
    name = f"{_short(it.subject, _LONGEST_NAME)} ({it.source_id})" if it.source_id else it.subject
    since = _line(name, f"{it.detail} (alert since {_utc(alert.opened_at)})")
    return f"{since}\n  next: {_short(it.next_step, _LONGEST_DETAIL)}" if it.next_step else since


def _line(name: str, detail: str) -> str:
    return f"{_short(name, _LONGEST_NAMED)}: {_short(detail, _LONGEST_DETAIL)}"


def _title(prefix: str, kind: Kind, subjects: Sequence[str]) -> str:
    what = "windows" if kind in (Kind.OPENING, Kind.CLOSING) else "sources"
    return f"{prefix}{_PHRASES[kind]}: {_several(subjects, what)}"


def _several(names: Sequence[str], what: str = "sources") -> str:
    """Name the one, or say how many."""
    return _short(names[0], _LONGEST_NAME) if len(names) == 1 else f"{len(names):,} {what}"


def _body(paragraphs: Sequence[str]) -> str:
    rest = len(paragraphs) - NAMED
    more = [f"… and {rest:,} more; `mmd alerts list` and `mmd status` show them"] if rest > 0 else []
    return "\n".join([*paragraphs[:NAMED], *more])


def _short(text: str, most: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def _name(window: Window, source_id: str) -> str:
    return next((source.name for source in window.sources if source.id == source_id), source_id)


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}Z"
