"""ISC's door: tokens, API versions, the rate limit; then the rules (docs/isc.md §1, §2)."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email import message_from_bytes
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from mmd.simulator.access import Clients, Limiter
from mmd.simulator.routes import dispatch
from mmd.simulator.wire import Call, Reply, answer, split_version

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mmd.simulator.tenant import Tenant

_ABSURD_SECONDS = 10_000_000


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, and to which API version; empty where that is not known."""

    client_id: str = ""
    api_version: str = ""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Lets in who has a living token and keeps within the rate."""

    tenant: Tenant
    clients: Clients
    base_url: str
    limiter: Limiter = field(default_factory=Limiter)

    def caller(self, call: Call) -> Caller:
        """Who sent the call. The rate limit counts by this."""
        if call.path.startswith("/oauth/"):
            return Caller(form(call).get("client_id", ""), "oauth")
        split = split_version(call.path)
        if split is None:
            return Caller()
        holder = self.clients.holder(call.headers.get("authorization", ""), now=self.tenant.clock())
        return Caller(holder or "", split[0])

    def answer(self, call: Call, caller: Caller) -> Reply:
        """The answer, with the headers the edge puts on it."""
        reply = self._answer(call, caller)
        headers = dict(reply.headers)
        if self.tenant.switches.content_encoding_quirk and 400 <= reply.status < 500:  # noqa: PLR2004 - HTTP statuses
            headers["Content-Encoding"] = "UTF-8"
        if caller.api_version == "v3":
            headers["X-Deprecated"] = "true"
        return replace(reply, headers=headers)

    def _answer(self, call: Call, caller: Caller) -> Reply:
        split = split_version(call.path)
        if caller.api_version == "oauth":
            return self._limited(caller) or self._oauth(call)
        if split is None:
            return answer(404, {"error": "No message available"})
        if not caller.client_id:
            return answer(401, {"error": "JWT validation failed: JWT is expired"})
        return self._limited(caller) or dispatch(self.tenant, call, *split, caller.client_id)

    def _limited(self, caller: Caller) -> Reply | None:
        """A 429 when the caller is over the rate. Its Retry-After is rounded up to whole seconds."""
        switches = self.tenant.switches
        if switches.rate is None:
            return None
        wait = self.limiter.wait((caller.client_id, caller.api_version), time.monotonic(), switches.rate)
        if wait <= 0:
            return None
        told = _told(switches.retry_after, int(wait) + 1, self.tenant.clock())
        return answer(429, {"message": " Rate Limit Exceeded "}, {"Retry-After": told} if told else {})

    def _oauth(self, call: Call) -> Reply:
        if (call.method, call.path) == ("GET", "/oauth/info"):
            return answer(200, self._info())
        if (call.method, call.path) == ("POST", "/oauth/token"):
            return self._token(form(call))
        return answer(404, {"error": "No message available"})

    def _info(self) -> dict[str, str]:
        return {
            "tenantId": self.tenant.name,
            "tenantName": self.tenant.name,
            "authorizeEndpoint": f"{self.base_url}/oauth/authorize",
            "tokenEndpoint": f"{self.base_url}/oauth/token",
            "cloudDomainUrl": self.base_url,
            "logoutUrl": f"{self.base_url}/logout",
            "pod": "simulator",
        }

    def _token(self, asked: Mapping[str, str]) -> Reply:
        if asked.get("grant_type") != "client_credentials":
            return _no_token(400, "unsupported_grant_type", "Unsupported grant type")
        client_id, secret = asked.get("client_id", ""), asked.get("client_secret", "")
        seconds = self.tenant.switches.token_seconds
        token = self.clients.issue(client_id, secret, now=self.tenant.clock(), seconds=seconds)
        if token is None:
            return _no_token(401, "unauthorized", "Full authentication is required to access this resource")
        return answer(200, self._grant(token, seconds))

    def _grant(self, token: str, seconds: int) -> dict[str, Any]:
        return {
            "access_token": token,
            "token_type": "bearer",
            "expires_in": seconds,
            "scope": "sp:scopes:all",
            "tenant_id": self.tenant.name,
            "org": self.tenant.name,
            "pod": "simulator",
            "internal": False,
            "enabled": True,
            "jti": secrets.token_hex(8),
        }


def form(call: Call) -> dict[str, str]:
    """The parameters of a token request: query, urlencoded or multipart."""
    kind = call.headers.get("content-type", "")
    if kind.lower().startswith("multipart/form-data"):
        return {**call.query, **dict(_multipart(kind, call.body))}
    return {**call.query, **dict(parse_qsl(call.body.decode(errors="replace")))}


def _multipart(kind: str, body: bytes) -> Iterator[tuple[str, str]]:
    message = message_from_bytes(b"Content-Type: " + kind.encode() + b"\r\n\r\n" + body)
    for part in message.walk():
        name, payload = part.get_param("name", header="content-disposition"), part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(payload, bytes):
            yield name, payload.decode(errors="replace").rstrip("\r\n")


def _no_token(status: int, error: str, description: str) -> Reply:
    return answer(status, {"error": error, "error_description": description})


def _told(how: str, seconds: int, now: datetime) -> str | None:
    if how == "date":
        return format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return {"seconds": str(seconds), "absurd": str(_ABSURD_SECONDS)}.get(how)
