"""What `mmd demo` shows: real sockets, a real daemon in a process of its own, and the real command line.

The story is a list of scenes. Each does something on the stage, shows it, and raises MmdError where it did
not come out as told.
"""

from __future__ import annotations

import contextlib
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
from typing import TYPE_CHECKING, Any, Final, NoReturn

from mmd.cli.stage import Stage, audit, utcnow
from mmd.errors import MmdError
from mmd.simulator import Simulator, Switches, make_tenant

if TYPE_CHECKING:
    from types import FrameType

    from mmd.cli.screen import Screen

CHOSEN: Final = ("Active Directory", "Microsoft Entra ID", "SAP ERP")
WINDOW: Final = "9s"
LATENCY: Final = 0.08  # seconds an answer takes: a real tenant is no faster, and steps can be seen
_LOG_TAIL: Final = 20


@dataclass(slots=True)
class Story:
    """A telling of the story: its stage, and what must be remembered from one scene for another."""

    stage: Stage
    before: dict[str, Any] = field(default_factory=dict)  # each source as it was, by id
    entering: Counter[str] = field(default_factory=Counter)  # requests it took, by source id
    closing: float = 0.0  # when the window closes, on the monotonic clock

    @property
    def chosen(self) -> list[str]:
        """The ids of the sources the story is about."""
        return [self.stage.simulator.tenant.id_of(name) for name in CHOSEN]

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
        stage.say("all three are restored, read back, and read again")
        stage.screen.write_out(stage.table())
        stage.stop(signal.SIGTERM)
        stage.screen.leave_picture()

    def prove_it(self) -> None:
        """Every source of the tenant, whole, before and after; and what it cost."""
        stage, log = self.stage, list(self.stage.simulator.log)
        restoring = self._costs(since=self.closing)
        for name, source_id in zip(CHOSEN, self.chosen, strict=True):
            stage.say(
                f"{name}: {self.entering[source_id]} requests to enter, {restoring[source_id]} to restore"
            )
        throttled = Counter(request.status for request in log)[HTTPStatus.TOO_MANY_REQUESTS]
        stage.say(f"{len(log)} requests in all; the tenant had to throttle {throttled} of them")
        changed = self._changed()
        if changed or throttled:
            raise MmdError(f"not as before: {', '.join(changed) or 'the tenant throttled mmd'}")
        stage.say(f"compared whole, before and after: all {len(self.before)} sources are identical")

    # --- What the scenes ask -------------------------------------------------------------------------------

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
    ("The daemon is killed in the middle", Story.kill_the_daemon),
    ("The window closes", Story.close_the_window),
    ("The proof", Story.prove_it),
)


def tell(screen: Screen) -> None:
    """Tell the whole story, and leave nothing behind: no process, no file.

    Raises:
        MmdError: something did not come out as told; the end of the daemon's log has been shown.
    """
    with (
        _ended_by_signals(),
        tempfile.TemporaryDirectory(prefix="mmd-demo-") as home,
        Simulator(make_tenant(), Switches(latency=LATENCY)) as simulator,
    ):
        stage = Stage(screen, simulator, Path(home))
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
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the story as Ctrl-C does, so that the daemon is not left alone."""

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
