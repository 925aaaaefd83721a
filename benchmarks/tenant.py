"""A simulated tenant in a process of its own, and what it was asked.

Run as a program it serves until its input ends, and then prints its log. Its monotonic clock is the
machine's, so that what happened in different processes can be compared.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mmd.simulator import Simulator, Switches, make_tenant

if TYPE_CHECKING:
    from types import TracebackType

CRONS = {"ACCOUNT_AGGREGATION": "0 0 2 * * ?", "GROUP_AGGREGATION": "0 30 3 * * ?"}


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; `at` is monotonic, in seconds. The answer comes a latency later."""

    at: float
    client_id: str
    method: str
    path: str
    status: int
    writes: list[str] = field(default_factory=list)

    @property
    def is_token(self) -> bool:
        """Whether it asks for a token, which ISC counts apart."""
        return self.path.startswith("/oauth/")


@dataclass
class SimulatedTenant:
    """A tenant to be entered with `with`; its log is there when the block has ended."""

    sources: int
    latency: float
    rate: tuple[int, float] = (100, 10.0)
    both_schedules: bool = False
    log: list[Request] = field(default_factory=list)

    def __enter__(self) -> Self:
        options = ["--sources", str(self.sources), "--latency", str(self.latency)]
        options += ["--rate", str(self.rate[0]), "--period", str(self.rate[1])]
        options += ["--both-schedules"] * self.both_schedules
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.tenant", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = json.loads(self._read())
        self.base_url: str = told["base_url"]
        self.client_id: str = told["client_id"]
        self.client_secret: str = told["client_secret"]
        self.usable: list[str] = told["usable"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told, _ = self._process.communicate("")
        self.log = [Request(*row) for row in json.loads(told)]

    def _read(self) -> str:
        if self._process.stdout is None:
            raise RuntimeError("the tenant has no output")
        return self._process.stdout.readline()


def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sources", type=int)
    parser.add_argument("--latency", type=float)
    parser.add_argument("--rate", type=int)
    parser.add_argument("--period", type=float)
    parser.add_argument("--both-schedules", action="store_true")
    asked = parser.parse_args()
    tenant = make_tenant(asked.sources, seed=3)
    if asked.both_schedules:
        tenant.schedules.update({name: dict(CRONS) for name in tenant.schedules})
    switches = Switches(latency=asked.latency, rate=(asked.rate, asked.period))
    with Simulator(tenant, switches) as simulator:
        usable = [name for name, source in tenant.sources.items() if "features" in source]
        told = {
            "base_url": simulator.base_url,
            "client_id": simulator.client_id,
            "client_secret": simulator.client_secret,
            "usable": usable,
        }
        print(json.dumps(told), flush=True)
        sys.stdin.read()
        print(json.dumps([_row(one) for one in simulator.log]))


def _row(one: Any) -> list[Any]:  # noqa: ANN401 - the simulator's request
    body = one.body if isinstance(one.body, list) else []
    writes = [f"{it.get('op')} {it.get('path')}" for it in body if isinstance(it, dict)]
    return [one.at, one.client_id, one.method, one.path, one.status, writes]


if __name__ == "__main__":
    main()
