"""A process that stands still in the midst of entering, and goes on long after the window has closed.

Nothing can stop its next request: ISC knows neither leases nor conditions. What slips through is undone by
those who look again after a restoration (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from scale import ALL
from scenes import delayed, delayed_beside_an_older_look, delayed_between_two_windows, frozen
from shapes import SHAPES, Shape

from mmd.posture import Treatment

pytestmark = pytest.mark.slow

# Where no cron key stands beside it, the marker with all of the treatment is mmd's own doing.
WITHOUT_CRONS = [
    replace(shape, treatment=Treatment.FULL) for shape in SHAPES if not (shape.crons or shape.left)
]
TIER = "T4 frozen processes, late requests"


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::9], ids=str)
@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "stopped"])
@pytest.mark.parametrize("others", [True, False], ids=["restored", "alone"])
def test_a_process_frozen_at_every_seam_of_entering_leaves_nothing_behind(
    shape: Shape, tally: Callable[[str, int], None], *, others: bool, suspended: bool
) -> None:
    tally(TIER, frozen(shape, others=others, suspended=suspended))


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::6], ids=str)
def test_a_request_that_arrives_after_the_release_leaves_nothing_behind(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, delayed(shape))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.crons][:: 1 if ALL else 5], ids=str)
def test_a_late_request_takes_nothing_from_the_next_snapshot(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, delayed_between_two_windows(shape))


@pytest.mark.parametrize("shape", WITHOUT_CRONS, ids=str)
def test_a_late_request_is_not_undone_from_an_older_entry(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, delayed_beside_an_older_look(shape))
