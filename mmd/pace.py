"""How long entering and restoring take, by the number of requests and ISC's limit.

Pure. The requests of many sources share one sliding budget (docs/isc.md §2), which decides how long they
take once there are more than fit into one period; below that it is the answers' latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmd.windows import Window

# Of one source with two schedules, verification included (mmd/effects.py).
REQUESTS: Final = 8
# Round trips one after the other, and what an answer of ISC takes when it takes long.
ROUND_TRIPS: Final = 6
SLOW_ANSWER: Final = timedelta(seconds=1)
# More sources than any tenant has.
MOST: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The request budget, and how long before its start a window's sources are to be entered.

    `lead` None means: by itself early enough that all of them are quiet at the start.
    """

    rate: int = 80
    period: timedelta = timedelta(seconds=10)
    lead: timedelta | None = timedelta(0)

    def floor(self, requests: int) -> timedelta:
        """Return the time that so many requests take at least, latency left aside."""
        return (max(requests, 1) - 1) // self.rate * self.period

    def entering(self, sources: int) -> timedelta:
        """Return how long it takes until so many sources are in maintenance, or back from it."""
        return self.floor(sources * REQUESTS + 1) + ROUND_TRIPS * SLOW_ANSWER

    def ahead(self, window: Window) -> timedelta:
        """Return how long before its start a window's sources are entered."""
        return self.entering(len(window.sources)) if self.lead is None else self.lead

    @property
    def longest(self) -> timedelta:
        """How long before its start any window's sources may be entered: the lead, or a tenant's worth."""
        return self.entering(MOST) if self.lead is None else self.lead
