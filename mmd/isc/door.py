"""What ISC sends, turned into values mmd understands: pure functions, nothing else looks at the wire's form.

What is not as ISC's documents promise is `Garbled`, or None where only a part is unusable: never an empty
value (docs/reliability.md B16, B17).
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NoReturn, cast

from mmd.errors import Denied, Garbled, Missing, Rejected, TenantError, Unknown, Unreachable
from mmd.posture import SCHEDULE_TYPES, TOUCHED_KEYS, Json, Observation, storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TEXT_LIMIT: Final = 300
# An hour told by a confused gateway is not obeyed, or a source would stay in maintenance for it.
_RETRY_AFTER_LIMIT: Final = 300.0
# The names seen for it in front of ISC; the documents name only the body's trackingId.
_TRACKING_HEADERS: Final = ("slpt-request-id", "x-request-id", "x-correlation-id")
_EXPIRED_HINT: Final = "check that the personal access token is neither expired nor revoked"
_RIGHTS_HINT: Final = (
    "the personal access token needs the scopes idn:sources:read and idn:sources:manage, and its owner the "
    "user level SOURCE_ADMIN or ORG_ADMIN"
)
_REDIRECT_HINT: Final = "redirects are never followed: check [tenant] name or base_url"
_UNROUTED: Final = "No message available"
_KINDS: Final[Mapping[int, tuple[type[TenantError], str, str]]] = {
    # The one redirection that may come after the request was carried out.
    HTTPStatus.SEE_OTHER: (Unknown, "redirects", _REDIRECT_HINT),
    HTTPStatus.NOT_FOUND: (Missing, "has no object for", ""),
    HTTPStatus.UNAUTHORIZED: (Denied, "does not accept the credentials for", _EXPIRED_HINT),
    HTTPStatus.FORBIDDEN: (Denied, "does not allow", _RIGHTS_HINT),
    HTTPStatus.REQUEST_TIMEOUT: (Unknown, "gave up", ""),
    HTTPStatus.TOO_MANY_REQUESTS: (
        Unreachable,
        "keeps putting off",
        "another tool may be using the same client_id",
    ),
}


# --- JSON --------------------------------------------------------------------------------------------------


def decode(body: bytes | None) -> Json:
    """Return the JSON value in a body, or refuse it.

    Stricter than `json.loads`: a duplicate key, NaN or a number out of range could mean one thing to ISC and
    another to mmd (docs/reliability.md B24). None stands for a body that could not be read to its end.

    Raises:
        Garbled: it is not one JSON text in UTF-8.
    """
    if body is None:
        raise Garbled("ISC's answer broke off")
    try:
        return cast(
            "Json",
            json.loads(
                body.decode("utf-8"),
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
                parse_float=_finite,
            ),
        )
    except (ValueError, RecursionError):
        raise Garbled("ISC's answer is not valid JSON", hint=_html_hint(body)) from None


def _without_duplicates(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("duplicate key")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if number in {float("inf"), float("-inf")}:
        raise ValueError(text)
    return number


def _html_hint(body: bytes) -> str:
    is_page = body.lstrip()[:1] == b"<"
    return (
        "a web page came instead: check [tenant] name or base_url, and any proxy on the way"
        if is_page
        else ""
    )


def rows(document: Json) -> list[dict[str, Json]]:
    """Return a JSON array of objects.

    Raises:
        Garbled: it is something else.
    """
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise Garbled("ISC answered with something other than a list of objects")
    return cast("list[dict[str, Json]]", document)


def record(document: Json) -> dict[str, Json]:
    """Return a JSON object.

    Raises:
        Garbled: it is something else.
    """
    if not isinstance(document, dict):
        raise Garbled("ISC answered with something other than an object")
    return document


# --- Sources -----------------------------------------------------------------------------------------------


def observe(document: Json) -> Observation:
    """Return what one source document says about the source; whatever mmd does not touch is left behind here.

    A part that is missing, of the wrong type or not storable (a lone surrogate, absurd nesting) is None: not
    known. So one odd source does not cost the whole page.

    Raises:
        Garbled: it is not an object with an id.
    """
    source = record(document)
    source_id = source.get("id")
    if not isinstance(source_id, str) or not plain_id(source_id):
        raise Garbled("ISC sent a source without a usable id")
    return Observation(
        source_id=source_id,
        name=_label(source.get("name")) or source_id,
        connector=_label(source.get("type")),
        features=_features(source.get("features")),
        attributes=_attributes(source.get("connectorAttributes")),
        modified=_instant(source.get("modified")),
    )


def plain_id(text: str) -> bool:
    """Whether a text can be an id in a path: anything that cannot lead out of its place there."""
    return (
        bool(text)
        and text.isprintable()
        and "/" not in text
        and "\\" not in text
        and ".." not in text
        and text != "."
    )


def _label(value: Json) -> str:
    """A text only for people to read: half characters become question marks."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _features(value: Json) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value) or not storable(value):
        return None
    return tuple(cast("list[str]", value))


def _attributes(value: Json) -> Mapping[str, Json] | None:
    if not isinstance(value, dict):
        return None
    kept = {key: value[key] for key in TOUCHED_KEYS if key in value}
    return kept if storable(kept) else None


