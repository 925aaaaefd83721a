"""Other people at work on the same tenant, and what should come of it.

Each edit is made on the tenant as ISC would make it; then the world is told what the source should be once
it is back, by the rules of the three-way merge (docs/reliability.md), written down here a second time:

* what mmd sets is mmd's: a flag or a feature with the treatment's value goes back to what it was;
* what somebody else set stays, and what he added to an emptied list is added to the list;
* whoever empties the features means maintenance, whatever the treatment;
* a schedule that somebody made while the source was held is the one to go back to;
* mmd's own keys always go back, and everything else on the source is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from world import ABSENT, KEY, World, plainly

from mmd.escrow import unseal
from mmd.posture import (
    ESCROW,
    FLAGS,
    HEALTH_FLAG,
    MARKER,
    OWN_KEYS,
    PROVISIONING_FEATURES,
    PROVISIONING_FLAG,
    SCHEDULE_TYPES,
    Fields,
    Treatment,
)
from mmd.simulator.people import Edit, Forum
from mmd.simulator.problems import Problem

OURS: Final[dict[str, bool]] = {PROVISIONING_FLAG: False, HEALTH_FLAG: True}


@dataclass
class People:
    """An administrator and the forum's workflow, in one world."""

    world: World
    base: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.base = {key: copy.deepcopy(self.world.expected[key]) for key in self.world.ids}
        self.admin = Edit(self.world.tenant)

    def features(self, key: str, features: list[str]) -> None:
        """Somebody sets the features."""
        self._edit(key, lambda: self.admin.set_features(key, features))

    def feature(self, key: str, name: str) -> None:
        """Somebody adds one feature to those that he sees."""
        live = self.world.tenant.sources[key].get("features", [])
        self.features(key, [*live, *([] if name in live else [name])])

    def flag(self, key: str, name: str, value: object) -> None:
        """Somebody sets a flag, or takes it off."""
        if value != ABSENT:
            self._edit(key, lambda: self.admin.set_attribute(key, name, value))
        elif name in self.world.tenant.sources[key]["connectorAttributes"]:
            self._edit(key, lambda: self.admin.remove_attribute(key, name))

    def schedule(self, key: str, kind: str, cron: str | None) -> None:
        """Somebody sets a schedule, or deletes it."""
        if cron is not None:
            self._edit(key, lambda: self.admin.set_schedule(key, kind, cron))
        elif kind in self.world.tenant.schedules[key]:
            self._edit(key, lambda: self.admin.delete_schedule(key, kind))

    def rename(self, key: str, name: str) -> None:
        """Somebody gives the source another name."""
        self._edit(key, lambda: self.admin.rename(key, name))

    def describe(self, key: str, text: str) -> None:
        """Somebody changes what mmd never touches."""
        self._edit(key, lambda: self.admin.describe(key, text))

    def strip(self, key: str) -> None:
        """Somebody takes the escrow off."""
        if ESCROW in self.world.tenant.sources[key]["connectorAttributes"]:
            self._edit(key, lambda: self.admin.remove_attribute(key, ESCROW))

    def put(self, key: str, old: dict[str, Any]) -> None:
        """A tool saves an old copy of the whole source over it."""
        self._edit(key, lambda: self.admin.put_whole(key, copy.deepcopy(old)))

    def enable(self, key: str) -> None:
        """The forum's workflow switches maintenance on."""
        self._edit(key, lambda: Forum(self.world.tenant).enable(key))

    def disable(self, key: str) -> None:
        """The forum's workflow switches maintenance off."""
        self._edit(key, lambda: Forum(self.world.tenant).disable(key))

    def in_hands(self, key: str) -> bool:
        """Whether the database or the source itself says that mmd has something to give back."""
        return any(found is not None for found in self.world.copies(key))

    def backup(self, data: bytes) -> None:
        """An old database is put in place: what it takes for held goes back to what it holds of it."""
        before = {key: self.in_hands(key) for key in self.world.ids}
        self.world.memory.load(data)
        for key in self.world.ids:
            kept = self.world.copies(key)[0]
            if kept is not None and not before[key]:
                live = self.world.tenant.comparable(key)
                self.base[key] = _as_document(live, kept)
                self.world.expected[key] = _merged(self.base[key], live, self._treatment(key))

    def delete(self, key: str) -> None:
        """Somebody deletes the source."""
        self.admin.delete_source(key)
        self.world.ids.remove(key)

    # -- what should come of it

    def _edit(self, key: str, do: Callable[[], object]) -> None:
        if key not in self.world.tenant.sources:
            return
        copies = [found for found in self.world.copies(key) if found is not None]
        if copies:
            self._take_over(key, copies[0])
        try:
            do()
        except Problem:
            return
        live = self.world.tenant.comparable(key)
        after = next((found for found in self.world.copies(key) if found is not None), None)
        if after is None and not copies:
            self.base[key], self.world.expected[key] = live, copy.deepcopy(live)
            return
        if not copies and after is not None:  # an old copy brought an old escrow with it
            self.base[key] = _as_document(live, self.latest(key, after))
        self.world.expected[key] = _merged(self.base[key], live, self._treatment(key))

    def latest(self, key: str, told: Fields) -> Fields:
        """What an escrow tells, unless the database has the same entry as it was later."""
        text = self.world.tenant.sources[key]["connectorAttributes"].get(ESCROW)
        _, escrow = unseal(text, source_id=key, key=KEY)
        known = self.world.store.holds.find(escrow.snapshot.id) if escrow else None
        if escrow is None or known is None or known.revision < escrow.revision:
            return told
        return known.snapshot.after

    def _take_over(self, key: str, kept: Fields) -> None:
        """What mmd has captured of earlier edits is from now on what it goes back to."""
        right, base = self.world.expected[key], self.base[key]
        if set(kept.features) == set(right["source"].get("features", ())):
            base["source"]["features"] = list(right["source"].get("features", ()))
        for name in FLAGS:
            value = right["source"]["connectorAttributes"].get(name, ABSENT)
            if kept.attributes.get(name, ABSENT) == value:
                _put(base["source"]["connectorAttributes"], name, value)
        for kind in SCHEDULE_TYPES:
            if kept.schedules.get(kind) == right["schedules"].get(kind):
                _put(base["schedules"], kind, right["schedules"].get(kind, ABSENT))

    def _treatment(self, key: str) -> Treatment:
        held = self.world.store.holds.held(key).get(key)
        if held is not None:
            return held.snapshot.treatment
        text = self.world.tenant.sources[key]["connectorAttributes"].get(ESCROW)
        _, escrow = unseal(text, source_id=key, key=KEY)
        return escrow.snapshot.treatment if escrow else Treatment.FULL


