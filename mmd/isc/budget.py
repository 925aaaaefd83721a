"""The request budget: who may send the next request, and when.

ISC counts requests per client_id and API version, 100 in any 10 s (docs/isc.md §2). The budget keeps below
that by itself, so that a 429 only ever means that somebody else uses the same client_id.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A gateway counts a request when it arrives, which is some time between sending it and the answer; if the
# answer takes longer than this many seconds, the request is taken to have been counted by then. A busy
# machine or a slow answer may take a second or two, and with half a second 429s were seen.
SLACK: Final = 2.0
# After so many exchanges the fastest of them says something of the network: the first ones also connect.
_MANY: Final = 20
# Work goes on in steps: what was answered within so many seconds is about to ask for its next request.
_LINGER: Final = 0.5
# One grant in this many goes to whoever has waited longest behind a higher priority, once that is longer than
# so many periods: nobody starves, and a long row of restores still loses at most a twentieth.
_FAIR_TURN: Final = 20
_FAIR_PERIODS: Final = 3
# What only looks may take this share of the rate, so that a window's end never waits for a sweep's requests.
_SWEEP_SHARE: Final = 0.5
# After a 429: down to this share at once, never below that share, and back by so much of the rate per period.
_LOWER: Final = 0.7
_FLOOR: Final = 0.25
_RECOVERY: Final = 0.05
# Floating-point time can stand still at a step too small for it; this many seconds always move it.
_TICK: Final = 0.001


class Priority(IntEnum):
    """Whose request goes first; smaller is sooner (docs/architecture.md, rule 7)."""

    RESTORE = 0
    ENTER = 1
    VERIFY = 2
    SWEEP = 3


# Among requests of one priority the smaller rank goes first. Whoever works on many sources side by side gives
# each its own, so that one is done after the other instead of all at the very end.
RANK: Final[ContextVar[int]] = ContextVar("rank", default=0)


@dataclass(slots=True, eq=False)
class Slot:
    """Leave to send one request now; it is free for the next one at `until` (on the budget's clock).

    Until `busy_until` the work that it is part of is on its way to the next request.
    """

    budget: Budget
    priority: Priority
    granted_at: float
    until: float
    busy_until: float = math.inf

    def settle(self) -> None:
        """Say that the answer is there, or given up, so that ISC has counted the request by now."""
        self.budget.settle(self)

    def give_back(self) -> None:
        """Say that the request was never sent."""
        self.budget.give_back(self)


@dataclass(slots=True, order=True)
class _Waiter:
    rank: int
    number: int
    since: float = field(compare=False)
    granted: asyncio.Future[Slot] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future(), compare=False
    )


class Budget:
    """At most `rate` requests in any `period` seconds, by priority, then rank, then first come first served.

    A sliding log, not a bucket: a bucket lets twice the rate through in one window (docs/dependencies.md).
    """

    def __init__(
        self,
        rate: int,
        period: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._rate, self._period = rate, period
        self._clock, self._sleep = clock, sleep
        self._taken: list[Slot] = []
        self._queues: dict[Priority, list[_Waiter]] = {priority: [] for priority in Priority}
        self._numbers = itertools.count()
        self._turn = 0
        self._blocked_until = self._lowered_at = clock()
        self._lowered_to: float = rate
        self._exchanges, self._fastest = 0, math.inf
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0

    @property
    def ceiling(self) -> int:
        """Requests per period right now: less than the rate for a while after a 429."""
        periods = max(0.0, self._clock() - self._lowered_at) / self._period
        return max(1, int(min(self._rate, self._lowered_to + self._rate * _RECOVERY * periods)))

    async def acquire(self, priority: Priority) -> Slot:
        """Wait for leave to send one request."""
        waiter = _Waiter(RANK.get(), next(self._numbers), self._clock())
        heapq.heappush(self._queues[priority], waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            # Granted and cancelled in the same turn of the loop: nobody is there to use it.
            if waiter.granted.done() and not waiter.granted.cancelled():
                waiter.granted.result().give_back()
            raise

    def settle(self, slot: Slot) -> None:
        """Start the period of a slot, if it has not started.

        The answer's way back took its time after the request was counted: at least half of what the fastest
        of many exchanges took from end to end.
        """
        now = self._clock()
        self._exchanges += 1
        self._fastest = min(self._fastest, now - slot.granted_at)
        way_back = self._fastest / 2 if self._exchanges > _MANY else 0.0
        slot.until = min(slot.until, now - way_back + self._period)
        slot.busy_until = now + _LINGER
        self._serve()

    def give_back(self, slot: Slot) -> None:
        """Take back a slot that was not used."""
        slot.until = float("-inf")
        self._serve()

    def penalise(self, seconds: float) -> None:
        """Send nothing for so long, because of a 429, and go slower for a while after."""
        now = self._clock()
        # Many requests in flight bring many 429s: they are one event.
        if now >= self._blocked_until:
            self._lowered_to = max(self._rate * _FLOOR, self.ceiling * _LOWER)
        self._blocked_until = max(self._blocked_until, now + seconds)
        self._lowered_at = self._blocked_until

    def close(self) -> None:
        """Stop granting, and cancel those who wait."""
        if self._timer is not None:
            self._timer.cancel()
        for waiter in itertools.chain(*self._queues.values()):
            waiter.granted.cancel()

    def _serve(self) -> None:
        now = self._clock()
        self._taken = [slot for slot in self._taken if slot.until > now]
        while (following := self._next(now)) is not None:
            priority, at = following
            if at > now:
                self._wake_at(at)
                return
            slot = Slot(self, priority, now, now + SLACK + self._period)
            self._taken.append(slot)
            heapq.heappop(self._queues[priority]).granted.set_result(slot)
            self._turn += 1

    def _free_at(self, now: float, priority: Priority) -> float:
        if now < self._blocked_until:
            return self._blocked_until
        free_at = _when_fewer(self._taken, self.ceiling, now)
        if priority is Priority.SWEEP:
            own = [slot for slot in self._taken if slot.priority is Priority.SWEEP]
            free_at = max(free_at, _when_fewer(own, max(1, int(self.ceiling * _SWEEP_SHARE)), now))
        return free_at

    def _kept_until(self, now: float, priority: Priority) -> float:
        """Return until when what is free is kept for work of higher priority that is under way.

        It will ask for its next request in a moment; else verification, which then waits, would take the last
        of a period, and the last sources would wait for the next one.
        """
        ahead = [slot.busy_until for slot in self._taken if slot.priority < priority]
        busy = [until for until in ahead if until > now]
        if not busy or len(self._taken) + len(busy) < self.ceiling:
            return now
        return min(*busy, *(slot.until for slot in self._taken))

    def _next(self, now: float) -> tuple[Priority, float] | None:
        """The priority to serve next, and when; drops cancelled waiters at the head of each queue."""
        for queue in self._queues.values():
            while queue and queue[0].granted.done():
                heapq.heappop(queue)
        waiting = [priority for priority, queue in self._queues.items() if queue]
        if not waiting:
            return None
        first, free_at = waiting[0], self._free_at(now, waiting[0])
        if waiting[1:] and self._turn % _FAIR_TURN == 0:
            eldest = min(waiting[1:], key=lambda priority: self._queues[priority][0].since)
            late = now - self._queues[eldest][0].since > _FAIR_PERIODS * self._period
            if late and self._free_at(now, eldest) <= free_at:
                return eldest, self._free_at(now, eldest)
        return first, max(free_at, self._kept_until(now, first))

    def _wake_at(self, at: float) -> None:
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = asyncio.get_running_loop().create_task(self._serve_later(at - self._clock()))

    async def _serve_later(self, seconds: float) -> None:
        await self._sleep(max(seconds, _TICK))
        self._timer = None
        self._serve()


def _when_fewer(taken: list[Slot], than: int, now: float) -> float:
    """Return when fewer than so many of the slots are taken."""
    excess = len(taken) - than
    return now if excess < 0 else sorted(slot.until for slot in taken)[excess]
