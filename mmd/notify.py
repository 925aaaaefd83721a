"""The door to people: Apprise for messages, and the heartbeat.

A channel is one Apprise URL. It may carry a password in any of its parts, even where other URLs have a host,
so it is shown by its scheme alone and known by a fingerprint; Apprise's own log lines and answers are not
passed on. What a send costs is bounded here: a thread of its own, which nothing waits for longer than
`LIMIT`, and never two for one channel (docs/dependencies.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from mmd.alerts import Kind, Message
from mmd.guard import watched

if TYPE_CHECKING:
    from mmd.secret import Secret

LIMIT: Final = 12.0  # seconds that a channel has to take a message
PING_LIMIT: Final = 10.0  # seconds that the watcher has to answer a ping
_FINGERPRINT: Final = 12  # hexadecimal digits
# Where what looks like a host is one; elsewhere it may be a token.
_HOSTED: Final = frozenset({"form", "forms", "json", "jsons", "mailto", "mailtos", "xml", "xmls"})
_STATUS: Final = re.compile(r"error=([0-9]{3})\b")
_NEWS: Final = frozenset({Kind.OPENED, Kind.RESTORED, Kind.OPENING, Kind.CLOSING, Kind.TEST})


class Channel:
    """One place where messages go."""

    def __init__(self, url: Secret, number: int = 1, *, limit: float = LIMIT) -> None:
        """Take a URL, the `number`th of the configuration (from 1), and the seconds a send may take."""
        self.key = hashlib.sha256(url.reveal().encode()).hexdigest()[:_FINGERPRINT]
        self.scheme = url.reveal().partition("://")[0].lower()
        self.label = _label(self.scheme, url.reveal(), number)
        self._sinks = _load(url.reveal())
        self._limit = limit
        self._sending: threading.Thread | None = None

    @property
    def is_understood(self) -> bool:
        """Whether Apprise knows what to do with the URL."""
        return self._sinks is not None

    async def send(self, message: Message) -> str:
        """Send; return what went wrong, or an empty text. A message may arrive although something did."""
        if self._sinks is None:
            return "Apprise does not understand the URL"
        if self._sending is not None and self._sending.is_alive():
            return "it has not answered to the last message yet"
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        self._sending = threading.Thread(
            target=_send, args=(self._sinks, message, loop, answer), name="mmd-alert", daemon=True
        )
        self._sending.start()
        try:
            return str(await asyncio.wait_for(answer, self._limit))
        except TimeoutError:
            return f"no answer within {self._limit:g} s"


def _send(
    sinks: Any,  # noqa: ANN401 - Apprise has no types that hold
    message: Message,
    loop: asyncio.AbstractEventLoop,
    answer: asyncio.Future[str],
) -> None:
    """Send from a thread of its own; it dies with the process, however long a channel takes."""
    with watched() as refused:
        try:
            problem = _post(sinks, message)
        except Exception as error:  # noqa: BLE001 - a hundred services, and none may stop the others
            problem = f"Apprise failed: {type(error).__name__}"
    if problem:  # another address of the same name may have taken it
        problem = _no_place(refused) or problem
    try:
        loop.call_soon_threadsafe(_answer, answer, problem)
    except RuntimeError:
        return  # the loop has ended: the message is sent again by the next one


def _answer(answer: asyncio.Future[str], problem: str) -> None:
    if not answer.done():
        answer.set_result(problem)


def _post(sinks: Any, message: Message) -> str:  # noqa: ANN401 - as above
    """Hand a message to Apprise as plain text: it escapes what a service would take for markup."""
    kind = "info" if message.kind in _NEWS else "warning"
    result = sinks.notify(body=message.body, title=message.title, notify_type=kind, body_format="text")
    if result.status.name == "SUCCESS":
        return ""
    said = " ".join(str(entry) for entry in result.logs())
    found = _STATUS.search(said)
    return f"it answered with status {found[1]}" if found else "it could not be reached, or refused"


def _load(url: str) -> Any:  # noqa: ANN401 - as above
    """Return Apprise with this URL, or None if it does not understand it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its plugins use what Python 3.13 dropped
        import apprise  # noqa: PLC0415 - a third of a second, wanted only where somebody is told

        logging.getLogger("apprise").propagate = False  # its lines may quote a token
        # In the calling thread and without its own limit: its pool is shared by all channels, and waited for
        # at the end of the process.
        asset = apprise.AppriseAsset(app_id="mmd", async_mode=False, service_timeout=0)
        sinks = apprise.Apprise(asset=asset)
        return sinks if sinks.add(url) else None


def _label(scheme: str, url: str, number: int) -> str:
    try:
        host = urlsplit(url).hostname if scheme in _HOSTED else None
    except ValueError:
        host = None
    return f"{scheme}://{host}" if host else f"{scheme}:// (number {number} of [alerts] urls)"


def _no_place(refused: list[str]) -> str:
    return f"{refused[0]} is an address at which a machine answers for itself" if refused else ""


async def ping(url: Secret, *, limit: float = PING_LIMIT) -> str:
    """Fetch the watcher's URL once, following no redirect; return what went wrong, or an empty text."""
    with watched() as refused:
        try:
            # httpx's own limit is for each step, not for the whole.
            async with (
                asyncio.timeout(limit),
                httpx.AsyncClient(timeout=limit, follow_redirects=False) as client,
            ):
                reply = await client.get(url.reveal())
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError) as error:
            return _no_place(refused) or f"the watcher cannot be reached: {type(error).__name__}"
    return "" if reply.is_success else f"the watcher answered with status {reply.status_code}"
