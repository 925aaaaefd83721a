"""From passes to the outbox, on a real database: what is told, when, after a restart; and `mmd alerts`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from desk import Desk, tenant
from samples import snapshot as snapshot_of

from mmd.desk import AlertDesk, Settings
from mmd.errors import Denied, MmdError, Rejected, Unreachable
from mmd.findings import Finding, Kind
from mmd.plan import Action, Case, Held, Verb
from mmd.posture import Json, Observation
from mmd.reconcile import Outcome, Report
from mmd.store import Damaged, Entry, Store
from mmd.store.schema import meta, snapshot
from mmd.windows import SourceRef, Window

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
DOWN = Unreachable("no answer within 10 s")


@dataclass
class Service:
    """A daemon's alert desk, its database, and a clock that moves when told."""

    path: Path
    now: datetime = NOON
    before: tuple[timedelta, ...] = ()
    channels: tuple[str, ...] = ("channel",)
    heard: int = 0

    def __post_init__(self) -> None:
        self.store = Store.open(self.path, create=True)
        self.start()

    def start(self) -> None:
        settings = Settings(
            tenant="acme",
            actor="daemon",
            remind_every=4 * HOUR,
            grace=2 * MINUTE,
            before=self.before,
        )
        self.desk = AlertDesk(self.store, self.channels, settings)
        self.desk.start(self.now)

    def restart(self, *channels: str) -> None:
        """Die and come back; with these channels, if any are named."""
        self.channels = channels or self.channels
        self.store.close()
        self.store = Store.open(self.path)
        self.start()

    def passes(
        self,
        *outcomes: Outcome,
        error: MmdError | None = None,
        after: timedelta = SECOND,
        trusted: bool = True,
    ) -> list[str]:
        """Let a pass end; return the titles of what is to be told since."""
        self.now += after
        report = Report(at=self.now, outcomes=outcomes, error=error)
        self.desk.after_pass(report, self.now, clock_trusted=trusted)
        titles = [item.message.title for item in self.store.alerts.pending("channel")]
        new, self.heard = titles[self.heard :], len(titles)
        assert all(title.startswith("mmd acme: ") for title in new)
        return [title.removeprefix("mmd acme: ") for title in new]

    def find(self, *names: str, judged: list[str] | None = None) -> None:
        found = [
            Finding(
                source_id=f"id-{name}",
                source_name=name,
                connector="",
                kind=Kind.ORPHAN,
                since=self.now,
                detail="flag set",
                next_step="`mmd restore`",
            )
            for name in names
        ]
        self.store.findings.update(found, judged=judged, now=self.now, actor="daemon")

    def plan(self, opens: datetime, length: timedelta = HOUR, name: str = "AD") -> Window:
        window = Window(
            id="w1",
            sources=(SourceRef(f"id-{name}", name),),
            starts_local=opens.replace(tzinfo=None),
            timezone="UTC",
            duration=length,
            reason="patch night",
            created_at=NOON,
            effective_from=NOON,
        )
        self.store.plans.add(window, Entry(at=self.now, kind="window.added", actor="me"))
        return window

    def told(self, channel: str) -> list[str]:
        """Return the titles of all that waits for a channel."""
        waiting = self.store.alerts.pending(channel)
        return [item.message.title.removeprefix("mmd acme: ") for item in waiting]

    def last_body_of(self, channel: str) -> str:
        return self.store.alerts.pending(channel)[-1].message.body

    @property
    def last_body(self) -> str:
        return self.last_body_of("channel")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = Service(tmp_path / "mmd.db")
    yield made
    made.store.close()


def hold(store: Store, name: str) -> Held:
    """Put a source on file as held, and verified in maintenance."""
    known = replace(snapshot_of(), source_id=f"id-{name}", source_name=name)
    held = Held(snapshot=known, claims=(), text="", entered_at=NOON, verified=True)
    store.holds.take(held, Entry(at=NOON, kind="snapshot.taken", actor="daemon"))
    return held


