"""Whatever ISC answers at any one request, nothing is lost and nobody else's source is touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from answers import (
    LENSES,
    applied_in_part,
    belongs_to_others,
    ignored_calls,
    ignored_operations,
    odd_reads,
    reads_that_never_agree,
    refuses_late,
    spoils_its_pages,
    strips_what_it_does_not_know,
    tampered_with,
    with_nulls,
)
from scale import ALL
from shapes import SHAPES, Shape

pytestmark = pytest.mark.slow

TIER = "T10 answers, in process"
SOME = SHAPES if ALL else SHAPES[::9]
MORE = SHAPES if ALL else SHAPES[::3]


@pytest.mark.parametrize("shape", SOME, ids=str)
@pytest.mark.parametrize("lens", LENSES)
def test_odd_answers_to_any_read(lens: str, shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, odd_reads(shape, lens))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reads_of_which_no_two_agree(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, reads_that_never_agree(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_schedule_call_that_is_answered_as_done_and_was_not(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, ignored_calls(shape))


@pytest.mark.parametrize("shape", SOME, ids=str)
def test_a_patch_that_is_answered_200_and_not_wholly_applied(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, ignored_operations(shape))


@pytest.mark.parametrize("shape", SOME, ids=str)
def test_a_patch_that_is_refused_and_partly_applied(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, applied_in_part(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_is_switched_off_where_the_escrow_does_not_stay(
    shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, strips_what_it_does_not_know(shape))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_what_is_anothers_is_never_touched(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, belongs_to_others(shape))


@pytest.mark.parametrize("shape", MORE, ids=str)
def test_a_tampered_escrow_is_not_believed(shape: Shape, tally: Callable[[str, int], None]) -> None:
    tally(TIER, tampered_with(shape))


@pytest.mark.parametrize("shape", MORE, ids=str)
@pytest.mark.parametrize("scene", [refuses_late, with_nulls, spoils_its_pages], ids=lambda it: it.__name__)
def test_a_tenant_with_a_quirk(
    scene: Callable[[Shape], int], shape: Shape, tally: Callable[[str, int], None]
) -> None:
    tally(TIER, scene(shape))
