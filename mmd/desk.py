"""The alert desk: after each pass it says what is wrong, and beside the passes it has people told.

Two halves with the database between them. `AlertDesk` only reads and writes there, so it holds up no pass.
`Courier` carries the outbox to the channels, each on its own, at least once and in order, and pings the
watcher. What the desk knows beyond the database, such as failures in a row, may be lost with the process: an
alert on file is then kept until there is a reason to clear it.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from mmd.alerts import (
    Condition,
    Event,
    Kind,
    Streak,
    ahead,
    backoff,
    catching_up,
    ending,
    found_wrong,
    is_waiting,
    lasting,
    late,
    late_cause,
    prolong,
    refused,
    tell,
    triage,
)
from mmd.amend import still_wanted
from mmd.errors import Denied, MmdError, TenantError
from mmd.notify import ping
from mmd.plan import WRITES
from mmd.store import BadSnapshot
from mmd.store.alerts import Change
from mmd.windows import open_at, open_now

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mmd.alerts import Alert, Announcement, Message, Verdict
    from mmd.notify import Channel
    from mmd.plan import Action
    from mmd.reconcile import Outcome, Report
    from mmd.secret import Secret
    from mmd.store import Entry, Store
    from mmd.store.alerts import Delivery
    from mmd.windows import Window

GIVE_WAY: Final = 8  # attempts after which a message no longer holds back those behind it: about an hour
OVERDUE: Final = timedelta(minutes=15)  # an alert that waits longer than this stops the heartbeat
IDLE: Final = 60.0  # seconds between looks at an outbox in which nothing is due
# What is known from the passes of this process only: such an alert is cleared when something went well.
_COUNTED: Final = frozenset({Kind.FAILED, Kind.UNSEEN, Kind.UNREACHABLE, Kind.CREDENTIALS, Kind.SWEEP})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the configuration says; `tenant` is how titles name it, `grace` how late is late."""

    tenant: str
    actor: str
    remind_every: timedelta
    grace: timedelta
    before: tuple[timedelta, ...] = ()


@dataclass(frozen=True, slots=True)
class _Known:
    """What the database says: what is wrong, and which sources (ids) are wanted or held.

    `kept_out` tells of a condition "late" whether its window is over without the source ever having been in
    maintenance.
    """

    windows: Sequence[Window]
    wrong: list[Condition]
    concerned: frozenset[str]
    kept_out: Callable[[Condition], bool]