def outcome(
    name: str = "AD", verb: Verb = Verb.RESTORE, error: MmdError | None = None, *, seen: bool = True
) -> Outcome:
    observed = Observation(source_id=f"id-{name}", name=name, features=(), attributes={}) if seen else None
    case = Case(source_id=f"id-{name}", source_name=name, observed=observed)
    action = Action(verb=verb, source_id=case.source_id, source_name=name, reason="", case=case)
    return Outcome(action=action, error=error)


# -- findings ------------------------------------------------------------------------------------------------


def test_a_zombie_is_told_once_again_in_time_and_when_it_is_gone(service: Service) -> None:
    service.find("AD")
    assert service.passes() == ["zombie: AD"]
    assert service.passes() == []
    assert service.passes(after=4 * HOUR - 2 * SECOND) == []
    assert service.passes() == ["still zombie: AD"]
    service.restart()
    assert service.passes() == []
    service.find()
    assert service.passes() == ["over: zombie: AD"]
    assert service.passes() == []


@pytest.mark.slow
def test_ten_thousand_zombies_are_one_message(service: Service) -> None:
    service.find(*(f"AD {n}" for n in range(10_000)))
    assert service.passes() == ["zombie: 10,000 sources"]
    assert len(service.last_body) < 5_000
    assert len(service.store.alerts.open()) == 10_000
    assert service.passes() == []


# -- failures ------------------------------------------------------------------------------------------------


def test_a_source_that_fails_three_times_in_a_row_is_told(service: Service) -> None:
    bad = outcome(error=MmdError("it is not wholly back"))
    service.plan(NOON)
    assert [service.passes(bad) for _ in range(3)] == [[], [], ["failing: AD"]]
    assert "restore does not succeed: it is not wholly back" in service.last_body
    assert service.passes(outcome()) == ["over: failing: AD"]


def test_a_success_between_two_failures_is_no_alarm(service: Service) -> None:
    service.plan(NOON)
    bad = outcome(error=MmdError("no"))
    for report in (bad, bad, outcome(), bad, bad):
        assert service.passes(report) == []


def test_a_source_that_waits_between_two_tries_still_fails(service: Service) -> None:
    service.plan(NOON)
    bad = outcome(error=MmdError("no"))
    told = [
        service.passes(*report) for report in ([bad], [], [bad], [outcome(verb=Verb.WAIT, seen=False)], [bad])
    ]
    assert told[-1] == ["failing: AD"]
    assert service.passes() == []


def test_a_source_that_fails_beside_what_went_well_with_it_is_told(service: Service) -> None:
    service.plan(NOON)
    both = [outcome(), outcome(verb=Verb.WAIT, error=MmdError("unexpected"), seen=False)]
    assert [service.passes(*both) for _ in range(3)] == [[], [], ["failing: AD"]]


def test_a_failing_source_that_nobody_wants_any_more_is_no_alarm(service: Service) -> None:
    service.plan(NOON, 10 * SECOND)
    for _ in range(3):
        service.passes(outcome(verb=Verb.ENTER, error=MmdError("no")))
    assert service.passes(after=MINUTE) == ["over: failing: AD"]


def test_a_restart_does_not_clear_what_still_fails(service: Service) -> None:
    service.plan(NOON)
    bad = outcome(error=MmdError("no"))
    for _ in range(3):
        service.passes(bad)
    service.restart()
    assert service.passes(bad) == []
    assert service.passes() == []
    assert len(service.store.alerts.open()) == 1
    assert service.passes(outcome()) == ["over: failing: AD"]


def test_a_refusal_is_told_at_once_and_over_with_the_window(service: Service) -> None:
    window = service.plan(NOON)
    left_out = [(window.id, "2026-12-01T12:00", "id-AD")]
    entry = Entry(at=NOON, kind="failed", actor="daemon")
    service.store.plans.exempt(left_out, reason="ISC refused: read-only", entry=entry)
    bad = outcome(verb=Verb.ENTER, error=Rejected("read-only"))
    told = [service.passes(*outcomes) for outcomes in ([bad], [bad], [bad], [])]
    assert told == [["refused by ISC: AD"], [], [], []]
    assert "left out of window w1: ISC refused: read-only" in service.last_body
    assert service.passes(after=HOUR) == ["over: refused by ISC: AD"]


