"""What `mmd demo` shows: real sockets, a real daemon in a process of its own, and the real command line.

The story is a list of scenes. Each does something on the stage, shows it, and raises MmdError where it did
not come out as told.
"""

from __future__ import annotations

import contextlib
import csv
import json
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from mmd.cli.stage import Stage, audit, utcnow
from mmd.errors import Findings, MmdError
from mmd.findings import Kind
from mmd.posture import MARKER
from mmd.simulator import Simulator, Switches, make_tenant

if TYPE_CHECKING:
    from types import FrameType

    from mmd.cli.screen import Screen

CHOSEN: Final = ("Active Directory", "Microsoft Entra ID", "SAP ERP")
FORGOTTEN: Final = "Salesforce"
WINDOW: Final = "14s"
LATENCY: Final = 0.08  # seconds an answer takes: a real tenant is no faster, and steps can be seen
_LOG_TAIL: Final = 20


@dataclass(slots=True)
class Story:
    """A telling of the story: its stage, and what must be remembered from one scene for another."""

    stage: Stage
    before: dict[str, Any] = field(default_factory=dict)  # each source as it was, by id
    entering: Counter[str] = field(default_factory=Counter)  # requests it took, by source id
    restoring: Counter[str] = field(default_factory=Counter)
    closing: float = 0.0  # when the window closes, on the monotonic clock

    @property
    def chosen(self) -> list[str]:
        """The ids of the sources the story is about."""
        return [self._id(name) for name in CHOSEN]

    # --- The scenes ----------------------------------------------------------------------------------------

    def meet_the_tenant(self) -> None:
        """A dozen sources, each of another shape, as they are before anything happens."""
        stage, tenant = self.stage, self.stage.simulator.tenant
        self.before = {source_id: tenant.comparable(source_id) for source_id in tenant.sources}
        stage.say(
            f"a simulated tenant of {len(tenant.sources)} sources answers at {stage.simulator.base_url}"
        )
        stage.screen.write_out(stage.table())
        stage.say("$ mmd run &")
        stage.say(f"the daemon runs, in a process of its own (pid {stage.start()})")
        stage.pause(1)

    def plan_a_window(self) -> None:
        """Three sources, from now on, for a few seconds."""
        stage = self.stage
        began = time.monotonic()
        options = ("--start", "now", "--for", WINDOW, "--reason", "patches", "-o", "json")
        planned = json.loads(stage.mmd("schedule", "add", *CHOSEN, *options))["windows"][0]
        stage.window = (
            datetime.fromisoformat(planned["starts_at"]),
            datetime.fromisoformat(planned["ends_at"]),
        )
        self.closing = time.monotonic() + (stage.window[1] - utcnow()).total_seconds()
        stage.wait(lambda: self._entered() == set(self.chosen), "maintenance on all three")
        self.entering = self._costs(since=began)
        stage.say("all three are in maintenance; what they were is on file, and again on each of them")
        stage.screen.write_out(stage.table())
        stage.pause(1)

    def ask_an_auditor(self) -> None:
        """The forum's audit script, which knows nothing of mmd, lists exactly the three."""
        listed = sorted(audit(self.stage.simulator))
        self.stage.say(f"the forum's audit script lists {', '.join(listed)}")
        if listed != sorted(CHOSEN):
            raise MmdError("the audit script does not list exactly the three sources of the window")
        self.stage.pause(1)

    def find_a_zombie(self) -> None:
        """A flag set by hand is found, told and left alone; when it is gone, so is the alert."""
        stage, edit, forgotten = self.stage, self.stage.simulator.edit, self._id(FORGOTTEN)
        writes = len(stage.simulator.mutations)
        edit.set_attribute(forgotten, MARKER, value=True)
        stage.say(f"somebody sets {MARKER} on {FORGOTTEN} by hand, and goes home")
        stage.wait(self._alerted, "an alert")
        stage.say("the daemon's sweep of the tenant has found it, and an alert is open")
        found = stage.mmd("zombies", exits=Findings.exit_code, shows=True).splitlines()[1:]
        if [line.split()[:2] for line in found] != [[FORGOTTEN, Kind.ORPHAN]]:
            raise MmdError(f"`mmd zombies` does not list {FORGOTTEN} alone")
        self.report_now()
        if len(stage.simulator.mutations) != writes:
            raise MmdError("mmd has changed a source that is not its own to change")
        edit.remove_attribute(forgotten, MARKER)
        stage.say("the flag is taken off again; mmd has only looked")
        stage.wait(lambda: not self._alerted(), "the end of the alert")
        stage.say("the alert is over")

    def report_now(self) -> None:
        """The CSV has the sources that the audit script lists, and says of each why it is there."""
        rows = list(csv.DictReader(self.stage.mmd("report").splitlines()))
        for row in rows:
            why = row["Finding"] or f"{row['Reason']}, window {row['Window']}"
            self.stage.say(f"  {row['SourceName']}: MaintenanceMode {row['MaintenanceMode']}, {why}")
        odd = [row["SourceName"] for row in rows if row["Finding"]]
        if odd != [FORGOTTEN] or sorted(row["SourceName"] for row in rows) != sorted(
            audit(self.stage.simulator)
        ):
            raise MmdError("the report does not say what the audit script says")

    def kill_the_daemon(self) -> None:
        """Nobody is there for a while; then somebody is again."""
        stage, writes = self.stage, len(self.stage.simulator.mutations)
        stage.say(f"$ kill -9 {stage.process.pid if stage.process else ''}")
        stage.stop(signal.SIGKILL)
        stage.say("nobody is there, and the window goes on")
        stage.pause(0.8)
        stage.say("$ mmd run &")
        pid, made = stage.start(), len(stage.simulator.mutations) - writes
        stage.say(f"the daemon is back (pid {pid}); it looked, and had to change {made or 'nothing'}")

    def close_the_window(self) -> None:
        """The window ends, and everything comes back by itself."""
        stage = self.stage
        stage.pause(max(0.0, self.closing - time.monotonic()))
        stage.say("the window is over")
        stage.wait(lambda: not self._held(), "the restoration of all three")
        self.restoring = self._costs(since=self.closing)
        stage.say("all three are restored, read back, and read again")
        stage.screen.write_out(stage.table())
        stage.stop(signal.SIGTERM)
        stage.screen.leave_picture()

    def write_a_report(self) -> None:
        """A page for people to read, and its numbers for programs."""
        stage, page = self.stage, self.stage.home / "report.html"
        stage.mmd("report", "--format", "html", "--output", str(page))
        if not page.read_text().endswith("</html>\n"):
            raise MmdError("the report is not whole")
        report = json.loads(stage.mmd("report", "--format", "json"))
        totals = report["totals"]
        stage.say(
            f"1 window over {totals['occurrences']} sources: {totals['entered_late']} entered late, "
            f"{totals['restored_late']} restored late; {totals['in_maintenance_now']} in maintenance now"
        )
        for found in report["findings"]:
            over = "over" if found["cleared_at"] else "still open"
            stage.say(f"1 finding: {found['source_name']}, {found['kind']}, {over}")
        told = [(found["source_name"], bool(found["cleared_at"])) for found in report["findings"]]
        if not report["complete"] or told != [(FORGOTTEN, True)] or totals["in_maintenance_now"]:
            raise MmdError("the report does not say what happened")

    def prove_it(self) -> None:
        """Every source of the tenant, whole, before and after; and what it cost."""
        stage, log = self.stage, list(self.stage.simulator.log)
        for name, source_id in zip(CHOSEN, self.chosen, strict=True):
            entering, restoring = self.entering[source_id], self.restoring[source_id]
            stage.say(f"{name}: {entering} requests to enter, {restoring} to restore")
        throttled = Counter(request.status for request in log)[HTTPStatus.TOO_MANY_REQUESTS]
        stage.say(f"{len(log)} requests in all; the tenant had to throttle {throttled} of them")
        changed = self._changed()
        if changed or throttled:
            raise MmdError(f"not as before: {', '.join(changed) or 'the tenant throttled mmd'}")
        stage.say(f"compared whole, before and after: all {len(self.before)} sources are identical")

    # --- What the scenes ask -------------------------------------------------------------------------------

    def _id(self, name: str) -> str:
        return self.stage.simulator.tenant.id_of(name)

    def _alerted(self) -> bool:
        with self.stage.store() as store:
            return any(alert.condition.source_id == self._id(FORGOTTEN) for alert in store.alerts.open())

    def _entered(self) -> set[str]:
        with self.stage.store() as store:
            return {source_id for source_id, held in store.holds.held().items() if held.entered_at}

    def _held(self) -> set[str]:
        with self.stage.store() as store:
            return set(store.holds.held())

    def _costs(self, *, since: float) -> Counter[str]:
        """How many requests there were about each source alone; pages of sources are shared by all."""
        recent = [request.path for request in list(self.stage.simulator.log) if request.at >= since]
        return Counter(source_id for source_id in self.before for path in recent if f"/{source_id}" in path)

    def _changed(self) -> list[str]:
        tenant = self.stage.simulator.tenant
        differing = [one for one, was in self.before.items() if tenant.comparable(one) != was]
        return [tenant.sources[source_id]["name"] for source_id in differing]


