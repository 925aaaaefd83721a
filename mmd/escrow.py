"""The escrow: the second copy of a snapshot, kept on the source itself.

One line of JSON text under `connectorAttributes.mmd_escrow`. It is text, not an object, because ISC documents
neither whether nested objects survive there nor whether they stay objects (docs/isc.md §10). It holds only
the fields mmd touches, and says of itself which source and entry it belongs to, until when, and for which
windows, so that a lost database can be rebuilt from it.

Pure. The digest shows damage; the HMAC shows that this mmd wrote it. The key comes from the client secret
(`derive_key`), which outlives the database.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from mmd.posture import (
    DEEPEST,
    FLAGS,
    OWN_KEYS,
    SCHEDULE_TYPES,
    Fields,
    Json,
    Snapshot,
    Treatment,
    canonical,
    storable,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION: Final = 1
_YEARS: Final = range(1900, 9000)
_REVISIONS: Final = range(2**31)


class Trust(StrEnum):
    """How far an escrow can be believed."""

    SIGNED = "signed"
    UNSIGNED = "unsigned"  # whole, but signed with another key
    BROKEN = "broken"  # damaged, foreign, or of a version this program does not know


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One occurrence that holds a source: enough to plan its window again. Instants are UTC."""

    window_id: str
    key: str
    opens_at: datetime
    closes_at: datetime
    reason: str
    ticket: str = ""
    owner: str = ""
    created_by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escrow:
    """What an escrow says: the snapshot, and the occurrences it is held for.

    `revision` counts how often it was written anew while the source was held.
    """

    snapshot: Snapshot
    claims: tuple[Claim, ...]
    revision: int = 0

    @property
    def until(self) -> datetime | None:
        """When the last of its occurrences closes (UTC)."""
        return max((claim.closes_at for claim in self.claims), default=None)


def derive_key(client_secret: str) -> bytes:
    """Return the signing key that belongs to a client secret; the secret cannot be found from it."""
    return hmac.new(client_secret.encode(), b"mmd escrow v1", hashlib.sha256).digest()


def digest(fields: Fields) -> str:
    """Return the SHA-256 of the fields, in hexadecimal."""
    return hashlib.sha256(canonical(fields_to_json(fields)).encode()).hexdigest()


def seal(escrow: Escrow, key: bytes) -> str:
    """Return the text to keep on the source; the same escrow and key always give the same text."""
    body = _body(escrow)
    text = canonical(body)
    checks: dict[str, Json] = {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "hmac": hmac.new(key, text.encode(), hashlib.sha256).hexdigest(),
    }
    return canonical({**body, **checks})


def unseal(value: Json, *, source_id: str, key: bytes) -> tuple[Trust, Escrow | None]:
    """Read what is on a source; None where it cannot be believed even as unsigned.

    `value` is whatever stands under the key, from anybody's hand; one that names another source is broken.
    """
    body = _parse(value)
    checks = [body.pop(name, None) for name in ("sha256", "hmac")]
    text = canonical(body).encode()
    if checks[0] != hashlib.sha256(text).hexdigest() or body.get("source") != source_id:
        return Trust.BROKEN, None
    try:
        escrow = _read(body)
    except (KeyError, TypeError, ValueError):
        return Trust.BROKEN, None
    expected = hmac.new(key, text, hashlib.sha256).hexdigest()
    signed = isinstance(checks[1], str) and hmac.compare_digest(checks[1].encode(), expected.encode())
    return (Trust.SIGNED if signed else Trust.UNSIGNED), escrow


def _parse(value: Json) -> dict[str, Json]:
    try:
        body = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return {}
    if not isinstance(body, dict) or body.get("v") != VERSION:
        return {}
    # The door saw only the text, whose escapes may say what no database takes; two levels are the escrow's.
    return dict(body) if storable(body, DEEPEST + 2) else {}


