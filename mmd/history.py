"""What was: planned, applied and observed, told apart.

Pure. Planned is what windows said. Applied is what mmd did and verified. Observed is what the sweeps saw,
and holds only within the spans in which the whole tenant was watched. Where the three do not answer, the
answer is "not known".
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mmd.posture import Posture


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One occurrence of a window, as it was to be. Instants are UTC, the end exclusive."""

    window_id: str
    key: str
    opens_at: datetime
    closes_at: datetime
    reason: str
    ticket: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """One entry of the source by mmd: verified in maintenance at `entered_at`, back at `restored_at`."""

    snapshot_id: str
    window_ids: tuple[str, ...]
    taken_at: datetime
    entered_at: datetime | None = None
    restored_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The posture of the source changed, as far as passes and sweeps saw it, at or shortly before `at`."""

    at: datetime
    posture: Posture


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Everything that is known of one source's past; each part in order of time."""

    source_id: str
    source_name: str
    planned: tuple[Planned, ...] = ()
    applied: tuple[Applied, ...] = ()
    seen: tuple[Seen, ...] = ()
    watched: tuple[tuple[datetime, datetime], ...] = ()
