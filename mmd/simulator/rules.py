"""What a source and a schedule must be for ISC to take them (docs/isc.md §3, §4)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, TypeAlias

from mmd.simulator import jsonpatch
from mmd.simulator.cron import is_quartz
from mmd.simulator.problems import ILLEGAL_VALUE, rejected

Source: TypeAlias = dict[str, Any]
Schedule: TypeAlias = dict[str, str]

SCHEDULE_TYPES = ("ACCOUNT_AGGREGATION", "GROUP_AGGREGATION")
IMMUTABLE = frozenset(
    {"id", "type", "authoritative", "created", "modified", "connector", "connectorClass", "passwordPolicies"}
)
"""Attempts to change these answer 400."""
_FEATURES = (
    "AUTHENTICATE COMPOSITE DIRECT_PERMISSIONS DISCOVER_SCHEMA ENABLE MANAGER_LOOKUP NO_RANDOM_ACCESS PROXY"
    " SEARCH TEMPLATE UNLOCK UNSTRUCTURED_TARGETS SHAREPOINT_TARGET PROVISIONING GROUP_PROVISIONING"
    " SYNC_PROVISIONING PASSWORD CURRENT_PASSWORD ACCOUNT_ONLY_REQUEST ADDITIONAL_ACCOUNT_REQUEST"
    " NO_AGGREGATION GROUPS_HAVE_MEMBERS NO_PERMISSIONS_PROVISIONING NO_GROUP_PERMISSIONS_PROVISIONING"
    " NO_UNSTRUCTURED_TARGETS_PROVISIONING NO_DIRECT_PERMISSIONS_PROVISIONING PREFER_UUID"
    " ARM_SECURITY_EXTRACT ARM_UTILIZATION_EXTRACT ARM_CHANGELOG_EXTRACT USES_UUID APPLICATION_DISCOVERY"
    " DELETE"
)
FEATURES = frozenset(_FEATURES.split())
_REQUIRED = ("name", "owner", "connector")
_CIPHER = "1:ACP:"


def refuse_immutable(operation: jsonpatch.Operation) -> None:
    """Refuse an operation that would change what may not change."""
    for pointer in jsonpatch.touched(operation):
        top = [*jsonpatch.split(pointer), ""][0]
        if top in IMMUTABLE or not pointer:
            raise rejected(f"The field {top or '(all)'} cannot be changed.", code=ILLEGAL_VALUE)


def checked_source(source: object, *, known_features_only: bool) -> Source:
    """The source, when it is one."""
    if not isinstance(source, dict) or not all(source.get(key) for key in _REQUIRED):
        raise rejected("A source needs a name, an owner and a connector.")
    if not isinstance(source["name"], str) or not isinstance(source.get("connectorAttributes", {}), dict):
        raise rejected("A field of the source is of the wrong type.", code=ILLEGAL_VALUE)
    _check_features(source.get("features", []), known_only=known_features_only)
    threshold = source.get("deleteThreshold", 0)
    if type(threshold) is not int or not 0 <= threshold <= 100:  # noqa: PLR2004 - a percentage
        raise rejected("The deleteThreshold is a number from 0 to 100.", code=ILLEGAL_VALUE)
    return source


def _check_features(features: object, *, known_only: bool) -> None:
    if not isinstance(features, list) or not all(isinstance(feature, str) for feature in features):
        raise rejected("The features are an array of strings.", code=ILLEGAL_VALUE)
    if known_only and not FEATURES.issuperset(features):
        raise rejected("A feature is not known.", code=ILLEGAL_VALUE)


def encrypt(source: Source, before: Source) -> None:
    """Keep a secret that was written as ciphertext; one sent back unchanged stays what it is."""
    attributes, old = source.get("connectorAttributes", {}), before.get("connectorAttributes", {})
    for key in str(attributes.get("encrypted", "")).split(","):
        value = attributes.get(key)
        if isinstance(value, str) and value != old.get(key):
            attributes[key] = ciphertext(value)


def ciphertext(plain: str) -> str:
    """A stand-in for ISC's encryption, one-way on purpose."""
    return _CIPHER + base64.b64encode(hashlib.sha256(plain.encode()).digest()).decode()


def check_kind(kind: object) -> None:
    """Refuse what is not a type of schedule."""
    if kind not in SCHEDULE_TYPES:
        raise rejected(f"The schedule type is one of {', '.join(SCHEDULE_TYPES)}.", code=ILLEGAL_VALUE)


def checked_schedule(body: object) -> Schedule:
    """The schedule, when it is one; its cron expression verbatim."""
    if not isinstance(body, dict):
        raise rejected("A schedule is an object.")
    check_kind(body.get("type"))
    cron = body.get("cronExpression")
    if not isinstance(cron, str) or not is_quartz(cron):
        raise rejected("The cronExpression is not a Quartz cron expression.", code=ILLEGAL_VALUE)
    return {"type": body["type"], "cronExpression": cron}
