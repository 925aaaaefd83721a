"""What becomes of a change of a window when something else happens between its echo and its writing."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from desk import ROOT, SECRET_VARIABLE, Desk, tenant
from simulated import HandClock

from mmd.amend import cancel, end, extend
from mmd.cli.app import App
from mmd.simulator import Simulator, faults
from mmd.simulator.faults import Rule
from mmd.store import Entry
from mmd.windows import Window, begun, open_now

ADD = ("schedule", "add")
JSON = ("-o", "json")
HOUR = timedelta(hours=1)
Change = Callable[[Window, datetime], Window]
Person = Callable[[Callable[[], object]], None]


@pytest.fixture(scope="module")
def shared() -> Iterator[Simulator]:
    with tenant() as simulator:
        yield simulator


@pytest.fixture
def sim(shared: Simulator) -> Iterator[Simulator]:
    yield shared
    shared.faults.clear()


@pytest.fixture
def desk(
    sim: Simulator, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    monkeypatch.setenv(SECRET_VARIABLE, sim.client_secret)
    found = Desk(tmp_path, capsys)
    found.configure(sim, "max_sources = 1")
    return found


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The wall clock of the commands."""
    found = HandClock()
    monkeypatch.setattr(App, "clock", found)
    return found


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Person:
    """Somebody at a terminal, who says yes after something else has happened."""

    def answers(meanwhile: Callable[[], object]) -> None:
        def confirm(_question: str, **_how: object) -> bool:
            meanwhile()
            return True

        monkeypatch.setattr(App, "interactive", True)
        monkeypatch.setattr("click.confirm", confirm)

    return answers


def add(desk: Desk, *words: str) -> str:
    return str(desk.done(*ADD, "Workday", *words, "--for", "2h", "--reason", "x", *JSON).window["id"])


def on_file(desk: Desk, window_id: str) -> Window:
    with desk.open() as store:
        found = store.plans.get(window_id)
    assert found is not None
    return found


def opens(desk: Desk, window_id: str, clock: HandClock, after: timedelta) -> Callable[[], None]:
    """The daemon puts what has begun on file."""

    def pass_() -> None:
        clock.now += after
        with desk.open() as store:
            window = store.plans.get(window_id)
            assert window is not None
            items = begun(window, clock.now - HOUR, clock.now)
            entry = Entry(at=clock.now, kind="occurrence.begun", actor="mmd", window_id=window_id)
            store.plans.record(items, [entry])

    return pass_


def changed(desk: Desk, window_id: str, clock: HandClock, change: Change) -> Callable[[], None]:
    """Another command changes the window, through a handle of its own."""

    def run() -> None:
        entry = Entry(at=clock.now, kind="window.edited", actor="other", window_id=window_id)
        with desk.open() as store:
            store.plans.change(window_id, lambda window: (change(window, clock.now), entry))

    return run


@pytest.mark.parametrize("recorded", [True, False], ids=["the daemon saw it", "no daemon"])
def test_a_window_that_opens_while_its_cancelling_is_confirmed_is_closed(
    desk: Desk, clock: HandClock, person: Person, *, recorded: bool
) -> None:
    window_id = add(desk, "--start", "+10m")

    def late() -> None:
        clock.now += timedelta(minutes=11)

    person(opens(desk, window_id, clock, timedelta(minutes=11)) if recorded else late)
    said = desk.done("schedule", "cancel", window_id, *JSON)
    window = on_file(desk, window_id)
    assert said.window["state"] == "cancelled"
    assert window.cancelled_at == clock.now
    assert [item.closes_at for item in window.recorded] == [clock.now]
    assert open_now(window, clock.now) == ()


