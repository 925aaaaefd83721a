"""What a source looks like: the values mmd may touch, and what they add up to.

Pure: values in, values out. The posture of a source is relative to the snapshot held of it; without a
snapshot only the marker and the escrow may speak, because everything else about a source may be somebody's
deliberate setting (docs/architecture.md, rule 5).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"

ACCOUNTS: Final = "ACCOUNT_AGGREGATION"
GROUPS: Final = "GROUP_AGGREGATION"
SCHEDULE_TYPES: Final = (ACCOUNTS, GROUPS)

MARKER: Final = "maintenancemode"
ESCROW: Final = "mmd_escrow"
PROVISIONING_FLAG: Final = "enableProvisioningFeature"
HEALTH_FLAG: Final = "disable_health_check"
FLAGS: Final = (PROVISIONING_FLAG, HEALTH_FLAG)
# The forum workflow keeps the crons under these keys; so do we, so that its Disable stays an emergency exit.
CRON_KEYS: Final[Mapping[str, str]] = {
    ACCOUNTS: "accountaggregationschedule",
    GROUPS: "groupaggregationschedule",
}
# Keys of connectorAttributes that mean something to people only while in maintenance.
OWN_KEYS: Final = (*CRON_KEYS.values(), MARKER)
# Every key of connectorAttributes that mmd may ever write.
TOUCHED_KEYS: Final = (*FLAGS, *OWN_KEYS, ESCROW)

# docs/isc.md §4: what lets ISC write to the target; the rest says how to read it.
PROVISIONING_FEATURES: Final = frozenset(
    {
        "CURRENT_PASSWORD",
        "DELETE",
        "ENABLE",
        "GROUP_PROVISIONING",
        "PASSWORD",
        "PROVISIONING",
        "SYNC_PROVISIONING",
        "UNLOCK",
    }
)


class Treatment(StrEnum):
    """The values that *are* maintenance, by name; see the table in docs/contract.md."""

    KEEP_FEATURES = "keep-features"
    NO_PROVISIONING = "no-provisioning"
    FULL = "full"

    @property
    def strength(self) -> int:
        """How much it switches off; where windows overlap the strongest holds."""
        return list(Treatment).index(self)


class Posture(StrEnum):
    """What an observation adds up to."""

    NORMAL = "normal"
    MAINTENANCE = "maintenance"
    MIXED = "mixed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Fields:
    """The part of a source that mmd may touch, without the escrow.

    `features` keeps the order in which ISC sent them and means a set; `attributes` has the owned keys of
    connectorAttributes that are present (an absent key is not there, never None); `schedules` has the cron of
    each aggregation schedule that exists, byte for byte, by type.
    """

    features: tuple[str, ...]
    attributes: Mapping[str, Json] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)

    def with_attributes(self, changes: Mapping[str, Json], *, without: tuple[str, ...] = ()) -> Fields:
        """Return a copy with some attributes set and others absent."""
        kept = {key: value for key, value in self.attributes.items() if key not in without}
        return replace(self, attributes={**kept, **changes})


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One source as one answer of ISC showed it.

    `features` or `attributes` are None where the answer lacked them: that is "not known", never "empty".
    `attributes` has the touched keys that are present, the escrow among them. `schedules` is None in answers
    that do not carry schedules (a list page, a single source). `modified` is ISC's own instant of the last
    change (UTC), which also moves on every health check (docs/isc.md §0.4).
    """

    source_id: str
    name: str
    connector: str = ""
    features: tuple[str, ...] | None
    attributes: Mapping[str, Json] | None
    schedules: Mapping[str, str] | None = None
    modified: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer had everything that a source's own document should have."""
        return self.features is not None and self.attributes is not None

    @property
    def marked(self) -> bool:
        """Whether the marker says maintenance, in either of the forms in use (true and "true")."""
        return self.attributes is not None and alike(self.attributes.get(MARKER), True)

    @property
    def escrow(self) -> Json:
        """The escrow on the source, or None."""
        return None if self.attributes is None else self.attributes.get(ESCROW)

    @property
    def fields(self) -> Fields:
        """The observed values; unread schedules count as none, so ask only where that is meant.

        Raises:
            ValueError: the observation is not complete.
        """
        if self.features is None or self.attributes is None:
            raise ValueError("an incomplete observation has no fields")
        own = {key: value for key, value in self.attributes.items() if key != ESCROW}
        return Fields(self.features, own, dict(self.schedules or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a source looked like before mmd touched it: first copy wins.

    `before` is never changed. `after` is what to go back to: `before`, and whatever other people changed
    while the source was held. `id` names this entry of this source, once and for ever.
    """

    id: str
    source_id: str
    source_name: str
    treatment: Treatment
    taken_at: datetime
    before: Fields
    after: Fields

    @property
    def during(self) -> Fields:
        """What the source should look like while it is held."""
        return treated(self.after, self.treatment)


def treated(before: Fields, treatment: Treatment) -> Fields:
    """Return what a source that looked like `before` looks like in maintenance (without the escrow)."""
    crons = {CRON_KEYS[kind]: cron for kind, cron in before.schedules.items()}
    marked = before.with_attributes(
        {PROVISIONING_FLAG: False, HEALTH_FLAG: True, **crons, MARKER: True}, without=OWN_KEYS
    )
    return replace(marked, features=_treated_features(before.features, treatment), schedules={})


def _treated_features(features: tuple[str, ...], treatment: Treatment) -> tuple[str, ...]:
    match treatment:
        case Treatment.FULL:
            return ()
        case Treatment.NO_PROVISIONING:
            return tuple(name for name in features if name not in PROVISIONING_FEATURES)
        case Treatment.KEEP_FEATURES:
            return features


def classify(observed: Observation | None, held: Snapshot | None, *, escrow: str, restored: bool) -> Posture:
    """Say what an observation adds up to, given the snapshot held of the source, if any.

    `escrow` is the text that should be on the source while it is held; `restored` says that mmd has written
    everything back and read it back. A held source is normal only after that: until then it may have been
    touched, whatever one read shows (docs/reliability.md F4).
    """
    if observed is None or not observed.complete:
        return Posture.UNKNOWN
    if held is None:
        return _classify_free(observed)
    if not drift(observed, held, escrow=escrow):
        return Posture.MAINTENANCE
    if restored and not observed.marked and observed.escrow is None and settled(observed, held):
        return Posture.NORMAL
    return Posture.MIXED


def _classify_free(observed: Observation) -> Posture:
    if observed.marked:
        return Posture.MAINTENANCE
    return Posture.NORMAL if observed.escrow is None else Posture.MIXED


def drift(observed: Observation, held: Snapshot, *, escrow: str) -> tuple[str, ...]:
    """Name what differs from the treatment, by field; empty means the source is in maintenance."""
    during, live = held.during, observed.fields
    names = [key for key in (*FLAGS, *OWN_KEYS) if not _attribute_alike(key, live, during)]
    if held.treatment is not Treatment.KEEP_FEATURES and set(live.features) != set(during.features):
        names.append("features")
    names += [kind for kind in SCHEDULE_TYPES if kind in live.schedules]
    if observed.escrow != escrow:
        names.append(ESCROW)
    return tuple(names)


def settled(observed: Observation, held: Snapshot) -> bool:
    """Whether nothing that mmd wrote is left: each field is as it should be after the restoration.

    Schedules count only in an observation that has them.
    """
    live, goal = observed.fields, merge(held.after, held.during, observed.fields)
    schedules_fit = observed.schedules is None or live.schedules == goal.schedules
    own_keys_fit = all(_attribute_alike(key, live, goal) for key in OWN_KEYS)
    return not remaining(observed, held) and own_keys_fit and schedules_fit


def remaining(observed: Observation, held: Snapshot) -> tuple[str, ...]:
    """Name what of the treatment is still to be undone, schedules aside: by what it means to ISC.

    ISC may keep a value in another form than it was sent (docs/reliability.md B25). An answer that is not
    whole shows nothing undone.
    """
    if not observed.complete:
        return ("features or connectorAttributes are not shown",)
    live, goal = observed.fields, merge(held.after, held.during, observed.fields)
    names = [key for key in FLAGS if not _attribute_alike(key, live, goal)]
    return (*names, "features") if set(live.features) != set(goal.features) else tuple(names)


def merge(before: Fields, during: Fields, live: Fields) -> Fields:
    """Return what the source should look like after maintenance: three-way, field by field.

    Where the live value is the one mmd set, it goes back; where somebody else changed it, his value stays
    (docs/reliability.md §2.2). mmd's own keys always go back, since nobody else has a use for them. Features
    are a set that ISC shows in any order (docs/isc.md §0.5): they keep the order on file.
    """
    attributes = dict(live.attributes)
    for key in (*FLAGS, *OWN_KEYS):
        ours = key in OWN_KEYS or _is_ours(key, before, during, live)
        if not ours:
            continue
        attributes.pop(key, None)
        if key in before.attributes:
            attributes[key] = before.attributes[key]
    features = _merge_features(before.features, during.features, live.features)
    return Fields(features, attributes, {**before.schedules, **live.schedules})


def _is_ours(key: str, before: Fields, during: Fields, live: Fields) -> bool:
    """Whether a flag's live value is one that mmd, the forum's Disable, or nobody put there."""
    return _attribute_alike(key, live, during) or _attribute_alike(key, live, before) or forum_disabled(live)


def _merge_features(
    before: tuple[str, ...], during: tuple[str, ...], live: tuple[str, ...]
) -> tuple[str, ...]:
    if not live:  # nobody takes every feature off for another reason than maintenance: the forum's Enable
        return before
    removed = set(during) - set(live)
    kept = tuple(name for name in before if name not in removed)
    return kept + tuple(name for name in live if name not in during and name not in before)


def forum_disabled(live: Fields) -> bool:
    """Whether the forum workflow's Disable has been here: it sets all three, whatever they were before."""
    attributes = live.attributes
    return (
        alike(attributes.get(MARKER), False)
        and alike(attributes.get(PROVISIONING_FLAG), True)
        and alike(attributes.get(HEALTH_FLAG), False)
    )


def foreign_edits(snapshot: Snapshot) -> tuple[str, ...]:
    """Name what other people changed while the source was held and what is kept of it, a sentence each."""
    before, after = snapshot.before, snapshot.after
    notes = []
    if set(before.features) != set(after.features):
        notes.append(f"features: {_signed(before.features, after.features)}")
    notes += [
        f"{key}: {_shown(before.attributes, key)} became {_shown(after.attributes, key)}"
        for key in FLAGS
        if not _same_attribute(key, before, after)
    ]
    notes += [
        f"schedule {kind}: {_shown(before.schedules, kind)} became {_shown(after.schedules, kind)}"
        for kind in SCHEDULE_TYPES
        if before.schedules.get(kind) != after.schedules.get(kind)
    ]
    return tuple(notes)


def _signed(before: tuple[str, ...], after: tuple[str, ...]) -> str:
    added = [f"+{name}" for name in sorted(set(after) - set(before))]
    return " ".join(added + [f"-{name}" for name in sorted(set(before) - set(after))])


def _shown(values: Mapping[str, Json] | Mapping[str, str], key: str) -> str:
    return canonical(values[key]) if key in values else "absent"


_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical(value: Json) -> str:
    """Return the one JSON text of a value: sorted keys, no white space; equal texts mean equal JSON."""
    return _CANONICAL.encode(value)


DEEPEST: Final = 32  # how deep a value may be nested
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def storable(value: Json, depth: int = DEEPEST) -> bool:
    """Whether a value from elsewhere can be kept and sent: no half characters, no absurd nesting, no NaN."""
    match value:
        case str():
            return value.isascii() or not _SURROGATE.search(value)
        case float():
            return math.isfinite(value)
        case list():
            return depth > 0 and all(storable(item, depth - 1) for item in value)
        case dict():
            return depth > 0 and all(
                storable(key) and storable(item, depth - 1) for key, item in value.items()
            )
    return True


def alike(one: Json, other: Json) -> bool:
    """Whether two JSON values mean the same to ISC: "true" and true do (docs/isc.md §4), 1 and true not."""
    return canonical(_plain(one)) == canonical(_plain(other))


def _plain(value: Json) -> Json:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    return value


def _attribute_alike(key: str, one: Fields, other: Fields) -> bool:
    """Whether a key means the same in both; null is as good as absent."""
    return alike(one.attributes.get(key), other.attributes.get(key))


def _same_attribute(key: str, one: Fields, other: Fields) -> bool:
    if (key in one.attributes) != (key in other.attributes):
        return False
    return key not in one.attributes or canonical(one.attributes[key]) == canonical(other.attributes[key])
