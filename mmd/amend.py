"""What people do to a window after planning it: extend, end, skip, cancel, edit.

Pure: a window and `now` in, the changed window out. History is never rewritten: an occurrence that has
begun is recorded with its instants before anything else changes, and from then on only `extend` and `end`
may move its end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from mmd.errors import Conflict, NotFound
from mmd.windows import (
    Lead,
    Occurrence,
    SourceRef,
    Window,
    WindowState,
    begun,
    last_opening,
    no_lead,
    occurrences,
    open_at,
    open_now,
    state,
    wanted,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# How far back an occurrence that nobody recorded may have begun and still be put on file by an edit.
LOOK_BACK = timedelta(days=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """New values for a window; None leaves a field as it is.

    `effective_from` is for a new start that has passed while it was typed; else an edit takes effect now.
    """

    starts_local: datetime | None = None
    fold: int | None = None
    timezone: str | None = None
    duration: timedelta | None = None
    repeat: str | None = None
    until: datetime | None = None
    reason: str | None = None
    ticket: str | None = None
    owner: str | None = None
    treatment: str | None = None
    sources: tuple[SourceRef, ...] | None = None
    effective_from: datetime | None = None

    @property
    def moves(self) -> bool:
        """Whether it changes when the window is open."""
        timing = (self.starts_local, self.fold, self.timezone, self.duration, self.repeat, self.until)
        return any(value is not None for value in timing)

    @property
    def changes(self) -> dict[str, object]:
        """The fields that it sets, by name."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in values.items() if value is not None}


def recorded(window: Window, *items: Occurrence) -> Window:
    """Return the window with occurrences put on file, in place of what was there under the same keys."""
    kept = {item.key: item for item in window.recorded} | {item.key: item for item in items}
    return replace(window, recorded=tuple(sorted(kept.values(), key=lambda item: item.opens_at)))


def settle(window: Window, now: datetime) -> Window:
    """Record what has begun, so that a later change of the definition cannot move it."""
    return recorded(window, *begun(window, now - LOOK_BACK, now))


def end(window: Window, now: datetime) -> Window:
    """Close what is open now.

    Raises:
        Conflict: nothing is.
    """
    if open_at(window, now) is None:
        raise Conflict(
            f"window {window.id} is not open", hint="`mmd schedule cancel` calls off what is to come"
        )
    return _closed(settle(window, now), now)


def _closed(window: Window, now: datetime) -> Window:
    return recorded(window, *(replace(item, closes_at=now) for item in open_now(window, now)))


def extend(window: Window, by: timedelta, now: datetime) -> Window:
    """Move the end of the open occurrence, or of a one-off window that is still to come.

    Raises:
        Conflict: the window is over or cancelled, or repeats and is not open.
    """
    current = open_at(window, now)
    if current is not None:
        return recorded(settle(window, now), replace(current, closes_at=current.closes_at + by))
    _refuse_finished(window, now, hint="`mmd start` opens a new one now")
    if window.repeat is not None:
        raise Conflict(
            f"window {window.id} repeats and is not open now",
            hint="`mmd schedule edit --for` changes how long it lasts from the next time on",
        )
    longer = [replace(item, closes_at=item.closes_at + by) for item in _ahead(window, now)]
    return recorded(replace(window, duration=window.duration + by), *longer)


def _ahead(window: Window, now: datetime) -> list[Occurrence]:
    """Return what is on file as begun, and by this clock is still to come: an earlier one was wrong."""
    return [item for item in window.recorded if item.opens_at > now and not item.skipped]


def cancel(window: Window, now: datetime) -> Window:
    """Call the window off: what is to come does not open, and what is open closes now.

    Raises:
        Conflict: it is over, or was cancelled before.
    """
    _refuse_finished(window, now, hint="there is nothing left to cancel")
    return replace(_closed(settle(window, now), now), cancelled_at=now)


