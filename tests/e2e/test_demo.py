"""`mmd demo`, as a process: what it shows is true, and it leaves nothing behind, however it ends."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmd.cli import story
from mmd.cli.screen import Screen, cell
from mmd.cli.stage import Stage, audit
from mmd.cli.story import CHOSEN, Story
from mmd.errors import MmdError
from mmd.simulator import Simulator, Switches, make_tenant

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds; the contract's limit for the whole demo


def _started(home: Path) -> subprocess.Popen[str]:
    """The demo, with all that it writes below `home`, and a configuration in its way that it must not use."""
    theirs = {"TMPDIR": str(home), "MMD_CONFIG": "/none", "MMD_TENANT__NAME": "acme"}
    return subprocess.Popen(
        [sys.executable, "-m", "mmd", "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | theirs,
        start_new_session=True,
        preexec_fn=_listening,  # noqa: PLW1509 - there is one thread
    )


def _listening() -> None:
    """What runs the tests in the background may ignore these, and its children would, too."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _daemons(home: Path) -> list[int]:
    """The processes that were started with this TMPDIR."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={home}".encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
        except OSError:  # somebody else's, or gone
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A folder for all that the demo writes; a failed test leaves no daemon running."""
    yield tmp_path
    for pid in _daemons(tmp_path):
        os.kill(pid, signal.SIGKILL)


def _wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_the_demo_shows_a_window_from_start_to_proven_restore(home: Path) -> None:
    began = time.monotonic()
    with _started(home) as process:
        shown, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "")
    assert time.monotonic() - began < PATIENCE
    for name in CHOSEN:
        assert f"{name}: maintenance -> normal" in shown
        counts = re.search(rf"{name}: (\d+) requests to enter, (\d+) to restore", shown)
        assert counts
        assert all(4 <= int(count) <= 8 for count in counts.groups())
    assert f"the forum's audit script lists {', '.join(sorted(CHOSEN))}" in shown
    assert re.search(r"the daemon is back .*; it looked, and had to change (nothing|\d+)", shown)
    assert re.search(r"^ +Salesforce +orphan ", shown, re.MULTILINE)
    rows = re.findall(
        r" s    (.+): MaintenanceMode True, (orphan|patches, window w\w{6})$", shown, re.MULTILINE
    )
    assert [name for name, why in rows if why == "orphan"] == ["Salesforce"]
    assert sorted(name for name, why in rows if why != "orphan") == sorted(CHOSEN)
    assert "the alert is over" in shown
    assert "1 finding: Salesforce, orphan, over" in shown
    assert "all 12 sources are identical" in shown
    assert "\x1b" not in shown
    assert (_daemons(home), list(home.iterdir())) == ([], [])


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_nothing_behind(number: signal.Signals, home: Path) -> None:
    with _started(home) as process:
        _wait(lambda: len(_daemons(home)) > 1)
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
    assert (process.returncode, said.strip()) == (130, "")
    assert (_daemons(home), list(home.iterdir())) == ([], [])


@pytest.mark.slow
def test_a_demo_that_goes_wrong_says_so_and_shows_the_log(home: Path) -> None:
    with _started(home) as process:
        _wait(lambda: any(home.glob("mmd-demo-*/mmd.log")))
        _wait(lambda: len(_daemons(home)) > 1)
        daemon = next(pid for pid in _daemons(home) if pid != process.pid)
        _wait(lambda: b"pass.done" in next(home.glob("mmd-demo-*/mmd.log")).read_bytes())
        os.kill(daemon, signal.SIGKILL)
        shown, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "error: the daemon died, with exit code -9" in said
    assert "Traceback" not in shown + said
    assert '"event": "daemon.started"' in shown
    assert (_daemons(home), list(home.iterdir())) == ([], [])


# --- The scenes that judge ---------------------------------------------------------------------------------


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Story]:
    """A story whose tenant was looked at, and on which no daemon plays."""
    with Simulator(make_tenant(), Switches(health_seconds=0)) as simulator:
        made = Story(Stage(Screen(io.StringIO()), simulator, tmp_path))
        made.before = {one: simulator.tenant.comparable(one) for one in simulator.tenant.sources}
        yield made