class AlertDesk:
    """Opens, reminds and clears alerts, and fills the outbox."""

    def __init__(self, store: Store, channels: Sequence[str], settings: Settings) -> None:
        """Take the channels' keys; without any, alerts are kept all the same."""
        self._store = store
        self._channels = channels
        self._settings = settings
        self._streaks: dict[str, Streak] = {}
        self._swept = False
        self._token_ends: datetime | None = None
        self._token_asked = False
        self._newcomers: frozenset[str] | None = None

    def start(self, now: datetime) -> dict[str, int]:
        """Tell of what happens from now on; return how much was given up, by channels that are gone.

        A channel that is new hears with the first pass of everything that is open: what took its place may
        have kept silent for long, and what is open is not told again for hours, or never.
        """
        self._store.alerts.begin()
        known = self._store.alerts.channels()
        if known != {*self._channels}:
            self._newcomers = frozenset(self._channels) - known
        return self._store.alerts.drop_others(self._channels, now, self._settings.actor)

    def know_token_end(self, at: datetime | None) -> None:
        """Take what ISC says of the end of the access token (UTC); None where there is none, or no saying."""
        self._token_ends, self._token_asked = at, True

    def after_sweep(self, error: MmdError | None, now: datetime) -> None:
        """Note whether the whole tenant was read; the next pass tells, when it was not twice in a row."""
        self._swept = error is None
        wrong = [] if error is None else [_tenant(Kind.SWEEP, error)]
        self._streaks = prolong(self._streaks, wrong, is_over=self._is_swept, now=now)

    def _is_swept(self, condition: Condition) -> bool:
        return condition.kind is Kind.SWEEP and self._swept

    def after_pass(self, report: Report, now: datetime, *, clock_trusted: bool = True) -> None:
        """Compare what is wrong with what is on file, and queue what is to be told.

        Raises:
            MmdError: the database cannot be read or written.
        """
        if report.error is not None and not isinstance(report.error, TenantError):
            self._after_no_pass(report.error, now)
            return
        known = self._known(now)
        is_over = self._over(report, known)
        self._streaks = prolong(self._streaks, _wrong(report), is_over=is_over, now=now)
        clock = [] if clock_trusted else [_untrusted()]
        self._settle(
            [*known.wrong, *lasting(self._streaks.values(), now), *clock],
            now,
            judged=lambda alert: self._is_judged(alert.condition, is_over),
            missed=lambda alert: alert.condition.kind is Kind.LATE and known.kept_out(alert.condition),
            windows=known.windows,
        )
        self._swept = False  # it proves something once

    def _is_judged(self, condition: Condition, is_over: Callable[[Condition], bool]) -> bool:
        """Whether a condition is gone when nothing shows it any more."""
        if condition.kind is Kind.TOKEN:
            return self._token_asked
        return condition.kind not in _COUNTED or is_over(condition)

    def _after_no_pass(self, error: MmdError, now: datetime) -> None:
        """Tell that mmd itself is in trouble; nothing else can be said."""
        self._streaks = prolong(self._streaks, [_failing_pass(error)], is_over=lambda _: False, now=now)
        self._settle(lasting(self._streaks.values(), now), now, judged=lambda _: False)

    def _known(self, now: datetime) -> _Known:
        store = self._store
        windows = store.plans.current(now, ahead=self._ahead(now))
        wanted = still_wanted(windows, store.plans.exemptions(windows), now)
        findings, (held, damaged) = store.findings.open(), store.holds.open()
        refusals = store.alerts.refusals({window.id for window in windows})
        wrong = [
            *found_wrong(findings.values()),
            *late(wanted, held, explained={*findings, *damaged}, grace=self._settings.grace, now=now),
            *refused(refusals, windows, now),
            *ending(self._token_ends, windows, now),
        ]
        entered = {source_id for source_id, item in held.items() if item.entered_at is not None}
        running = {
            late_cause(window, item, source.id)
            for window in windows
            for item in open_now(window, now)
            for source in window.sources
        }

        def kept_out(condition: Condition) -> bool:
            return condition.cause not in running and condition.source_id not in entered

        return _Known(windows, wrong, frozenset({*wanted, *held, *damaged}), kept_out)

    def _ahead(self, now: datetime) -> timedelta:
        """How far ahead windows matter: as far as they are announced, and to the end of the token."""
        ends_in = timedelta(0) if self._token_ends is None else self._token_ends - now
        return max(*self._settings.before, ends_in, timedelta(0))

    def _over(self, report: Report, known: _Known) -> Callable[[Condition], bool]:
        """Return how to tell that something counted is over: by success, or because nobody asks for it."""
        fine = {outcome.action.source_id for outcome in report.outcomes if _went_well(outcome)}
        fine -= {outcome.action.source_id for outcome in report.failed}
        reached = report.error is None and any(outcome.action.case.observed for outcome in report.outcomes)
        instead = None if report.error is None else _tenant(_kind_of(report.error), report.error).cause

        def is_over(condition: Condition) -> bool:
            if condition.kind is Kind.SWEEP:
                return self._swept
            if condition.kind not in (Kind.FAILED, Kind.UNSEEN):
                return reached or self._swept or (instead is not None and condition.cause != instead)
            return condition.source_id in fine or condition.source_id not in known.concerned

        return is_over

    def _settle(
        self,
        conditions: list[Condition],
        now: datetime,
        *,
        judged: Callable[[Alert], bool],
        missed: Callable[[Alert], bool] = lambda _: False,
        windows: Sequence[Window] = (),
    ) -> None:
        """Write what has changed, with the messages, in one go."""
        alerts, remind_every = self._store.alerts.open(), self._settings.remind_every
        verdict = triage(conditions, alerts, now=now, remind_every=remind_every, judged=judged, missed=missed)
        entries = self._store.alerts.untold(tuple(_TOLD))
        near = self._new(ahead(windows, self._settings.before, now))
        events = [*self._events(entries), *(item.event for item in near)]
        messages = [self._signed(message) for message in (*verdict.messages, *tell(events))]
        change = Change(
            verdict=verdict,
            messages=messages,
            catching_up=self._catching_up(alerts, verdict, now),
            newcomers=self._newcomers,
            announced={item.cause: item.at for item in near},
            told=entries[-1].seq if entries else None,
        )
        if not change.is_empty:
            self._store.alerts.write(change, channels=self._channels, now=now, actor=self._settings.actor)
            self._newcomers = None

    def _catching_up(self, alerts: Sequence[Alert], verdict: Verdict, now: datetime) -> list[Message]:
        if not self._newcomers:
            return []
        return [self._signed(message) for message in catching_up(alerts, verdict, now)]

    def _events(self, entries: Sequence[Entry]) -> list[Event]:
        named = {entry.window_id for entry in entries if entry.window_id}
        windows = {window_id: self._store.plans.get(window_id) for window_id in named}
        told = ((entry, windows.get(entry.window_id or "")) for entry in entries)
        return [
            _event(entry, window)
            for entry, window in told
            if entry.kind != "occurrence.missed" or self._is_news(entry, window)
        ]

    def _is_news(self, missed: Entry, window: Window | None) -> bool:
        """Whether a window that passed unseen left a source out, and nobody was told that it was late."""
        if self._store.alerts.was_open(f"late:{missed.window_id}:{missed.body['key']}:"):
            return False
        closes_at = datetime.fromisoformat(str(missed.body["closes_at"]))
        sources = window.sources if window else ()
        return not sources or not all(self._was_held(source.id, closes_at) for source in sources)

    def _was_held(self, source_id: str, at: datetime) -> bool:
        """Whether a source was in maintenance at an instant, by mmd, for whatever window."""
        with contextlib.suppress(BadSnapshot):  # then nobody knows
            return any(
                held.entered_at is not None
                and held.entered_at <= at <= (held.restored_at or released_at or at)
                for held, released_at in self._store.holds.history(source_id)
            )
        return False

    def _new(self, near: Sequence[Announcement]) -> list[Announcement]:
        """Leave out what was announced before."""
        made = self._store.alerts.announced([item.cause for item in near]) if near else set()
        return [item for item in near if item.cause not in made]

    def _signed(self, message: Message) -> Message:
        return replace(message, title=f"mmd {self._settings.tenant}: {message.title}")


