"""The timeline: who was in maintenance when, planned against actual, as one SVG. Pure.

Told apart by shape as well as by colour, so that a grey print and a colour-blind reader lose nothing:
planned is a pale outline, actual a solid bar within it, a zombie hatched. No style sheet, no script, no
font is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from typing import Final

from mmd.report.model import Line, Report
from mmd.report.spans import Span, gaps
from mmd.report.words import clock, counted, lasting, safe
from mmd.windows import local_to_utc, zone_named

BUSIEST: Final = 60  # sources that one picture shows
INK, MUTED, RULE = "#1f2937", "#4b5563", "#e5e7eb"
PLANNED, OUTLINE, ACTUAL, ZOMBIE, PALE, UNSEEN = (
    *("#dbeafe", "#3b82f6", "#1d4ed8"),
    *("#c2410c", "#ffedd5", "#f1f2f4"),
)
_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_WIDTH, _LEFT, _RIGHT, _ROW = 1000, 200, 78, 26
_TOP, _BOTTOM = 74, 14  # above the first row: legend and axis
_PLOT: Final = _WIDTH - _LEFT - _RIGHT
_NAME_COLUMNS: Final = 25
_THINNEST: Final = 2.5  # a window of seconds in a month can still be seen
_TICKS: Final = 9
_DAY: Final = timedelta(days=1)
_STEPS: Final = (
    *(timedelta(seconds=n) for n in (1, 5, 10, 30)),
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 7, 14, 28, 91, 182, 364, 3640)),
)
_OPEN: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="100%" role="img" '
    'aria-labelledby="picture-title picture-text" font-family="{font}" font-size="12" fill="{ink}">'
)
_HATCH: Final = (
    '<defs><pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" '
    f'patternTransform="rotate(45)"><rect width="5" height="5" fill="{PALE}"/>'
    f'<rect width="2.6" height="5" fill="{ZOMBIE}"/></pattern></defs>'
)


@dataclass(frozen=True, slots=True)
class _Axis:
    since: datetime
    until: datetime

    def x(self, at: datetime) -> float:
        return _LEFT + _PLOT * ((at - self.since) / (self.until - self.since))


@dataclass(frozen=True, slots=True)
class Tick:
    """A line of the axis: `clock` is the time of day, empty where days are counted; `day` where it begins."""

    at: datetime
    clock: str
    day: str


def as_svg(report: Report) -> str:
    """Return the picture; an empty text where there is nothing to show."""
    lines, facts = chosen(report.lines), report.facts
    if not lines:
        return ""
    axis, ticks = _Axis(facts.since, facts.until), axis_ticks(facts.since, facts.until, facts.zone)
    height = _TOP + _ROW * len(lines) + _BOTTOM
    parts = [
        _OPEN.format(width=_WIDTH, height=height, font=_FONT, ink=INK),
        '<title id="picture-title">Who was in maintenance when</title>',
        f'<desc id="picture-text">{_spoken(report, lines)}</desc>',
        _HATCH,
        *_legend(),
        *_unwatched(report, axis, height),
        *_scale(ticks, axis, height),
        *(part for n, line in enumerate(lines) for part in _row(line, _TOP + _ROW * n, axis, facts.zone)),
        "</svg>",
    ]
    return "\n".join(parts)


def chosen(lines: Sequence[Line]) -> Sequence[Line]:
    """Return the lines that the picture shows: all, or the busiest, in the order they came."""
    if len(lines) <= BUSIEST:
        return lines
    busiest = set(sorted(range(len(lines)), key=lambda n: lines[n].busy, reverse=True)[:BUSIEST])
    return [line for n, line in enumerate(lines) if n in busiest]


def _spoken(report: Report, lines: Sequence[Line]) -> str:
    zombies = sum(bool(line.zombie) for line in lines)
    facts = report.facts
    return safe(
        f"A timeline of {counted(len(lines), 'source')} from {clock(facts.since, facts.zone)} to "
        f"{clock(facts.until, facts.zone)}, {facts.zone}: planned windows, the maintenance that was, and "
        f"{counted(zombies, 'zombie')}. The tables below say the same in numbers."
    )


# --- The axis ---------------------------------------------------------------------------------------------


def axis_ticks(since: datetime, until: datetime, zone: str) -> tuple[Tick, ...]:
    """Return round times of the zone's clock in the period, few enough to be read."""
    step = next((step for step in _STEPS if (until - since) / step <= _TICKS), _STEPS[-1])
    ticks: list[Tick] = []
    shown = ""
    for at, local in _grid(since, until, zone, step):
        day = f"{local:%a} {local.day} {local:%b}" + (f" {local:%Y}" if step >= 28 * _DAY else "")
        seconds = ":%S" if step < timedelta(minutes=1) else ""
        ticks.append(Tick(at, "" if step >= _DAY else f"{local:%H:%M{seconds}}", "" if day == shown else day))
        shown = day
    return tuple(ticks)


