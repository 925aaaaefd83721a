"""Reading and changing a tenant's sources: paths, paging, retries, one budget and one token for all of it.

What every method may raise: `Denied`, `Missing` and `Rejected` are ISC's word; `Unreachable` means that
nothing can have been changed; `Unknown`, only from the methods that change something, that it may have been;
`Garbled` that the answer is no data.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self, TypeVar
from urllib.parse import quote, urlencode

from mmd.changes import Operation
from mmd.errors import Denied, Garbled, Missing, Rejected, TenantError, Unreachable
from mmd.isc import door
from mmd.isc.budget import Budget, Priority, Slot
from mmd.isc.retry import TRIES, backoff, passing, unchanged
from mmd.isc.token import Token
from mmd.isc.wire import Ask, Call, Reply, Stats, Wire

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from types import TracebackType

    from mmd.posture import Json, Observation

T = TypeVar("T")

PAGE: Final = 250  # the most ISC gives (docs/isc.md §4)
_URL_LIMIT: Final = 7_500
_PATIENCE: Final = 300.0  # seconds of 429s before giving up
_PATIENCE_TRIES: Final = 30
_PATCH_TYPE: Final = "application/json-patch+json"
_JSON_TYPE: Final = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """Which tenant to call, and how much; `rate` requests in any `period` seconds."""

    base_url: str
    api_version: str
    client_id: str
    rate: int = 80
    period: float = 10.0
    user_agent: str


def _ignore(_: Call) -> None:
    """Observe nothing."""


class Isc:
    """A client for one tenant, to be entered with `async with`.

    `secret` is called for each new token, so a changed secret file is seen. `observer` gets each request
    made, for logs and metrics. `clock` is monotonic, in seconds.
    """

    def __init__(
        self,
        tenant: Tenant,
        secret: Callable[[], str],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
        observer: Callable[[Call], None] | None = None,
    ) -> None:
        self._tenant = tenant
        self._clock, self._sleep, self._rng = clock, sleep, rng
        self._budget = Budget(tenant.rate, tenant.period, clock=clock, sleep=sleep)
        self._wire = Wire(tenant.base_url, tenant.user_agent, clock=clock, observer=observer or _ignore)
        self._token = Token(tenant.client_id, secret, self._request_token, clock=clock, sleep=sleep)

    async def __aenter__(self) -> Self:
        await self._wire.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._budget.close()
        await self._wire.__aexit__(kind, error, trace)

    @property
    def stats(self) -> Stats:
        """What was sent and seen so far."""
        return self._wire.stats

    def server_time(self, now: datetime) -> float | None:
        """Return how many seconds the tenant's clock is ahead of `now` (aware); None before any answer.

        From the last Date header, so to about a second.
        """
        return self._wire.skew(now)

    # --- Sources -----------------------------------------------------------------------------------------

    def pages(
        self, *, ids: Sequence[str] | None = None, priority: Priority = Priority.SWEEP
    ) -> AsyncIterator[Sequence[Observation]]:
        """Read all sources, or those with the given ids as far as they exist, at most 250 at a time.

        Each source comes once, even if others appear or vanish meanwhile. A listing is whole only once the
        iterator has ended without an error. One of all sources must have at least as many rows as the
        smallest X-Total-Count that came with its pages, if any did; so what vanishes in the middle is no
        error, and neither is a count that is too low.
        """
        return self._all(priority) if ids is None else self._listed(ids, priority)

    async def _all(self, priority: Priority) -> AsyncIterator[Sequence[Observation]]:
        seen: set[str] = set()
        totals: list[int] = []
        offset, last = 0, False
        while not last:
            page, total = await self._page({"offset": str(offset), "count": "true"}, priority)
            totals += [] if total is None else [total]
            offset += len(page)
            fresh = _unseen(page, seen)
            if fresh:
                yield fresh
            elif len(page) == PAGE:
                raise Garbled("ISC sent the same page of sources again")
            # A short page is the last one only if ISC says so: it may have cut the page shorter than asked.
            last = not fresh or (len(page) < PAGE and total is not None and offset >= total)
        if totals and len(seen) < min(totals):
            raise Garbled(f"ISC listed {len(seen)} of at least {min(totals)} sources")

    async def _listed(self, ids: Sequence[str], priority: Priority) -> AsyncIterator[Sequence[Observation]]:
        seen: set[str] = set()
        room = (
            _URL_LIMIT
            - len(self._tenant.base_url)
            - len(self._path("sources"))
            - len(_query(_page_params({})))
        )
        for chunk in _chunks(ids, room):
            page, _ = await self._page({"filters": _among(chunk)}, priority)
            asked = set(chunk)
            if fresh := _unseen([row for row in page if row.source_id in asked], seen):
                yield fresh

    async def _page(
        self, params: Mapping[str, str], priority: Priority
    ) -> tuple[Sequence[Observation], int | None]:
        try:
            document, reply = await self._read("sources", params=_page_params(params), priority=priority)
        except Missing as error:  # not of a source: there is no list
            raise TenantError(
                error.message,
                hint="ISC may not serve this path any more: check [tenant] api_version",
                status=HTTPStatus.NOT_FOUND,
                tracking_id=error.tracking_id,
            ) from error
        return [door.observe(row) for row in door.rows(document)], door.total_count(reply.headers)

    async def source(self, source_id: str, *, priority: Priority) -> Observation:
        """Read one source; without its schedules."""
        document, _ = await self._read("sources", source_id, priority=priority)
        return _same(door.observe(document), source_id)

    async def schedules(self, source_id: str, *, priority: Priority) -> dict[str, str]:
        """Read a source's aggregation schedules: cron by type, byte for byte."""
        document, _ = await self._read("sources", source_id, "schedules", priority=priority)
        return door.schedules(document)

    async def patch_source(
        self, source_id: str, operations: Sequence[Operation], *, priority: Priority
    ) -> tuple[Observation | None, str | None]:
        """Change a source in one request; return how it looks now, if ISC says so, and the tracking id."""
        body = json.dumps([operation.wire() for operation in operations], allow_nan=False).encode()
        ask = Ask(
            method="PATCH", path=self._path("sources", source_id), content=body, content_type=_PATCH_TYPE
        )
        reply = await self._change(ask, priority)
        return _whole(reply, source_id), reply.tracking_id

    async def delete_schedule(self, source_id: str, kind: str, *, priority: Priority) -> str | None:
        """Delete a schedule, which may be gone already; return the tracking id."""
        ask = Ask(method="DELETE", path=self._path("sources", source_id, "schedules", kind))
        try:
            reply = await self._change(ask, priority)
        except Missing as error:
            return error.tracking_id
        return reply.tracking_id

    async def create_schedule(
        self, source_id: str, kind: str, cron: str, *, priority: Priority
    ) -> str | None:
        """Create a schedule with the cron byte for byte; return the tracking id."""
        body = json.dumps({"type": kind, "cronExpression": cron}).encode()
        path = self._path("sources", source_id, "schedules")
        reply = await self._change(
            Ask(method="POST", path=path, content=body, content_type=_JSON_TYPE), priority
        )
        return reply.tracking_id

    # --- What `mmd doctor` asks ---------------------------------------------------------------------------

    async def token(self) -> None:
        """Make sure of a token with at least a fifth of its life left."""
        await self._token.ready()

    async def oauth_info(self) -> dict[str, Json]:
        """Read what the tenant says about itself, without a token."""
        ask = Ask(method="GET", path="/oauth/info")
        document, _ = await self._fetch(ask, Priority.VERIFY, signed=False)
        return door.record(document)

    async def org_config(self) -> dict[str, Json]:
        """Read the organisation's configuration; its time zone is what crons mean (docs/isc.md §0.14)."""
        return door.record(await self.get_json("org-config"))

    async def own_tokens(self) -> list[dict[str, Json]]:
        """Read the personal access tokens of the token's own user: when they expire."""
        return door.rows(await self.get_json("personal-access-tokens", {"owner-id": "me"}))

    async def task_status(self, source_id: str) -> list[dict[str, Json]]:
        """Read the tasks of a source that have not completed, newest first."""
        wanted = f"sourceId eq {_quoted(source_id)}"
        if self._tenant.api_version != "v2024":  # which does not know isnull (docs/isc.md §0.11)
            wanted += " and completionStatus isnull"
        document = await self.get_json("task-status", {"filters": wanted, "sorters": "-created"})
        return [task for task in door.rows(document) if task.get("completionStatus") is None]

    async def get_json(
        self, path: str, params: Mapping[str, str] | None = None, *, priority: Priority = Priority.VERIFY
    ) -> Json:
        """Read anything: `path` begins with the service and has no version, such as "org-config"."""
        document, _ = await self._read(*path.strip("/").split("/"), params=params, priority=priority)
        return document

    # --- Requests ----------------------------------------------------------------------------------------

    def _path(self, service: str, *segments: str) -> str:
        """The path in the configured style: /v2026/sources/… or /sources/v1/… (docs/isc.md §0.1)."""
        if not all(map(door.plain_id, segments)):
            raise Rejected(f"{door.clean('/'.join(segments), 80)!r} cannot be part of a path")
        version = self._tenant.api_version
        stem = (service, version) if version == "v1" else (version, service)
        return "/" + "/".join(quote(segment, safe="") for segment in (*stem, *segments))

    async def _read(
        self, *segments: str, params: Mapping[str, str] | None = None, priority: Priority
    ) -> tuple[Json, Reply]:
        ask = Ask(method="GET", path=self._path(*segments), query=_query(params or {}))
        return await self._fetch(ask, priority)

    async def _fetch(self, ask: Ask, priority: Priority, *, signed: bool = True) -> tuple[Json, Reply]:
        async def attempt() -> tuple[Json, Reply]:
            reply = await self._answer(ask, priority, signed=signed)
            return door.decode(reply.body), reply

        try:
            return await self._persist(ask, attempt, passing)
        except TenantError as error:
            raise unchanged(error) from None

    async def _change(self, ask: Ask, priority: Priority) -> Reply:
        async def attempt() -> Reply:
            return await self._answer(ask, priority)

        return await self._persist(
            ask, attempt, lambda error: isinstance(error, Unreachable) and passing(error)
        )

    async def _persist(
        self, ask: Ask, attempt: Callable[[], Awaitable[T]], again: Callable[[TenantError], bool]
    ) -> T:
        tries = 0
        while True:
            tries += 1
            try:
                return await attempt()
            except TenantError as error:
                if tries >= TRIES or ask.exhausted or not again(error):
                    raise
            await self._sleep(backoff(tries, self._rng))

    async def _answer(self, ask: Ask, priority: Priority, *, signed: bool = True) -> Reply:
        """The 2xx answer to a request; it is sent again only after 429 and 401, when nothing was done."""
        renewed, throttled, give_up_at = False, 0, self._clock() + _PATIENCE
        while True:
            slot, bearer = (
                await self._admit(priority) if signed else (await self._budget.acquire(priority), "")
            )
            reply = await self._wire.exchange(ask, slot, bearer)
            if reply.ok:
                return reply
            error = door.refusal(ask.name, reply.status, reply.headers, reply.body, hide=(bearer,))
            if (
                reply.status == HTTPStatus.TOO_MANY_REQUESTS
                and self._clock() < give_up_at
                and throttled < _PATIENCE_TRIES
            ):
                throttled += 1
                self._throttle(reply, throttled)
            elif (
                reply.status == HTTPStatus.UNAUTHORIZED
                and signed
                and not renewed
                and self._token.refused(bearer)
            ):
                renewed = True
            else:
                if isinstance(error, Denied) and renewed:
                    self._token.refused_again()
                raise error

    async def _admit(self, priority: Priority) -> tuple[Slot, str]:
        """Leave to send, and a token that is good now; the wait for the one may outlast the other."""
        while True:
            slot = await self._budget.acquire(priority)
            if bearer := self._token.bearer():
                return slot, bearer
            slot.give_back()
            await self._token.ready()

    async def _request_token(self, form: bytes) -> Reply:
        ask = Ask(
            method="POST", path="/oauth/token", content=form, content_type="application/x-www-form-urlencoded"
        )
        # Everything else waits for it.
        reply = await self._wire.exchange(ask, await self._budget.acquire(Priority.RESTORE))
        if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
            self._throttle(reply, 1)
        return reply

    def _throttle(self, reply: Reply, times: int) -> None:
        told = door.retry_after(reply.headers, self._tenant.period)
        self._budget.penalise(max(told, backoff(times, self._rng)) + self._rng() * 0.25)


