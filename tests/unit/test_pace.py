"""How long entering takes, and how early it begins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mmd.pace import Pace
from mmd.windows import SourceRef, Window, next_boundary, wanted

NOON = datetime(2026, 12, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def window(sources: int = 1, *, opens: datetime = NOON, lasts: timedelta = 10 * MINUTE) -> Window:
    return Window(
        id="w1",
        sources=tuple(SourceRef(f"s{number}", "AD") for number in range(sources)),
        starts_local=opens.replace(tzinfo=None),
        timezone="UTC",
        duration=lasts,
        reason="patching",
        created_at=opens - timedelta(days=1),
        effective_from=opens - timedelta(days=1),
    )


@pytest.mark.parametrize(("requests", "periods"), [(0, 0), (1, 0), (80, 0), (81, 1), (160, 1), (481, 6)])
def test_the_floor_is_what_the_limit_leaves(requests: int, periods: int) -> None:
    assert Pace().floor(requests) == periods * timedelta(seconds=10)


def test_sixty_sources_take_six_periods_and_an_answer_or_two() -> None:
    assert Pace().entering(60) == timedelta(seconds=66)


def test_without_a_lead_a_source_is_wanted_from_the_start() -> None:
    planned = window()
    assert Pace().ahead(planned) == timedelta(0)
    assert wanted([planned], NOON - MINUTE, Pace().ahead) == {}
    assert "s0" in wanted([planned], NOON, Pace().ahead)


def test_with_a_lead_it_is_wanted_so_much_earlier_and_not_longer() -> None:
    planned, pace = window(), Pace(lead=5 * MINUTE)
    assert wanted([planned], NOON - 5 * MINUTE - timedelta.resolution, pace.ahead) == {}
    assert "s0" in wanted([planned], NOON - 5 * MINUTE, pace.ahead)
    assert wanted([planned], NOON + 10 * MINUTE, pace.ahead) == {}


def test_by_itself_the_lead_is_as_long_as_entering_takes() -> None:
    planned = window(sources=60)
    assert Pace(lead=None).ahead(planned) == timedelta(seconds=66)


def test_the_next_boundary_is_the_entering_then_the_opening_then_the_closing() -> None:
    planned, pace = window(), Pace(lead=5 * MINUTE)
    at, seen = NOON - 10 * MINUTE, []
    while (found := next_boundary([planned], at, pace.ahead)) is not None:
        seen.append(found - NOON)
        at = found
    assert seen == [-5 * MINUTE, timedelta(0), 10 * MINUTE]
