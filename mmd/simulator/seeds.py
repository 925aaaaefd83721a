"""A believable tenant: a dozen systems most companies have, in every shape a source comes in, and N more.

Everything follows from the seed: the same seed makes the same tenant, to the byte.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from mmd.simulator.health import DIAGNOSTICS, timestamp
from mmd.simulator.kinds import KINDS, Kind
from mmd.simulator.rules import Source
from mmd.simulator.tenant import Tenant

_BORN = datetime(2024, 2, 8, 14, 50, 3, tzinfo=UTC)
_PEOPLE = ("Alison Ferguso", "Thomas Edison", "Ada Okafor", "Mei Tanaka")


def make_tenant(
    sources: int = 12, seed: int = 1, *, name: str = "acme-sim", time_zone: str = "UTC"
) -> Tenant:
    """A tenant of so many sources: the dozen first, then numbered ones in the same shapes."""
    made = [_source(KINDS[number % len(KINDS)], number, seed) for number in range(sources)]
    crons = {source["id"]: KINDS[number % len(KINDS)].crons for number, source in enumerate(made)}
    made.sort(key=lambda source: str(source["id"]))
    tenant = Tenant(made, crons, name=name, time_zone=time_zone)
    tenant.identities = [_identity(person, seed) for person in _PEOPLE]
    return tenant


def _id(*parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:32]


def _identity(person: str, seed: int) -> dict[str, Any]:
    alias = person.lower().replace(" ", ".")
    return {
        "id": _id(seed, "identity", person),
        "name": person,
        "alias": alias,
        "email": f"{alias}@example.test",
        "status": "Active",
        "identityState": "ACTIVE",
        "manager": None,
        "attributes": [],
    }


def _source(kind: Kind, number: int, seed: int) -> Source:
    lap = number // len(KINDS)
    name = f"{kind.name} {lap + 1}" if lap else kind.name
    born = _BORN + timedelta(minutes=number)
    source: Source = {
        "id": _id(seed, "source", number),
        "name": name,
        "description": f"{kind.type}, kept by the IT service desk.",
        **_references(number, seed, name, file=kind.file),
        "type": kind.type,
        "connector": kind.connector,
        "connectorClass": "sailpoint.connector.OpenConnectorAdapter",
        "connectorAttributes": {**kind.attributes, "cloudDisplayName": name},
        "deleteThreshold": 10,
        "authoritative": kind.authoritative,
        **_state(born, file=kind.file),
        "connectorId": kind.connector,
        "connectorName": kind.type,
        "connectionType": "file" if kind.file else "direct",
        "connectorImplementationId": kind.connector,
    }
    if kind.features is not None:
        source["features"] = list(kind.features)
    if not kind.file:
        source["connectorAttributes"][DIAGNOSTICS] = _diagnostics(born)
    return source


def _references(number: int, seed: int, name: str, *, file: bool) -> dict[str, Any]:
    """What the source refers to: its owner, cluster, correlation, schemas and policies."""
    person = _PEOPLE[number % len(_PEOPLE)]
    cluster = {"type": "CLUSTER", "id": _id(seed, "cluster"), "name": "Corporate Cluster"}
    correlation = {
        "type": "ACCOUNT_CORRELATION_CONFIG",
        "id": _id(seed, "correlation", number),
        "name": f"{name} [source] Account Correlation",
    }
    schemas = ("account", "group")
    return {
        "owner": {"type": "IDENTITY", "id": _id(seed, "identity", person), "name": person},
        "cluster": None if file else cluster,
        "accountCorrelationConfig": correlation,
        "accountCorrelationRule": None,
        "managerCorrelationMapping": {"accountAttribute": "manager", "identityAttribute": "uid"},
        "managerCorrelationRule": None,
        "beforeProvisioningRule": None,
        "schemas": [
            {"type": "CONNECTOR_SCHEMA", "id": _id(seed, "schema", number, schema), "name": schema}
            for schema in schemas
        ],
        "passwordPolicies": None,
        "managementWorkgroup": None,
    }


def _state(born: datetime, *, file: bool) -> dict[str, Any]:
    return {
        "healthy": True,
        "status": "SOURCE_STATE_UNCHECKED_SOURCE" if file else "SOURCE_STATE_HEALTHY",
        "since": timestamp(born + timedelta(hours=1)),
        "created": timestamp(born),
        "modified": timestamp(born + timedelta(hours=1)),
        "credentialProviderEnabled": False,
        "category": None,
    }


def _diagnostics(born: datetime) -> str:
    """A JSON text within the JSON, as real sources carry it (docs/isc.md §0.10)."""
    checked = int((born + timedelta(hours=1)).timestamp() * 1000)
    found = {
        "healthcheckDisabled": False,
        "healthcheckCount": 37,
        "lastHealthcheck": checked,
        "healthy": True,
    }
    return json.dumps(found, separators=(",", ":"))
