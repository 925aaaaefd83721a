"""What a source in maintenance should go back to, when the database does not know.

Pure. Two things on the source itself may tell: mmd's escrow, which tells all of it, and the forum
workflow's keys, which tell two crons and nothing else. What is not known is asked for, never guessed; the
flags alone have a default, the values that the workflow's own Disable would set, and it is named.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Final

from mmd.errors import Conflict, NotFound, Refused
from mmd.escrow import Claim, Trust, unseal
from mmd.findings import suspicious
from mmd.posture import (
    CRON_KEYS,
    FLAGS,
    HEALTH_FLAG,
    PROVISIONING_FLAG,
    Fields,
    Json,
    Observation,
    Snapshot,
    Treatment,
    alike,
)
from mmd.windows import Occurrence, SourceRef, Window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

# What maintenance sets, and what the forum workflow's Disable sets back, whatever was there before.
SUPPRESSED: Final[Mapping[str, Json]] = {PROVISIONING_FLAG: False, HEALTH_FLAG: True}
FORUM_DISABLED: Final[Mapping[str, Json]] = {PROVISIONING_FLAG: True, HEALTH_FLAG: False}
ABSENT: Final = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a person says of a source's state before maintenance; None where he said nothing.

    `flags` has true, false or "absent" by flag. `accept_unsigned` lets an escrow be believed whose
    signature is another mmd's, or was made with a client secret that has been changed since.
    """

    features: tuple[str, ...] | None = None
    flags: Mapping[str, bool | str] = field(default_factory=dict)
    accept_unsigned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What to go back to, and in words where each doubtful part of it comes from."""

    snapshot: Snapshot
    claims: tuple[Claim, ...] = ()
    text: str = ""
    revision: int = 0
    notes: tuple[str, ...] = ()


def remembered(observed: Observation, told: Told, *, key: bytes, new_id: str, now: datetime) -> Remembered:
    """Work out what a source that mmd does not hold should go back to.

    Raises:
        NotFound: it is not in maintenance.
        Conflict: its escrow cannot be believed, or ISC does not show all of it.
        Refused: something is not known and was not told.
    """
    if not suspicious(observed):
        raise NotFound(f"{observed.name} is not in maintenance", hint="`mmd zombies` lists what is")
    if not observed.complete:
        raise Conflict(
            f"ISC does not show all of {observed.name}, and mmd changes nothing that it does not see",
            hint="take its flag of maintenance off where it was set",
        )
    if observed.escrow is not None:
        return from_escrow(observed, key, accept_unsigned=told.accept_unsigned)
    return _from_keys(observed, told, new_id, now)


def from_escrow(observed: Observation, key: bytes, *, accept_unsigned: bool) -> Remembered:
    """Believe the escrow on a source.

    Raises:
        Conflict: it is damaged, or has another signature and is not to be accepted all the same.
    """
    trust, escrow = unseal(observed.escrow, source_id=observed.source_id, key=key)
    if escrow is None:
        raise Conflict(
            f"the escrow of {observed.name} is damaged, or of a newer mmd",
            hint="docs/operations.md says how to restore by hand",
        )
    if trust is Trust.UNSIGNED and not accept_unsigned:
        raise Conflict(
            f"the escrow of {observed.name} has another signature: another mmd's, or the secret was changed",
            hint="if it is to be believed all the same: --accept-unsigned",
        )
    return Remembered(
        snapshot=escrow.snapshot,
        claims=escrow.claims,
        text=observed.escrow if isinstance(observed.escrow, str) else "",
        revision=escrow.revision if trust is Trust.SIGNED else 0,  # what is on file wins over an unsigned one
        notes=(f"from the escrow of {escrow.snapshot.taken_at:%Y-%m-%d %H:%M:%SZ} ({trust.value})",),
    )


def _from_keys(observed: Observation, told: Told, new_id: str, now: datetime) -> Remembered:
    features, feature_notes = _features(observed, told)
    flags, flag_notes = _flags(observed.fields, told)
    schedules, schedule_notes = _schedules(observed.fields)
    before = Fields(features, flags, schedules)
    snapshot = Snapshot(
        id=new_id,
        source_id=observed.source_id,
        source_name=observed.name,
        treatment=Treatment.FULL,
        taken_at=now,
        before=before,
        after=before,
    )
    return Remembered(snapshot=snapshot, notes=(*feature_notes, *flag_notes, *schedule_notes))


def _features(observed: Observation, told: Told) -> tuple[tuple[str, ...], list[str]]:
    if told.features is not None:
        return told.features, [f"features: {_listed(told.features)}, as told"]
    if observed.features:
        return observed.features, [f"features: {_listed(observed.features)}, as they are"]
    raise Refused(
        f"the features of {observed.name} are not known: they are empty, and nothing here remembers them",
        hint="name them, from a sister source or a backup: --features PROVISIONING,ENABLE,… (or none)",
    )


def _listed(features: tuple[str, ...]) -> str:
    return ", ".join(features) or "none"


def _word(value: Json) -> str:
    return str(value).lower()


def _flags(live: Fields, told: Told) -> tuple[dict[str, Json], list[str]]:
    """Take each flag as told; else as the forum's Disable sets it, where the forum switched it off."""
    by_forum = any(name in live.attributes for name in CRON_KEYS.values())
    values: dict[str, Json] = {}
    notes = []
    for flag in FLAGS:
        suppressed = alike(live.attributes.get(flag), SUPPRESSED[flag])
        if flag in told.flags:
            values |= {} if told.flags[flag] == ABSENT else {flag: told.flags[flag]}
            notes.append(f"{flag}: {_word(told.flags[flag])}, as told")
        elif by_forum and suppressed:
            values[flag] = FORUM_DISABLED[flag]
            value = _word(FORUM_DISABLED[flag])
            notes.append(
                f"{flag}: not known, so {value} as the workflow's Disable would set it (--set {flag}=…)"
            )
        elif flag in live.attributes:
            values[flag] = live.attributes[flag]
            if suppressed:
                value = _word(live.attributes[flag])
                notes.append(
                    f"{flag}: {value}, as it is; whether it was so before is not known (--set {flag}=…)"
                )
    return values, notes


