"""A process that stands still in the midst of entering, and goes on long after the window has closed.

Nothing can stop its next request: ISC knows neither leases nor conditions. What slips through is undone by
those who look again after a restoration (docs/adr/0011).
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scale import ALL
from scenes import delayed, frozen
from shapes import SHAPES, Shape

pytestmark = pytest.mark.slow

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
