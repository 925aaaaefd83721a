"""The simulator: a tenant on a real socket, its log, its faults, and the people who meddle."""

from __future__ import annotations

import json
import re
import secrets
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from mmd.simulator.access import Clients
from mmd.simulator.faults import Rule, through
from mmd.simulator.gateway import Caller, Gateway
from mmd.simulator.listener import Listener
from mmd.simulator.people import Edit, Forum, Step
from mmd.simulator.problems import Problem
from mmd.simulator.seeds import make_tenant
from mmd.simulator.switches import Switches
from mmd.simulator.wire import Call, Dropped, Reply, answer, split_version

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from mmd.simulator.tenant import Tenant

_LOG_LIMIT = 200_000
_WRITES = frozenset({"PATCH", "PUT", "POST", "DELETE"})


@dataclass(slots=True)
class Request:
    """One request as it arrived, and the status it got: 0 while there is none, and where there never was one.

    `at` is monotonic. The secret of a token request is left out.
    """

    at: float
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str] = field(repr=False)
    client_id: str
    api_version: str
    body: Any = None
    status: int = 0


class Simulator:
    """Serves a tenant over HTTP until `stop()`; a context manager.

    `clock` is the tenant's (aware, UTC): of `modified`, of health checks, of tokens. The rate limit is about
    real traffic, and goes by monotonic time.
    """

    def __init__(
        self,
        tenant: Tenant,
        switches: Switches | None = None,
        *,
        port: int = 0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.tenant = tenant
        self.switches = tenant.switches = switches or Switches()
        tenant.clock = clock or tenant.clock
        self.client_id, self.client_secret = secrets.token_hex(16), secrets.token_hex(32)
        self.clients = Clients({self.client_id: self.client_secret})
        self.edit = Edit(tenant)
        self.faults: list[Rule] = []
        self.log: list[Request] = []
        self.errors: list[Exception] = []
        """What failed inside the simulator, functions of rules included; leaving a with block raises it."""
        self._listener = Listener(port, self._take)
        self.base_url = f"http://127.0.0.1:{self._listener.port}"
        self._gateway = Gateway(tenant, self.clients, self.base_url)
        self._listener.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if error is None and self.errors:
            raise self.errors[0]

    def stop(self) -> None:
        """Stop serving and end every connection. Twice is once."""
        self._listener.stop()

    @property
    def mutations(self) -> list[Request]:
        """The requests that would change a source or its schedules, whatever came of them."""
        return [one for one in list(self.log) if one.method in _WRITES and _is_source(one.path)]

    def count(self, method: str | None = None, path_re: str | None = None) -> int:
        """How many requests of this method came in with this found in their path; None: any."""
        seen = [one for one in list(self.log) if method in {None, one.method}]
        return sum(re.search(path_re or "", one.path) is not None for one in seen)

    def forum_enable(self, source_id: str) -> list[Step]:
        """Run the forum's "Enable"; it is not in the log."""
        return Forum(self.tenant).enable(source_id)

    def forum_disable(self, source_id: str) -> list[Step]:
        """Run the forum's "Disable"; it is not in the log."""
        return Forum(self.tenant).disable(source_id)

    def _take(self, call: Call) -> Reply:
        """Answer one request; a failure of the simulator's own is a 500, and is kept."""
        try:
            return self._respond(call)
        except Dropped:
            raise
        except Exception as error:  # noqa: BLE001 - it must fail the test, not end a thread that nobody sees
            self.errors.append(error)
            return answer(500, Problem(500).body())

    def _respond(self, call: Call) -> Reply:
        """Log the request, take the time it takes, and answer it, faults and all."""
        with self.tenant.lock:
            caller = self._gateway.caller(call)
            request = _recorded(call, caller)
            self.log.append(request)
            del self.log[:-_LOG_LIMIT]
            actions = [rule.action for rule in self.faults if rule.takes(call, len(self.log))]
        latency = self.switches.latency
        call.pause(latency() if callable(latency) else latency)
        reply = through(actions, lambda changed: self._answer(changed, caller))(call)
        request.status = reply.status
        return reply

    def _answer(self, call: Call, caller: Caller) -> Reply:
        with self.tenant.lock:
            return self._gateway.answer(call, caller)


def serve(
    port: int,
    sources: int,
    switches: Switches | None = None,
    *,
    announce: Callable[[Simulator], None] = lambda _simulator: None,
) -> None:
    """Serve a made-up tenant until SIGINT or SIGTERM, in the main thread; `announce` hears when it is up."""
    ends = {signal.SIGINT, signal.SIGTERM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Simulator(make_tenant(sources), switches, port=port) as simulator:
            announce(simulator)
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _recorded(call: Call, caller: Caller) -> Request:
    query = {key: value for key, value in call.query.items() if key != "client_secret"}
    request = Request(
        time.monotonic(), call.method, call.path, query, call.headers, caller.client_id, caller.api_version
    )
    if call.method in _WRITES and caller.api_version != "oauth":
        request.body = _decoded(call.body)
    return request


def _decoded(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")


def _is_source(path: str) -> bool:
    split = split_version(path)
    return split is not None and split[1].startswith("/sources/") and "/connector/" not in split[1]