# -- from outcomes and the journal to words
# ----------------------------------------------------------------------


def _wrong(report: Report) -> list[Condition]:
    """Return what a pass could not do. A refusal of ISC counts once: then the source is left out."""
    failing = [_failing(outcome) for outcome in report.failed]
    if report.error is not None:
        return [*failing, _tenant(_kind_of(report.error), report.error)]
    return [*failing, *(_unseen(outcome.action) for outcome in report.outcomes if _is_unseen(outcome))]


def _is_unseen(outcome: Outcome) -> bool:
    """Whether a source that mmd holds was not shown by an ISC that answers."""
    return outcome.error is None and outcome.action.case.held is not None and not _is_shown(outcome)


def _is_shown(outcome: Outcome) -> bool:
    observed = outcome.action.case.observed
    return observed is not None and observed.complete


def _unseen(action: Action) -> Condition:
    return Condition(
        cause=f"unseen:{action.source_id}",
        kind=Kind.UNSEEN,
        source_id=action.source_id,
        subject=action.source_name,
        detail="mmd holds it, and ISC does not show it, or not wholly: nobody knows what state it is in",
        next_step="look for it in ISC; if it was deleted there, what it was like stays on file "
        f"(`mmd history {action.source_id}`)",
    )


def _went_well(outcome: Outcome) -> bool:
    """Whether an outcome shows that the source is in order: something was done, or it was seen."""
    return outcome.error is None and (outcome.action.verb in WRITES or _is_shown(outcome))


def _failing(outcome: Outcome) -> Condition:
    action = outcome.action
    hint = outcome.error.hint if outcome.error else ""
    return Condition(
        cause=f"failed:{action.source_id}",
        kind=Kind.FAILED,
        source_id=action.source_id,
        subject=action.source_name,
        detail=f"{action.verb.value} does not succeed: {outcome.error}",
        next_step=hint or f"the daemon goes on trying; `mmd history {action.source_id}` shows how",
    )


def _failing_pass(error: MmdError) -> Condition:
    return Condition(
        cause="failed:pass",
        kind=Kind.FAILED,
        source_id=None,
        subject="every pass",
        detail=error.message,
        next_step=error.hint or "see the daemon's log",
    )


def _kind_of(error: MmdError) -> Kind:
    return Kind.CREDENTIALS if isinstance(error, Denied) else Kind.UNREACHABLE


def _tenant(kind: Kind, error: MmdError) -> Condition:
    return Condition(
        cause=kind.value,
        kind=kind,
        source_id=None,
        subject="tenant",
        detail=error.message,
        next_step=error.hint or "`mmd doctor` looks for the reason",
    )


def _untrusted() -> Condition:
    return Condition(
        cause=Kind.CLOCK.value,
        kind=Kind.CLOCK,
        source_id=None,
        subject="this machine",
        detail="its clock was stepped by more than 5 minutes; for a while no source is entered",
        next_step="have it kept by NTP (timedatectl)",
    )


_TOLD: Final = {"entered": Kind.OPENED, "restored": Kind.RESTORED, "occurrence.missed": Kind.MISSED}


