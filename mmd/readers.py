"""What a value in the configuration must be: the written value in, a typed one out, or `Refused`.

A refusal's message continues "[section] key:", and never repeats the value, which may be a password in the
wrong place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal, TypeVar

from mmd.errors import Refused
from mmd.secret import Secret
from mmd.when import parse_duration
from mmd.windows import zone_named

T = TypeVar("T")
Reader = Callable[[object], T]

_DURATIONS: Final = 'a number and a unit, in quotes: s, m, h, d or w, as in "90m"'
_URLS: Final = "a URL is https://, a host, and no spaces"
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]+")


def text(value: object) -> str:
    """Any printable text."""
    if not isinstance(value, str):
        raise Refused("must be a string", hint='write it in quotes: "…"')
    if not value.isprintable():
        raise Refused("must not contain control characters", hint="write it on one line, without escapes")
    return value


def count(value: object) -> int:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise Refused("must be a whole number, 1 or more", hint="write digits alone, without quotes: 25")
    return value


def one_of(*choices: str) -> Reader[str]:
    """One of these words."""

    def read(value: object) -> str:
        if value not in choices:
            hint = nearest(value, choices) or f'write "{choices[0]}", for example'
            raise Refused(f"must be {_either(choices)}", hint=hint)
        return value

    return read


def list_of(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """A list, each item read by `read`."""

    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise Refused("must be a list", hint='in the file, in brackets: ["…", "…"]')
        return tuple(read(item) for item in value)

    return read_all


def span(value: object) -> timedelta:
    """A duration, zero allowed."""
    if isinstance(value, str) and re.fullmatch(r"0+[smhd]?", value):
        return timedelta(0)
    try:
        return parse_duration(text(value))
    except Refused:
        raise Refused(
            'must be a duration such as "30s", "90m" or "1h30m", at most 366 days', hint=_DURATIONS
        ) from None


def period(value: object) -> timedelta:
    """A duration longer than zero: what repeats every zero seconds never lets go."""
    length = span(value)
    if not length:
        raise Refused("must be longer than zero", hint='the shortest is "1s"')
    return length


def lead(value: object) -> timedelta | Literal["auto"]:
    """A duration, zero allowed, or "auto"."""
    return "auto" if value == "auto" else span(value)


def zone(value: object) -> str:
    """The name of a time zone this machine knows."""
    name = text(value)
    try:
        zone_named(name)
    except Refused as refusal:
        raise Refused("must be a time zone such as Europe/Berlin", hint=refusal.hint) from None
    return name


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `requests` in any `per` (sliding), for one client_id (docs/isc.md, rate limit)."""

    requests: int
    per: timedelta


def rate(value: object) -> Rate:
    """Requests per duration: "80/10s"."""
    found = re.fullmatch(r"([0-9]{1,3})/(\S+)", value) if isinstance(value, str) else None
    if not found or not 1 <= int(found[1]) <= 100:  # noqa: PLR2004 - ISC's limit per 10 s
        raise Refused(
            'must be requests per duration such as "80/10s", from 1 to 100 requests',
            hint="ISC allows 100 per 10 s, for all that use the client id together",
        )
    return Rate(int(found[1]), period(found[2]))


def tenant_name(value: object) -> str:
    """A tenant's name; it becomes part of a host name, so nothing that could end the host name may pass."""
    name = text(value)
    if name and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", name):
        raise Refused("must be the tenant's name alone", hint='for https://acme.identitynow.com it is "acme"')
    return name.lower()


def _url(value: object) -> str:
    """An http(s) URL with a host and no credentials; http only to this machine. Empty: not set."""
    from urllib.parse import urlsplit  # noqa: PLC0415 - `mmd status` with a tenant name does without

    written = text(value)
    if not written:
        return written
    try:
        url = urlsplit(written)
        host, _ = url.hostname or "", url.port
    except ValueError:
        raise Refused("must be a URL such as https://acme.api.identitynow.com", hint=_URLS) from None
    if url.scheme not in {"https", "http"} or not _HOST.fullmatch(host) or " " in written:
        raise Refused("must be a URL such as https://acme.api.identitynow.com", hint=_URLS)
    if "@" in url.netloc:
        raise Refused(
            "must not contain a user or password", hint="what mmd signs in with has keys of its own"
        )
    if url.scheme == "http" and not _is_loopback(host):
        raise Refused(
            "must be https: plain http is for a tenant simulated on this machine",
            hint="write https:// before the host",
        )
    return written


def _is_loopback(host: str) -> bool:
    from ipaddress import ip_address  # noqa: PLC0415 - only for http URLs

    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def base_url(value: object) -> str:
    """Scheme and host, without a slash at the end. Empty: not set."""
    url = _url(value).rstrip("/")
    if url.count("/") > 2 or "?" in url or "#" in url:  # noqa: PLR2004 - the two of "https://"
        raise Refused("must end after the host", hint="the API version is a key of its own: api_version")
    return url


def ping_url(value: object) -> Secret:
    """A URL; whoever knows it can keep the alarm quiet, so it is kept like a password. Empty: not set."""
    return Secret(_url(value))


def alert_url(value: object) -> Secret:
    """Something with the look of an Apprise URL; only Apprise knows them all (`mmd doctor` asks it)."""
    if not isinstance(value, str) or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S", value):
        raise Refused(
            "must be Apprise URLs such as mailto://user:password@example.com",
            hint="each begins with its service, such as slack:// or json://; `mmd alerts test` tries them",
        )
    return Secret(value)


def sqlite_url(value: object) -> str:
    """An SQLAlchemy URL naming a file."""
    found = re.fullmatch(r"sqlite:///([^?#]+)", text(value))
    if not found or found[1].endswith("/") or found[1].startswith((":memory:", "file:")):
        raise Refused(
            "must name an SQLite file such as sqlite:///mmd.db",
            hint="a whole path has a fourth slash: sqlite:////var/lib/mmd/mmd.db",
        )
    return found[0]


def path(value: object) -> Path | None:
    """A path, `~` expanded. Empty: not set."""
    written = text(value)
    try:
        return Path(written).expanduser() if written else None
    except RuntimeError:
        raise Refused(
            "must not begin with an unknown user's home directory", hint="write the whole path, from /"
        ) from None


def directory(value: object) -> Path:
    """A path that must be set."""
    named = path(value)
    if named is None:
        raise Refused("must name a directory", hint='such as "reports", beside this file')
    return named


def nearest(word: object, known: Iterable[str]) -> str:
    """A hint with the known word closest to `word`, or nothing."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a mistake needs it

    close = get_close_matches(str(word)[:100], list(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else ""


def _either(choices: tuple[str, ...]) -> str:
    return ", ".join(choices[:-1]) + f" or {choices[-1]}"
