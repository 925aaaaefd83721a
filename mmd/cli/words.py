"""A plan in words: the times people type, read; and the plan echoed back before it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from mmd.amend import Edit
from mmd.errors import Refused
from mmd.when import (
    Instant,
    describe,
    format_duration,
    parse_duration,
    parse_instant,
    span,
    takes_effect,
)
from mmd.windows import local_to_utc, open_now, parse_repeat, upcoming, zone_named

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from mmd.windows import Occurrence, Window

_LONGEST_TEXT: Final = 500
_NAMED: Final = 5  # sources by name in one line; more are counted
# These count from now wherever they stand; any other time of day as an end counts from the start.
_FROM_NOW: Final = ("+", "now", "today", "tomorrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When a window opens and how long it lasts, as asked for and understood."""

    start: Instant
    duration: timedelta
    repeat: str | None
    until: datetime | None


def timing(
    *,
    start: str,
    end: str | None,
    lasts: str | None,
    zone: str,
    repeat: str | None,
    until: str | None,
    now: datetime,
) -> Timing:
    """Understand the options of a new window.

    Raises:
        Refused: one makes no sense, or they contradict each other.
    """
    begins = parse_instant(start, zone=zone, now=now)
    ends = None if end is None else read_end(end, begins, zone=zone, now=now)
    duration = None if lasts is None else parse_duration(lasts)
    rule = None if repeat is None else parse_repeat(repeat)
    return Timing(
        start=begins,
        duration=span(begins, ends, duration, now, repeats=rule is not None),
        repeat=rule,
        until=None if until is None else read_until(until, rule, zone=zone, now=now),
    )


def read_end(text: str, begins: Instant, *, zone: str, now: datetime) -> Instant:
    """Read the end of a window: "02:00" is the next one after its start.

    Raises:
        Refused: it is not a time.
    """
    from_now = text.strip().lower().startswith(_FROM_NOW)
    return parse_instant(text, zone=zone, now=now if from_now else begins.at)


def read_until(text: str, repeat: str | None, *, zone: str, now: datetime) -> datetime:
    """Read the last instant at which a repeat may open.

    Raises:
        Refused: it is not a time, or there is no repeat.
    """
    if repeat is None:
        raise Refused(
            "--until ends a repeat, and there is none", hint="--end or --for says how long a window is"
        )
    return parse_instant(text, zone=zone, now=now).at


def new_times(window: Window, asked: Mapping[str, str | None], now: datetime) -> Edit:
    """Understand the times of an edit: start, end, lasts, zone, repeat and until, None where not given.

    Raises:
        Refused: one makes no sense, or they contradict each other or what is on file.
    """
    zone = window.timezone if asked["zone"] is None else zone_named(asked["zone"]).key
    repeat = None if asked["repeat"] is None else parse_repeat(asked["repeat"])
    rule = repeat or window.repeat
    change = Edit(timezone=None if asked["zone"] is None else zone, repeat=repeat)
    if asked["until"] is not None:
        change = replace(change, until=read_until(asked["until"], rule, zone=zone, now=now))
    if asked["start"] is None:
        begins = _begins(window, zone, now, repeats=rule is not None)
    else:
        begins = parse_instant(asked["start"], zone=zone, now=now)
        effective = takes_effect(begins, now)
        change = replace(change, starts_local=begins.local, fold=begins.fold, effective_from=effective)
    if all(asked[name] is None for name in ("start", "end", "lasts", "zone")):
        return change
    ends = None if asked["end"] is None else read_end(asked["end"], begins, zone=zone, now=now)
    lasts = None if asked["lasts"] is None else parse_duration(asked["lasts"])
    if ends is None and lasts is None:
        lasts = window.duration
    return replace(change, duration=span(begins, ends, lasts, now, repeats=rule is not None))


def _begins(window: Window, zone: str, now: datetime, *, repeats: bool) -> Instant:
    """Return the start on file, by the clock of a zone.

    Raises:
        Refused: by that of another zone, the one start that there is does not exist, or happens twice.
    """
    if zone != window.timezone and not repeats:
        return parse_instant(window.starts_local.isoformat(), zone=zone, now=now)
    at = local_to_utc(window.starts_local, zone_named(zone), window.fold)
    return Instant(at, window.starts_local, zone, window.fold)


def sentence(what: str, text: str) -> str:
    """Return a text that people will read, without spaces around it.

    Raises:
        Refused: it is too long, or not text.
    """
    if len(text) > _LONGEST_TEXT:
        raise Refused(
            f"the {what} is longer than {_LONGEST_TEXT} characters", hint="name a ticket for the rest"
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused(
            f"the {what} is not UTF-8 text", hint="is the terminal set to another encoding?"
        ) from None
    return text.strip()


def echo(window: Window, now: datetime) -> list[str]:
    """Say what is planned, in lines: sources, and the open and the next times, local, UTC and how far off."""
    items = echoed(window, now)
    lines = [f"sources  {named([source.name for source in window.sources])}"]
    for item in items:
        lines += _times(item, window.timezone, now)
    return lines if items else [*lines, "opens    never again"]


def echoed(window: Window, now: datetime) -> list[Occurrence]:
    """Return the occurrences that `echo` tells of."""
    return [*open_now(window, now), *upcoming(window, now, 3 if window.repeat else 1)][:3]


def _times(item: Occurrence, zone: str, now: datetime) -> list[str]:
    length = format_duration(item.closes_at - item.opens_at)
    opens = "opens" if item.opens_at > now else "opened"
    return [
        f"{opens:<8} {describe(item.opens_at, zone, now)}",
        f"closes   {describe(item.closes_at, zone, now)} (lasts {length})",
    ]


def named(names: list[str]) -> str:
    """Name a few things, and count the rest."""
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more ({len(names)} in all)"


def short(at: datetime, zone: str) -> str:
    """Return an instant for a table: "2026-12-01 22:00 CET"; with seconds where it has some."""
    local = at.astimezone(zone_named(zone))
    return f"{local:%Y-%m-%d %H:%M:%S %Z}" if local.second else f"{local:%Y-%m-%d %H:%M %Z}"