def _instant(value: Json) -> datetime | None:
    """An RFC 3339 instant in UTC; a leap second counts as the second before (docs/reliability.md E10)."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(re.sub(r"^(\S{16}):60", r"\1:59", value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def schedules(document: Json) -> dict[str, str]:
    """Return the crons of the aggregation schedules by type, byte for byte; other types are left out.

    Raises:
        Garbled: not a list of schedules, or the same type twice.
    """
    found: dict[str, str] = {}
    for row in rows(document):
        kind, cron = row.get("type"), row.get("cronExpression")
        if not isinstance(kind, str):
            raise Garbled("ISC sent a schedule without a type")
        if kind not in SCHEDULE_TYPES:
            continue
        if not isinstance(cron, str) or not storable(cron) or kind in found:
            raise Garbled(f"ISC sent no single cron for the schedule {kind}")
        found[kind] = cron
    return found


# --- Errors ------------------------------------------------------------------------------------------------


def clean(text: str, limit: int = _TEXT_LIMIT) -> str:
    """Return a foreign text fit for one line: no control or direction characters, not long."""
    plain = "".join(" " if unicodedata.category(character)[0] in "CZ" else character for character in text)
    short = " ".join(plain.split())
    return short if len(short) <= limit else short[: limit - 1] + "…"


def refusal(
    what: str, status: int, headers: Mapping[str, str], body: bytes | None, *, hide: Sequence[str] = ()
) -> TenantError:
    """Return the error that an answer other than 2xx amounts to.

    `what` names the request; `hide` are texts that must not be repeated if ISC sends them back. Both of ISC's
    envelopes are understood (docs/isc.md §8, ERRORS), and no envelope at all.
    """
    body = _without(body, hide)
    envelope = _envelope(body)
    code, text = _detail_code(envelope), _message(envelope)
    said = code if code.startswith(str(status)) else f"{status} {code}".strip()
    said += f": {text}" if text else ""
    kind, verb, hint = _kind(status, code)
    if text == _UNROUTED:
        hint = "ISC may not serve this path any more: check [tenant] api_version"
    return kind(
        f"ISC {verb} {what} ({said})", hint=hint, status=status, tracking_id=tracking_id(headers, body)
    )


def _without(body: bytes | None, hide: Sequence[str]) -> bytes | None:
    for text in filter(None, hide):
        body = body and body.replace(text.encode(), b"***")
    return body


def _kind(status: int, code: str) -> tuple[type[TenantError], str, str]:
    """The class, verb and hint for a status; some of ISC's services say 400 for 404 (docs/isc.md §3)."""
    if status == HTTPStatus.BAD_REQUEST and code.startswith("400.1.404"):
        return _KINDS[HTTPStatus.NOT_FOUND]
    if status in _KINDS:
        return _KINDS[status]
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Unknown, "failed at", ""
    if status < HTTPStatus.BAD_REQUEST:
        return Unreachable, "redirects", _REDIRECT_HINT
    return Rejected, "refused", ""


def _envelope(body: bytes | None) -> dict[str, Json]:
    try:
        document = decode(body)
    except Garbled:
        return {}
    return document if isinstance(document, dict) else {}


def _detail_code(envelope: Mapping[str, Json]) -> str:
    """Such as "400.1.404 Referenced object not found", of an answer with the status 400."""
    code = envelope.get("detailCode")
    return clean(code, 80) if isinstance(code, str) else ""


def _message(envelope: Mapping[str, Json]) -> str:
    messages = envelope.get("messages")
    texts = (
        [row.get("text") for row in messages if isinstance(row, dict)] if isinstance(messages, list) else []
    )
    texts += [envelope.get(key) for key in ("error_description", "error", "message")]
    return next((said for text in texts if isinstance(text, str) and (said := clean(text))), "")


def tracking_id(headers: Mapping[str, str], body: bytes | None) -> str | None:
    """Return ISC's own id of a request, for its support: from an error body, else from a header."""
    found = _envelope(body).get("trackingId") if body else None
    texts = [found, *(headers.get(name) for name in _TRACKING_HEADERS)]
    return next((said for text in texts if isinstance(text, str) and (said := clean(text, 80))), None)


# --- Headers -----------------------------------------------------------------------------------------------


def http_date(text: str | None) -> datetime | None:
    """Return the instant in a Date or Retry-After header (UTC), or None."""
    try:
        found = parsedate_to_datetime(text or "")
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str], default: float) -> float:
    """Return how many seconds a 429 asks to wait: 0 to 300.

    Both forms of the header (docs/isc.md §2). A date is compared with the answer's own Date, so that a wrong
    clock here does no harm. `default` is for a header that is absent or makes no sense.
    """
    told = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", told):
        return min(max(float(told), 0.0), _RETRY_AFTER_LIMIT)
    until, sent = http_date(told), http_date(headers.get("date"))
    if until is None or sent is None:
        return default
    return min(max((until - sent).total_seconds(), 0.0), _RETRY_AFTER_LIMIT)


def total_count(headers: Mapping[str, str]) -> int | None:
    """Return X-Total-Count, or None where it is absent or no number."""
    told = headers.get("x-total-count", "")
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else None
