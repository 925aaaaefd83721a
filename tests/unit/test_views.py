"""What people and programs are shown: the JSON of a window, what changed, and the state of each source."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mmd.amend import Edit as Change
from mmd.amend import cancel, edit, end, extend, settle, skip
from mmd.escrow import Claim
from mmd.findings import Finding, Kind
from mmd.plan import Held
from mmd.posture import Fields, Posture, Snapshot, Treatment
from mmd.views import (
    OnFile,
    Seen,
    SourceState,
    definition,
    difference,
    finding,
    moved_by_clocks,
    overlapping,
    source_states,
    window_view,
)
from mmd.windows import Occurrence, SourceRef, Window, open_at

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
GRACE = timedelta(minutes=2)
START = datetime(2026, 12, 1, 21, tzinfo=UTC)
BEFORE = START - DAY
INSIDE = START + HOUR
CLOSE = START + 2 * HOUR
AFTER = START + 10 * HOUR


def planned(**changes: object) -> Window:
    window = Window(
        id="w234567",
        sources=(SourceRef("s1", "AD"), SourceRef("s2", "HR")),
        starts_local=datetime(2026, 12, 1, 22),  # noqa: DTZ001 - local
        timezone="Europe/Berlin",
        duration=2 * HOUR,
        reason="patching",
        created_by="ann@host",
        created_at=BEFORE,
        effective_from=BEFORE,
    )
    return replace(window, **changes)  # type: ignore[arg-type] # the names are the window's own


def daily(**changes: object) -> Window:
    return planned(repeat="FREQ=DAILY", **changes)


def held(source_id: str = "s1", *, key: str = "2026-12-01T22:00", entered: bool = True) -> Held:
    fields = Fields(("PROVISIONING",))
    claim = Claim(window_id="w234567", key=key, opens_at=START, closes_at=CLOSE, reason="patching")
    snapshot = Snapshot(
        id="n1",
        source_id=source_id,
        source_name="AD then",
        treatment=Treatment.FULL,
        taken_at=START,
        before=fields,
        after=fields,
    )
    entered_at = START + timedelta(seconds=2) if entered else None
    return Held(snapshot=snapshot, claims=(claim,), text="", entered_at=entered_at)


# --- windows --------------------------------------------------------------------------------------------


def test_a_one_off_is_shown_as_the_contract_has_it() -> None:
    assert window_view(planned(), BEFORE) == {
        "id": "w234567",
        "state": "planned",
        "sources": [{"id": "s1", "name": "AD"}, {"id": "s2", "name": "HR"}],
        "starts_at": START,
        "ends_at": CLOSE,
        "timezone": "Europe/Berlin",
        "duration_seconds": 7200,
        "repeat": None,
        "reason": "patching",
        "ticket": None,
        "owner": None,
        "created_by": "ann@host",
        "treatment": "full",
        "open": None,
        "next": {"opens_at": START, "closes_at": CLOSE},
    }


@pytest.mark.parametrize(
    ("window", "ends_at", "seconds"),
    [
        (end(planned(), INSIDE), INSIDE, 3600),
        (cancel(planned(), INSIDE), INSIDE, 3600),
        (cancel(planned(), BEFORE), CLOSE, 7200),
        (extend(planned(), HOUR, INSIDE), CLOSE + HOUR, 10800),
        (extend(planned(), HOUR, BEFORE), CLOSE + HOUR, 10800),
        (skip(planned(), "2026-12-01T22:00", BEFORE), CLOSE, 7200),
    ],
)
def test_a_one_off_ends_when_it_really_did(window: Window, ends_at: datetime, seconds: int) -> None:
    view = window_view(window, INSIDE)
    assert (view["starts_at"], view["ends_at"]) == (START, ends_at)
    assert view["duration_seconds"] == seconds


def test_a_rule_starts_with_its_first_occurrence_for_ever() -> None:
    later = INSIDE + 30 * DAY
    for window in (daily(), settle(daily(), later), edit(daily(), Change(duration=HOUR), later)):
        assert window_view(window, later)["starts_at"] == START


def test_a_rule_whose_first_occurrence_was_skipped_starts_with_the_second() -> None:
    assert window_view(skip(daily(), "2026-12-01T22:00", BEFORE), BEFORE)["starts_at"] == START + DAY


def test_an_open_window_says_when_it_closes_and_when_it_opens_again() -> None:
    view = window_view(daily(), INSIDE)
    assert view["state"] == "active"
    assert view["open"] == {"opens_at": START, "closes_at": CLOSE}
    assert view["next"] == {"opens_at": START + DAY, "closes_at": CLOSE + DAY}


def test_a_window_that_is_over_has_no_next() -> None:
    assert window_view(planned(), AFTER)["next"] is None
    assert window_view(planned(), AFTER)["state"] == "ended"
    assert window_view(cancel(daily(), BEFORE), BEFORE)["next"] is None


def test_a_definition_that_never_opens_has_no_times() -> None:
    never = planned(effective_from=AFTER)
    assert window_view(never, BEFORE)["starts_at"] is None


def test_only_the_sources_of_windows_at_the_same_time_overlap() -> None:
    same = planned(id="w2", sources=(SourceRef("s2", "HR"), SourceRef("s3", "SAP")))
    apart = daily(id="w3", starts_local=datetime(2026, 12, 2, 0))  # noqa: DTZ001 - local
    assert overlapping(planned(), [planned(), same, apart], BEFORE) == {"HR": ("w2",)}
    assert overlapping(planned(), [same], AFTER) == {}


def test_the_occurrences_that_a_change_of_the_clocks_moves_are_known_a_year_ahead() -> None:
    nightly = daily(starts_local=datetime(2026, 12, 1, 2, 30))  # noqa: DTZ001 - local
    assert [item.key for item in moved_by_clocks(nightly, BEFORE)] == ["2027-03-28T02:30", "2027-10-31T02:30"]
    assert moved_by_clocks(daily(), BEFORE) == ()
    assert moved_by_clocks(planned(starts_local=datetime(2027, 3, 28, 2, 30)), BEFORE) == ()  # noqa: DTZ001


def test_the_journal_gets_what_changed_and_what_it_was() -> None:
    before = planned()
    after = edit(before, Change(reason="other", duration=HOUR), BEFORE)
    assert difference(before, after) == {
        "before": {"reason": "patching", "duration_seconds": 7200},
        "after": {"reason": "other", "duration_seconds": 3600},
    }
    assert difference(before, before) == {"before": {}, "after": {}}


def test_the_journal_gets_a_changed_occurrence_by_its_key() -> None:
    settled = settle(daily(), INSIDE)
    changed = difference(settled, extend(daily(), HOUR, INSIDE))
    opened = "2026-12-01T21:00:00.000000Z to"
    assert changed["before"] == {"2026-12-01T22:00": f"{opened} 2026-12-01T23:00:00.000000Z"}
    assert changed["after"] == {"2026-12-01T22:00": f"{opened} 2026-12-02T00:00:00.000000Z"}
    assert definition(daily(until=START))["until"] == "2026-12-01T21:00:00.000000Z"


# --- status ---------------------------------------------------------------------------------------------


def states(on_file: OnFile, now: datetime) -> dict[str, SourceState]:
    return {item.source_id: item for item in source_states(on_file, now, grace=GRACE)}


def test_a_planned_source_waits() -> None:
    found = states(OnFile(windows=(planned(),)), BEFORE)["s1"]
    assert (found.posture, found.wanted, found.held, found.finding) == (Posture.UNKNOWN, False, False, None)
    assert found.windows == ("w234567",)
    assert (found.since, found.until) == (None, None)
    assert found.next is not None
    assert found.next.opens_at == START
    assert found.reason == "patching"


def test_a_source_in_maintenance_says_since_when_until_when_and_why() -> None:
    seen = Seen(name="AD now", posture=Posture.MAINTENANCE, observed_at=INSIDE)
    found = states(OnFile(windows=(planned(),), held={"s1": held()}, seen={"s1": seen}), INSIDE)["s1"]
    assert found.view == {
        "source_id": "s1",
        "source_name": "AD now",
        "posture": "maintenance",
        "wanted": True,
        "held": True,
        "finding": None,
        "windows": ["w234567"],
        "since": START + timedelta(seconds=2),
        "until": CLOSE,
        "reason": "patching",
        "observed_at": INSIDE,
        "next": None,
    }


def test_until_is_the_last_close_of_overlapping_windows() -> None:
    longer = planned(id="w3", duration=5 * HOUR, reason="upgrade")
    found = states(OnFile(windows=(planned(), longer)), INSIDE)["s1"]
    assert found.until == START + 5 * HOUR
    assert found.windows == ("w234567", "w3")
    assert found.reason == "patching; upgrade"


def test_a_source_is_not_wanted_by_an_occurrence_it_is_exempt_from() -> None:
    item = open_at(planned(), INSIDE)
    assert item is not None
    on_file = OnFile(windows=(planned(),), exemptions=frozenset({("w234567", item.key, "s1")}))
    found = states(on_file, INSIDE)
    assert (found["s1"].wanted, found["s2"].wanted) == (False, True)
    assert found["s1"].windows == ("w234567",)


def test_a_source_that_is_held_and_no_longer_planned_is_shown_with_what_it_was_held_for() -> None:
    found = states(OnFile(windows=(planned(),), held={"s1": held(entered=False)}), CLOSE + GRACE)
    assert list(found) == ["s1"]
    assert found["s1"].windows == ("w234567",)
    assert (found["s1"].since, found["s1"].until) == (START, CLOSE)
    assert (found["s1"].source_name, found["s1"].reason) == ("AD then", "patching")
    assert found["s1"].finding is None


def test_a_source_that_is_not_back_after_the_grace_is_overdue() -> None:
    late = CLOSE + GRACE + timedelta(seconds=1)
    assert states(OnFile(held={"s1": held()}), late)["s1"].finding == "overdue"


def test_the_grace_counts_from_the_real_end_of_a_window_that_was_ended_early() -> None:
    ended = end(planned(), INSIDE)
    soon, late = INSIDE + GRACE, INSIDE + 2 * GRACE
    assert states(OnFile(windows=(ended,), held={"s1": held()}), soon)["s1"].finding is None
    assert states(OnFile(windows=(ended,), held={"s1": held()}), late)["s1"].finding == "overdue"


def test_a_snapshot_without_claims_counts_from_when_it_was_taken() -> None:
    bare = replace(held(), claims=())
    late = START + 2 * GRACE
    assert finding(None, bare, False, None, late, grace=GRACE) == "overdue"
    assert finding(None, bare, True, None, late, grace=GRACE) is None
    assert finding(None, None, False, None, late, grace=GRACE) is None


def test_what_the_daemon_found_is_shown_with_what_it_saw() -> None:
    foreign = Finding(
        source_id="s9",
        source_name="Slack",
        connector="",
        kind=Kind.FOREIGN,
        since=BEFORE,
        detail="put into maintenance by the forum workflow",
        next_step="adopt it",
    )
    lost = replace(foreign, source_id="s1", kind=Kind.LOST)
    on_file = OnFile(windows=(planned(),), held={"s1": held()}, found={"s9": foreign, "s1": lost})
    found = states(on_file, INSIDE)
    assert (found["s9"].finding, found["s9"].source_name, found["s9"].since) == ("foreign", "Slack", BEFORE)
    assert found["s9"].reason == "put into maintenance by the forum workflow"
    assert found["s9"].windows == ()
    assert (found["s1"].finding, found["s1"].reason) == ("lost", "patching")


def test_findings_come_first_then_what_is_in_maintenance_then_what_opens_soonest() -> None:
    soon = planned(id="w2", sources=(SourceRef("s3", "A soon"),), starts_local=datetime(2026, 12, 2, 12))  # noqa: DTZ001
    far = planned(id="w3", sources=(SourceRef("s4", "A far"),), starts_local=datetime(2026, 12, 9, 12))  # noqa: DTZ001
    stuck = replace(held("s5"), claims=())
    found = source_states(OnFile(windows=(far, soon, planned()), held={"s5": stuck}), INSIDE, grace=GRACE)
    assert [item.source_id for item in found] == ["s5", "s1", "s2", "s3", "s4"]


def test_a_source_that_is_entered_ahead_is_wanted_already() -> None:
    ahead = START - timedelta(minutes=5)
    on_file = OnFile(windows=(planned(),), held={"s1": held()})
    found = {item.source_id: item for item in source_states(on_file, ahead, grace=GRACE, lead=lambda _: HOUR)}
    assert (found["s1"].wanted, found["s1"].held, found["s1"].until) == (True, True, CLOSE)
    assert (found["s2"].wanted, found["s2"].held) == (True, False)
    assert not states(on_file, ahead)["s1"].wanted


def test_what_a_source_is_left_out_of_is_not_next_for_it() -> None:
    exemptions = frozenset({("w234567", "2026-12-01T22:00", "s1"), ("w234567", "2026-12-02T22:00", "s1")})
    found = states(OnFile(windows=(daily(),), exemptions=exemptions), BEFORE)
    opens = {name: item.next.opens_at for name, item in found.items() if item.next}
    assert opens == {"s1": START + 2 * DAY, "s2": START}
    assert states(OnFile(windows=(planned(),), exemptions=exemptions), BEFORE)["s1"].next is None


def test_a_source_that_was_only_seen_is_idle() -> None:
    seen = Seen(name="AD", posture=Posture.NORMAL, observed_at=BEFORE)
    view = SourceState.idle("s9", seen).view
    assert (view["source_name"], view["posture"], view["windows"]) == ("AD", "normal", [])


def test_an_occurrence_on_file_is_an_occurrence() -> None:
    kept = Occurrence("w234567", "2026-12-01T22:00", START, CLOSE)
    assert window_view(planned(recorded=(kept,)), INSIDE)["open"] == {"opens_at": START, "closes_at": CLOSE}