def _schedules(live: Fields) -> tuple[dict[str, str], list[str]]:
    """Take the live schedules, and the stored crons of those that are gone."""
    found, notes = dict(live.schedules), []
    for kind, name in CRON_KEYS.items():
        cron = live.attributes.get(name)
        if kind in found or name not in live.attributes:
            continue
        if isinstance(cron, str) and cron and "{{" not in cron:
            found[kind] = cron
            notes.append(f"schedule {kind}: {cron}, from {name}")
        else:
            notes.append(f"schedule {kind}: not known, {name} has no cron; there will be none")
    return found, notes


def rebuilt(held: Iterable[tuple[Snapshot, tuple[Claim, ...]]], now: datetime) -> list[Window]:
    """Return the windows that escrows name, each with its sources and the occurrence they were held for.

    Only these occurrences: what else a window was to do, its repeats above all, was in the database alone.
    """
    sources: defaultdict[str, dict[str, SourceRef]] = defaultdict(dict)
    claims: defaultdict[str, list[Claim]] = defaultdict(list)
    treatments: dict[str, str] = {}
    for snapshot, claimed in held:
        for claim in claimed:
            sources[claim.window_id][snapshot.source_id] = SourceRef(snapshot.source_id, snapshot.source_name)
            claims[claim.window_id].append(claim)
            treatments[claim.window_id] = snapshot.treatment.value
    return [_window(claims[name], tuple(sources[name].values()), treatments[name], now) for name in sources]


def _window(claims: list[Claim], sources: tuple[SourceRef, ...], treatment: str, now: datetime) -> Window:
    last = max(claims, key=lambda claim: claim.closes_at)
    opened = {
        claim.key: Occurrence(claim.window_id, claim.key, claim.opens_at, claim.closes_at)
        for claim in sorted(claims, key=lambda claim: claim.closes_at)
    }
    return Window(
        id=last.window_id,
        sources=sources,
        starts_local=last.opens_at.astimezone(UTC).replace(tzinfo=None, microsecond=0),
        timezone="UTC",
        duration=max(last.closes_at - last.opens_at, timedelta(seconds=1)),
        reason=last.reason,
        ticket=last.ticket,
        owner=last.owner,
        created_by=last.created_by,
        created_at=now,
        treatment=treatment,
        # The definition opens nothing any more: what was open is on file.
        effective_from=max(now, last.opens_at + timedelta(seconds=1)),
        recorded=tuple(opened.values()),
    )