SCENES: Final[tuple[tuple[str, Callable[[Story], None]], ...]] = (
    ("A tenant, and a daemon that looks after it", Story.meet_the_tenant),
    ("A window is planned, and opens", Story.plan_a_window),
    ("An auditor asks", Story.ask_an_auditor),
    ("Somebody forgets a flag", Story.find_a_zombie),
    ("The daemon is killed in the middle", Story.kill_the_daemon),
    ("The window closes", Story.close_the_window),
    ("A report", Story.write_a_report),
    ("The proof", Story.prove_it),
)


def tell(screen: Screen) -> None:
    """Tell the whole story, and leave nothing behind: no process, no file.

    Raises:
        MmdError: something did not come out as told; the end of the daemon's log has been shown.
    """
    with (
        _signals() as interrupted,
        tempfile.TemporaryDirectory(prefix="mmd-demo-") as home,
        Simulator(make_tenant(), Switches(latency=LATENCY)) as simulator,
    ):
        stage = Stage(screen, simulator, Path(home), interrupted=interrupted)
        try:
            _play(Story(stage))
        except MmdError:
            screen.leave_picture()
            _show_log(stage)
            raise
        finally:
            stage.stop(signal.SIGKILL)


def _play(story: Story) -> None:
    screen = story.stage.screen
    for number, (title, scene) in enumerate(SCENES, start=1):
        screen.line()
        screen.line(f"{number}. {title}", "bold")
        scene(story)
    seconds = time.monotonic() - story.stage.began
    screen.line()
    screen.line(f"Every source is back, exactly as it was. That took {seconds:.0f} seconds.", "green")


def _show_log(stage: Stage) -> None:
    if stage.log.exists():
        stage.screen.line("the end of the daemon's log:")
        for line in stage.log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]:
            stage.screen.line(f"  {line}")


@contextlib.contextmanager
def _signals() -> Iterator[Event]:
    """Take note of SIGINT, SIGTERM and SIGHUP, and let the story end at its next step.

    An exception at any point would leave a daemon alone that was just being started.
    """
    interrupted = Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        interrupted.set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
