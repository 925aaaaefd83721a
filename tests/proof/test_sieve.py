"""What mmd sees is late, or old, or not all there was (the three perturbations of Sieve).

The third, a state in the midst of a change, is the crash matrix.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scale import ALL
from scenes import (
    CHANGES,
    MINUTES,
    backed_up,
    backed_up_before_the_window,
    dies_while_edits_go_back,
    edited_at_any_seam,
    edited_on_the_way_out,
    late_reads,
    late_schedules,
    made_and_deleted_by_others,
    of_another_installation,
    unseen_changes,
)
from shapes import SHAPES, Shape

from mmd.posture import ACCOUNTS

pytestmark = pytest.mark.slow

TIER = "T3 stale reads, unseen changes"
# Seconds from the end of one window to the start of the next, and the shapes that this is tried with.
PAIRS = [(3.0, shape) for shape in SHAPES] + [(65.0, shape) for shape in (SHAPES if ALL else SHAPES[::2])]


@pytest.mark.parametrize(("gap", "shape"), PAIRS, ids=str)
def test_a_stale_read_over_two_windows(shape: Shape, gap: float, tally: Callable[[str, int], None]) -> None:
    tally(TIER, late_reads(shape, gap, variants=5 if ALL else 2))


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::4], ids=str)
def test_a_stale_read_after_an_edit(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, late_schedules(shape))


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::6], ids=str)
@pytest.mark.parametrize("change", CHANGES)
def test_passes_that_never_came(change: str, shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, unseen_changes(shape, change, firsts=MINUTES))


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if ACCOUNTS in shape.crons], ids=str)
def test_a_schedule_edited_while_its_source_is_entered(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, edited_at_any_seam(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    "scene", [backed_up, backed_up_before_the_window, of_another_installation], ids=lambda it: it.__name__
)
def test_a_database_that_does_not_know_what_the_sources_say(
    scene: Callable[[Shape], int], shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, scene(shape))


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::4], ids=str)
def test_a_death_while_others_edits_go_back(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally("T1 crash matrix", dies_while_edits_go_back(shape))


@pytest.mark.parametrize("shape", SHAPES if ALL else SHAPES[::6], ids=str)
@pytest.mark.parametrize(
    "scene", [edited_on_the_way_out, made_and_deleted_by_others], ids=lambda it: it.__name__
)
def test_others_at_work_while_their_source_is_restored(
    scene: Callable[[Shape], int], shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, scene(shape))
