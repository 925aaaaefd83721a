"""`mmd was` is never wrong about a history that happened: it says what was, or that it is not known."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import GRACE, KEY, Fault, World

from mmd.amend import end
from mmd.cli.rescue import take
from mmd.findings import Rules
from mmd.history import BRIDGE, was
from mmd.isc import door
from mmd.posture import MARKER
from mmd.recovery import Told as Remembered
from mmd.recovery import remembered
from mmd.store import Entry
from mmd.sweep import Sweeper
from mmd.windows import Window, open_at

MINUTE = 60.0
EVERY = timedelta(minutes=5)


@dataclass
class Told:
    """A world whose truth is written down, to be compared with what is on file about it.

    `unseen` is what was so since somebody else than mmd last touched the source: what was undone before
    anybody looked cannot be known, so only what the next look still finds is to be told.
    """

    it: World
    truth: list[tuple[datetime, bool]] = field(default_factory=list)
    unseen: list[tuple[datetime, bool]] = field(default_factory=list)
    seen: bool = True

    @property
    def source_id(self) -> str:
        return self.it.ids[0]

    @property
    def marked(self) -> bool:
        return self.it.tenant.sources[self.source_id]["connectorAttributes"].get(MARKER) is True

    def note(self) -> None:
        """Write down what is so, in the middle of a minute in which nothing happens."""
        self.it.clock.pass_by(MINUTE / 2)
        (self.truth if self.seen else self.unseen).append((self.it.clock.at, self.marked))
        self.it.clock.pass_by(MINUTE / 2)

    def looked(self) -> None:
        """Somebody has looked at the source, as it is now."""
        self.truth += [(instant, marked) for instant, marked in self.unseen if marked is self.marked]
        self.unseen, self.seen = [], True

    def sweep(self) -> None:
        isc = self.it.reconciler._isc
        rules = Rules(grace=GRACE, key=KEY)
        sweeper = Sweeper(self.it.store, isc, rules, now=self.it.clock.now, actor="mmd", every=EVERY)
        swept = asyncio.run(sweeper.run())
        assert swept.error is None
        self.looked()

    def daemon(self, minutes: int) -> None:
        """Let the daemon run: a sweep and a few passes each minute."""
        for _ in range(minutes):
            self.sweep()
            self.it.run(3, seconds=1)
            self.note()

    def nobody(self, minutes: int) -> None:
        """The daemon is gone, and comes back as another process."""
        for _ in range(minutes):
            self.note()
        self.it.begin()

    def by_hand(self, *, value: bool) -> None:
        """A person sets or takes away the marker of a source that mmd does not hold."""
        if self.it.store.holds.held(self.source_id):
            return
        self.it.tenant.sources[self.source_id]["connectorAttributes"][MARKER] = value
        self.seen = False

    def rescue(self, *, adopt: bool) -> None:
        """A person restores or adopts a source that is in maintenance by someone else's hand."""
        if self.it.store.holds.held(self.source_id) or not self.marked:
            return
        self.looked()
        now = self.it.clock.now()
        observed = door.observe(self.it.shown(self.source_id, whole=False)[0])
        observed = replace(observed, schedules=self.it.shown(self.source_id)[1])
        known = remembered(observed, Remembered(), key=KEY, new_id=uuid.uuid4().hex, now=now)
        if adopt:
            self.it.plan([self.source_id], lasting=10 * MINUTE)
        take(self.it.store, known, now=now, actor="me")
        self.it.run(3, seconds=1)

    def end(self) -> None:
        """A person ends what is open."""
        now = self.it.clock.at
        for window in self.it.store.plans.current(now):
            if open_at(window, now):
                self.it.store.plans.change(window.id, self._ended)

    def _ended(self, window: Window) -> tuple[Window, Entry]:
        now = self.it.clock.at
        return end(window, now), Entry(at=now, kind="window.ended", actor="me", window_id=window.id)

    def answer(self, at: datetime) -> bool | None:
        since, until = at - BRIDGE, at + BRIDGE
        (line,) = self.it.store.past.timelines([self.source_id], since, until)
        return was(line, at, now=self.it.clock.at).in_maintenance