def _put(values: dict[str, Any], name: str, value: object) -> None:
    values.pop(name, None)
    if value != ABSENT:
        values[name] = value


def _as_document(live: dict[str, Any], kept: Fields) -> dict[str, Any]:
    """The source as it is, with what is touched as the escrow has it."""
    found = copy.deepcopy(live)
    found["source"]["features"] = sorted(kept.features)
    own = found["source"]["connectorAttributes"]
    for name in (*FLAGS, *OWN_KEYS, ESCROW):
        _put(own, name, kept.attributes.get(name, ABSENT))
    found["schedules"] = dict(kept.schedules)
    return found


def _merged(base: dict[str, Any], live: dict[str, Any], treatment: Treatment) -> dict[str, Any]:
    found = copy.deepcopy(live)
    if "features" in live["source"]:
        before, now = base["source"].get("features", []), live["source"]["features"]
        found["source"]["features"] = _features(before, now, treatment)
    was, own = base["source"]["connectorAttributes"], found["source"]["connectorAttributes"]
    forum = (
        _means(own.get(MARKER), False)
        and _means(own.get(PROVISIONING_FLAG), True)
        and _means(own.get(HEALTH_FLAG), False)
    )
    for name in FLAGS:
        back = forum or _means(own.get(name), OURS[name]) or _same(own, was, name)
        if back:
            _put(own, name, was.get(name, ABSENT))
    for name in (*OWN_KEYS, ESCROW):
        _put(own, name, was.get(name, ABSENT))
    found["schedules"] = {**base["schedules"], **live["schedules"]}
    return found


def _features(before: list[str], now: list[str], treatment: Treatment) -> list[str]:
    if not now:
        return sorted(before)
    if treatment is Treatment.KEEP_FEATURES:
        return sorted(now)
    during = set[str]()
    if treatment is Treatment.NO_PROVISIONING:
        during = set(before) - PROVISIONING_FEATURES
    taken = during - set(now)
    return sorted({*before} - taken | (set(now) - during))


def _same(one: dict[str, Any], other: dict[str, Any], name: str) -> bool:
    if (name in one) != (name in other):
        return False
    return name not in one or _means(one[name], other[name])


def _means(one: object, other: object) -> bool:
    """Whether two values mean the same to ISC: "true" is true, and 1 is not."""
    first, second = plainly(one), plainly(other)
    return type(first) is type(second) and first == second