def test_a_source_that_was_released_by_hand_is_no_refusal(service: Service) -> None:
    window = service.plan(NOON)
    left_out = [(window.id, "2026-12-01T12:00", "id-AD")]
    entry = Entry(at=NOON, kind="released", actor="me")
    service.store.plans.exempt(left_out, reason="restored by hand", entry=entry)
    assert service.passes(after=10 * MINUTE) == []


def test_a_source_that_is_not_in_maintenance_in_time_is_told(service: Service) -> None:
    service.plan(NOON)
    assert service.passes(after=2 * MINUTE - SECOND) == []
    assert service.passes() == ["not in maintenance in time: AD"]
    hold(service.store, "AD")
    assert service.passes() == ["over: not in maintenance in time: AD"]


def test_a_source_that_never_was_in_maintenance_is_told_at_the_end_of_its_window(service: Service) -> None:
    service.plan(NOON)
    service.passes(after=3 * MINUTE)
    assert service.passes(after=HOUR) == ["its window was missed: AD"]
    assert "not wholly in maintenance" in service.last_body
    assert service.store.alerts.open() == []
    missed(service)  # found by a clock that is trusted again
    assert service.passes() == []


def test_a_window_that_goes_on_without_a_source_is_not_missed_yet(service: Service) -> None:
    window = service.plan(NOON)
    service.passes(after=3 * MINUTE)
    left_out = [(window.id, "2026-12-01T12:00", "id-AD")]
    entry = Entry(at=service.now, kind="failed", actor="mmd")
    service.store.plans.exempt(left_out, reason="ISC refused: no", entry=entry)
    assert "its window was missed: AD" not in service.passes()


def missed(service: Service) -> None:
    """A pass finds that an occurrence is over which was not on file."""
    body: dict[str, Json] = {
        "key": "2026-12-01T12:00",
        "opens_at": NOON.isoformat(),
        "closes_at": (NOON + HOUR).isoformat(),
    }
    entry = Entry(at=service.now, kind="occurrence.missed", actor="daemon", window_id="w1", body=body)
    service.store.journal.write(entry)


def test_a_window_that_passed_while_mmd_was_not_running_is_told_once(service: Service) -> None:
    service.plan(NOON)
    service.now += 2 * HOUR
    missed(service)
    assert service.passes() == ["its window was missed: AD"]
    assert service.last_body == (
        "AD: 2026-12-01 12:00Z to 2026-12-01 13:00Z, nothing on file says that mmd was at work: it did not "
        "run, or this is an older database (window w1: patch night)"
    )
    service.restart()
    assert service.passes() == []


def test_a_window_over_a_source_that_was_held_all_the_time_is_not_missed(service: Service) -> None:
    service.plan(NOON)
    hold(service.store, "AD")
    service.now += 2 * HOUR
    missed(service)
    assert service.passes() == []


def test_a_damaged_snapshot_of_the_past_silences_no_alert(service: Service) -> None:
    service.plan(NOON)
    held = hold(service.store, "AD")
    gone = Entry(at=NOON, kind="released", actor="daemon")
    service.store.holds.release(held.snapshot.id, gone)
    service.now += 2 * HOUR
    missed(service)
    with service.store.database.write() as connection:
        connection.execute(snapshot.update().values(treatment="fill"))
    service.find("HR")
    assert sorted(service.passes()) == ["its window was missed: AD", "zombie: HR"]


def test_a_source_that_was_released_before_its_window_was_left_out_of_it(service: Service) -> None:
    service.plan(NOON)
    held = hold(service.store, "AD")  # released for another entry: nobody saw it restored
    service.store.holds.release(held.snapshot.id, Entry(at=NOON, kind="released", actor="daemon"))
    service.now += 2 * HOUR
    missed(service)
    assert service.passes() == ["its window was missed: AD"]


def bare(lost: Outcome) -> Outcome:
    """ISC shows the source without its attributes."""
    case = lost.action.case
    observed = Observation(source_id=case.source_id, name="AD", features=(), attributes=None)
    return replace(lost, action=replace(lost.action, case=replace(case, observed=observed)))