def _grid(
    since: datetime, until: datetime, zone: str, step: timedelta
) -> Iterator[tuple[datetime, datetime]]:
    """Yield instants, each with what the clock shows, at multiples of a step from midnight."""
    place = zone_named(zone)
    local = datetime.combine(since.astimezone(place).date(), time())
    local -= timedelta(days=(local.toordinal() - 1) % max(1, step // _DAY))
    last = None
    while (at := local_to_utc(local, place)) < until:
        if at >= since and at != last:  # in a gap of the clock two can be one
            yield at, at.astimezone(place)
        last, local = at, local + step


def _scale(ticks: Iterable[Tick], axis: _Axis, height: int) -> Iterator[str]:
    for tick in ticks:
        x = axis.x(tick.at)
        yield _rule(x, _TOP - 6, x, height - _BOTTOM)
        if tick.clock:
            yield _text(x, _TOP - 11, tick.clock, MUTED, anchor="middle")
        if tick.day:
            anchor = "end" if x > _WIDTH - _RIGHT - 40 else "middle"
            yield _text(x, _TOP - (25 if tick.clock else 11), tick.day, INK, anchor=anchor, bold=True)
    for y in (_TOP - 2, height - _BOTTOM):
        yield _rule(_LEFT, y, _WIDTH - _RIGHT, y)


def _unwatched(report: Report, axis: _Axis, height: int) -> Iterator[str]:
    """Shade where the whole tenant was not watched: an empty place there proves nothing."""
    for begin, end in gaps(report.facts.watched, axis.since, axis.until):
        x, wide = axis.x(begin), axis.x(end) - axis.x(begin)
        yield _box(x, _TOP - 2, wide, height - _TOP - _BOTTOM + 2, f'fill="{UNSEEN}"')


# --- The bars ---------------------------------------------------------------------------------------------


def _row(line: Line, top: int, axis: _Axis, zone: str) -> Iterator[str]:
    yield f"<g><title>{_told(line, zone)}</title>"
    yield _text(_LEFT - 10, top + 17, line.source_name, INK, anchor="end", columns=_NAME_COLUMNS)
    yield from (_bar(span, top + 3, 20, axis, _PLANNED_LOOK) for span in line.planned)
    yield from (_bar(span, top + 8, 10, axis, f'fill="{ACTUAL}"') for span in line.actual)
    yield from (_bar(span, top + 8, 10, axis, _ZOMBIE_LOOK) for span in line.zombie)
    if line.in_maintenance:
        yield _text(_WIDTH - _RIGHT + 8, top + 17, lasting(line.in_maintenance), MUTED)
    yield _rule(8, top + _ROW, _WIDTH - _RIGHT, top + _ROW)
    yield "</g>"


_PLANNED_LOOK: Final = f'fill="{PLANNED}" stroke="{OUTLINE}" rx="2"'
_ZOMBIE_LOOK: Final = f'fill="url(#hatch)" stroke="{ZOMBIE}"'


def _told(line: Line, zone: str) -> str:
    parts = [
        f"{what} {clock(begin, zone)} to {clock(end, zone)}"
        for what, spans in (
            ("planned", line.planned),
            ("in maintenance", line.actual),
            ("zombie", line.zombie),
        )
        for begin, end in spans
    ]
    return safe(f"{line.source_name}: {'; '.join(parts[:6])}{' …' if len(parts) > 6 else ''}")  # noqa: PLR2004 - enough


def _bar(span: Span, y: float, height: float, axis: _Axis, look: str) -> str:
    x = axis.x(span[0])
    return _box(x, y, max(axis.x(span[1]) - x, _THINNEST), height, look)


def _legend() -> Iterator[str]:
    samples = (
        (_PLANNED_LOOK, 16, "planned"),
        (f'fill="{ACTUAL}"', 8, "in maintenance by mmd"),
        (_ZOMBIE_LOOK, 8, "zombie: no window accounts for it"),
        (f'fill="{UNSEEN}" stroke="{RULE}"', 16, "tenant not watched"),
    )
    x = _LEFT
    for look, height, text in samples:
        yield _box(x, 16 - height / 2, 26, height, look)
        yield _text(x + 33, 20, text, INK)
        x += 33 + 7 * len(text) + 18


# --- SVG --------------------------------------------------------------------------------------------------


def _box(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" {look}/>'


def _rule(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{RULE}"/>'


def _text(
    x: float, y: float, text: str, ink: str, *, anchor: str = "start", bold: bool = False, columns: int = 60
) -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" fill="{ink}"{weight}>{safe(text, columns)}</text>'
    )
