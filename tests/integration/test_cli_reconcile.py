"""`mmd reconcile`: by itself, and where a daemon answers for it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from desk import SECRET_VARIABLE, Desk, tenant
from samples import BEFORE, seen

from mmd.daemon import _answer
from mmd.errors import Denied, MmdError, Unknown, Unreachable
from mmd.lock import COMMAND, only_one
from mmd.plan import Action, Case, Verb
from mmd.reconcile import Outcome, Report
from mmd.simulator import Rule, Simulator, faults
from mmd.store import DaemonRow, Store

JSON = ("-o", "json")
NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
RESTORED = {"source_id": "s1", "source_name": "AD", "verb": "restore", "reason": "r", "error": None}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with tenant() as found:
        yield found


@pytest.fixture
def desk(
    simulator: Simulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    monkeypatch.setenv(SECRET_VARIABLE, simulator.client_secret)
    found = Desk(tmp_path, capsys)
    found.configure(simulator)
    Store.open(found.database, create=True).close()
    return found


@contextmanager
def answering(desk: Desk, answer: str, *, pass_ok: bool = True) -> Iterator[None]:
    """A daemon that holds the lock and answers what it is asked, whichever version it is of."""
    left, started = threading.Event(), threading.Event()

    def serve() -> None:
        with Store.open(desk.database) as store:
            row = DaemonRow(pid=1, host="here", version="0", started_at=NOON, pass_at=NOON, pass_ok=pass_ok)
            store.service.started(row)
            started.set()
            while not left.wait(0.02):
                for number, _ in store.service.asked():
                    store.service.answer(number, answer, now=NOON)

    with only_one(desk.database):
        thread = threading.Thread(target=serve)
        thread.start()
        started.wait()
        try:
            yield
        finally:
            left.set()
            thread.join()


def told(exit_code: int = 0, **more: object) -> str:
    return json.dumps({"summary": "1 restore", "actions": [RESTORED], "exit_code": exit_code, **more})


def test_what_the_daemon_did_is_shown(desk: Desk) -> None:
    with answering(desk, told()):
        assert desk.done("reconcile", *JSON).json == {"actions": [RESTORED], "daemon": "1 restore"}
        said = desk.done("reconcile")
    assert said.out.splitlines()[1].split() == ["AD", "restore", "r", "s1"]
    assert said.err == "the daemon has done a pass: 1 restore\n"


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5, 6, 7])
def test_the_exit_code_is_that_of_the_daemons_pass(desk: Desk, code: int) -> None:
    with answering(desk, told(code, error="no connection to ISC", hint="is the network up?")):
        said = desk.mmd("reconcile", *JSON)
    assert (said.code, said.json["actions"]) == (code, [RESTORED])
    assert said.err.splitlines()[1:] == ["error: no connection to ISC", "hint: is the network up?"]


@pytest.mark.parametrize(("pass_ok", "code"), [(True, 0), (False, 1)])
def test_an_older_daemon_answers_in_a_sentence(desk: Desk, pass_ok: bool, code: int) -> None:
    with answering(desk, "1 wait; no connection to ISC", pass_ok=pass_ok):
        said = desk.mmd("reconcile", *JSON)
    assert said.code == code
    assert said.json == {"actions": [], "daemon": "1 wait; no connection to ISC"}
    if code:
        assert said.error == "error: 1 wait; no connection to ISC"


def test_a_source_that_fails_is_partly_done(desk: Desk, simulator: Simulator) -> None:
    good, bad = list(simulator.tenant.sources)[:2]
    simulator.faults.append(Rule(faults.fail(400), "PATCH", bad))
    desk.done("start", good, bad, "--for", "1h", "--reason", "r")
    said = desk.mmd("reconcile", *JSON)
    assert (said.code, len(said.json["actions"])) == (7, 2)
    assert said.error.startswith("error: 1 of 2 sources failed: ")


def test_a_source_that_isc_does_not_show_is_not_passed_over(desk: Desk, simulator: Simulator) -> None:
    """Slack comes without features from this tenant."""
    desk.done("start", "Workday", "Slack", "--for", "1h", "--reason", "r")
    not_shown = "error: ISC does not show these, or not wholly, so nothing is done: Slack"
    for names in (["Workday"], []):
        said = desk.mmd("reconcile", *JSON)
        assert (said.code, said.error) == (7, not_shown)
        assert [action["source_name"] for action in said.json["actions"]] == names
    assert "nothing to do" not in desk.mmd("reconcile").err
    with answering(desk, told()):
        assert (desk.mmd("reconcile").code, desk.mmd("reconcile").error) == (7, not_shown)
    with answering(desk, told(5, error="no rights", hint="ask for some")):
        said = desk.mmd("reconcile")
    assert (said.code, said.error) == (5, "error: no rights")
    assert "warning: ISC does not show these, or not wholly, so nothing is done: Slack" in said.err
    simulator.stop()
    said = desk.mmd("reconcile")
    assert (said.code, "does not show" in said.err) == (6, False)


def test_where_isc_shows_none_of_them_the_pass_has_failed(desk: Desk) -> None:
    desk.done("start", "Slack", "--for", "1h", "--reason", "r")
    said = desk.mmd("reconcile")
    assert said.code == 1
    assert said.error.endswith(": Slack")


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (Report(at=NOON), "nothing to do"),
        (Report(at=NOON, underway=frozenset({"s1"})), "1 under way"),
        (Report(at=NOON, error=Unreachable("gone")), "nothing to do; gone"),
    ],
)
def test_the_daemon_sums_a_pass_up(report: Report, said: str) -> None:
    assert json.loads(_answer(report))["summary"] == said


def test_the_daemon_counts_what_it_cannot_read_apart_from_what_waits() -> None:
    waits = outcome(Verb.WAIT)
    seen_case = replace(waits.action.case, observed=seen(BEFORE))
    shown = Outcome(action=replace(waits.action, case=seen_case))
    for outcomes, said in (
        ((shown, shown, waits), "2 wait, 1 cannot be read"),
        ((waits,), "1 cannot be read"),
        ((shown,), "1 wait"),
        ((replace(waits, error=MmdError("no")),), "1 wait, 1 failed"),
    ):
        assert json.loads(_answer(Report(at=NOON, outcomes=outcomes)))["summary"] == said


def outcome(verb: Verb, error: MmdError | None = None) -> Outcome:
    case = Case(source_id="s1", source_name="AD")
    action = Action(verb=verb, source_id="s1", source_name="AD", reason="r", case=case)
    return Outcome(action=action, error=error)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report(at=NOON), None),
        (Report(at=NOON, outcomes=(outcome(Verb.WAIT),), error=Unreachable("gone")), 6),
        (Report(at=NOON, outcomes=(outcome(Verb.ENTER, Denied("401")),)), 5),
        (Report(at=NOON, outcomes=(outcome(Verb.ENTER, MmdError("no")), outcome(Verb.RESTORE))), 7),
        (Report(at=NOON, outcomes=(outcome(Verb.RESTORE), outcome(Verb.WAIT, MmdError("defect")))), 7),
        (
            Report(
                at=NOON,
                outcomes=(
                    outcome(Verb.RESTORE),
                    outcome(Verb.RESTORE, Unreachable("gone")),
                    outcome(Verb.WAIT, MmdError("defect")),
                ),
            ),
            7,
        ),
        (
            Report(
                at=NOON,
                outcomes=(outcome(Verb.WAIT), outcome(Verb.RESTORE, Denied("401")), outcome(Verb.WAIT)),
            ),
            5,
        ),
    ],
)
def test_a_pass_comes_to_one_verdict(report: Report, code: int | None) -> None:
    assert (report.verdict.exit_code if report.verdict else None) == code
    assert report.verdict is None or report.verdict.hint
    assert not any(action["verb"] == "wait" for action in report.actions)


def test_what_a_pass_did_not_wait_for_is_told_by_a_later_one() -> None:
    slow = Report(at=NOON, outcomes=(outcome(Verb.RESTORE),), underway=frozenset({"s1", "s2"}))
    other = replace(outcome(Verb.ENTER).action, source_id="s3")
    later = Report(
        at=NOON,
        outcomes=(outcome(Verb.ENTER, MmdError("no")), Outcome(action=other)),
        underway=frozenset({"s2", "s4"}),
    )
    joined = slow.joined(later)
    assert [item.action.verb for item in joined.outcomes] == [Verb.RESTORE, Verb.ENTER]
    assert joined.underway == {"s2"}
    assert joined.verdict
    assert joined.verdict.exit_code == 7


def test_a_pass_is_told_with_what_the_next_one_made_of_its_failures() -> None:
    other = replace(outcome(Verb.ENTER).action, source_id="s2")
    first = Report(at=NOON, outcomes=(outcome(Verb.ENTER, Unknown("502")), Outcome(action=other)))
    assert first.verdict
    assert first.verdict.exit_code == 7
    assert first.followed_by(Report(at=NOON, outcomes=(outcome(Verb.WAIT),))).verdict
    mended = first.followed_by(Report(at=NOON, outcomes=(outcome(Verb.ENTER),)))
    assert mended.verdict is None
    assert len(mended.actions) == 2
    worse = Report(at=NOON, outcomes=(outcome(Verb.ENTER), Outcome(action=other, error=MmdError("no"))))
    assert [item.action.source_id for item in first.followed_by(worse).failed] == ["s2"]
    assert len(first.followed_by(worse).outcomes) == 2
    broken = replace(first, error=Unreachable("503"))
    assert broken.followed_by(Report(at=NOON, outcomes=(outcome(Verb.ENTER),))).verdict is None


def test_a_change_of_which_nothing_is_known_counts_as_unreachable() -> None:
    report = Report(at=NOON, outcomes=(outcome(Verb.ENTER, Unknown("502")),))
    assert report.verdict
    assert report.verdict.exit_code == 6


def test_a_failure_that_the_next_pass_mends_is_none(desk: Desk, simulator: Simulator) -> None:
    desk.done("start", next(iter(simulator.tenant.sources)), "--for", "1h", "--reason", "r")
    simulator.faults.append(Rule(faults.fail(502), "PATCH", "/sources/", nth=1))
    (action,) = desk.done("reconcile", *JSON).json["actions"]
    assert (action["verb"], action["error"]) == ("re-enter", None)


def test_another_command_at_work_is_waited_for(desk: Desk, simulator: Simulator) -> None:
    desk.done("start", next(iter(simulator.tenant.sources)), "--for", "1h", "--reason", "r")
    locked, left = threading.Event(), threading.Event()

    def work() -> None:
        with only_one(desk.database, COMMAND):
            locked.set()
            left.wait()

    other = threading.Thread(target=work)
    other.start()
    locked.wait()
    threading.Timer(0.5, left.set).start()
    (action,) = desk.done("reconcile", *JSON).json["actions"]
    assert action["verb"] == "enter"
    other.join()


def test_a_command_that_does_not_end_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmd.cli.workshop.ANSWER_WITHIN", 0.0)
    with only_one(desk.database, COMMAND):
        said = desk.mmd("reconcile")
    assert said.code == 4
    assert f"pid {os.getpid()} on " in said.error


def test_progress_is_shown_to_a_person(
    desk: Desk, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulator.switches.latency = 0.3
    desk.done("start", *list(simulator.tenant.sources)[:2], "--for", "1h", "--reason", "r")
    monkeypatch.setattr("mmd.cli.output.sys.stderr.isatty", lambda: True)
    assert "sources to be done" in desk.done("reconcile").err
    with answering(desk, told()):
        assert "waiting for the daemon's pass" in desk.done("reconcile").err