@pytest.mark.parametrize("repeat", [(), ("--repeat", "FREQ=DAILY")], ids=["once", "daily"])
def test_a_slow_edit_does_not_bring_back_what_was_ended_meanwhile(
    desk: Desk, sim: Simulator, clock: HandClock, repeat: tuple[str, ...]
) -> None:
    window_id = add(desk, "--start", "now", *repeat)
    other = changed(desk, window_id, clock, end)
    sim.faults.append(Rule(faults.run(other), "GET", "/sources", nth=1))
    said = desk.mmd("schedule", "edit", window_id, "--add-source", "Slack", "--yes")
    assert said.code == 4
    assert "ended" in said.error if not repeat else "changed meanwhile" in said.error
    window = on_file(desk, window_id)
    assert open_now(window, clock.now) == ()
    assert [source.name for source in window.sources] == ["Workday"]


@pytest.mark.parametrize(
    "words",
    [("end",), ("cancel",), ("edit", "--add-source", "Slack")],
    ids=lambda words: words[0],
)
def test_a_window_that_others_changed_meanwhile_is_left_as_they_made_it(
    desk: Desk, clock: HandClock, person: Person, words: tuple[str, ...]
) -> None:
    window_id = add(desk, "--start", "now", "--repeat", "FREQ=DAILY")
    person(changed(desk, window_id, clock, lambda window, now: extend(window, HOUR, now)))
    said = desk.mmd("schedule", words[0], window_id, *words[1:])
    assert said.code == 4
    assert "nothing was written" in said.error
    assert "again" in said.err
    window = on_file(desk, window_id)
    assert [item.closes_at - item.opens_at for item in window.recorded] == [3 * HOUR]
    assert window.cancelled_at is None
    desk.done("schedule", words[0], window_id, *words[1:], "--yes")


def test_an_occurrence_that_begins_meanwhile_is_not_what_was_echoed(
    desk: Desk, clock: HandClock, person: Person
) -> None:
    """From the next time on, said the edit; and now it would be from the one after it."""
    window_id = add(desk, "--start", "+10m", "--repeat", "FREQ=DAILY")
    person(opens(desk, window_id, clock, timedelta(minutes=11)))
    said = desk.mmd("schedule", "edit", window_id, "--for", "30m", "--add-source", "Slack")
    assert said.code == 4
    assert "changed meanwhile" in said.error
    window = on_file(desk, window_id)
    assert (window.duration, len(window.sources)) == (2 * HOUR, 1)


def test_what_is_over_by_the_time_of_the_answer_is_not_ended(
    desk: Desk, clock: HandClock, person: Person
) -> None:
    window_id = add(desk, "--start", "now")

    def later() -> None:
        clock.now += 3 * HOUR

    person(later)
    said = desk.mmd("schedule", "end", window_id)
    assert said.code == 4
    assert "not open" in said.error


def test_what_a_pass_read_before_a_window_was_cancelled_never_opens(desk: Desk, clock: HandClock) -> None:
    """The daemon reads the window, it is cancelled as it opens, and the daemon puts it on file."""
    window_id = add(desk, "--start", "+10m")
    read = on_file(desk, window_id)
    changed(desk, window_id, clock, cancel)()
    clock.now += timedelta(minutes=10)
    items = begun(read, clock.now - HOUR, clock.now)
    assert len(items) == 1
    entry = Entry(at=clock.now, kind="occurrence.begun", actor="mmd", window_id=window_id)
    with desk.open() as store:
        store.plans.record(items, [entry])
        assert store.journal.read(kinds=("occurrence.begun",)) == []
    assert on_file(desk, window_id).recorded == ()


def test_two_people_with_a_prompt_each_do_not_undo_each_other(desk: Desk) -> None:
    window_id = add(desk, "--start", "tomorrow 22:00")
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "mmd", "schedule", "cancel", window_id]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=desk.folder, env=environment, stdin=follower, stdout=follower, stderr=follower
    ) as asked:
        os.close(follower)
        said = b""
        while b"[y/N]" not in said:
            said += os.read(leader, 4096)
        edited = desk.process("schedule", "edit", window_id, "--start", "tomorrow 23:00")
        assert edited.returncode == 0, edited.stderr
        os.write(leader, b"y\n")
        assert asked.wait(timeout=30) == 4
    os.close(leader)
    window = on_file(desk, window_id)
    assert (window.cancelled_at, window.starts_local.hour) == (None, 23)
