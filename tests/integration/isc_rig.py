"""What the tests of the ISC client share: a client of the simulator, and time that is made up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from mmd.changes import Operation
from mmd.errors import TenantError
from mmd.isc import Isc, Priority, Tenant
from mmd.posture import MARKER
from mmd.simulator import Simulator, Switches, make_tenant

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from mmd.posture import Observation

T = TypeVar("T")
UNLIMITED = 10_000
EPOCH = datetime(2026, 8, 22, tzinfo=UTC)
MARK = [Operation("add", f"/connectorAttributes/{MARKER}", True)]


@dataclass
class Time:
    """Time that passes only while somebody waits for it."""

    now: float = 0.0

    def clock(self) -> float:
        return self.now

    def wall(self) -> datetime:
        return EPOCH + timedelta(seconds=self.now)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


def running(sources: int, switches: Switches | None = None, **options: Any) -> Iterator[Simulator]:  # noqa: ANN401 - the simulator's
    """A simulator without a rate limit, as a fixture yields it."""
    switches = switches or Switches(rate=None, health_seconds=0)
    with Simulator(make_tenant(sources), switches, **options) as simulator:
        yield simulator


def with_two_schedules(simulator: Simulator) -> str:
    """The id of a source that has everything mmd may touch."""
    return next(one for one, crons in simulator.tenant.schedules.items() if len(crons) == 2)


def run(simulator: Simulator, work: Callable[[Isc], Awaitable[T]], **options: Any) -> T:  # noqa: ANN401 - as Isc has them
    """Do the work with a client of the simulator; `time` makes its waiting virtual."""
    tenant = Tenant(
        base_url=simulator.base_url,
        api_version=options.pop("api_version", "v2026"),
        client_id=simulator.client_id,
        rate=options.pop("rate", UNLIMITED),
        period=options.pop("period", 10.0),
        user_agent="mmd/test",
    )
    secret = options.pop("secret", lambda: simulator.client_secret)
    if moments := options.pop("time", None):
        options |= {"clock": moments.clock, "sleep": moments.sleep}

    async def main() -> T:
        async with Isc(tenant, secret, **options) as isc:
            return await work(isc)

    return asyncio.run(main())


def failure(simulator: Simulator, work: Callable[[Isc], Awaitable[object]], **options: Any) -> TenantError:  # noqa: ANN401 - as above
    """The error that the work ends with."""
    with pytest.raises(TenantError) as caught:
        run(simulator, work, **options)
    return caught.value


def reading(source_id: str, count: int = 1) -> Callable[[Isc], Awaitable[list[Observation]]]:
    """Read a source so many times at once."""

    async def work(isc: Isc) -> list[Observation]:
        reads = [isc.source(source_id, priority=Priority.ENTER) for _ in range(count)]
        return list(await asyncio.gather(*reads))

    return work


def marking(source_id: str) -> Callable[[Isc], Awaitable[tuple[Observation | None, str | None]]]:
    """Set the marker on a source."""
    return lambda isc: isc.patch_source(source_id, MARK, priority=Priority.ENTER)


async def listed(isc: Isc, ids: list[str] | None = None) -> list[Observation]:
    """Everything that the pages have."""
    return [row async for page in isc.pages(ids=ids) for row in page]
