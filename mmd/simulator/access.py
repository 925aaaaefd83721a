"""Who may do what, and how often: clients, access tokens, the rate limit (docs/isc.md §1, §2)."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from mmd.simulator.switches import Right


@dataclass(slots=True)
class Clients:
    """The client ids with their secrets, and the tokens that are out."""

    secrets: dict[str, str] = field(repr=False)
    _tokens: dict[str, tuple[str, datetime]] = field(default_factory=dict, repr=False)

    def issue(self, client_id: str, secret: str, *, now: datetime, seconds: int) -> str | None:
        """A new token for right credentials, else None."""
        known = self.secrets.get(client_id)
        if known is None or not secrets.compare_digest(known.encode(), secret.encode()):
            return None
        token = secrets.token_urlsafe(48)
        self._tokens[token] = (client_id, now + timedelta(seconds=seconds))
        return token

    def holder(self, authorization: str, *, now: datetime) -> str | None:
        """The client whose living token the Authorization header carries, else None."""
        scheme, _, token = authorization.partition(" ")
        client_id, expires_at = self._tokens.get(token.strip(), ("", now))
        return client_id if scheme.lower() == "bearer" and now < expires_at else None

    def revoke(self) -> None:
        """End every token that is out."""
        self._tokens.clear()


@dataclass(slots=True)
class Limiter:
    """A sliding limit of requests, one count for each key."""

    _seen: dict[tuple[str, str], deque[float]] = field(default_factory=dict)

    def wait(self, key: tuple[str, str], at: float, rate: tuple[int, float]) -> float:
        """Seconds to wait before one more is let in; 0.0 lets it in, and counts it. `at` is monotonic."""
        count, period = rate
        seen = self._seen.setdefault(key, deque())
        while seen and seen[0] <= at - period:
            seen.popleft()
        if len(seen) >= count:
            return (seen[0] if seen else at) + period - at
        seen.append(at)
        return 0.0


def allowed(scopes: tuple[str, ...], source_id: str | None, denied: Collection[Right]) -> bool:
    """Tell whether one of the scopes that would do is left to the client."""
    return any(scope not in denied and (scope, source_id) not in denied for scope in scopes)
