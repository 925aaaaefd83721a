"""Whatever comes and goes, in whatever order: each cause is told once, again in time, and over once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from samples import NOON

from mmd.alerts import Alert, Condition, Kind, Message, Verdict, triage

REMIND = timedelta(minutes=30)
KINDS = (Kind.FAILED, Kind.ZOMBIE, Kind.LATE)
NAMES = tuple(f"S{number:02}" for number in range(6))


def condition(name: str) -> Condition:
    """Make the condition of this name; what it is about is its own, so none gives way to another."""
    kind = KINDS[NAMES.index(name) % len(KINDS)]
    return Condition(cause=name, kind=kind, source_id=f"id-{name}", subject=name, detail="wrong")


@dataclass
class Book:
    """The alerts on file, kept as the store keeps them, and everything that was told."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    told: list[tuple[datetime, Message]] = field(default_factory=list)

    def step(self, names: set[str], now: datetime, unseen: set[str]) -> Verdict:
        verdict = triage(
            [condition(name) for name in names],
            self.alerts.values(),
            now=now,
            remind_every=REMIND,
            judged=lambda alert: alert.condition.cause not in unseen,
        )
        for gone in verdict.cleared:
            del self.alerts[gone.condition.cause]
        for item in verdict.opened:
            assert item.condition.cause not in self.alerts
        self.alerts |= {item.condition.cause: item for item in (*verdict.opened, *verdict.changed)}
        self.told += [(now, message) for message in verdict.messages]
        return verdict

    def when(self, name: str, prefix: str) -> list[datetime]:
        """Return when messages of a sort named this."""
        prefixes = {"still ", "over: "} - {prefix}
        return [
            at
            for at, message in self.told
            if f"{name} (id-{name})" in message.body
            and message.title.startswith(prefix)
            and (prefix or not message.title.startswith(tuple(prefixes)))
        ]


passes = st.lists(
    st.tuples(
        st.integers(1, 20),  # minutes since the pass before
        st.sets(st.sampled_from(NAMES)),  # what is wrong
        st.sets(st.sampled_from(NAMES)),  # what could not be looked at
    ),
    max_size=30,
)


@given(passes)
def test_each_cause_is_told_when_it_opens_and_when_it_is_over_and_never_else(
    steps: list[tuple[int, set[str], set[str]]],
) -> None:
    book, now, open_now = Book(), NOON, set[str]()
    opened: dict[str, list[datetime]] = {name: [] for name in NAMES}
    closed: dict[str, list[datetime]] = {name: [] for name in NAMES}
    for minutes, wrong, unseen in steps:
        now += timedelta(minutes=minutes)
        wrong_now = wrong - unseen
        for name in wrong_now - open_now:
            opened[name].append(now)
        for name in open_now - wrong_now - unseen:
            closed[name].append(now)
        open_now = wrong_now | (open_now & unseen)
        book.step(wrong_now, now, unseen)
        assert set(book.alerts) == open_now
    for name in NAMES:
        assert book.when(name, "") == opened[name]
        assert book.when(name, "over: ") == closed[name]


@given(st.lists(st.integers(1, 45), min_size=1, max_size=60))
def test_what_lasts_is_told_again_at_the_first_pass_after_each_interval(gaps: list[int]) -> None:
    book, now, last = Book(), NOON, NOON
    book.step({"S00"}, now, set())
    expected = []
    for minutes in gaps:
        now += timedelta(minutes=minutes)
        if now - last >= REMIND:
            expected.append(now)
            last = now
        book.step({"S00"}, now, set())
    assert book.when("S00", "still ") == expected
    assert book.when("S00", "") == [NOON]


@given(passes)
def test_no_pass_sends_two_messages_of_one_kind_and_sort(
    steps: list[tuple[int, set[str], set[str]]],
) -> None:
    book, now = Book(), NOON
    for minutes, wrong, unseen in steps:
        now += timedelta(minutes=minutes)
        verdict = book.step(wrong - unseen, now, unseen)
        sorts = Counter((item.kind, item.title.partition(" ")[0]) for item in verdict.messages)
        assert all(count == 1 for count in sorts.values())


@given(st.sets(st.sampled_from(NAMES)))
def test_what_was_not_looked_at_is_neither_cleared_nor_told(names: set[str]) -> None:
    book = Book()
    book.step(names, NOON, set())
    before = dict(book.alerts)
    verdict = book.step(set(), NOON + 10 * REMIND, set(NAMES))
    assert verdict == Verdict()
    assert book.alerts == before


@given(st.sets(st.sampled_from(NAMES)), st.integers(0, 29))
def test_a_second_look_at_the_same_changes_nothing(names: set[str], minutes: int) -> None:
    book = Book()
    book.step(names, NOON, set())
    assert book.step(names, NOON + timedelta(minutes=minutes), set()) == Verdict()
