"""One HTTP exchange: what is sent, what comes back, and what remains open when nothing does.

The only module that knows httpx (docs/dependencies.md: its exit is a fork with the same interface).
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, Self

import httpx

from mmd.errors import ConfigError, Unknown, Unreachable
from mmd.isc import door

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from types import TracebackType

    from mmd.isc.budget import Slot

CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
TOTAL_SECONDS: Final = 60.0
BODY_LIMIT: Final = 16 * 1024 * 1024
# As many connections as a whole period's requests, so that none waits for another's, however slow ISC is. In
# lanes, because httpx looks at every pair of a pool's connections at every request: of a hundred in one pool
# each request took 11 ms of processor time, and a burst of 80 a second (docs/performance.md).
_LANES: Final = 10
_CONNECTIONS: Final = 10
# Shorter than any gateway's idle timeout, so that a change is not sent into a connection just being closed.
_KEEPALIVE_SECONDS: Final = 15.0
# Raised before a byte of the request can have left.
_NOT_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_FORMAT: Final = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request as a log or a metric may see it: no query, no body, no credentials.

    `status` is None when no answer came; `note` says then why, in the words of the HTTP library. `attempt`
    counts from 1 for each operation. `deprecated` is ISC's word that the path will go (docs/isc.md §1).
    """

    method: str
    path: str
    status: int | None
    seconds: float
    attempt: int
    note: str = ""
    tracking_id: str | None = None
    deprecated: bool = False


@dataclass(slots=True, kw_only=True)
class Ask:
    """A request to make, and what was spent on it so far over all attempts."""

    method: str
    path: str
    query: str = ""
    content: bytes | None = None
    content_type: str = ""
    attempt: int = 0
    spent: float = 0.0

    @property
    def name(self) -> str:
        """What a person reads: the query has only ids, and the body is nobody's business."""
        return f"{self.method} {door.clean(self.path)}"

    @property
    def exhausted(self) -> bool:
        """Whether all the time there is for one operation has been spent."""
        return self.spent >= TOTAL_SECONDS

    @property
    def headers(self) -> dict[str, str]:
        """The headers this request needs besides the common ones."""
        return {"Content-Type": self.content_type} if self.content_type else {}


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; `body` is None if it broke off, did not end in time or went past the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    tracking_id: str | None

    @property
    def ok(self) -> bool:
        """Whether ISC did what was asked."""
        return 200 <= self.status < 300  # noqa: PLR2004 - HTTP's numbers


@dataclass(slots=True)
class Stats:
    """Counted since the client was made: requests sent, 429s received, and ISC's last id of a request."""

    requests: int = 0
    throttled: int = 0
    tracking_id: str | None = None


@dataclass(slots=True)
class _Lane:
    """Some of the connections, and how many requests are under way on them."""

    http: httpx.AsyncClient
    busy: int = 0