@contextmanager
def told() -> Iterator[Told]:
    it = World()
    try:
        yield Told(it)
    finally:
        it.close()


def test_a_late_entry_an_early_end_a_crash_and_a_zombie() -> None:
    with told() as story:
        at = {}

        def remember(name: str) -> None:
            at[name] = story.truth[-2:][0]  # after which the source was looked at once more

        story.note()
        remember("before mmd knew it")
        story.daemon(3)
        remember("idle")
        story.it.plan([story.source_id], lasting=30 * MINUTE)
        story.nobody(10)
        remember("planned, and late")
        story.daemon(3)
        remember("entered late")
        story.end()
        story.daemon(2)
        remember("ended early")
        story.it.plan([story.source_id], lasting=30 * MINUTE)
        story.daemon(2)
        story.nobody(90)
        remember("held, and the daemon is dead")
        story.daemon(2)
        remember("restored late")
        story.by_hand(value=True)
        story.daemon(2)
        remember("a zombie")
        story.by_hand(value=False)
        story.daemon(2)
        remember("gone")
        story.sweep()
        answers = {name: (story.answer(instant), truth) for name, (instant, truth) in at.items()}
    assert answers == {
        "before mmd knew it": (None, False),
        "idle": (False, False),
        "planned, and late": (False, False),
        "entered late": (True, True),
        "ended early": (False, False),
        "held, and the daemon is dead": (True, True),
        "restored late": (False, False),
        "a zombie": (True, True),
        "gone": (False, False),
    }


def test_a_death_while_entering_is_not_known_until_it_goes_on() -> None:
    with told() as story:
        story.daemon(2)
        story.it.plan([story.source_id])
        story.it.begin([Fault(8, "die before")])
        story.it.run()
        assert story.it.seams.dead
        story.nobody(3)
        dead = story.it.clock.at - timedelta(minutes=1)
        story.daemon(2)
        assert story.answer(dead) is None
        assert story.answer(story.it.clock.at) is True


STEPS = st.one_of(
    st.tuples(st.just("daemon"), st.integers(1, 12)),
    st.tuples(st.just("nobody"), st.integers(1, 90)),
    st.tuples(st.just("plan"), st.integers(1, 40)),
    st.tuples(st.just("mark"), st.integers(0, 1)),
    st.tuples(st.just("rescue"), st.integers(0, 1)),
    st.tuples(st.just("end"), st.just(0)),
)


@pytest.mark.parametrize("adopt", [False, True])
def test_when_a_flag_was_set_that_no_sweep_saw_is_not_known(adopt: bool) -> None:
    with told() as story:
        story.daemon(3)
        before, _ = story.truth[-2]  # after which it was looked at once more
        story.by_hand(value=True)
        story.nobody(2)
        zombie = story.it.clock.at - timedelta(minutes=1)
        story.rescue(adopt=adopt)
        assert story.answer(zombie) is None
        story.daemon(2)
        since, _ = story.truth[-2]
        assert [story.answer(at) for at in (before, zombie, since)] == [False, None, adopt]


@pytest.mark.slow
@settings(max_examples=40)
@given(st.lists(STEPS, min_size=1, max_size=12))
def test_it_is_never_wrong(steps: list[tuple[str, int]]) -> None:
    with told() as story:
        for step, number in steps:
            match step:
                case "daemon":
                    story.daemon(number)
                case "nobody":
                    story.nobody(number)
                case "plan":
                    story.it.plan([story.source_id], lasting=number * MINUTE)
                case "mark":
                    story.by_hand(value=bool(number))
                case "rescue":
                    story.rescue(adopt=bool(number))
                case _:
                    story.end()
        story.daemon(1)
        wrong = [
            (instant, truth, answer)
            for instant, truth in story.truth
            if (answer := story.answer(instant)) not in (truth, None)
        ]
    assert wrong == []
