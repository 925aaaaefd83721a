"""A running simulator and a plain client of it, for the tests of the simulator itself."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from mmd.simulator import Simulator, Switches, make_tenant

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON_PATCH = "application/json-patch+json"
ACCOUNT, GROUP = "ACCOUNT_AGGREGATION", "GROUP_AGGREGATION"


@dataclass
class HandClock:
    """A clock that moves when it is told to."""

    now: datetime = datetime(2026, 12, 1, 21, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Peer:
    """The simulator, and a client that holds a token for it."""

    sim: Simulator
    http: httpx.Client

    def token(self, **changes: str) -> httpx.Response:
        return self.http.post("/oauth/token", data=self.credentials() | changes)

    def credentials(self) -> dict[str, str]:
        secret = self.sim.client_secret
        return {
            "grant_type": "client_credentials",
            "client_id": self.sim.client_id,
            "client_secret": secret,
        }

    def log_in(self) -> None:
        self.http.headers["Authorization"] = f"Bearer {self.token().json()['access_token']}"

    def get(self, path: str, **query: str | int) -> httpx.Response:
        return self.http.get(_versioned(path), params=query)

    def patch(self, path: str, *operations: dict[str, Any], content_type: str = JSON_PATCH) -> httpx.Response:
        return self.http.patch(_versioned(path), json=operations, headers={"Content-Type": content_type})

    def post(self, path: str, body: object = None) -> httpx.Response:
        return self.http.post(_versioned(path), json=body)

    def put(self, path: str, body: object) -> httpx.Response:
        return self.http.put(_versioned(path), json=body)

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(_versioned(path))

    def source(self, name: str) -> str:
        """The path of the source of this name."""
        return f"/sources/{self.sim.tenant.id_of(name)}"


def _versioned(path: str) -> str:
    return path if re.match(r"/(v\d|[a-z-]+/v1)", path) else f"/v2026{path}"


@contextmanager
def simulated(
    switches: Switches | None = None, *, sources: int = 12, clock: HandClock | None = None
) -> Iterator[Peer]:
    with (
        Simulator(make_tenant(sources), switches, clock=clock) as sim,
        httpx.Client(base_url=sim.base_url, timeout=10) as http,
    ):
        peer = Peer(sim, http)
        peer.log_in()
        sim.log.clear()
        yield peer
