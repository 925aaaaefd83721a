"""What the simulated tenant may be told to do, one switch for each answer that ISC does not document.

The default of each is the most likely answer (docs/isc.md §8, §10). A switch may be turned while the
simulator runs; it counts from the next request on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Right: TypeAlias = str | tuple[str, str]  # a scope, or (scope, source id)


@dataclass(slots=True)
class Switches:
    """The tenant's habits. Durations are seconds."""

    token_seconds: int = 749
    """Life of an access token; ISC allows 15 to 43200."""
    rate: tuple[int, float] | None = (100, 10.0)
    """So many requests in so many seconds, sliding, for each client id and API version; None: no limit."""
    retry_after: Literal["seconds", "date", "none", "absurd"] = "seconds"
    """How a 429 says when to come back."""
    latency: float | Callable[[], float] = 0.0
    """Time taken before each request is looked at."""
    health_seconds: float = 15.0
    """Time between health checks, each of which moves `modified`; 0: none."""
    shuffle_features: bool = True
    """Whether `features` comes in another order in every answer."""
    known_features_only: bool = False
    """Whether a feature that the documents do not list is refused with 400."""
    null_values: Literal["refuse", "store"] = "refuse"
    """What becomes of `"value": null` in a patch."""
    wrong_content_type: int = 415
    """Status for a patch that is not `application/json-patch+json`; 200: taken all the same."""
    duplicate_schedule: Literal["400", "409", "upsert"] = "400"
    """The answer to a POST of a schedule type that is there already."""
    missing_schedule: Literal["404", "400.1.404"] = "404"
    """The answer to GET, PATCH and DELETE of a schedule type that is not there."""
    lag_seconds: float = 0.0
    """Reads show the state of so long ago."""
    lag_reads: int = 0
    """Reads of a source show the state before its last change so many times."""
    denied: Collection[Right] = ()
    """Scopes the client lacks, altogether or (scope, source id) for one source."""
    experimental_required: bool = False
    """Whether schedules need the header X-SailPoint-Experimental, as they did until January 2025."""
    content_encoding_quirk: bool = False
    """Whether 4xx answers carry `Content-Encoding: UTF-8`, as some of the edge's do."""
    pat_expires: datetime | None = None
    """The personal access token's expiry, as GET personal-access-tokens tells it; None: never."""