@pytest.mark.parametrize("shown", [lambda it: it, bare], ids=["not at all", "without attributes"])
def test_a_held_source_that_isc_does_not_show_is_told_in_its_window(
    service: Service, shown: Callable[[Outcome], Outcome]
) -> None:
    service.plan(NOON, 72 * HOUR)
    held = hold(service.store, "AD")
    lost = outcome(verb=Verb.WAIT, seen=False)
    lost = replace(lost, action=replace(lost.action, case=replace(lost.action.case, held=held)))
    told = [title for _ in range(12) for title in service.passes(shown(lost), after=MINUTE)]
    assert told == ["in maintenance, and not shown by ISC: AD"]
    assert service.passes(error=DOWN) == []
    assert service.passes(outcome(verb=Verb.WAIT)) == ["over: in maintenance, and not shown by ISC: AD"]


def test_a_damaged_snapshot_is_told_as_long_as_it_is_on_file(service: Service) -> None:
    service.plan(NOON, 2 * MINUTE)
    hold(service.store, "AD")
    with service.store.database.write() as connection:
        connection.execute(snapshot.update().values(treatment="fill"))
    bad = outcome(verb=Verb.WAIT, error=Damaged("the snapshot of AD is not what was written"), seen=False)
    told = [title for _ in range(5) for title in service.passes(bad, after=MINUTE)]
    assert told == ["failing: AD"]


# -- the tenant ----------------------------------------------------------------------------------------------


def test_an_unreachable_tenant_is_told_after_a_minute_and_until_it_answers(service: Service) -> None:
    assert service.passes(error=DOWN) == []
    assert service.passes(error=DOWN, after=59 * SECOND) == []
    assert service.passes(error=DOWN) == ["unreachable: tenant"]
    assert service.passes() == []  # nothing was asked for, so nothing is known
    assert service.passes(outcome()) == ["over: unreachable: tenant"]


def test_a_complete_sweep_shows_that_the_tenant_answers(service: Service) -> None:
    service.passes(error=DOWN)
    assert service.passes(error=DOWN, after=MINUTE) == ["unreachable: tenant"]
    service.desk.after_sweep(None, service.now)
    assert service.passes() == ["over: unreachable: tenant"]
    assert service.passes(error=DOWN) == []
    assert service.passes(error=DOWN, after=MINUTE) == ["unreachable: tenant"]


def test_a_pass_that_could_not_read_clears_nothing(service: Service) -> None:
    service.plan(NOON, HOUR)
    service.find("HR")
    for _ in range(3):
        service.passes(outcome(error=MmdError("no")))
    service.passes(outcome(verb=Verb.WAIT, seen=False), error=DOWN)
    assert {item.condition.subject for item in service.store.alerts.open()} == {"AD", "HR"}


def test_refused_credentials_replace_an_unreachable_tenant(service: Service) -> None:
    service.passes(error=DOWN)
    service.passes(error=DOWN, after=MINUTE)
    assert service.passes(error=Denied("401")) == ["over: unreachable: tenant"]
    assert service.passes(error=Denied("401")) == ["credentials refused: tenant"]


def test_two_incomplete_sweeps_in_a_row_are_told(service: Service) -> None:
    told = []
    for error in (DOWN, None, DOWN, DOWN, None):
        service.desk.after_sweep(error, service.now)
        told.append(service.passes())
    assert told == [[], [], [], ["not read whole: tenant"], ["over: not read whole: tenant"]]


def test_a_damaged_database_is_told_and_clears_nothing(service: Service) -> None:
    service.find("HR")
    service.passes()
    told = [service.passes(error=Damaged("the snapshot of AD is not what was written")) for _ in range(3)]
    assert told == [[], [], ["failing: every pass"]]
    assert service.passes() == ["over: failing: every pass"]
    assert len(service.store.alerts.open()) == 1


def test_a_clock_that_was_stepped_is_told(service: Service) -> None:
    assert service.passes(trusted=False) == ["the clock is not to be trusted: this machine"]
    assert service.passes() == ["over: the clock is not to be trusted: this machine"]


def test_the_end_of_the_token_is_told(service: Service) -> None:
    service.desk.know_token_end(NOON + timedelta(days=13))
    assert service.passes() == ["the access token ends soon: client_id"]
    assert service.passes(after=5 * HOUR) == []


