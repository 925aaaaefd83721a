"""The shapes a source comes in: what mmd may touch, in every form it was seen in, and treatments of it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import product
from typing import Any, Final

from mmd.posture import ACCOUNTS, GROUPS, HEALTH_FLAG, PROVISIONING_FLAG, Treatment
from mmd.simulator import Tenant

ABSENT: Final = object()
PROVISIONING: Final = (ABSENT, True, False, "true", "false")
HEALTH: Final = (ABSENT, False, True, "true")
CRONS: Final[tuple[dict[str, str], ...]] = (
    {},
    {ACCOUNTS: "0 0 5,13,21 * * ?"},
    {GROUPS: "0 30 5 * * ?"},
    {ACCOUNTS: "0 0 0/4 1/1 * ? *", GROUPS: "0 15 4 ? * MON-FRI"},
)
FEATURES: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("PROVISIONING",),
    ("NO_RANDOM_ACCESS", "DISCOVER_SCHEMA"),
    ("SEARCH", "PROVISIONING", "ENABLE", "UNLOCK", "PASSWORD", "AUTHENTICATE"),
    ("PROVISIONING", "OF_A_KIND_NOBODY_DOCUMENTS", "SYNC_PROVISIONING"),
)
# What the forum's workflow leaves behind for ever.
LEFT: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"maintenancemode": False, "accountaggregationschedule": "0 0 1 * * ?", "groupaggregationschedule": ""},
    {"maintenancemode": "false"},
)


@dataclass(frozen=True, slots=True)
class Shape:
    """One source before maintenance, and the treatment its window asks for."""

    number: int
    provisioning: object
    health: object
    crons: dict[str, str]
    features: tuple[str, ...]
    left: dict[str, Any]
    treatment: Treatment

    def source(self, source_id: str) -> dict[str, Any]:
        """The source's document."""
        flags = {PROVISIONING_FLAG: self.provisioning, HEALTH_FLAG: self.health}
        attributes = {"host": "h.invalid", "encrypted": "password", "password": "1:ACP:x", **self.left}
        attributes |= {key: value for key, value in flags.items() if value is not ABSENT}
        return {
            "id": source_id,
            "name": f"Source {source_id}",
            "description": "a shape",
            "owner": {"type": "IDENTITY", "id": "i1", "name": "Ada Okafor"},
            "type": "Shaped",
            "connector": "shaped",
            "connectorAttributes": attributes,
            "features": list(self.features),
            "authoritative": False,
            "deleteThreshold": 10,
            "created": "2024-02-08T14:50:03.000Z",
            "modified": "2024-02-08T15:50:03.000Z",
        }

    def __str__(self) -> str:
        return f"shape{self.number:02}"


def _shapes(count: int) -> list[Shape]:
    """As many as asked for, of all there could be; with this seed nearly all pairs of values meet."""
    every = list(product(PROVISIONING, HEALTH, CRONS, FEATURES, LEFT, Treatment))
    chosen = random.Random(1544).sample(every, count)  # noqa: S311 - to spread, not to hide
    return [Shape(number, *parts) for number, parts in enumerate(chosen, 1)]


SHAPES: Final = _shapes(36)


def tenant_of(*shapes: Shape) -> Tenant:
    """A tenant of one source for each shape; ids s1, s2, and so on."""
    ids = [f"s{number}" for number in range(1, len(shapes) + 1)]
    sources = [shape.source(key) for key, shape in zip(ids, shapes, strict=True)]
    return Tenant(sources, {key: shape.crons for key, shape in zip(ids, shapes, strict=True)})
