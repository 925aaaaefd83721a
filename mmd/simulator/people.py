"""What people do to the same tenant meanwhile: an administrator in the UI, and the forum's workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mmd.simulator.routes import dispatch
from mmd.simulator.wire import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmd.simulator.rules import Source
    from mmd.simulator.tenant import Tenant

_KINDS = ("GROUP_AGGREGATION", "ACCOUNT_AGGREGATION")  # the forum's order


@dataclass(frozen=True, slots=True)
class Edit:
    """A human administrator: every change goes through the rules that requests meet."""

    tenant: Tenant

    def patch(self, source_id: str, *operations: Mapping[str, Any]) -> None:
        """Any JSON patch."""
        with self.tenant.lock:
            self.tenant.patch(source_id, [dict(operation) for operation in operations])

    def set_attribute(self, source_id: str, key: str, value: object) -> None:
        """Set one of the connectorAttributes."""
        self.patch(source_id, {"op": "add", "path": _attribute(key), "value": value})

    def remove_attribute(self, source_id: str, key: str) -> None:
        """Remove one of the connectorAttributes."""
        self.patch(source_id, {"op": "remove", "path": _attribute(key)})

    def set_features(self, source_id: str, features: Sequence[str]) -> None:
        """Set all of the features."""
        self.patch(source_id, {"op": "add", "path": "/features", "value": list(features)})

    def rename(self, source_id: str, name: str) -> None:
        """Give the source another name."""
        self.patch(source_id, {"op": "replace", "path": "/name", "value": name})

    def describe(self, source_id: str, text: str) -> None:
        """Give the source another description."""
        self.patch(source_id, {"op": "add", "path": "/description", "value": text})

    def set_schedule(self, source_id: str, kind: str, cron: str) -> None:
        """Create the schedule, or change it."""
        with self.tenant.lock:
            if kind in self.tenant.schedules[source_id]:
                operation = {"op": "replace", "path": "/cronExpression", "value": cron}
                self.tenant.patch_schedule(source_id, kind, [operation])
            else:
                self.tenant.post_schedule(source_id, {"type": kind, "cronExpression": cron})

    def delete_schedule(self, source_id: str, kind: str) -> None:
        """Delete the schedule."""
        with self.tenant.lock:
            self.tenant.delete_schedule(source_id, kind)

    def delete_source(self, source_id: str) -> None:
        """Delete the source."""
        with self.tenant.lock:
            self.tenant.delete(source_id)

    def put_whole(self, source_id: str, old_copy: Source) -> None:
        """Save an old copy of the whole source over it, as configuration tools do."""
        with self.tenant.lock:
            self.tenant.put(source_id, old_copy)


def _attribute(key: str) -> str:
    return "/connectorAttributes/" + key.replace("~", "~0").replace("/", "~1")


@dataclass(frozen=True, slots=True)
class Step:
    """One request of the forum's workflow and the status it got."""

    method: str
    path: str
    status: int


class Forum:
    """The published workflow, its calls and their order, its defects included (docs/isc.md §7)."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.steps: list[Step] = []

    def enable(self, source_id: str) -> list[Step]:
        """Maintenance on. A schedule that could not be read is stored as empty, and deleted all the same."""
        source = f"/sources/{source_id}"
        self._send("GET", source)
        found = [self._send("GET", f"{source}/schedules/{kind}") for kind in _KINDS]
        for kind in _KINDS:
            self._send("DELETE", f"{source}/schedules/{kind}")
        group, account = (body.get("cronExpression", "") for body in found)
        self._send("PATCH", source, _enabling(group, account))
        return self.steps

    def disable(self, source_id: str) -> list[Step]:
        """Maintenance off. The features are not restored, and provisioning is on whatever it was before."""
        source = f"/sources/{source_id}"
        stored = self._send("GET", source).get("connectorAttributes", {})
        self._send("PATCH", source, _DISABLING)
        for kind in _KINDS:
            key = kind.lower().replace("_", "") + "schedule"
            body = {"type": kind, "cronExpression": stored.get(key, "")}
            self._send("POST", f"{source}/schedules", body)
        self._send("PATCH", source, _DISABLING)
        return self.steps

    def _send(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        kind = "application/json-patch+json" if method == "PATCH" else "application/json"
        sent = json.dumps(body).encode()
        call = Call(method, f"/v2026{path}", headers={"content-type": kind}, body=sent)
        with self.tenant.lock:
            reply = dispatch(self.tenant, call, "v2026", path, "forum-workflow")
        self.steps.append(Step(method, path, reply.status))
        found = json.loads(reply.body or b"{}")
        return found if isinstance(found, dict) else {}


def _add(key: str, value: object) -> dict[str, Any]:
    return {"op": "add", "path": f"/connectorAttributes/{key}", "value": value}


def _enabling(group: str, account: str) -> list[dict[str, Any]]:
    return [
        _add("enableProvisioningFeature", False),
        _add("disable_health_check", True),
        {"op": "replace", "path": "/features", "value": []},
        _add("groupaggregationschedule", group),
        _add("accountaggregationschedule", account),
        _add("maintenancemode", True),
    ]


_DISABLING = [
    _add("enableProvisioningFeature", True),
    _add("disable_health_check", False),
    _add("maintenancemode", False),
]
