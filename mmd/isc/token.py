"""The access token: fetched once for all who wait, renewed before its end, never asked for in a hurry.

OAuth client credentials, sent in the body (docs/isc.md §1: a query would leave the secret in logs).
"""

from __future__ import annotations

import asyncio
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import quote_plus, urlencode

from mmd.errors import Denied, Garbled, TenantError, Unknown, Unreachable
from mmd.isc import door
from mmd.isc.retry import passing, unchanged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mmd.isc.wire import Reply
    from mmd.posture import Json

# After a failure: at most one token request in so many seconds (docs/reliability.md C4).
PAUSE: Final = 5.0
UNREACHED_PAUSE: Final = 0.5
_TRIES: Final = 3
# Renewed when this share of its life is left: a fixed margin would never let go of a 15-second token.
_MARGIN: Final = 0.2
# If ISC does not say how long it lives. RFC 6749 only recommends saying it.
_DEFAULT_LIFE: Final = 60.0
_SHORTEST_LIFE: Final = 1.0
_WRONG_CREDENTIALS: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_HINT: Final = (
    "check [tenant] client_id and the client secret; personal access tokens expire, after 6 months unless "
    "told otherwise"
)


class Token:
    """The one token of a client; its life is measured on the monotonic clock, from before it was asked for.

    `request` sends a form to the token endpoint and returns the answer, or raises `Unreachable` or `Unknown`.
    """

    def __init__(
        self,
        client_id: str,
        secret: Callable[[], str],
        request: Callable[[bytes], Awaitable[Reply]],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._client_id, self._secret, self._request = client_id, secret, request
        self._clock, self._sleep = clock, sleep
        self._lock = asyncio.Lock()
        self._bearer = ""
        self._renew_at = self._ends_at = self._pause_until = float("-inf")
        self._failure: TenantError | None = None

    def bearer(self) -> str | None:
        """Return the token to send now, or None when `ready` has to be awaited first."""
        return self._bearer if self._clock() < self._renew_at else None

    async def ready(self) -> None:
        """Fetch a token unless there is a good one; any number of callers make one request.

        Raises:
            Denied: ISC does not know the client id or the secret.
            TenantError: no token could be had; the same again for 5 s without asking ISC.
        """
        async with self._lock:
            if self.bearer() is None:
                await self._renew()

    def refused(self, bearer: str) -> bool:
        """Take note that ISC did not accept a token; say whether it is worth trying with another."""
        if bearer != self._bearer:
            return True
        if self._clock() < self._pause_until:
            return False
        self._renew_at = self._ends_at = float("-inf")
        return True

    def refused_again(self) -> None:
        """Take note that ISC did not accept a fresh token either: no more fresh ones for a while."""
        self._pause_until = self._clock() + PAUSE

    async def _renew(self) -> None:
        if self._failure is not None and self._clock() < self._pause_until:
            raise self._failure.with_traceback(None)
        old_is_good = self._clock() < self._ends_at
        try:
            await self._fetch(1 if old_is_good else _TRIES)
        except TenantError as error:
            self._failure, self._pause_until = error, self._clock() + _pause(error)
            # Better the last of the old one than none.
            self._renew_at = min(self._pause_until, self._ends_at)
            if self.bearer() is None:
                raise

    async def _fetch(self, tries: int) -> None:
        while True:
            tries -= 1
            try:
                return await self._try()
            except TenantError as error:
                if tries < 1 or not (passing(error) or error.status == HTTPStatus.TOO_MANY_REQUESTS):
                    raise unchanged(error) from None
                pause = _pause(error)
            await self._sleep(pause)

    async def _try(self) -> None:
        secret = self._secret()
        form = {"grant_type": "client_credentials", "client_id": self._client_id, "client_secret": secret}
        asked_at = self._clock()
        reply = await self._request(urlencode(form).encode())
        if not reply.ok:
            raise _refusal(reply, secret)
        document = door.record(door.decode(reply.body))
        life = _life(document.get("expires_in"))
        self._bearer = _access_token(document.get("access_token"))
        self._renew_at, self._ends_at = asked_at + life * (1 - _MARGIN), asked_at + life
        self._failure = None


def _pause(error: TenantError) -> float:
    """Return how long to leave the token endpoint alone: less where it was never reached."""
    unreached = isinstance(error, Unreachable | Unknown) and error.status is None
    return UNREACHED_PAUSE if unreached else PAUSE


def _refusal(reply: Reply, secret: str) -> TenantError:
    error = door.refusal(
        "POST /oauth/token", reply.status, reply.headers, reply.body, hide=(secret, quote_plus(secret))
    )
    if reply.status in _WRONG_CREDENTIALS:
        return Denied(error.message, hint=_HINT, status=reply.status, tracking_id=error.tracking_id)
    return error


def _access_token(value: Json) -> str:
    # It goes into a header, where anything but visible ASCII would be an error that quotes it.
    if not isinstance(value, str) or not re.fullmatch(r"[!-~]+", value):
        raise Garbled("ISC answered POST /oauth/token without a usable token")
    return value


def _life(value: Json) -> float:
    """Seconds a token lives: 15 to 43,200 by the documents, and a number or a text of one in practice."""
    try:
        return max(_SHORTEST_LIFE, float(value)) if isinstance(value, int | float | str) else _DEFAULT_LIFE
    except (ValueError, OverflowError):
        return _DEFAULT_LIFE
