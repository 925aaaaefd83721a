"""What may come of mmd's own requests after a source was released (docs/adr/0011).

Pure. A request whose process was frozen, or that a gateway gave up, may be carried out long after the source
was restored; and a late answer may have shown as there what mmd had deleted. What is on the source and what
the journal says of its entry tell mmd's own doing from somebody else's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from mmd.posture import FLAGS, MARKER, OWN_KEYS, Treatment, drift

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.plan import Held
    from mmd.posture import Json, Observation

LATE: Final = timedelta(minutes=15)  # how long after a release an unanswered request may still be carried out
UNKNOWN: Final = "unknown"  # the outcome of a request that had no usable answer
SEEN_GONE: Final = ("entered", "verified")  # lines that say that no schedule was left
KINDS: Final = ("intent", "outcome", "released", *SEEN_GONE)  # the lines of the journal that are asked


class Line(Protocol):
    """A line of the journal about the entry in question; `at` is UTC."""

    @property
    def at(self) -> datetime:
        """When it was written."""

    @property
    def kind(self) -> str:
        """What it is about."""

    @property
    def body(self) -> Mapping[str, Json]:
        """The particulars."""


def left_behind(seen: Observation, last: Held) -> bool:
    """Whether what is on a released source is mmd's own doing, and nobody else's.

    Its escrow is a proof. So is the marker with every value of the treatment, unless the forum's cron keys
    are there as well: then a person has used the form since.
    """
    if seen.escrow is not None:
        return seen.escrow == last.text
    own = seen.attributes or {}
    crons = [key for key in OWN_KEYS if key != MARKER and key in own]
    differing = drift(seen, last.snapshot, escrow=last.text)
    return not crons and {*FLAGS, MARKER, "features"}.isdisjoint(differing)


def is_amiss(seen: Observation, last: Held) -> bool:
    """Whether a released source, read whole, lacks a schedule or is marked."""
    return seen.marked or bool(gone(seen, last))


def done_late(
    seen: Observation, last: Held, lines: Sequence[Line], *, released_at: datetime, now: datetime
) -> bool:
    """Whether what is amiss may be mmd's own doing; `lines` are those of the entry, oldest first."""
    kinds = gone(seen, last)
    requests = [f"DELETE schedule {kind}" for kind in kinds] + ["PATCH treatment"] * seen.marked
    late = any(is_late(lines, request, released_at, now) for request in requests)
    return late or any(is_owed(lines, kind) for kind in kinds)


def gone(seen: Observation, last: Held) -> list[str]:
    """Name the schedules that a released source should have, and has not."""
    return [kind for kind in last.snapshot.after.schedules if kind not in (seen.schedules or {})]


def reopened(newest: Held, seen: Observation, late: Sequence[Held]) -> Held:
    """Return the newest snapshot as it is to be held again, for what these entries took late.

    What they took comes back with it, and where the source is not marked its features are other people's:
    no late treatment has touched them.
    """
    crons = {kind: item.snapshot.after.schedules[kind] for item in late for kind in gone(seen, item)}
    after = newest.snapshot.after
    after = replace(after, schedules={**crons, **after.schedules})
    treatment = newest.snapshot.treatment if seen.marked else Treatment.KEEP_FEATURES
    snapshot = replace(newest.snapshot, after=after, treatment=treatment)
    return replace(newest, snapshot=snapshot, restored_at=None, verified=False)


def is_late(lines: Sequence[Line], request: str, released_at: datetime, now: datetime) -> bool:
    """Whether a request of a kind may have been carried out after the release.

    Either its answer came after it, or there was none that says anything: then it may lie about on the
    network or in ISC, though not for long.
    """
    mine = [line for line in lines if line.body.get("request") == request]
    if not mine:
        return False
    left = [one for one, after in zip(mine, [*mine[1:], None], strict=True) if _is_unanswered(one, after)]
    is_recent = now - released_at < LATE
    if is_recent and any(one is mine[-1] or released_at - one.at < LATE for one in left):
        return True
    return mine[-1] not in left and _is_after_the_release(mine[-1], lines)


def _is_after_the_release(line: Line, lines: Sequence[Line]) -> bool:
    """Go by the order of the journal: a clock may have gone back meanwhile."""
    told = [one for one in lines if one is line or one.kind == "released"]
    return told[-1] is line and len(told) > 1


def _is_unanswered(line: Line, following: Line | None) -> bool:
    if line.kind == "outcome":
        return line.body.get("outcome") == UNKNOWN
    return following is None or following.kind != "outcome"


def is_owed(lines: Sequence[Line], kind: str) -> bool:
    """Whether mmd has deleted a schedule, and neither seen it gone nor created it since.

    Then late answers showed it as if it were still there, and the source was released without it. Where it
    was seen gone, one that was there afterwards was made by somebody else, who may delete it as well.
    """
    deleted, created = f"DELETE schedule {kind}", f"POST schedule {kind}"
    told = [it for it in lines if it.kind in SEEN_GONE or it.body.get("request") in (deleted, created)]
    last = told[-1].body if told else {}
    return last.get("request") == deleted and last.get("outcome") == "ok"
