"""The daemon: a clock, signals, systemd's notices, and the lock. It runs passes; nothing else.

APScheduler only wakes us: one date job, re-armed after every pass (docs/adr/0002). Two things wake it
earlier: a commit by another process (a command planned something), and a wall clock that was stepped, which
the scheduler's own timer would not notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from mmd import __version__
from mmd.alerts import token_end
from mmd.errors import Denied, MmdError, plainly
from mmd.plan import WRITES, Verb
from mmd.posture import Posture
from mmd.publish import publish_periodically
from mmd.reconcile import Report
from mmd.store import DaemonRow

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from mmd.desk import AlertDesk, Courier
    from mmd.isc import Isc
    from mmd.publish import Publisher
    from mmd.reconcile import Outcome, Reconciler
    from mmd.store import Store
    from mmd.sweep import Sweeper, Swept

POLL: Final = 0.25  # seconds between looks at the database and the clocks
STEP: Final = 0.25  # seconds of disagreement between wall and monotonic clock that count as a step
UNTRUSTED_STEP: Final = timedelta(minutes=5)  # a step this large holds enters, not restores
UNTRUSTED_FOR: Final = timedelta(minutes=10)
PATIENCE: Final = (
    2.0  # seconds that a pass waits for its sources: the next window must not wait for slow ones
)
GRACE: Final = 8.0  # seconds that running work has to finish after SIGTERM; systemd and users count on 10
ANSWER_WITHIN: Final = 90.0  # seconds; a command that asked for a pass waits for two minutes
AGAIN: Final = 5.0  # seconds until what broke off is begun again, be it a pass or something beside the passes
SWEEPS_MISSED: Final = 3  # after so many intervals without a good sweep the heartbeat is withheld,
SWEEP_AT_LEAST: Final = timedelta(minutes=5)  # of at least this length
KEEP_WARM: Final = 20.0  # seconds between looks at the token
TOKEN_END_FIRST: Final = 60.0  # seconds after the start, when what had to be done at once is done
TOKEN_END_EVERY: Final = 6 * 3600.0  # seconds between looks at when the personal access token ends


def utcnow() -> datetime:
    """Return the wall clock's instant, aware, in UTC: the only place of the daemon that reads it."""
    return datetime.now(tz=UTC)  # noqa: TID251 - this is the shell's clock


def _offset() -> float:
    """Return how far the wall clock is from the monotonic one, in seconds; it changes when one is stepped."""
    return time.time() - time.monotonic()  # noqa: TID251 - comparing clocks is the point