def _event(entry: Entry, window: Window | None) -> Event:
    """Read a line of the journal: a source was verified in maintenance, or back; or a window was missed."""
    kind = _TOLD[entry.kind]
    plan = f"window {window.id}: {window.reason}" if window else "of no window on file"
    if kind is Kind.MISSED:
        names = ", ".join(source.name for source in window.sources) if window else str(entry.window_id)
        opens_at, closes_at = (
            datetime.fromisoformat(str(entry.body[it])) for it in ("opens_at", "closes_at")
        )
        times = f"{opens_at:%Y-%m-%d %H:%M}Z to {closes_at:%Y-%m-%d %H:%M}Z"
        unseen = "nothing on file says that mmd was at work: it did not run, or this is an older database"
        return Event(kind=kind, subject=names, detail=f"{times}, {unseen} ({plan})")
    now_open = open_at(window, entry.at) if window else None
    if kind is Kind.OPENED:
        detail = f"until {now_open.closes_at:%Y-%m-%d %H:%M}Z" if now_open else "verified"
    else:
        kept = entry.body.get("kept")
        names = ", ".join(str(name) for name in kept) if isinstance(kept, list) else ""
        detail = f"back; what others changed was kept: {names}" if names else "back to what it was"
    name = str(entry.body.get("name") or entry.source_id)
    return Event(kind=kind, subject=name, detail=f"{detail} ({plan})")


# -- delivery
# ----------------------------------------------------------------------------------------------------


class Courier:
    """Carries the outbox to the channels, and pings the watcher."""

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel],
        *,
        now: Callable[[], datetime],
        heartbeat_url: Secret,
        interval: timedelta,
    ) -> None:
        self._store = store
        self._channels = channels
        self._now = now
        self._heartbeat_url = heartbeat_url
        self._interval = interval
        self._log: Any = structlog.get_logger("mmd")
        self._queued = asyncio.Event()
        self._beat_at: datetime | None = None
        self._ping: asyncio.Task[None] | None = None

    async def serve(self) -> None:
        """Deliver until cancelled; what is pending then is in the database."""
        for channel in self._channels:
            if not channel.is_understood:
                self._log.error("alerts.channel", channel=channel.label, error="not understood by Apprise")
        while True:
            self._queued.clear()
            try:
                await self.deliver()
                wait = self._until(self._store.alerts.next_due())
            except Exception as error:  # noqa: BLE001 - a full disk, or a defect: the next look may do better
                self._log.error("alerts.outbox", error=f"{type(error).__name__}: {error}")
                wait = IDLE
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._queued.wait(), wait)

    def _until(self, due: datetime | None) -> float:
        left = IDLE if due is None else (due - self._now()).total_seconds()
        return min(max(left, 1.0), IDLE)

    def look(self) -> None:
        """Look into the outbox now."""
        self._queued.set()

    async def deliver(self) -> None:
        """Try once what is due; the channels side by side."""
        await asyncio.gather(*(self._deliver_to(channel) for channel in self._channels))

    async def _deliver_to(self, channel: Channel) -> None:
        """Send in order. What fails holds back what is behind it, for about an hour."""
        for item in self._store.alerts.pending(channel.key):
            arrived = not is_waiting(item.next_at, self._now()) and await self._send(channel, item)
            if not arrived and item.attempts < GIVE_WAY:
                return

    async def _send(self, channel: Channel, item: Delivery) -> bool:
        problem = await channel.send(item.message)
        now = self._now()
        if not problem:
            self._store.alerts.delivered(item, now)
            self._log.info("alert.sent", channel=channel.label, title=item.message.title)
            return True
        next_at = now + backoff(item.attempts + 1)
        self._store.alerts.undelivered(item, error=problem, next_at=next_at)
        self._log.warning("alert.delayed", channel=channel.label, error=problem, next_at=next_at)
        return False

    def beat(self, trouble: str = "") -> None:
        """Ping the watcher after a good pass: once per interval, not while an alert cannot be delivered.

        Nor where there is other `trouble`, a sentence that says what is wrong.
        """
        now = self._now()
        # Passes come a little early or late; a beat must not be left out for that.
        is_early = self._beat_at is not None and abs(now - self._beat_at) < self._interval * 0.9
        if not self._heartbeat_url or is_early or (self._ping is not None and not self._ping.done()):
            return
        _, since = self._store.alerts.waiting()
        if since is not None and abs(now - since) > OVERDUE:
            trouble = f"an alert cannot be delivered since {since:%Y-%m-%d %H:%M}Z"
        if trouble:
            self._log.error("heartbeat.withheld", reason=trouble)
            return
        self._beat_at = now
        self._ping = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        problem = await ping(self._heartbeat_url)
        if problem:
            self._log.warning("heartbeat.failed", error=problem)