def _page_params(params: Mapping[str, str]) -> dict[str, str]:
    return {"limit": str(PAGE), "sorters": "id", **params}


def _query(params: Mapping[str, str]) -> str:
    return urlencode(params, quote_via=quote, safe="")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _among(ids: Sequence[str]) -> str:
    return f"id in ({','.join(map(_quoted, ids))})"


def _chunks(ids: Sequence[str], room: int) -> Iterator[Sequence[str]]:
    """Cut ids into lists of at most a page whose filter fits into so many characters of a URL."""
    room -= len(_query({"filters": _among(())})) + 1
    chunk: list[str] = []
    used = 0
    for source_id in dict.fromkeys(ids):
        cost = len(quote(_quoted(source_id) + ",", safe=""))
        if chunk and (used + cost > room or len(chunk) == PAGE):
            yield chunk
            chunk, used = [], 0
        chunk.append(source_id)
        used += cost
    if chunk:
        yield chunk


def _unseen(page: Sequence[Observation], seen: set[str]) -> Sequence[Observation]:
    """The rows that have not been seen, which then have."""
    fresh = [row for row in page if row.source_id not in seen]
    fresh = list({row.source_id: row for row in fresh}.values())
    seen.update(row.source_id for row in fresh)
    return fresh


def _same(observed: Observation, source_id: str) -> Observation:
    if observed.source_id != source_id:
        raise Garbled("ISC answered with another source than the one asked for")
    return observed


def _whole(reply: Reply, source_id: str) -> Observation | None:
    """The source in the answer to a change, if it is one: the change is done either way."""
    try:
        observed = _same(door.observe(door.decode(reply.body)), source_id)
    except Garbled:
        return None
    return observed if observed.complete else None
