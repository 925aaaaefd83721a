"""`mmd was` and `mmd history` over real database files, as people and programs call them."""

from __future__ import annotations

import csv
import io
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from desk import Desk
from hypothesis import given
from hypothesis import strategies as st

from mmd.cli.history import told
from mmd.escrow import Claim
from mmd.findings import Finding, Kind
from mmd.plan import Held
from mmd.posture import Fields, Json, Posture, Snapshot, Treatment
from mmd.store import Entry, Sighting, Store
from mmd.windows import SourceRef, Window

NOON = datetime(2025, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
JSON = ("-o", "json")
BEFORE = Fields(("PROVISIONING",), {}, {})


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A past: HR was held from noon to one, and is watched since eleven; two sources are called AD."""
    found = Desk(tmp_path, capsys)
    found.configure(None)
    with Store.open(found.database, create=True) as store:
        sight(store, NOON - HOUR, Posture.NORMAL, "id1", "HR")
        sight(store, NOON - HOUR, Posture.NORMAL, "id2", "AD")
        sight(store, NOON - HOUR, Posture.NORMAL, "id3", "AD")
        held(store)
        sight(store, NOON + timedelta(seconds=10), Posture.MAINTENANCE, "id1", "HR")
        sight(store, NOON + HOUR + timedelta(seconds=10), Posture.NORMAL, "id1", "HR cloud")
        for minutes in range(-60, 121, 5):
            at = NOON + timedelta(minutes=minutes)
            store.findings.swept(at, sources=3, within=timedelta(minutes=15))
    return found


def sight(store: Store, at: datetime, posture: Posture, source_id: str, name: str) -> None:
    sighting = Sighting(
        source_id=source_id, name=name, connector="", posture=posture, reason="", observed_at=at
    )
    store.sightings.save([sighting])


def held(store: Store) -> None:
    snapshot = Snapshot(
        id="s1",
        source_id="id1",
        source_name="HR",
        treatment=Treatment.FULL,
        taken_at=NOON,
        before=BEFORE,
        after=BEFORE,
    )
    claim = Claim(window_id="w1", key="k", opens_at=NOON, closes_at=NOON + HOUR, reason="patches")
    body: dict[str, Json] = {"name": "HR", "snapshot": snapshot.id}
    entry = Entry(at=NOON, kind="snapshot.taken", actor="mmd", source_id="id1", body=body)
    store.holds.take(Held(snapshot=snapshot, claims=(claim,), text="…"), entry)
    with store.database.write() as connection:
        connection.exec_driver_sql(
            "UPDATE snapshot SET entered_at = '2025-12-01T12:00:08.000000Z',"
            " restored_at = '2025-12-01T13:00:08.000000Z', released_at = '2025-12-01T13:01:00.000000Z'"
        )


# --- was ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "answer", "code"),
    [
        ("2025-12-01T12:30:00Z", True, 0),
        ("2025-12-01T11:30:00Z", False, 3),
        ("2025-12-01T13:30:00Z", False, 3),
        ("2025-12-01 13:30", True, 0),  # by the clock in Berlin
        ("2025-12-01T12:00:04Z", None, 1),
        ("2025-11-01T12:00:00Z", None, 1),
        ("2026-01-01T12:00:00Z", None, 1),
        ("2101-01-01T12:00:00Z", None, 1),
        ("now", None, 1),
    ],
)
def test_the_answer_and_its_exit_code(time: str, answer: bool | None, code: int, desk: Desk) -> None:
    said = desk.mmd("was", "HR", "--at", time, *JSON)
    assert (said.json["in_maintenance"], said.code) == (answer, code)
    assert said.err == ""


def test_the_json_is_that_of_the_contract(desk: Desk) -> None:
    document = desk.done("was", "id1", "--at", "2025-12-01 13:30", *JSON).json
    assert document == {
        "source_id": "id1",
        "source_name": "HR cloud",
        "at": "2025-12-01T12:30:00Z",
        "in_maintenance": True,
        "evidence": document["evidence"],
    }
    assert [sentence.split(":")[0] for sentence in document["evidence"]] == [
        "planned",
        "applied",
        "observed",
        "observed",
    ]


def test_the_table_says_it_in_words(desk: Desk) -> None:
    lines = desk.done("was", "HR", "--at", "2025-12-01 13:30").out.splitlines()
    assert lines[1].split(maxsplit=1) == ["source", "HR cloud (id1)"]
    assert lines[3].split() == ["maintenance", "yes"]
    assert desk.mmd("was", "HR", "--at", "2025-12-01 12:30").out.splitlines()[3].split()[1] == "no"
    assert "not known" in desk.mmd("was", "HR", "--at", "now").out


@pytest.mark.parametrize("name", ["HR", "HR cloud", "id1", "HR c*"])
def test_a_source_has_the_names_of_then_and_of_now(name: str, desk: Desk) -> None:
    assert desk.done("was", name, "--at", "2025-12-01 13:30", *JSON).json["source_id"] == "id1"


@pytest.mark.parametrize("name", ["AD", "*", "?D"])
def test_several_sources_are_refused_and_named(name: str, desk: Desk) -> None:
    said = desk.mmd("was", name, "--at", "now")
    assert said.code == 2
    assert "id2" in said.error
    assert "id3" in said.error
    assert said.out == ""


def test_an_unknown_source_is_an_error_and_no_answer(desk: Desk) -> None:
    said = desk.mmd("was", "ERP", "--at", "now", *JSON)
    assert (said.code, said.out) == (3, "")
    assert "there is no source 'ERP'" in said.error


@pytest.mark.parametrize(
    "words", [("was", "HR"), ("was", "--at", "now"), ("was", "HR", "--at", "12/01/2026")]
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], desk: Desk) -> None:
    assert desk.mmd(*words).code == 2


def test_without_a_database_nothing_is_known_and_none_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Desk(tmp_path, capsys)
    found.configure(None)
    assert found.mmd("was", "HR", "--at", "now").code == 3
    assert found.done("history").err.startswith(f"there is no database at {found.database}: ")
    assert found.mmd("history", "verify").code == 3
    assert not found.database.exists()


# --- The timelines that answers and reports are made of -------------------------------------------------


def window(store: Store) -> Window:
    """Plan each noon for an hour, for two sources; one is left out of the second day."""
    planned = Window(
        id="w1",
        sources=(SourceRef("id1", "HR"), SourceRef("id2", "AD")),
        starts_local=NOON.replace(tzinfo=None),
        timezone="UTC",
        duration=HOUR,
        repeat="FREQ=DAILY",
        reason="patches",
        created_at=NOON - HOUR,
        effective_from=NOON - HOUR,
    )
    entry = Entry(at=NOON - HOUR, kind="window.added", actor="me", window_id="w1")
    store.plans.add(planned, entry)
    store.plans.exempt([("w1", "2025-12-02T12:00", "id1")], reason="by hand", entry=entry)
    return planned


def test_a_timeline_begins_with_what_was_seen_before(desk: Desk) -> None:
    with desk.open() as store:
        (line,) = store.past.timelines(["id1"], NOON + HOUR / 2, NOON + 2 * HOUR)
        postures = [item.posture for item in line.seen]
        assert postures == [Posture.MAINTENANCE, Posture.NORMAL]
        (line,) = store.past.timelines(["id1"], NOON + HOUR / 2, NOON + HOUR)
        assert [item.posture for item in line.seen] == [Posture.MAINTENANCE]
        (line,) = store.past.timelines(["id1"], NOON - 3 * HOUR, NOON - 2 * HOUR)
        assert (line.seen, line.applied, line.watched) == ((), (), ())


def test_timelines_are_of_the_sources_asked_for_or_of_all(desk: Desk) -> None:
    with desk.open() as store:
        window(store)
        for asked, found in (
            (None, ["id2", "id3", "id1"]),
            (["id1", "id3"], ["id3", "id1"]),
            (["id9"], ["id9"]),
        ):
            lines = store.past.timelines(asked, NOON - HOUR, NOON + HOUR)
            assert [line.source_id for line in lines] == found
            assert all(line.seen for line in lines) is (asked != ["id9"])
        by_id = {line.source_id: line for line in store.past.timelines(None, NOON - HOUR, NOON + HOUR)}
        alone = {name: store.past.timelines([name], NOON - HOUR, NOON + HOUR)[0] for name in by_id}
        assert by_id == alone
        assert [len(by_id[name].applied) for name in ("id1", "id2")] == [1, 0]


def test_what_was_left_out_was_not_planned(desk: Desk) -> None:
    with desk.open() as store:
        window(store)
        lines = store.past.timelines(["id1", "id2"], NOON, NOON + timedelta(days=3))
    days = {line.source_id: [item.opens_at.day for item in line.planned] for line in lines}
    assert days == {"id1": [1, 3], "id2": [1, 2, 3]}


def test_an_entry_and_a_finding_count_while_they_last(desk: Desk) -> None:
    found = Finding(
        source_id="id1",
        source_name="HR",
        connector="",
        kind=Kind.ORPHAN,
        since=NOON,
        detail="the marker is set",
        next_step="adopt it",
    )
    with desk.open() as store:
        store.findings.update([found], judged=None, now=NOON, actor="mmd")
        store.findings.update([], judged=None, now=NOON + HOUR, actor="mmd")
        counts = []
        for hours in (-2, -1, 0, 1, 2):
            since = NOON + hours * HOUR
            (line,) = store.past.timelines(["id1"], since, since + HOUR)
            counts.append((len(line.applied), len(line.found)))
    assert counts == [(0, 0), (0, 0), (1, 1), (1, 1), (0, 0)]


# --- history --------------------------------------------------------------------------------------------


def test_lines_for_people_the_newest_last(desk: Desk) -> None:
    said = desk.done("history")
    assert said.out.splitlines() == [
        "2025-12-01 11:00:00Z  mmd  HR: seen: normal",
        "2025-12-01 11:00:00Z  mmd  AD: seen: normal",
        "2025-12-01 11:00:00Z  mmd  AD: seen: normal",
        "2025-12-01 12:00:00Z  mmd  HR: snapshot taken",
        "2025-12-01 12:00:10Z  mmd  HR: seen: maintenance",
        "2025-12-01 13:00:10Z  mmd  HR cloud: seen: normal",
    ]
    assert said.err == ""


def test_the_newest_alone_with_a_word_that_there_are_more(desk: Desk) -> None:
    said = desk.done("history", "-n", "2")
    assert said.out.splitlines()[0].startswith("2025-12-01 12:00:10Z")
    assert said.err == "these are the newest 2; -n 0 shows all\n"
    assert len(desk.done("history", "-n", "0").out.splitlines()) == 6


def test_two_hundred_unless_told_otherwise(desk: Desk) -> None:
    with desk.open() as store:
        store.journal.write(*(Entry(at=NOON, kind="entered", actor="me") for _ in range(300)))
    assert desk.done("history").out.count("\n") == 200
    assert desk.done("history", "-n", "0").out.count("\n") == 306


def test_all_of_a_period_and_of_what_is_exported(desk: Desk) -> None:
    with desk.open() as store:
        store.journal.write(*(Entry(at=NOON, kind="entered", actor="me") for _ in range(300)))
    assert len(desk.done("history", *JSON).json["entries"]) == 306
    assert len(desk.done("history", "-n", "7", *JSON).json["entries"]) == 7
    assert desk.done("history", "-o", "csv").out.count("\n") == 307
    assert desk.done("history", "--since", "2025-01-01 00:00").out.count("\n") == 306
    assert desk.done("history", "--until", "2025-12-31 00:00", *JSON).out.count('"seq"') == 306


def test_of_a_source_and_of_a_while(desk: Desk) -> None:
    of_source = desk.done("history", "HR", *JSON).json["entries"]
    assert [item["seq"] for item in of_source] == [1, 4, 5, 6]
    words = ("--since", "2025-12-01T12:00:00Z", "--until", "2025-12-01 14:00:10")
    assert desk.done("history", *words, "-o", "id").out == "4\n5\n"


def test_an_entry_in_json(desk: Desk) -> None:
    entry = desk.done("history", "-n", "1", *JSON).json["entries"][0]
    body = entry.pop("body")
    assert entry == {
        "seq": 6,
        "at": "2025-12-01T13:00:10Z",
        "kind": "seen",
        "actor": "mmd",
        "source_id": "id1",
        "window_id": None,
    }
    assert (body["name"], body["posture"]) == ("HR cloud", "normal")


def test_no_entries_in_json_and_csv(desk: Desk) -> None:
    words = ("--since", "2099-01-01 00:00")
    assert desk.done("history", *words, *JSON).json == {"entries": []}
    assert desk.done("history", *words, "-o", "csv").out.count("\n") == 1
    assert desk.done("history", *words).out == ""


def test_csv_has_a_heading_and_a_row_for_each_entry(desk: Desk) -> None:
    rows = list(csv.reader(io.StringIO(desk.done("history", "-o", "csv").out)))
    assert rows[0] == ["seq", "at", "kind", "actor", "source_id", "window_id", "what"]
    assert rows[4] == ["4", "2025-12-01T12:00:00Z", "snapshot.taken", "mmd", "id1", "", "HR: snapshot taken"]
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("kind", "window_id", "body", "sentence"),
    [
        (
            "window.added",
            "w1",
            {"sources": ["HR", "AD"], "reason": "patches", "repeat": None, "fold": 0},
            "window w1: planned: HR and AD, patches",
        ),
        (
            "window.edited",
            "w1",
            {"before": {"reason": "a"}, "after": {"reason": "b"}},
            "window w1: edited: reason a, reason b",
        ),
        (
            "occurrence.begun",
            "w1",
            {"key": "k", "opens_at": "12:00", "closes_at": "13:00"},
            "window w1: opened: 12:00, 13:00",
        ),
        (
            "intent",
            "w1",
            {"name": "HR", "snapshot": "s1", "request": "PATCH escrow", "operations": ["add /a", "add /b"]},
            "HR: about to send: PATCH escrow, add /a and add /b",
        ),
        (
            "outcome",
            None,
            {"name": "HR", "request": "PATCH escrow", "outcome": "unknown", "error": "no reply"},
            "HR: sent: PATCH escrow, unknown, no reply",
        ),
        ("entered", "w1", {"name": "HR", "snapshot": "s1"}, "HR: in maintenance, verified"),
        ("finding.opened", None, {"name": "HR", "kind": "orphan", "detail": "x"}, "HR: found: orphan, x"),
        ("something.new", None, {"name": "HR", "a": 1, "b": True}, "HR: something.new: 1, True"),
        ("something.new", None, {}, "something.new"),
    ],
)
def test_an_entry_in_words(kind: str, window_id: str | None, body: dict[str, str], sentence: str) -> None:
    assert told(kind, window_id, body) == sentence


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KINDS = st.sampled_from(["window.added", "intent", "outcome", "restored", "seen", "finding.opened", "x.y"])
KEYS = st.sampled_from(["name", "reason", "kept", "operations", "request", "sources", "posture", "detail"])


@given(KINDS, st.none() | st.text(), st.dictionaries(KEYS, JSONS))
def test_any_entry_can_be_said(kind: str, window_id: str | None, body: dict[str, str]) -> None:
    assert told(kind, window_id, body)


def test_a_windows_id_is_no_source_and_the_hint_says_where_windows_are_shown(desk: Desk) -> None:
    with desk.open() as store:
        window(store)
    for words in (("history", "w1"), ("was", "w1", "--at", "now")):
        said = desk.mmd(*words)
        assert said.code == 3
        assert said.err.endswith("hint: w1 is a window: `mmd schedule show w1` shows it\n")


# --- verify ---------------------------------------------------------------------------------------------


def test_a_sound_journal_shows_its_ends(desk: Desk) -> None:
    document = desk.done("history", "verify", *JSON).json
    with desk.open() as store:
        chain = store.journal.verify()
    assert document == {"entries": 6, "first": chain.first, "last": chain.last, "broken": None}
    table = desk.done("history", "verify").out
    assert chain.last in table
    assert "broken" not in table
    assert desk.done("history", "verify", "-o", "id").out == f"{chain.last}\n"


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("UPDATE journal SET body = '{}' WHERE seq = 3", 3),
        ("DELETE FROM journal WHERE seq > 4", 5),
    ],
)
def test_a_broken_journal_names_the_first_row_and_exits_1(statement: str, broken: int, desk: Desk) -> None:
    with closing(sqlite3.connect(desk.database)) as connection, connection:
        for trigger in ("update", "delete"):
            connection.execute(f"DROP TRIGGER journal_no_{trigger}")
        connection.execute(statement)
    said = desk.mmd("history", "verify", *JSON)
    assert (said.code, said.json["broken"]) == (1, broken)
    assert f"{broken - 1} entries before it are sound" in said.error
    assert desk.mmd("db", "check").code == 1