def _body(escrow: Escrow) -> dict[str, Json]:
    snapshot = escrow.snapshot
    body: dict[str, Json] = {
        "v": VERSION,
        "id": snapshot.id,
        "source": snapshot.source_id,
        "name": snapshot.source_name,
        "treatment": snapshot.treatment.value,
        "taken_at": stamp(snapshot.taken_at),
        "before": fields_to_json(snapshot.before),
        "windows": claims_to_json(escrow.claims),
    }
    if escrow.revision:
        body["revision"] = escrow.revision
    if snapshot.after != snapshot.before:
        body["after"] = fields_to_json(snapshot.after)
    return body


def _read(body: Mapping[str, Json]) -> Escrow:
    before = fields_from_json(body["before"])
    snapshot = Snapshot(
        id=_text(body["id"]),
        source_id=_text(body["source"]),
        source_name=_text(body["name"]),
        treatment=Treatment(_text(body["treatment"])),
        taken_at=unstamp(_text(body["taken_at"])),
        before=before,
        after=fields_from_json(body["after"]) if "after" in body else before,
    )
    revision = body.get("revision", 0)
    if not isinstance(revision, int) or revision not in _REVISIONS:
        raise TypeError("a number was expected")
    return Escrow(snapshot=snapshot, claims=claims_from_json(body["windows"]), revision=revision)


def fields_to_json(fields: Fields) -> dict[str, Json]:
    """Return fields as a JSON object."""
    return {
        "features": list(fields.features),
        "attributes": dict(fields.attributes),
        "schedules": dict(fields.schedules),
    }


def fields_from_json(value: Json) -> Fields:
    """Read fields back.

    Raises:
        TypeError: it is not what `fields_to_json` writes.
    """
    if not isinstance(value, dict):
        raise TypeError("fields are an object")
    features, attributes, schedules = value["features"], value["attributes"], value["schedules"]
    if not (isinstance(features, list) and isinstance(attributes, dict) and isinstance(schedules, dict)):
        raise TypeError("fields have a list and two objects")
    if not (attributes.keys() <= {*FLAGS, *OWN_KEYS} and schedules.keys() <= {*SCHEDULE_TYPES}):
        raise TypeError("fields are those that mmd touches")
    return Fields(
        tuple(_text(name) for name in features),
        attributes,
        {kind: _text(cron) for kind, cron in schedules.items()},
    )


def claims_to_json(claims: Sequence[Claim]) -> list[Json]:
    """Return claims as a JSON list, empty texts left out."""
    return [
        {
            "id": claim.window_id,
            "key": claim.key,
            "opens_at": stamp(claim.opens_at),
            "closes_at": stamp(claim.closes_at),
            **{
                name: text
                for name in ("reason", "ticket", "owner", "created_by")
                if (text := getattr(claim, name))
            },
        }
        for claim in claims
    ]


def claims_from_json(value: Json) -> tuple[Claim, ...]:
    """Read claims back.

    Raises:
        TypeError, KeyError, ValueError: it is not what `claims_to_json` writes.
    """
    if not isinstance(value, list):
        raise TypeError("claims are a list")
    return tuple(_claim(item) for item in value)


def _claim(item: Json) -> Claim:
    if not isinstance(item, dict):
        raise TypeError("a claim is an object")
    texts = {name: _text(item.get(name, "")) for name in ("reason", "ticket", "owner", "created_by")}
    return Claim(
        window_id=_text(item["id"]),
        key=_text(item["key"]),
        opens_at=unstamp(_text(item["opens_at"])),
        closes_at=unstamp(_text(item["closes_at"])),
        **texts,
    )


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def stamp(instant: datetime) -> str:
    """Return an aware instant as RFC 3339 in UTC, of one width, so that texts sort as instants do."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def unstamp(text: str) -> datetime:
    """Read an RFC 3339 instant.

    Raises:
        ValueError: it is not one, has no offset, or is of no time that anybody plans for.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    if instant.year not in _YEARS:  # nobody may bring down what adds an hour to it
        raise ValueError(f"{text!r} is far from our time")
    return instant.astimezone(UTC)
