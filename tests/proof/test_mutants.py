"""The tests are tested: every protocol that is wrong on purpose is found out, and the right one is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

import pytest
from answers import (
    LENSES,
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
from matrix import PHASES, crashes
from mutants import MUTANTS, Mutant
from scenes import (
    backed_up,
    backed_up_before_the_window,
    delayed,
    delayed_beside_an_older_look,
    delayed_between_two_windows,
    dies_while_edits_go_back,
    edited_on_the_way_out,
    far_ahead,
    frozen,
    late_reads,
    late_schedules,
    made_and_deleted_by_others,
    of_another_installation,
    several,
    unseen_changes,
)
from shapes import SHAPES, Shape

from mmd.posture import Treatment

pytestmark = pytest.mark.slow


def _shape(treatment: Treatment, *, crons: int) -> Shape:
    """The first shape with this treatment, so many schedules, and some features."""
    return next(
        shape
        for shape in SHAPES
        if shape.treatment is treatment and len(shape.crons) >= crons and shape.features
    )


FULL: Final = _shape(Treatment.FULL, crons=2)
SOME: Final = _shape(Treatment.NO_PROVISIONING, crons=1)
KEEP: Final = _shape(Treatment.KEEP_FEATURES, crons=1)
BARE: Final = replace(FULL, crons={}, left={})


def _each(scene: Callable[[Shape], object], *shapes: Shape) -> Callable[[], None]:
    def run() -> None:
        for shape in shapes or (FULL, SOME, KEEP):
            scene(shape)

    return run


def _odd_answers() -> None:
    for lens in LENSES:
        odd_reads(FULL, lens, reads=(1, 3))


def _frozen(shape: Shape) -> None:
    for others in (True, False):
        frozen(shape, others=others, suspended=True)


# A little of every part of the programme, by name, the quick before the thorough.
PARTS: Final[dict[str, Callable[[], object]]] = {
    "others' sources": _each(belongs_to_others),
    "unknown keys": _each(strips_what_it_does_not_know),
    "tampered escrows": _each(tampered_with),
    **{
        f"quirk: {scene.__name__.replace('_', ' ')}": _each(scene)
        for scene in (refuses_late, spoils_its_pages, with_nulls)
    },
    "several sources": several,
    "old backups": _each(backed_up),
    "unknown windows": _each(backed_up_before_the_window),
    "another installation": _each(of_another_installation),
    "edits on the way out": _each(edited_on_the_way_out, FULL),
    "deletions by others": _each(made_and_deleted_by_others, FULL),
    "deaths on the way out": _each(dies_while_edits_go_back, FULL, SHAPES[0]),
    "reads that never agree": _each(reads_that_never_agree),
    "ignored calls": _each(ignored_calls),
    "ignored operations": _each(ignored_operations, FULL),
    "unseen changes": _each(unseen_changes, FULL),
    "the workflow's Enable": _each(partial(unseen_changes, change="the workflow's Enable"), SOME, KEEP),
    "late requests": _each(delayed, FULL),
    "late requests between two windows": _each(delayed_between_two_windows, FULL),
    "late requests beside an older look": _each(delayed_beside_an_older_look, BARE),
    **{f"crashes in {phase.name}": _each(partial(crashes, phase, turns=1), FULL, KEEP) for phase in PHASES},
    "odd answers": _odd_answers,
    "wrong clocks": _each(far_ahead, FULL),
    "frozen": _each(_frozen, FULL),
    "late schedules": _each(late_schedules, SHAPES[0]),
    "late reads": _each(lambda shape: late_reads(shape, 3.0, variants=2), FULL),
}


def is_found_out(part: str) -> bool:
    """Run a part of the programme; tell whether anything was wrong. A mutant that breaks is no finding."""
    try:
        PARTS[part]()
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("wrong", MUTANTS, ids=str)
def test_a_wrong_protocol_is_found_out(
    wrong: Mutant, monkeypatch: pytest.MonkeyPatch, tally: Callable[[str, int], None]
) -> None:
    wrong.make(monkeypatch)
    assert is_found_out(wrong.by), f"{wrong.by!r} does not miss what is wrong: {wrong.name}"
    tally("T16 mutants killed", 1)


@pytest.mark.parametrize("part", PARTS)
def test_the_right_protocol_is_not(part: str) -> None:
    PARTS[part]()


def test_there_are_enough() -> None:
    assert len(MUTANTS) >= 20
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
