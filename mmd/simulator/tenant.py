"""The tenant's state, without HTTP: sources, their schedules, tasks, identities.

Whoever changes anything, by a request or by hand, comes through here, and so meets the same rules.
The caller holds `Tenant.lock` around each call, and changes nothing in what it is given.
"""

from __future__ import annotations

import copy
import threading
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from mmd.simulator import filters, jsonpatch, rules
from mmd.simulator.health import DIAGNOSTICS, check_health, timestamp
from mmd.simulator.problems import ILLEGAL_VALUE, NOT_REFERENCED, Problem, rejected
from mmd.simulator.switches import Switches
from mmd.simulator.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mmd.simulator.rules import Schedule, Source

_SERVER_OWNS = ("modified", "since", "status", "healthy")


@dataclass(slots=True)
class _Past:
    """The state before one change, while reads may still show it."""

    changed_at: datetime
    source: Source
    schedules: dict[str, str]
    reads: int = 0


def utc_now() -> datetime:
    """The machine's clock, UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the simulator is a peer with a clock of its own


class Tenant:
    """An ISC tenant's sources and what belongs to them."""

    def __init__(
        self,
        sources: Iterable[Source],
        schedules: Mapping[str, Mapping[str, str]],
        *,
        name: str = "acme-sim",
        time_zone: str = "UTC",
    ) -> None:
        self.name = name
        self.time_zone = time_zone
        self.sources: dict[str, Source] = {source["id"]: source for source in sources}
        self.schedules: dict[str, dict[str, str]] = {
            source_id: dict(schedules.get(source_id, {})) for source_id in self.sources
        }
        self.identities: list[dict[str, Any]] = []
        self.tasks = Tasks()
        self.down: set[str] = set()
        """Sources whose target system does not answer."""
        self.switches = Switches()
        self.clock: Callable[[], datetime] = utc_now
        self.lock = threading.RLock()
        self._past: dict[str, list[_Past]] = {}
        self._health_round: dict[str, int] = {}
        self._turn = 0

    def id_of(self, name: str) -> str:
        """The id of the first source of this name; KeyError when there is none."""
        for source_id, source in self.sources.items():
            if source["name"] == name:
                return source_id
        raise KeyError(name)

    def snapshot(self, source_id: str) -> dict[str, Any]:
        """A deep copy of the source and its schedules as they are stored."""
        with self.lock:
            return copy.deepcopy({"source": self.sources[source_id], "schedules": self.schedules[source_id]})

    def comparable(self, source_id: str) -> dict[str, Any]:
        """The snapshot without what the server owns, features sorted: to compare before with after."""
        snapshot = self.snapshot(source_id)
        source = snapshot["source"]
        for key in _SERVER_OWNS:
            source.pop(key, None)
        source.get("connectorAttributes", {}).pop(DIAGNOSTICS, None)
        if isinstance(source.get("features"), list):
            source["features"].sort()
        return snapshot

    def read(self, source_id: str) -> Source:
        """The source as one GET shows it, perhaps late, its features in some order."""
        self._find(source_id)
        self._tick(source_id)
        return self._shown(self._seen(source_id)[0])

    def page(self, query: Mapping[str, str], *, offset: int, limit: int) -> tuple[list[Source], int]:
        """One page of the filtered, sorted sources, and how many there are in all."""
        found: Iterable[Mapping[str, Any]] = (self.sources[key] for key in sorted(self.sources))
        if query.get("filters"):
            conditions = filters.parse(query["filters"], filters.SOURCE_FILTERS)
            found = [item for item in found if all(condition.holds(item) for condition in conditions)]
        if query.get("sorters", "id") != "id":
            found = filters.ordered(found, query["sorters"], filters.SOURCE_SORTERS)
        every = list(found)
        return [self.read(item["id"]) for item in every[offset : offset + limit]], len(every)

    def patch(self, source_id: str, operations: object) -> Source:
        """Apply a JSON patch, whole or not at all; return the source as it is now."""
        source = self._find(source_id)
        allow_null = self.switches.null_values == "store"
        for operation in jsonpatch.checked(operations, allow_null=allow_null):
            rules.refuse_immutable(operation)
        return self._store(source_id, jsonpatch.apply(source, operations, allow_null=allow_null))

    def put(self, source_id: str, body: object) -> Source:
        """Replace the source, but for what may not change; return it as it is now."""
        source = self._find(source_id)
        if not isinstance(body, dict):
            raise rejected("A source is an object.")
        changed = {**copy.deepcopy(body), "created": source["created"], "modified": source["modified"]}
        for key in sorted(rules.IMMUTABLE):
            if not jsonpatch.same(changed.setdefault(key, source.get(key)), source.get(key)):
                raise rejected(f"The field {key} cannot be changed.", code=ILLEGAL_VALUE)
        return self._store(
            source_id, {key: value for key, value in changed.items() if key in source or key in body}
        )

    def delete(self, source_id: str) -> str:
        """Delete the source and its schedules; return the id of the task that does it."""
        self._find(source_id)
        del self.sources[source_id], self.schedules[source_id]
        self._past.pop(source_id, None)
        return uuid.uuid4().hex

    def add(self, source: Source, schedules: Mapping[str, str] | None = None) -> None:
        """Add a source that has its id already."""
        self.sources[source["id"]] = source
        self.schedules[source["id"]] = dict(schedules or {})

    def read_schedules(self, source_id: str) -> list[dict[str, str]]:
        """The schedules as the list operation shows them, perhaps late."""
        self._find(source_id)
        return [
            {"type": kind, "cronExpression": cron} for kind, cron in sorted(self._seen(source_id)[1].items())
        ]

    def read_schedule(self, source_id: str, kind: str) -> Schedule:
        """One schedule as GET shows it, perhaps late."""
        self._find(source_id)
        rules.check_kind(kind)
        seen = self._seen(source_id)[1]
        if kind not in seen:
            raise self._no_schedule()
        return {"type": kind, "cronExpression": seen[kind]}

    def post_schedule(self, source_id: str, body: object) -> dict[str, str]:
        """Create a schedule; return it."""
        self._find(source_id)
        schedule = rules.checked_schedule(body)
        if schedule["type"] in self.schedules[source_id]:
            self._refuse_duplicate()
        return self._set_cron(source_id, schedule)

    def patch_schedule(self, source_id: str, kind: str, operations: object) -> dict[str, str]:
        """Apply a JSON patch to one schedule; its type may not change."""
        cron = self._cron(source_id, kind)
        before = {"type": kind, "cronExpression": cron}
        after = rules.checked_schedule(jsonpatch.apply(before, operations))
        if after["type"] != kind:
            raise rejected("The field type cannot be changed.", code=ILLEGAL_VALUE)
        return self._set_cron(source_id, after)

    def delete_schedule(self, source_id: str, kind: str) -> None:
        """Delete one schedule."""
        self._cron(source_id, kind)
        self._remember(source_id)
        del self.schedules[source_id][kind]

    def check_connection(self, source_id: str) -> dict[str, Any]:
        """The StatusResponse; an unreachable target is a 200 with status FAILURE (docs/isc.md §5)."""
        source = self._find(source_id)
        down = source_id in self.down
        details = {"error": "The target system did not answer."} if down else {}
        status = "FAILURE" if down else "SUCCESS"
        return {
            "id": source_id,
            "name": source["name"],
            "status": status,
            "elapsedMillis": 12,
            "details": details,
        }

    def health(self, source_id: str) -> dict[str, Any]:
        """The SourceHealthDto."""
        source = self.read(source_id)
        return {
            "id": source_id,
            "type": source["type"],
            "name": source["name"],
            "org": self.name,
            "isAuthoritative": source.get("authoritative", False),
            "isCluster": source.get("cluster") is not None,
            "hostname": "simulator.invalid",
            "pod": "simulator",
            "iqServiceVersion": None,
            "status": source["status"],
        }

    def start_task(
        self, source_id: str, kind: str = "CLOUD_ACCOUNT_AGGREGATION", *, seconds: float | None = None
    ) -> str:
        """Start a task on the source, for so many seconds or without an end; return its id."""
        with self.lock:
            return self.tasks.start(self._find(source_id), kind, now=self.clock(), seconds=seconds)

    def _find(self, source_id: str) -> Source:
        if source_id not in self.sources:
            raise Problem(404)
        return self.sources[source_id]

    def _cron(self, source_id: str, kind: str) -> str:
        self._find(source_id)
        rules.check_kind(kind)
        if kind not in self.schedules[source_id]:
            raise self._no_schedule()
        return self.schedules[source_id][kind]

    def _no_schedule(self) -> Problem:
        if self.switches.missing_schedule == "404":
            return Problem(404)
        return rejected("Referenced schedule was not found.", code=NOT_REFERENCED)

    def _refuse_duplicate(self) -> None:
        if self.switches.duplicate_schedule != "upsert":
            raise Problem(int(self.switches.duplicate_schedule), "A schedule of this type already exists.")

    def _set_cron(self, source_id: str, schedule: dict[str, str]) -> dict[str, str]:
        self._remember(source_id)
        self.schedules[source_id][schedule["type"]] = schedule["cronExpression"]
        return schedule

    def _store(self, source_id: str, changed: object) -> Source:
        """Take a changed source when it is one, and move `modified`."""
        source = rules.checked_source(changed, known_features_only=self.switches.known_features_only)
        rules.encrypt(source, self.sources[source_id])
        self._remember(source_id)
        previous = datetime.fromisoformat(source["modified"])
        source["modified"] = timestamp(max(self.clock(), previous + timedelta(milliseconds=1)))
        self.sources[source_id] = source
        return self._shown(source)

    def _shown(self, source: Source) -> Source:
        """The source with its features in another order each time (docs/isc.md §0.5)."""
        features = source.get("features")
        if not self.switches.shuffle_features or not isinstance(features, list) or not features:
            return source
        self._turn += 1
        cut = self._turn % len(features)
        return {**source, "features": features[cut:] + features[:cut]}

    def _remember(self, source_id: str) -> None:
        """Keep the present state for late reads, before a change."""
        if self.switches.lag_seconds or self.switches.lag_reads:
            now = self.snapshot(source_id)
            self._past.setdefault(source_id, []).append(_Past(self.clock(), now["source"], now["schedules"]))

    def _seen(self, source_id: str) -> tuple[Source, dict[str, str]]:
        """What a read sees: the present, or the oldest past that is not over yet."""
        fresh_before = self.clock() - timedelta(seconds=self.switches.lag_seconds)
        limit = self.switches.lag_reads
        past = [
            state
            for state in self._past.pop(source_id, ())
            if state.reads < limit or state.changed_at > fresh_before
        ]
        if not past:
            return self.sources[source_id], self.schedules[source_id]
        for state in past:
            state.reads += 1
        self._past[source_id] = past
        return past[0].source, past[0].schedules

    def _tick(self, source_id: str) -> None:
        """Make up for the health check that is due, if one is."""
        if not self.switches.health_seconds:
            return
        now = self.clock()
        number = int(now.timestamp() // self.switches.health_seconds)
        if self._health_round.setdefault(source_id, number) != number:
            self._health_round[source_id] = number
            check_health(self.sources[source_id], now, down=source_id in self.down)