class Wire:
    """An HTTP client for one host: TLS checked, no redirects, no cookies, no compression, bodies limited."""

    def __init__(
        self, base_url: str, user_agent: str, *, clock: Callable[[], float], observer: Callable[[Call], None]
    ) -> None:
        self._base_url = _checked(base_url)
        self._clock, self._observer = clock, observer
        context = tls()  # one for all: each takes 20 ms
        self._lanes = [_Lane(_client(base_url, user_agent, context)) for _ in range(_LANES)]
        self._open = AsyncExitStack()
        self._date: tuple[datetime, float] | None = None
        self.stats = Stats()

    async def __aenter__(self) -> Self:
        for lane in self._lanes:
            await self._open.enter_async_context(lane.http)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)

    def skew(self, now: datetime) -> float | None:
        """Return how many seconds, to about one, the tenant's clock is ahead of `now`; None if not known."""
        if self._date is None:
            return None
        date, at = self._date
        return (date - now).total_seconds() + self._clock() - at

    async def exchange(self, ask: Ask, slot: Slot, bearer: str = "") -> Reply:
        """Send one request, once, and return the answer, whatever it is.

        Raises:
            Unreachable: the request was not sent.
            Unknown: it may have been sent, and no answer came.
        """
        loop = asyncio.get_running_loop()
        ask.attempt, started = ask.attempt + 1, loop.time()
        reply, note = None, "cancelled"
        try:
            reply = await self._send(ask, bearer, started + max(1.0, TOTAL_SECONDS - ask.spent))
            note = "" if reply.body is not None else "answer broke off"
        except _NOT_SENT as error:
            note = type(error).__name__
            raise Unreachable(f"no connection to ISC for {ask.name} ({_why(error)})") from None
        except (httpx.TransportError, OSError) as error:
            note = type(error).__name__
            raise Unknown(f"no answer from ISC to {ask.name} ({_why(error)})") from None
        finally:
            slot.settle()
            seconds = loop.time() - started
            ask.spent += seconds
            self._record(ask, reply, seconds, note)
        return reply

    async def _send(self, ask: Ask, bearer: str, deadline: float) -> Reply:
        url = f"{self._base_url}{ask.path}" + (f"?{ask.query}" if ask.query else "")
        headers = ask.headers | ({"Authorization": f"Bearer {bearer}"} if bearer else {})
        with self._lane() as http:
            request = http.build_request(ask.method, url, content=ask.content, headers=headers)
            async with asyncio.timeout_at(deadline):
                response = await http.send(request, stream=True)
            try:
                body = await _read(response, deadline)
            finally:
                await response.aclose()
        error_body = None if response.is_success else body
        tracking_id = door.tracking_id(response.headers, error_body)
        return Reply(response.status_code, response.headers, body, tracking_id)

    @contextmanager
    def _lane(self) -> Iterator[httpx.AsyncClient]:
        """Take the first of the lanes with the least traffic, so that few connections serve few requests."""
        lane = min(self._lanes, key=lambda lane: lane.busy)
        lane.busy += 1
        try:
            yield lane.http
        finally:
            lane.busy -= 1

    def _record(self, ask: Ask, reply: Reply | None, seconds: float, note: str) -> None:
        self.stats.requests += 1
        if reply is not None:
            self.stats.throttled += reply.status == httpx.codes.TOO_MANY_REQUESTS
            self.stats.tracking_id = reply.tracking_id or self.stats.tracking_id
            if date := door.http_date(reply.headers.get("date")):
                self._date = date, self._clock()
        self._observer(
            Call(
                method=ask.method,
                path=ask.path,
                status=reply.status if reply else None,
                seconds=seconds,
                attempt=ask.attempt,
                note=note,
                tracking_id=reply.tracking_id if reply else None,
                deprecated=reply is not None and reply.headers.get("x-deprecated", "").lower() == "true",
            )
        )


def tls() -> ssl.SSLContext:
    """Return what a peer must show: a valid certificate for its name, over TLS 1.2 or newer."""
    return httpx.create_ssl_context()


def _client(base_url: str, user_agent: str, context: ssl.SSLContext) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        verify=context,
        # Proxies of the environment are for the tenant, not for a simulated one on this machine.
        trust_env=base_url.startswith("https:"),
        follow_redirects=False,
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        limits=httpx.Limits(
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        ),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        headers={
            "User-Agent": user_agent,
            "Accept": "application/json",
            # ISC sends Content-Encoding: UTF-8 at times (docs/isc.md §2); so ask for none and believe none.
            "Accept-Encoding": "identity",
            # Harmless where it is not needed (docs/isc.md §1).
            "X-SailPoint-Experimental": "true",
        },
    )


async def _read(response: httpx.Response, deadline: float) -> bytes | None:
    """The body as it came, or unpacked where somebody on the way packed it all the same."""
    body = bytearray()
    try:
        async with asyncio.timeout_at(deadline):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > BODY_LIMIT:
                    return None
    except (httpx.TransportError, OSError):
        return None
    return _unpacked(bytes(body)) if body.startswith(_GZIP_MAGIC) else bytes(body)


def _unpacked(body: bytes) -> bytes | None:
    unpacker = zlib.decompressobj(_GZIP_FORMAT)
    try:
        plain = unpacker.decompress(body, BODY_LIMIT)
    except zlib.error:
        return None
    return plain if unpacker.eof else None


def _checked(base_url: str) -> str:
    """The base URL, unless a token would travel in the clear beyond this machine."""
    url = httpx.URL(base_url)
    if (
        not url.host
        or url.scheme not in {"https", "http"}
        or (url.scheme == "http" and not _is_loopback(url.host))
    ):
        raise ConfigError("the tenant's base URL must be https", hint="plain http is for this machine alone")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _why(error: Exception) -> str:
    return ": ".join(filter(None, (type(error).__name__, door.clean(str(error), 120))))
