"""Run passes on a database, beside a tenant that is asked nothing, and print the median seconds of one."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mmd.desk import AlertDesk, Settings
from mmd.effects import Effects
from mmd.findings import Rules
from mmd.isc import Isc, Tenant
from mmd.reconcile import Reconciler
from mmd.store import Store

PASSES = 20


def _clock() -> datetime:
    return datetime.now(tz=UTC)  # noqa: TID251 - as the daemon's


async def _measure(path: Path) -> float:
    tenant = Tenant(base_url="http://127.0.0.1:1", api_version="v2026", client_id="nobody", user_agent="mmd")
    isc = Isc(tenant, lambda: "none")
    hour = timedelta(hours=1)
    settings = Settings(tenant="nobody", actor="nobody", remind_every=hour, grace=hour, before=(hour,))
    with Store.open(path) as store:
        effects = Effects(store, isc, key=b"", actor="nobody", now=_clock)
        rules = Rules(grace=hour, key=b"")
        work = Reconciler(store, isc, effects, now=_clock, actor="nobody", rules=rules)
        desk = AlertDesk(store, (), settings)
        taken = []
        for _ in range(PASSES):
            started = time.perf_counter()
            desk.after_pass(await work.run(), _clock())
            taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    print(asyncio.run(_measure(Path(sys.argv[1]))))