def test_the_end_of_the_token_is_not_over_because_it_was_not_asked_for_yet(service: Service) -> None:
    service.desk.know_token_end(NOON + timedelta(days=13))
    service.passes()
    service.restart()
    assert service.passes() == []
    service.desk.know_token_end(NOON + timedelta(days=13))
    assert service.passes() == []
    service.desk.know_token_end(NOON + timedelta(days=400))  # another one was put in its place
    assert service.passes() == ["over: the access token ends soon: client_id"]


# -- channels that come and go -------------------------------------------------------------------------------


def test_a_channel_in_place_of_a_dead_one_hears_of_all_that_is_open(service: Service) -> None:
    service.find("AD", "HR")
    service.desk.know_token_end(NOON + timedelta(days=13))
    service.passes()
    service.restart("mended")
    assert service.told("channel") == []
    service.passes()
    assert service.told("mended") == [
        "still zombie: 2 sources",
        "still the access token ends soon: client_id",
    ]
    assert "alert since 2026-12-01 12:00Z" in service.last_body_of("mended")
    service.restart()
    service.passes()
    assert len(service.told("mended")) == 2


def test_the_first_channel_hears_of_all_that_is_open(service: Service) -> None:
    service.channels = ()
    service.restart()
    service.find("AD")
    service.passes()
    service.restart("first")
    service.passes()
    assert service.told("first") == ["still zombie: AD"]


def test_a_channel_that_stays_hears_nothing_twice(service: Service) -> None:
    service.find("AD")
    service.passes()
    service.restart("channel", "second")
    service.find("AD", "HR")
    service.passes()
    assert service.told("channel") == ["zombie: AD", "zombie: HR"]
    assert service.told("second") == ["zombie: HR", "still zombie: AD"]


def test_a_channel_that_comes_back_hears_of_what_opened_meanwhile(service: Service) -> None:
    service.restart("other")
    service.find("AD")
    service.passes()
    service.restart("channel", "other")
    service.passes()
    assert service.told("channel") == ["still zombie: AD"]
    assert service.told("other") == ["zombie: AD"]


def test_a_new_channel_is_told_by_the_first_pass_that_can_be_written(service: Service) -> None:
    service.find("AD")
    service.passes()
    service.restart("mended")
    service.restart()  # before any pass
    service.passes(error=Damaged("the snapshot of AD is not what was written"))
    assert service.told("mended") == ["still zombie: AD"]


def test_a_new_channel_hears_what_is_reminded_or_over_once(service: Service) -> None:
    service.find("AD", "HR")
    service.passes()
    service.restart("mended")
    service.find("AD")
    service.passes(after=4 * HOUR)
    assert service.told("mended") == ["still zombie: AD", "over: zombie: HR"]


def test_the_channels_of_an_older_release_are_known_by_what_they_were_sent(service: Service) -> None:
    service.find("AD")
    service.passes()
    with service.store.database.write() as connection:
        connection.execute(meta.delete().where(meta.c.key == "alerts.channels"))
    service.restart("channel", "second")
    service.passes()
    assert service.told("channel") == ["zombie: AD"]
    assert service.told("second") == ["still zombie: AD"]


# -- events and announcements --------------------------------------------------------------------------------


def entered(service: Service, *names: str, kind: str = "entered", **body: list[str]) -> None:
    service.store.journal.write(
        *(
            Entry(
                at=service.now,
                kind=kind,
                actor="daemon",
                source_id=f"id-{name}",
                window_id="w1",
                body={"name": name, **body},  # type: ignore[dict-item] # lists of texts are JSON
            )
            for name in names
        )
    )


def test_what_was_entered_and_restored_is_told_once(service: Service) -> None:
    service.plan(NOON)
    entered(service, "AD", "HR")
    assert service.passes() == ["in maintenance: 2 sources"]
    assert "AD: until 2026-12-01 13:00Z (window w1: patch night)" in service.last_body
    entered(service, "AD", kind="restored", kept=["features", "cron"])
    service.restart()  # between the work and the telling
    assert service.passes() == ["restored: AD"]
    assert service.last_body == (
        "AD: back; what others changed was kept: features, cron (window w1: patch night)"
    )
    service.restart()
    assert service.passes() == []


