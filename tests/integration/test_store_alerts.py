"""Alerts and the outbox on file: all or nothing, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mmd.alerts import Alert, Condition, Kind, Message, Verdict
from mmd.store import Entry, Store, rows
from mmd.store.alerts import Change

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "mmd.db", create=True) as opened:
        yield opened


def alert(
    number: int = 1, *, detail: str = "wrong", step: str = "look", reminded_at: datetime = NOON
) -> Alert:
    condition = Condition(
        cause=f"failed:id{number}",
        kind=Kind.FAILED,
        source_id=f"id{number}",
        subject=f"AD {number}",
        detail=detail,
        next_step=step,
    )
    return Alert(condition=condition, opened_at=NOON, reminded_at=reminded_at)


def write(
    store: Store,
    verdict: Verdict | None = None,
    *titles: str,
    channels: tuple[str, ...] = ("one", "two"),
    announced: dict[str, datetime] | None = None,
    told: int | None = None,
    now: datetime = NOON,
) -> None:
    change = Change(
        verdict=verdict or Verdict(),
        messages=[Message(kind=Kind.FAILED, title=title, body="body") for title in titles],
        announced=announced or {},
        told=told,
    )
    store.alerts.write(change, channels=channels, now=now, actor="daemon")


def kinds(store: Store) -> list[str]:
    return [entry.kind for entry in store.journal.read()]


def test_an_alert_comes_back_as_it_was_written(store: Store) -> None:
    tenant = Condition(cause="clock", kind=Kind.CLOCK, source_id=None, subject="here", detail="stepped")
    opened = (alert(), Alert(condition=tenant, opened_at=NOON, reminded_at=NOON))
    write(store, Verdict(opened=opened))
    assert store.alerts.open() == list(opened)


def test_a_changed_alert_keeps_its_beginning(store: Store) -> None:
    write(store, Verdict(opened=(alert(),)))
    newer = alert(detail="worse", step="run", reminded_at=NOON + MINUTE)
    write(store, Verdict(changed=(newer,)))
    assert store.alerts.open() == [newer]


def test_a_cleared_alert_may_come_again(store: Store) -> None:
    write(store, Verdict(opened=(alert(),)))
    write(store, Verdict(cleared=(alert(),)), now=NOON + MINUTE)
    assert store.alerts.open() == []
    write(store, Verdict(opened=(alert(),)))
    assert store.alerts.open() == [alert()]
    assert kinds(store) == ["alert.opened", "alert.cleared", "alert.opened"]


def test_one_cause_cannot_be_open_twice(store: Store) -> None:
    write(store, Verdict(opened=(alert(),)))
    with pytest.raises(Exception, match="UNIQUE"):
        write(store, Verdict(opened=(alert(),)), "never said")
    assert store.alerts.pending("one") == []
    assert kinds(store) == ["alert.opened"]


def test_messages_are_committed_with_their_alerts_or_not_at_all(store: Store) -> None:
    with pytest.raises(Exception, match="UNIQUE"):
        write(store, Verdict(opened=(alert(), alert())), "never said")
    assert (store.alerts.open(), store.alerts.waiting()) == ([], (0, None))


def test_each_channel_gets_each_message_in_order(store: Store) -> None:
    write(store, None, "first", "second")
    for channel in ("one", "two"):
        assert [item.message.title for item in store.alerts.pending(channel)] == ["first", "second"]
    assert store.alerts.waiting() == (4, NOON)


def test_without_a_channel_nothing_is_queued(store: Store, tmp_path: Path) -> None:
    write(store, Verdict(opened=(alert(),)), "unheard", channels=())
    assert store.alerts.open() == [alert()]
    assert store.alerts.waiting() == (0, None)
    assert rows(tmp_path / "mmd.db")["message"] == 0


def test_a_failed_delivery_waits_and_a_done_one_is_gone(store: Store) -> None:
    write(store, None, "first")
    (mine,) = store.alerts.pending("one")
    store.alerts.undelivered(mine, error="status 500", next_at=NOON + MINUTE)
    (again,) = store.alerts.pending("one")
    assert (again.attempts, again.next_at) == (1, NOON + MINUTE)
    assert store.alerts.next_due() == NOON  # of the other channel
    store.alerts.delivered(again, NOON + MINUTE)
    assert store.alerts.pending("one") == []
    assert len(store.alerts.pending("two")) == 1


def test_a_delivery_lets_the_rest_of_its_channel_go_at_once(store: Store) -> None:
    write(store, None, "first", "second")
    for channel in ("one", "two"):
        for item in store.alerts.pending(channel):
            store.alerts.undelivered(item, error="", next_at=NOON + 60 * MINUTE)
    store.alerts.delivered(store.alerts.pending("one")[0], NOON + MINUTE)
    assert [item.next_at for item in store.alerts.pending("one")] == [NOON + MINUTE]
    assert [item.next_at for item in store.alerts.pending("two")] == [NOON + 60 * MINUTE] * 2


def test_what_was_meant_for_a_channel_that_is_gone_is_given_up_and_noted(store: Store) -> None:
    write(store, None, "first", "second")
    assert store.alerts.drop_others(["two", "three"], NOON, "daemon") == {"one": 2}
    assert store.alerts.pending("one") == []
    assert len(store.alerts.pending("two")) == 2
    (entry,) = store.journal.read()
    assert (entry.kind, entry.body) == ("alert.dropped", {"channel": "one", "messages": 2})
    assert store.alerts.drop_others(["two", "three"], NOON, "daemon") == {}


def test_only_what_happens_after_the_beginning_is_told_and_once(store: Store) -> None:
    before, after, other = (
        Entry(at=NOON, kind=kind, actor="daemon", body={"name": name})
        for kind, name in (("entered", "old"), ("entered", "new"), ("intent", "new"))
    )
    store.journal.write(before)
    assert store.alerts.untold(("entered",)) == []
    store.alerts.begin()
    store.journal.write(after, other)
    (found,) = store.alerts.untold(("entered", "restored"))
    assert (found.body["name"], found.seq) == ("new", 2)
    write(store, told=found.seq)
    store.alerts.begin()  # another life
    assert store.alerts.untold(("entered", "restored")) == []


def test_what_was_announced_is_forgotten_when_it_has_passed(store: Store) -> None:
    write(store, announced={"opening:w1": NOON + MINUTE})
    assert store.alerts.announced(["opening:w1", "opening:w2"]) == {"opening:w1"}
    write(store, announced={"opening:w2": NOON + 9 * MINUTE}, now=NOON + MINUTE)
    assert store.alerts.announced(["opening:w1", "opening:w2"]) == {"opening:w1", "opening:w2"}
    write(store, announced={"opening:w3": NOON + 9 * MINUTE}, now=NOON + 2 * MINUTE)
    assert store.alerts.announced(["opening:w1", "opening:w2"]) == {"opening:w2"}


def test_nothing_to_write_is_known_as_such() -> None:
    assert Change(verdict=Verdict()).is_empty
    assert not Change(verdict=Verdict(), told=7).is_empty
    assert not Change(verdict=Verdict(changed=(alert(),))).is_empty