def test_the_proof_holds_for_an_untouched_tenant(told: Story) -> None:
    told.prove_it()


def test_the_proof_fails_for_any_source_that_differs(told: Story) -> None:
    simulator = told.stage.simulator
    simulator.edit.delete_schedule(simulator.tenant.id_of("Workday"), "ACCOUNT_AGGREGATION")
    with pytest.raises(MmdError, match="Workday"):
        told.prove_it()


def test_the_proof_fails_when_the_tenant_had_to_throttle(told: Story) -> None:
    told.stage.simulator.switches.rate = (1, 10.0)
    with pytest.raises(MmdError, match="429"):
        audit(told.stage.simulator)
    with pytest.raises(MmdError, match="throttled"):
        told.prove_it()


def test_the_audit_script_finds_both_forms_of_the_marker_and_no_other(told: Story) -> None:
    simulator = told.stage.simulator
    values = {"Workday": "true", "Slack": True, "SAP ERP": "false", "Salesforce": False}
    for name, value in values.items():
        simulator.edit.set_attribute(simulator.tenant.id_of(name), "maintenancemode", value)
    assert sorted(audit(simulator)) == ["Slack", "Workday"]


def test_an_audit_that_lists_others_fails_the_demo(told: Story) -> None:
    with pytest.raises(MmdError, match="exactly the three"):
        told.ask_an_auditor()


def test_a_report_with_another_finding_fails_the_demo(told: Story) -> None:
    simulator = told.stage.simulator
    simulator.edit.set_attribute(simulator.tenant.id_of("Workday"), "maintenancemode", value=True)
    with pytest.raises(MmdError, match="what the audit script says"):
        told.report_now()


def test_a_report_without_the_finding_fails_the_demo(told: Story) -> None:
    with pytest.raises(MmdError, match="what happened"):
        told.write_a_report()


def test_a_command_that_exits_with_another_code_fails_the_demo(told: Story) -> None:
    with pytest.raises(MmdError, match="exit code 0"):
        told.stage.mmd("zombies", exits=10)


def test_the_daemon_of_the_demo_gets_nothing_of_the_callers_tenant(
    told: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MMD_TENANT__CLIENT_SECRET", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.setenv(name, "theirs")
    assert "theirs" not in told.stage.environment.values()


# --- The screen --------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name, value in (("COLUMNS", "100"), ("LINES", "40"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_on_a_terminal_the_picture_stays_below_the_lines(terminal: Terminal) -> None:
    screen = Screen(terminal)
    screen.picture([[("one", "")], [("two", "yellow")]])
    screen.line("news")
    assert (
        terminal.getvalue()
        == "one\n\x1b[33mtwo\x1b[0m\n" + "\x1b[2A\x1b[J" + "news\none\n\x1b[33mtwo\x1b[0m\n"
    )


def test_an_unchanged_picture_is_not_drawn_again(terminal: Terminal) -> None:
    screen = Screen(terminal)
    for _ in range(3):
        screen.picture([[("one", "")]])
    assert terminal.getvalue() == "one\n"


def test_a_picture_never_wraps(terminal: Terminal) -> None:
    Screen(terminal).picture([[cell("x" * 90, 90), cell("y" * 90, 90, "green")]])
    assert terminal.getvalue() == f"{'x' * 90}\x1b[32m{'y' * 9}\x1b[0m\n"


@pytest.mark.parametrize(
    ("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb"), ("COLUMNS", "60"), ("LINES", "15")]
)
def test_where_a_picture_would_do_harm_there_are_lines_alone(
    name: str, value: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    screen = Screen(terminal)
    screen.picture([[("one", "yellow")]])
    screen.write_out([[("one ", "yellow"), ("two  ", "")]])
    screen.line("\x1b[31mthree", "bold")
    assert terminal.getvalue() == "one two\n\\x1b[31mthree\n"


def test_every_scene_has_a_title_and_does_something() -> None:
    assert all(title and scene.__doc__ for title, scene in story.SCENES)