def test_an_opening_and_a_closing_are_announced_once_each(service: Service) -> None:
    service.before = (HOUR, 10 * MINUTE)
    service.restart()
    service.plan(NOON + 2 * HOUR, 2 * HOUR)
    told = []
    for minute in range(0, 250, 5):
        told += [
            (minute + 5, title) for title in service.passes(after=5 * MINUTE) if title.startswith("to be")
        ]
        service.restart()
    opening, closing = "to be taken into maintenance: AD", "to be restored: AD"
    assert told == [(60, opening), (110, opening), (180, closing), (230, closing)]


def test_nothing_is_announced_after_it_has_happened(service: Service) -> None:
    service.before = (10 * MINUTE,)
    service.restart()
    service.plan(NOON + HOUR, 5 * MINUTE)
    assert [title for title in service.passes(after=HOUR) if title.startswith("to be")] == []


# -- mmd alerts ----------------------------------------------------------------------------------------------


@contextmanager
def server(*answers: int) -> Iterator[int]:
    """Answer POSTs with these statuses, one after the other."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(left.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    made = Desk(tmp_path, capsys)
    made.configure(None)
    return made


def test_alerts_list_shows_what_is_open_and_what_is_pending(desk: Desk) -> None:
    assert desk.done("alerts", "list", "-o", "json").json == {"alerts": [], "pending": 0}
    assert desk.done("alerts", "list").err.startswith("there is no database at ")
    service = Service(desk.database)
    service.find("AD\x1b[2J")
    service.passes()
    service.store.close()
    listed = desk.done("alerts", "list", "-o", "json").json
    assert listed == {
        "alerts": [
            {
                "cause": "finding:id-AD\x1b[2J:orphan",
                "kind": "zombie",
                "source_id": "id-AD\x1b[2J",
                "subject": "AD\x1b[2J",
                "detail": "orphan: flag set",
                "next_step": "`mmd restore`",
                "opened_at": "2026-12-01T12:00:01Z",
                "reminded_at": "2026-12-01T12:00:01Z",
            }
        ],
        "pending": 1,
    }
    shown = desk.done("alerts", "list")
    assert "zombie" in shown.out
    assert "\x1b" not in shown.out
    assert "1 deliveries are pending, the oldest since 2026-12-01 12:00:01Z" in shown.err


def test_alerts_test_says_which_channel_took_the_message(desk: Desk) -> None:
    with server(200, 503) as port:
        urls = [f"json://me:hush@127.0.0.1:{port}/{path}" for path in "ab"]
        desk.configure(None, "[alerts]", f"urls = {[*urls, 'slak://hush/hush']}")
        said = desk.mmd("alerts", "test", "-o", "json")
    assert said.code == 1
    assert sorted((it["ok"], it["error"] or "") for it in said.json["channels"]) == [
        (False, "Apprise does not understand the URL"),
        (False, "it answered with status 503"),
        (True, ""),
    ]
    assert "2 of 3 channels did not take the message" in said.error
    assert "hush" not in said.out + said.err


def test_alerts_test_succeeds_when_all_channels_do(desk: Desk) -> None:
    with server(200) as port:
        desk.configure(None, "[alerts]", f"urls = ['json://127.0.0.1:{port}']")
        assert desk.done("alerts", "test", "--dry-run").out.endswith("not sent\n")
        assert desk.done("alerts", "test", "--yes").out.endswith("ok\n")


def test_alerts_test_without_a_channel_has_nothing_to_do(desk: Desk) -> None:
    said = desk.mmd("alerts", "test")
    assert (said.code, said.error) == (3, "error: no channel is configured")


def test_doctor_and_alerts_test_understand_the_same_urls(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    with tenant(2) as simulator:
        monkeypatch.setenv("MMD_TENANT__CLIENT_SECRET", simulator.client_secret)
        desk.configure(simulator, "[alerts]", "urls = ['slak://hush/hush']")
        said = desk.mmd("doctor")
    assert "Apprise does not understand number 1 of [alerts] urls" in said.out + said.err
    assert "hush" not in said.out + said.err
