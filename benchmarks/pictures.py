"""Curves as small pictures: both axes logarithmic, so that what grows with its input is a slope."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.measures import Curve

_WIDTH: Final = 520
_HEIGHT: Final = 260
_LEFT: Final = 60
_RIGHT: Final = 130
_TOP: Final = 34
_BOTTOM: Final = 40
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
_STYLE: Final = "font-family='sans-serif' font-size='11' fill='#444'"


def picture(curve: Curve) -> str:
    """Return a curve as SVG."""
    points = [point for series in curve.series.values() for point in series]
    across = _decades(x for x, _ in points)
    up = _decades(y for _, y in points)
    lines = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'>",
        f"<title>{curve.title}</title>",
        f"<rect width='{_WIDTH}' height='{_HEIGHT}' fill='#fff'/>",
        f"<text x='{_LEFT}' y='18' {_STYLE} font-weight='bold'>{curve.title}</text>",
        *_grid(across, up, curve),
    ]
    taken: list[float] = []
    highest_first = sorted(curve.series.items(), key=lambda item: -item[1][-1][1])
    for colour, (name, series) in zip(_COLOURS, highest_first, strict=False):
        lines += _line(name, series, colour, across, up, taken)
    return "\n".join([*lines, "</svg>", ""])


def _decades(values: Iterable[float]) -> tuple[int, int]:
    found = list(values)
    low, high = math.floor(math.log10(min(found))), math.ceil(math.log10(max(found)))
    return low, max(high, low + 1)


def _x(value: float, across: tuple[int, int]) -> float:
    share = (math.log10(value) - across[0]) / (across[1] - across[0])
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(value: float, up: tuple[int, int]) -> float:
    share = (math.log10(value) - up[0]) / (up[1] - up[0])
    return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)


def _grid(across: tuple[int, int], up: tuple[int, int], curve: Curve) -> Iterator[str]:
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    for decade in range(across[0], across[1] + 1):
        x = _x(10.0**decade, across)
        yield f"<path d='M{x} {_TOP}V{bottom}' stroke='#ddd'/>"
        yield f"<text x='{x}' y='{bottom + 15}' text-anchor='middle' {_STYLE}>{10**decade:,}</text>"
    for decade in range(up[0], up[1] + 1):
        y = _y(10.0**decade, up)
        yield f"<path d='M{_LEFT} {y}H{right}' stroke='#ddd'/>"
        told = f"{10.0**decade:g} {curve.unit}"
        yield f"<text x='{_LEFT - 6}' y='{y + 4}' text-anchor='end' {_STYLE}>{told}</text>"
    middle = (_LEFT + right) // 2
    yield f"<text x='{middle}' y='{_HEIGHT - 8}' text-anchor='middle' {_STYLE}>{curve.across}</text>"


def _line(
    name: str,
    series: Sequence[tuple[float, float]],
    colour: str,
    across: tuple[int, int],
    up: tuple[int, int],
    taken: list[float],
) -> Iterator[str]:
    """Yield a line with its points, and its name beside the last of them, clear of the other names."""
    spots = [(_x(x, across), _y(y, up)) for x, y in series]
    path = " ".join(f"{x},{y}" for x, y in spots)
    yield f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>"
    for x, y in spots:
        yield f"<circle cx='{x}' cy='{y}' r='3' fill='{colour}'/>"
    x, y = spots[-1]
    while any(abs(y - other) < 13 for other in taken):  # noqa: PLR2004 - a line of text
        y += 13
    taken.append(y)
    text = name.strip("`").replace("`", "")
    yield f"<text x='{x + 8}' y='{y + 4}' {_STYLE.replace('#444', colour)}>{text}</text>"
