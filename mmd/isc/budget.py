"""The request budget: who may send the next request, and when.

ISC counts requests per client_id and API version, 100 in any 10 s (isc-api.md §2). The budget keeps below
that by itself, so that a 429 only ever means that somebody else uses the same client_id.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

# A gateway counts a request when it arrives, which is some time between sending it and the answer; if the
# answer takes longer than this many seconds, the request is taken to have been counted by then.
SLACK: Final = 0.5
# One grant in this many goes to whoever has waited longest behind a higher priority, once that is longer than
# so many periods: nobody starves, and a long row of restores still loses at most a twentieth.
_FAIR_TURN: Final = 20
_FAIR_PERIODS: Final = 3
# After a 429: down to this share at once, never below that share, and back by so much of the rate per period.
_LOWER: Final = 0.7
_FLOOR: Final = 0.25
_RECOVERY: Final = 0.05
# Floating-point time can stand still at a step too small for it; this many seconds always move it.
_TICK: Final = 0.001


class Priority(IntEnum):
    """Whose request goes first; smaller is sooner (design/architecture.md, rule 7)."""

    RESTORE = 0
    ENTER = 1
    VERIFY = 2
    SWEEP = 3


@dataclass(slots=True, eq=False)
class Slot:
    """Leave to send one request now; it is free for the next one at `until` (on the budget's clock)."""

    budget: Budget
    until: float

    def settle(self) -> None:
        """Say that the answer is there, or given up, so that ISC has counted the request by now."""
        self.budget.settle(self)

    def give_back(self) -> None:
        """Say that the request was never sent."""
        self.budget.give_back(self)


@dataclass(slots=True)
class _Waiter:
    since: float
    granted: asyncio.Future[Slot] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Budget:
    """At most `rate` requests in any `period` seconds, by priority, first come first served within one.

    A sliding log, not a bucket: a bucket lets twice the rate through in one window (dependencies.md §4).
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
        self._queues: tuple[deque[_Waiter], ...] = tuple(deque() for _ in Priority)
        self._turn = 0
        self._blocked_until = self._lowered_at = clock()
        self._lowered_to: float = rate
        self._timer: asyncio.Task[None] | None = None
        self._timer_at = 0.0

    @property
    def ceiling(self) -> int:
        """Requests per period right now: less than the rate for a while after a 429."""
        periods = max(0.0, self._clock() - self._lowered_at) / self._period
        return max(1, int(min(self._rate, self._lowered_to + self._rate * _RECOVERY * periods)))

    async def acquire(self, priority: Priority) -> Slot:
        """Wait for leave to send one request."""
        waiter = _Waiter(self._clock())
        self._queues[priority].append(waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            # Granted and cancelled in the same turn of the loop: nobody is there to use it.
            if waiter.granted.done() and not waiter.granted.cancelled():
                waiter.granted.result().give_back()
            raise

    def settle(self, slot: Slot) -> None:
        """Start the period of a slot, if it has not started."""
        slot.until = min(slot.until, self._clock() + self._period)
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
        for waiter in itertools.chain(*self._queues):
            waiter.granted.cancel()

    def _serve(self) -> None:
        now = self._clock()
        self._taken = [slot for slot in self._taken if slot.until > now]
        while queue := self._next_queue(now):
            if (at := self._free_at(now)) > now:
                self._wake_at(at)
                return
            slot = Slot(self, now + SLACK + self._period)
            self._taken.append(slot)
            queue.popleft().granted.set_result(slot)
            self._turn += 1

    def _free_at(self, now: float) -> float:
        if now < self._blocked_until:
            return self._blocked_until
        if len(self._taken) < self.ceiling:
            return now
        return min(slot.until for slot in self._taken)

    def _next_queue(self, now: float) -> deque[_Waiter] | None:
        """The queue to serve next, without cancelled waiters at its head."""
        for queue in self._queues:
            while queue and queue[0].granted.done():
                queue.popleft()
        waiting = [queue for queue in self._queues if queue]
        if waiting[1:] and self._turn % _FAIR_TURN == 0:
            eldest = min(waiting[1:], key=lambda queue: queue[0].since)
            if now - eldest[0].since > _FAIR_PERIODS * self._period:
                return eldest
        return waiting[0] if waiting else None

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
