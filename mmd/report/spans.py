"""Spans of time: pairs of instants, the end exclusive. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

Span = tuple[datetime, datetime]


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the union: in order, what overlaps or touches made one."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return tuple(found)


def clipped(spans: Iterable[Span], since: datetime, until: datetime) -> tuple[Span, ...]:
    """Return the part of the union that lies in `[since, until)`."""
    cut = ((max(begin, since), min(end, until)) for begin, end in spans)
    return joined((begin, end) for begin, end in cut if begin < end)


def gaps(spans: Iterable[Span], since: datetime, until: datetime) -> tuple[Span, ...]:
    """Return the part of `[since, until)` that none of the spans covers."""
    found, at = [], since
    for begin, end in clipped(spans, since, until):
        if at < begin:
            found.append((at, begin))
        at = end
    return (*found, (at, until)) if at < until else tuple(found)


def length(spans: Iterable[Span]) -> timedelta:
    """Return how long spans without overlaps are together."""
    return sum((end - begin for begin, end in spans), timedelta(0))


def meet(since: datetime, until: datetime) -> Callable[[datetime], bool]:
    """Return whether an instant lies in `[since, until)`, as a question."""
    return lambda at: since <= at < until
