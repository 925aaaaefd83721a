"""Sources and snapshots that many tests of the core start from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mmd.posture import ACCOUNTS, ESCROW, GROUPS, PROVISIONING_FLAG, Fields, Observation, Snapshot, Treatment

if TYPE_CHECKING:
    from mmd.posture import Json

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
CRON = "0 0 5 * * ?"
BEFORE = Fields(
    ("PROVISIONING", "ENABLE", "SEARCH"), {PROVISIONING_FLAG: True}, {ACCOUNTS: CRON, GROUPS: "0 0 6 * * ?"}
)
TEXT = "escrow text"


def snapshot(before: Fields = BEFORE, treatment: Treatment = Treatment.FULL) -> Snapshot:
    return Snapshot(
        id="s1",
        source_id="id1",
        source_name="AD",
        treatment=treatment,
        taken_at=NOON,
        before=before,
        after=before,
    )


def seen(fields: Fields, *, escrow: Json = None, schedules: bool = True) -> Observation:
    attributes = dict(fields.attributes)
    if escrow is not None:
        attributes[ESCROW] = escrow
    return Observation(
        source_id="id1",
        name="AD",
        features=fields.features,
        attributes=attributes,
        schedules=dict(fields.schedules) if schedules else None,
    )