class Notifier:
    """Systemd's notification socket; does nothing where there is none (sd_notify(3))."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        microseconds = int(os.environ.get("WATCHDOG_USEC", "0") or 0)
        self.watchdog = timedelta(microseconds=microseconds) / 2 if microseconds else None

    def tell(self, *lines: str) -> None:
        """Send lines such as READY=1; a service manager that does not listen is no reason to fail."""
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), address)


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often passes and sweeps come, besides a pass at every boundary."""

    interval: timedelta
    sweep: timedelta

    def sweeps_are_missed(self, since: timedelta, took: timedelta) -> bool:
        """Whether the last good sweep is too long ago; `took` is how long one takes."""
        return since > SWEEPS_MISSED * max(self.sweep, took, SWEEP_AT_LEAST)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Who has people told, and whose access token must not end unnoticed."""

    desk: AlertDesk
    courier: Courier
    client_id: str


class Daemon:
    """Runs passes until told to stop."""

    def __init__(
        self,
        store: Store,
        isc: Isc,
        *,
        reconciler: Reconciler,
        sweeper: Sweeper,
        publisher: Publisher,
        alarm: Alarm,
        rhythm: Rhythm,
    ) -> None:
        self._store = store
        self._isc = isc
        self._reconciler = reconciler
        self._sweeper = sweeper
        self._publisher = publisher
        self._alarm = alarm
        self._rhythm = rhythm
        self._log: Any = structlog.get_logger("mmd")
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._tick = asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self._unsaid: DaemonRow | None = None  # of the start, as long as it is not on file
        self._offset = _offset()
        self._untrusted_until: datetime | None = None
        # Passes that were asked for and are not answered, since when by the monotonic clock.
        self._asked: dict[int, tuple[Report, float]] = {}
        # When the last good sweep ended, else the daemon began, by the monotonic clock; how long it took.
        self._swept, self._sweep_took = time.monotonic(), 0.0

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        self._start()
        self._scheduler.start()
        helpers = [asyncio.create_task(self._kept_up(*helper)) for helper in self._helpers().items()]
        passes = asyncio.create_task(self._passes())
        try:
            stop = asyncio.create_task(self._stop.wait())
            ended, _ = await asyncio.wait([passes, stop, *helpers], return_when="FIRST_COMPLETED")
            for task in ended - {stop}:
                task.result()  # none of them ends by itself; if one did, systemd must see it
            await self._finish(passes)
        finally:
            for task in (*helpers, passes):
                task.cancel()
            self._scheduler.shutdown(wait=False)
            with self._noting():
                self._store.service.update(stopped_at=utcnow())

    def _helpers(self) -> dict[str, Callable[[], Coroutine[Any, Any, None]]]:
        """What goes on beside the passes, each for ever."""
        helpers: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "watch": self._watch,
            "token": self._keep_warm,
            "token end": self._watch_token_end,
            "alerts": self._alarm.courier.serve,
            "sweeps": self._sweeps,
            "reports": partial(publish_periodically, self._publisher, now=utcnow, log=self._log),
        }
        if self._notifier.watchdog is not None:
            helpers["watchdog"] = self._breathe
        return helpers

    async def _kept_up(self, name: str, helper: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin a helper again that broke off, and say so.

        What it stumbled over is mostly there after a new start too. So the passes go on: without a token at
        hand, or commands seen within a second, every source is still restored in time, and in a loop of
        starts none would be. What only sweeps find is another matter (`_sweeps`, `_alert`).
        """
        while True:
            try:
                await helper()
            except Exception as error:  # noqa: BLE001 - whatever it is
                problem = plainly(error)
                self._log.error("helper.failed", helper=name, error=problem.message, hint=problem.hint)
            await asyncio.sleep(AGAIN)
            self._tick.set()  # what it did not see meanwhile, a pass sees

    def _start(self) -> None:
        now = utcnow()
        before = self._store.service.daemon()
        if before is not None and before.pass_at is not None and now < before.pass_at - UNTRUSTED_STEP:
            self._distrust(now, now - before.pass_at)
        self._log.info("daemon.started", version=__version__, pid=os.getpid())
        self._unsaid = DaemonRow(
            pid=os.getpid(), host=socket.gethostname(), version=__version__, started_at=now
        )
        self._say_started()

    def _say_started(self) -> None:
        """Put the start on file, once the database takes it: restoring must not wait for that."""
        if self._unsaid is None:
            return
        with self._noting():
            self._store.service.started(self._unsaid)
            for channel, count in self._alarm.desk.start(self._unsaid.started_at).items():
                self._log.warning("alerts.dropped", channel=channel, messages=count)
            self._unsaid = None

    async def _finish(self, passes: asyncio.Task[None]) -> None:
        """Take no new source, and let what has begun come to its end, for a while."""
        self._notifier.tell("STOPPING=1", "STATUS=finishing what has begun")
        self._reconciler.stopping = True
        self._tick.set()
        _, unfinished = await asyncio.wait([passes], timeout=GRACE)
        for number, (_, since) in tuple(self._asked.items()):
            self._reply(number, self._reconciler.rest(), since)
        self._log.info("daemon.stopped", finished=not unfinished)

    async def _passes(self) -> None:
        while not self._stop.is_set():
            self._tick.clear()
            await self._pass()
            await self._tick.wait()
        await self._reconciler.drain()

    async def _pass(self) -> None:
        started = time.monotonic()
        self._say_started()
        self._compare_clocks()  # a step since the last look must not open a window
        now, requests = utcnow(), list[tuple[int, str]]()
        try:
            requests = self._store.service.asked()
            report = await self._reconciler.run(hold_enters=self._distrusts(now), patience=PATIENCE)
        except Exception as error:  # noqa: BLE001 - a new start would meet it again, and tell nobody
            problem = plainly(error)
            self._log.error("pass.failed", error=problem.message, hint=problem.hint)
            self._note(now, ok=False, note=problem.message)
            again_at = utcnow() + timedelta(seconds=AGAIN)
            report = Report(at=now, error=problem, again_at=again_at, underway=self._reconciler.underway)
        else:
            self._tell(report, time.monotonic() - started)
        for number, _ in requests:
            self._reply(number, report, started)
        self._alert(report)
        later = utcnow() + self._rhythm.interval
        self._arm(min(later, report.again_at or later))

    def _tell(self, report: Report, seconds: float) -> None:
        """One line per outcome that did or failed something, and one for the pass."""
        for outcome in report.outcomes:
            action = outcome.action
            if action.verb not in WRITES and outcome.error is None:
                continue
            log = self._log.info if outcome.error is None else self._log.error
            problem = {"error": outcome.error.message} if outcome.error else {}
            log(
                f"source.{action.verb.value}",
                source_id=action.source_id,
                source=action.source_name,
                reason=action.reason,
                **problem,
            )
        ok = report.error is None and not report.failed
        log = self._log.info if ok else self._log.warning
        problem = {"error": report.error.message} if report.error else {}
        log("pass.done", **report.counts, failed=len(report.failed), ms=round(seconds * 1000), **problem)
        self._note(report.at, ok=ok, note=_summary(report))

    def _reply(self, number: int, report: Report, started: float) -> None:
        """Answer who asked for a pass, once the sources that it did not wait for are done as well."""
        asked, since = self._asked.get(number, (None, started))
        whole = asked.joined(report) if asked else report
        self._asked[number] = (whole, since)
        if whole.underway and whole.error is None and time.monotonic() - since < ANSWER_WITHIN:
            return
        with self._noting():
            self._store.service.answer(number, _answer(whole), now=utcnow())
            del self._asked[number]

    def _alert(self, report: Report) -> None:
        """Have people told; a database that cannot be written to must not end the passes."""
        if self._reconciler.stopping:
            return  # what was not done shows no outcome: the next start tells
        now = utcnow()
        try:
            self._alarm.desk.after_pass(report, now, clock_trusted=not self._distrusts(now))
            if report.error is None and not report.failed:
                self._alarm.courier.beat(self._blind())
        except Exception as error:  # noqa: BLE001 - whatever it is
            problem = plainly(error)
            self._log.error("alerts.failed", error=problem.message, hint=problem.hint)
        self._alarm.courier.look()

    def _blind(self) -> str:
        """Say why nobody may believe that all is well, although the passes are good; empty if they may."""
        since, took = time.monotonic() - self._swept, self._sweep_took
        missed = self._rhythm.sweeps_are_missed(timedelta(seconds=since), timedelta(seconds=took))
        return f"no good sweep for {round(since / 60)} minutes" if missed else ""

    def _note(self, at: datetime, *, ok: bool, note: str) -> None:
        with self._noting():
            self._store.service.update(pass_at=at, pass_ok=int(ok), pass_note=note)
        self._notifier.tell("READY=1", f"STATUS={note}", "WATCHDOG=1")

    @contextlib.contextmanager
    def _noting(self) -> Iterator[None]:
        """Write what `mmd status` shows. A database that takes nothing must not end the passes."""
        try:
            yield
        except MmdError as error:
            self._log.error("database.failed", error=error.message, hint=error.hint)

    def _arm(self, at: datetime) -> None:
        """Wake at an instant; the one job replaces itself."""
        with self._noting():
            self._store.service.update(next_at=at)
        self._scheduler.add_job(
            self._wake, "date", run_date=max(at, utcnow()), id="pass", replace_existing=True
        )

    async def _wake(self) -> None:
        self._tick.set()

    async def _watch(self) -> None:
        """Look for commits of other processes, and for steps of the wall clock."""
        version = self._version()
        while True:
            await asyncio.sleep(POLL)
            found = self._version()
            if found != version:
                version = found
                self._tick.set()
            self._compare_clocks()

    def _version(self) -> int | None:
        """Return the number of the last commit; None while there is no asking, which the passes tell of."""
        try:
            return self._store.database.data_version()
        except MmdError:
            return None

    def _compare_clocks(self) -> None:
        moved = _offset() - self._offset
        if abs(moved) > STEP:
            self._offset += moved
            self._stepped(timedelta(seconds=moved))

    def _stepped(self, step: timedelta) -> None:
        if abs(step) > UNTRUSTED_STEP:
            self._distrust(utcnow(), step)
        self._log.warning("clock.stepped", seconds=round(step.total_seconds(), 1))
        self._tick.set()

    def _distrusts(self, now: datetime) -> bool:
        return self._untrusted_until is not None and now < self._untrusted_until

    def _distrust(self, now: datetime, step: timedelta) -> None:
        self._untrusted_until = now + UNTRUSTED_FOR
        self._log.error(
            "clock.untrusted",
            seconds=round(step.total_seconds()),
            hint="nothing new is taken into maintenance for ten minutes; restores go on",
        )

    async def _sweeps(self) -> None:
        """Read the whole tenant, again and again; passes go on meanwhile."""
        while True:
            started = time.monotonic()
            try:
                swept = await self._sweeper.run()
                self._told(swept, time.monotonic() - started)
            except Exception as error:  # noqa: BLE001 - the next sweep is due all the same
                problem = plainly(error)
                self._log.error("sweep.failed", error=problem.message, hint=problem.hint)
                self._alarm.desk.after_sweep(problem, utcnow())
                self._tick.set()
            await asyncio.sleep(max(0.0, self._rhythm.sweep.total_seconds() - (time.monotonic() - started)))

    def _told(self, swept: Swept, seconds: float) -> None:
        complete = swept.error is None
        log = self._log.info if complete else self._log.warning
        problem = {} if swept.error is None else {"error": swept.error.message}
        log(
            "sweep.done",
            complete=complete,
            sources=swept.sources,
            findings=len(swept.findings),
            blind=len(swept.blind),
            ms=round(seconds * 1000),
            **problem,
        )
        if complete:
            self._swept, self._sweep_took = time.monotonic(), seconds
            self._store.service.update(sweep_at=utcnow())
        self._alarm.desk.after_sweep(swept.error, utcnow())
        self._tick.set()  # a pass has people told what was found, and restores what was taken back

    async def _keep_warm(self) -> None:
        """Have a token at hand, so that a window's opening does not wait for one."""
        while True:
            await asyncio.sleep(KEEP_WARM)
            with contextlib.suppress(MmdError):
                await self._isc.token()

    async def _watch_token_end(self) -> None:
        """Ask ISC when the access token ends; a token that may not ask is none the worse for it."""
        await asyncio.sleep(TOKEN_END_FIRST)
        while True:
            with contextlib.suppress(MmdError):
                self._alarm.desk.know_token_end(await self._token_end())
            await asyncio.sleep(TOKEN_END_EVERY)

    async def _token_end(self) -> datetime | None:
        try:
            return token_end(await self._isc.own_tokens(), self._alarm.client_id)
        except Denied:
            return None

    async def _breathe(self) -> None:
        """Tell systemd's watchdog that the loop turns."""
        while self._notifier.watchdog is not None:
            self._notifier.tell("WATCHDOG=1")
            await asyncio.sleep(self._notifier.watchdog.total_seconds())


def _answer(report: Report) -> str:
    """What a command is told of the pass that it asked for; `mmd.cli.workshop` reads it."""
    error = report.verdict
    problem = {} if error is None else {"error": error.message, "hint": error.hint}
    code = 0 if error is None else error.exit_code
    return json.dumps({"summary": _summary(report), "actions": report.actions, "exit_code": code, **problem})


def _summary(report: Report) -> str:
    counts = report.counts
    if unread := sum(_is_unread(outcome) for outcome in report.outcomes):
        counts |= {Verb.WAIT.value: counts[Verb.WAIT.value] - unread, "cannot be read": unread}
    parts = [f"{count} {verb}" for verb, count in counts.items() if count]
    parts += [f"{len(report.underway)} under way"] if report.underway else []
    said = ", ".join(parts) or "nothing to do"
    if report.error is not None:
        return f"{said}; {report.error.message}"
    return f"{said}, {len(report.failed)} failed" if report.failed else said


def _is_unread(outcome: Outcome) -> bool:
    """Whether nothing was done about a source because ISC does not show it."""
    waits = outcome.action.verb is Verb.WAIT and outcome.error is None
    return waits and outcome.action.case.posture is Posture.UNKNOWN
