"""What is tried again, how often, and what is said when that is no use."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from mmd.errors import Garbled, TenantError, Unknown, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

TRIES: Final = 4
_BASE_SECONDS: Final = 0.25
_CAP_SECONDS: Final = 8.0


def backoff(attempt: int, rng: Callable[[], float]) -> float:
    """Return the seconds to wait after the attempt of that number (from 1): exponential, with full jitter."""
    return rng() * min(_CAP_SECONDS, _BASE_SECONDS * 2.0 ** (attempt - 1))


def passing(error: TenantError) -> bool:
    """Whether the same request may fare better in a moment."""
    if isinstance(error, Unreachable | Unknown):
        return (
            error.status is None
            or error.status == HTTPStatus.REQUEST_TIMEOUT
            or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
    return isinstance(error, Garbled)


def unchanged(error: TenantError) -> TenantError:
    """Return the error for a request that can change nothing: there, unknown is no worse than unreachable."""
    if not isinstance(error, Unknown):
        return error
    return Unreachable(error.message, hint=error.hint, status=error.status, tracking_id=error.tracking_id)