def skip(window: Window, key: str, now: datetime) -> Window:
    """Leave out one occurrence that is still to come, by its key.

    Raises:
        NotFound: none to come has that key.
        Conflict: it has begun.
    """
    if any(item.key == key for item in open_now(window, now)):
        raise Conflict(f"{key} is open now", hint=f"`mmd schedule end {window.id}` closes it")
    for item in _around(window, key, now):
        if item.key == key:
            return recorded(settle(window, now), replace(item, skipped=True))
    raise NotFound(
        f"window {window.id} has no occurrence {key} to come",
        hint=f"`mmd schedule next {window.id}` lists them",
    )


def _around(window: Window, key: str, now: datetime) -> Iterator[Occurrence]:
    """Yield the occurrences to come about the time of a key; no zone is further from UTC than a day."""
    try:
        at = datetime.fromisoformat(key).replace(tzinfo=UTC)
        since, until = max(now, at - timedelta(days=2)), at + timedelta(days=2)
    except (ValueError, OverflowError):
        return iter(())
    return occurrences(window, since, until)


def edit(window: Window, change: Edit, now: datetime) -> Window:
    """Change the definition from now on; what has begun keeps its instants.

    Raises:
        Conflict: it is over or cancelled, or has begun and is a one-off whose times are to change.
    """
    check_editable(window, now, moves=change.moves)
    settled = settle(window, now)
    if change.moves:
        settled = replace(_forgotten(settled, now), effective_from=now)
    return replace(settled, **change.changes)  # type: ignore[arg-type] # the names are the window's own


def check_editable(window: Window, now: datetime, *, moves: bool) -> None:
    """See to it that a window can be edited, and its times if the edit moves them.

    Raises:
        Conflict: it is over or cancelled, or has begun and is a one-off whose times are to change.
    """
    _refuse_finished(window, now, hint="`mmd schedule add` plans a new one")
    if moves and window.repeat is None and open_at(window, now) is not None:
        raise Conflict(
            f"window {window.id} is open: its times can no longer be edited",
            hint="`mmd schedule extend` and `mmd schedule end` move its end",
        )


def _forgotten(window: Window, now: datetime) -> Window:
    """Take off what would open at times that are not the window's any more; the journal has what was held."""
    gone = _ahead(window, now)
    return replace(window, recorded=tuple(item for item in window.recorded if item not in gone))


def _refuse_finished(window: Window, now: datetime, *, hint: str) -> None:
    found = state(window, now)
    if found in (WindowState.ENDED, WindowState.CANCELLED):
        raise Conflict(f"window {window.id} is {found.value}", hint=hint)


def over_at(window: Window) -> datetime | None:
    """Return an instant (UTC) from which on nothing of it can be open; None for a rule without an end."""
    ends = [item.closes_at for item in window.recorded if not item.skipped]
    if window.cancelled_at is not None:
        return max([*ends, window.cancelled_at])
    last = last_opening(window)
    return None if last is None else max([*ends, last + window.duration])


def left_out(
    pairs: Iterable[tuple[Window, Occurrence]], source_id: str, exemptions: frozenset[tuple[str, str, str]]
) -> tuple[tuple[Window, Occurrence], ...]:
    """Return the open occurrences that still want a source, without those it is exempt from."""
    return tuple(
        (window, item) for window, item in pairs if (window.id, item.key, source_id) not in exemptions
    )


def still_wanted(
    windows: Iterable[Window],
    exemptions: frozenset[tuple[str, str, str]],
    now: datetime,
    lead: Lead = no_lead,
) -> dict[str, tuple[tuple[Window, Occurrence], ...]]:
    """Return which sources are wanted in maintenance now, each with the occurrences that want it."""
    kept = {
        source_id: left_out(pairs, source_id, exemptions)
        for source_id, pairs in wanted(windows, now, lead).items()
    }
    return {source_id: pairs for source_id, pairs in kept.items() if pairs}
